package identity_test

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
)

func TestKeyringPrintsNoSecret(t *testing.T) {
	var k identity.Keyring
	c := issued(t, workload, time.Hour)
	s := use(t, &k, c)
	var doc struct{ Proof string }
	if err := json.Unmarshal([]byte(c.Binding.Text()), &doc); err != nil {
		t.Fatal(err)
	}
	token := strings.Split(doc.Proof, ".")[1]
	for _, v := range []any{&k, s, c, &c, []any{c}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, token) || strings.Contains(text, fmt.Sprintf("%x", token)) {
				t.Errorf("%s of %T shows the proof: %s", verb, v, text)
			}
		}
		if text, _ := json.Marshal(v); strings.Contains(string(text), token) {
			t.Errorf("JSON of %T: %s", v, text)
		}
	}
}

// rotating is a provider as the platforms make them.
type rotating struct {
	identity.Keyring
	mu   sync.Mutex
	keys map[string]ed25519.PublicKey
}

func (r *rotating) rotate(t testing.TB) {
	c := issued(t, workload, time.Hour)
	k, err := c.Binding.Verify(time.Now(), 0, selfRoots(t))
	if err != nil {
		t.Error(err)
		return
	}
	r.mu.Lock()
	r.keys[k.KeyID] = k.Key
	r.mu.Unlock()
	if err := r.Use(c); err != nil {
		t.Error(err)
	}
}

func selfRoots(t testing.TB) *lineage.Roots {
	roots, err := lineage.NewRoots(lineage.RootsConfig{Self: []string{"spiffe://example.org/*"}})
	if err != nil {
		t.Fatal(err)
	}
	return roots
}

func TestKeyringPassesTheContract(t *testing.T) { // F-ID-01…05
	p := &rotating{keys: map[string]ed25519.PublicKey{}}
	p.rotate(t)
	identitytest.TestProvider(t, identitytest.Harness{
		New: func(*testing.T) identity.Provider { return p },
		PublicKey: func(id string) ed25519.PublicKey {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.keys[id]
		},
		Rotate:  func() { p.rotate(t) },
		Secrets: [][]byte{[]byte(p.Binding("").Text())},
	})
}
