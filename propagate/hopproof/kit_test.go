package hopproof_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/hopproof"
	"github.com/kest-go/kest/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	web   = "spiffe://example.org/web"
	other = "spiffe://example.org/other"
)

func privateKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func publicKey(name string) ed25519.PublicKey { return privateKey(name).Public().(ed25519.PublicKey) }

func signerOf(t testing.TB, name string) lineage.Signer {
	t.Helper()
	s, err := lineage.NewSigner(name, privateKey(name))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func keys(t testing.TB) lineage.KeySource {
	t.Helper()
	set, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{web: {publicKey(web)}, other: {publicKey(other)}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// nonces is a store that keeps the contract of Put, and counts.
type nonces struct {
	mu    sync.Mutex
	until map[string]time.Time
	puts  int
	err   error // of every Put
}

func (n *nonces) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.puts++
	if n.err != nil {
		return n.err
	}
	if err := errors.Join(ctx.Err(), store.Check(key, value, 0, ttl)); err != nil {
		return err
	}
	if time.Now().Before(n.until[key]) {
		return store.ErrExists
	}
	if n.until == nil {
		n.until = map[string]time.Time{}
	}
	n.until[key] = time.Now().Add(ttl)
	return nil
}

func (n *nonces) Get(context.Context, string) ([]byte, error) { return nil, store.ErrNotFound }

func verifier(t testing.TB, c hopproof.Config) *hopproof.Verifier {
	t.Helper()
	if c.Keys == nil {
		c.Keys = keys(t)
	}
	if c.Store == nil {
		c.Store = &nonces{}
	}
	v, err := hopproof.NewVerifier(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

const digest = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"

// request is a fresh one at every call, so that tests may change it.
func request() propagate.HopRequest {
	return propagate.HopRequest{
		Method: "POST", Authority: "Ledger:8443", Path: "/pay/a%2Fb", Query: "?order=7&b=%20",
		Fields: map[string][]string{
			"baggage":        {"kest.passport_z=secretbaggage", " tenant=blue "},
			"content-digest": {digest},
		},
	}
}

// signed adds a proof by the workload.
func signed(t testing.TB, by string, r propagate.HopRequest) propagate.HopRequest {
	t.Helper()
	input, signature, err := hopproof.Signer{}.SignHop(t.Context(), signerOf(t, by), r)
	if err != nil {
		t.Fatal(err)
	}
	return with(r, input, signature)
}

func with(r propagate.HopRequest, input, signature string) propagate.HopRequest {
	r.Fields = maps.Clone(r.Fields)
	r.Fields["signature-input"], r.Fields["signature"] = []string{input}, []string{signature}
	return r
}

// A forgery is a proof by somebody who has the right key and does not keep to the profile: its signature matches, so
// that only the rule under test refuses it.
type forgery struct {
	by, label, end string
	names          []string // as the base has them
	list           string   // as Signature-Input has them; "" for names
	params         []string
	request        propagate.HopRequest
}

const nonce = "AAECAwQFBgcICQoLDA0ODw"

func forge() *forgery {
	return &forgery{
		by: web, label: "kest", names: []string{"@method", "@authority", "@path", "@query", "baggage", "content-digest"},
		params: []string{
			fmt.Sprintf("created=%d", time.Now().Unix()), `nonce="` + nonce + `"`,
			`keyid="` + lineage.Thumbprint(publicKey(web)) + `"`, `alg="ed25519"`, `tag="kest-hop"`,
		},
		request: request(),
	}
}

// set replaces a parameter, or removes it when value is "".
func (f *forgery) set(name, value string) {
	for i, p := range f.params {
		if strings.HasPrefix(p, name+"=") {
			f.params = append(f.params[:i], f.params[i+1:]...)
			break
		}
	}
	if value != "" {
		f.params = append(f.params, name+"="+value)
	}
}

// make signs the base over the canonical form of what it writes, as the parser would restore it.
func (f *forgery) make(t testing.TB) (input, signature string) {
	t.Helper()
	list := f.list
	if list == "" {
		list = `("` + strings.Join(f.names, `" "`) + `")`
	}
	params := strings.Join(append([]string{list}, f.params...), ";")
	base, err := hopproof.SignatureBase(f.names, params, f.request)
	if err != nil {
		t.Fatal(err)
	}
	raw := ed25519.Sign(privateKey(f.by), base)
	return f.label + "=" + params, f.label + "=:" + base64.StdEncoding.EncodeToString(raw) + ":" + f.end
}

// refused expects ErrBadProof for the reason, and a text that tells nothing.
func refused(t testing.TB, err error, reason string) {
	t.Helper()
	if !errors.Is(err, propagate.ErrBadProof) || errors.Is(err, propagate.ErrNoProof) {
		t.Fatalf("error %v; want ErrBadProof", err)
	}
	if !strings.Contains(err.Error(), reason) {
		t.Errorf("error %q; want %q", err, reason)
	}
	tellsNothing(t, err, request())
}

func tellsNothing(t testing.TB, err error, r propagate.HopRequest) {
	t.Helper()
	text := fmt.Sprintf("%v %+v %#v", err, err, err)
	secrets := []string{nonce, "secretbaggage", "tenant"}
	for _, line := range r.Fields["signature"] {
		secrets = append(secrets, strings.TrimPrefix(line, "kest="))
	}
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("error %q repeats %q", err, secret)
		}
	}
	if len(text) > 1500 {
		t.Errorf("error of %d bytes", len(text))
	}
}
