package local_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"log/slog"
	"strings"
	"testing"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/identity/local"
	"github.com/kest-go/kest/lineage"
)

func quiet(name string) local.Config {
	return local.Config{Name: name, Logger: slog.New(slog.DiscardHandler)}
}

func TestContract(t *testing.T) { // SPEC §8 Local, F-ID-01…05
	p, err := local.New(quiet("payments"))
	if err != nil {
		t.Fatal(err)
	}
	identitytest.TestProvider(t, identitytest.Harness{
		New: func(*testing.T) identity.Provider { return p },
		PublicKey: func(keyID string) ed25519.PublicKey {
			if key := p.PublicKey(); lineage.Thumbprint(key) == keyID {
				return key
			}
			return nil
		},
	})
}

func TestEveryProviderIsAnotherWorkload(t *testing.T) {
	principals, keys := map[string]bool{}, map[string]bool{}
	const n = 50
	for i := range n {
		name := ""
		if i%2 == 1 {
			name = "payments"
		}
		p, err := local.New(quiet(name))
		if err != nil {
			t.Fatal(err)
		}
		want := "local:"
		if name != "" {
			want += name + ":"
		}
		if random, ok := strings.CutPrefix(p.Principal(), want); !ok || len(random) != 32 {
			t.Fatalf("principal %q", p.Principal())
		}
		principals[p.Principal()], keys[string(p.PublicKey())] = true, true
	}
	if len(principals) != n || len(keys) != n {
		t.Errorf("%d principals and %d keys for %d providers", len(principals), len(keys), n)
	}
}

func TestWarnsOnce(t *testing.T) {
	var log bytes.Buffer
	p, err := local.New(local.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := p.Signer(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	text := log.String()
	if n := strings.Count(text, "\n"); n != 1 {
		t.Errorf("%d log lines, want 1: %s", n, text)
	}
	for _, want := range []string{"level=WARN", "LOCAL IDENTITY", p.Principal(), "Config.Identity"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
}

func TestWarnsTheDefaultLogger(t *testing.T) {
	var log bytes.Buffer
	old := slog.Default()
	t.Cleanup(func() { slog.SetDefault(old) })
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	if _, err := local.New(local.Config{}); err != nil || !strings.Contains(log.String(), "level=WARN") {
		t.Errorf("%v, log %q", err, log.String())
	}
}

func TestRefusesNames(t *testing.T) {
	for _, name := range []string{"a b", "a/b", "a:b", "é", "a\n", "\xff", strings.Repeat("a", local.MaxName+1)} {
		if p, err := local.New(quiet(name)); err == nil || p != nil {
			t.Errorf("%q is accepted", name)
		}
	}
	if _, err := local.New(quiet(strings.Repeat("a", local.MaxName))); err != nil {
		t.Error(err)
	}
}

func TestPublicKeyIsACopy(t *testing.T) {
	p, err := local.New(quiet(""))
	if err != nil {
		t.Fatal(err)
	}
	p.PublicKey()[0] ^= 1
	s, err := p.Signer(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if lineage.Thumbprint(p.PublicKey()) != s.KeyID() {
		t.Error("a caller can change the provider's public key")
	}
}

func TestProbe(t *testing.T) {
	got, findings, err := identity.Detect(context.Background(), identity.Env{},
		append(identity.StandardProbes(), local.Probe(quiet("demo")))...)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := got.(*local.Provider); !ok {
		t.Errorf("detected %T", got)
	}
	if last := findings[len(findings)-1]; last.Name != identity.Local || !last.Chosen {
		t.Errorf("finding %+v", last)
	}
	if got, _, err := identity.Detect(context.Background(), identity.Env{}, local.Probe(quiet("a b"))); err == nil || got != nil {
		t.Errorf("a bad name gives %v, %v", got, err)
	}
}
