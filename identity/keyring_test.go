package identity_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

const workload = "spiffe://example.org/payments"

// issued makes a credential with a new key that certifies itself, valid from now for a while.
func issued(t testing.TB, principal string, life time.Duration) identity.Credential {
	t.Helper()
	public, signer, err := identity.NewSessionKey(principal)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	b, err := lineage.CertifySelf(context.Background(), lineage.Statement{Principal: principal, Key: public,
		NotBefore: now.Add(-time.Minute).Truncate(time.Second), NotAfter: now.Add(life).Truncate(time.Second)}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return identity.Credential{Signer: signer, Binding: b}
}

func use(t testing.TB, k *identity.Keyring, c identity.Credential) lineage.Signer {
	t.Helper()
	if err := k.Use(c); err != nil {
		t.Fatal(err)
	}
	return signerOf(t, k)
}

func signerOf(t testing.TB, k *identity.Keyring) lineage.Signer {
	t.Helper()
	s, err := k.Signer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(t.Context(), []byte("m")); err != nil {
		t.Fatal(err)
	}
	return s
}

// stopped holds a keyring and a signer of it to giving nothing but an error that matches all targets.
func stopped(t testing.TB, k *identity.Keyring, old lineage.Signer, targets ...error) {
	t.Helper()
	s, err := k.Signer(t.Context())
	for _, target := range targets {
		if s != nil || !errors.Is(err, target) {
			t.Errorf("Signer: %v, %v; want %v", s, err, target)
		}
	}
	if old == nil {
		return
	}
	if signature, err := old.Sign(t.Context(), []byte("m")); signature != nil || !errors.Is(err, targets[0]) {
		t.Errorf("an old signer: %x, %v; want %v", signature, err, targets[0])
	}
}

func TestKeyringZeroValue(t *testing.T) {
	var k identity.Keyring
	stopped(t, &k, nil, identity.ErrNotReady)
	if k.Binding("") != nil || k.Binding("x") != nil {
		t.Error("an empty keyring has a binding")
	}
	k.Revoke(nil) // nothing to take away, and no panic
	stopped(t, &k, nil, identity.ErrNotReady, identity.ErrRevoked)
	use(t, &k, issued(t, workload, time.Hour))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := k.Signer(ctx); s != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that ended: %v, %v", s, err)
	}
}

func TestKeyringRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, other := issued(t, workload, time.Hour), issued(t, workload, time.Hour)
		stranger := issued(t, "spiffe://example.org/web", time.Hour)
		var k identity.Keyring
		first := use(t, &k, good)
		for name, c := range map[string]struct {
			credential identity.Credential
			text       string
		}{
			"nothing":                      {identity.Credential{}, "without signer or binding"},
			"no binding":                   {identity.Credential{Signer: good.Signer}, "without signer or binding"},
			"binding of another key":       {identity.Credential{Signer: good.Signer, Binding: other.Binding}, "not about the key"},
			"binding of another principal": {identity.Credential{Signer: good.Signer, Binding: stranger.Binding}, "not about the key"},
			"another principal":            {stranger, "it started as"},
			"ended":                        {identity.Credential{Signer: good.Signer, Binding: good.Binding, NotAfter: time.Now()}, "expired"},
		} {
			if err := k.Use(c.credential); err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if s := signerOf(t, &k); s != first {
			t.Error("a refused credential replaced a good one")
		}
		time.Sleep(time.Hour)
		if err := new(identity.Keyring).Use(good); !errors.Is(err, identity.ErrExpired) {
			t.Errorf("an expired binding: %v", err)
		}
	})
}

// Expiry is sharp, for the keyring and for signers that were handed out: at the earliest of three ends.
func TestKeyringExpires(t *testing.T) { // SPEC §8: never signs past expiry
	for name, c := range map[string]struct{ binding, notAfter, want time.Duration }{
		"binding":    {time.Hour, 0, time.Hour},
		"credential": {time.Hour, 20 * time.Minute, 20 * time.Minute},
		"session":    {20 * time.Hour, 15 * time.Hour, identity.MaxSession},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var k identity.Keyring
				credential := issued(t, workload, c.binding)
				if c.notAfter > 0 {
					credential.NotAfter = time.Now().Add(c.notAfter)
				}
				s := use(t, &k, credential)
				time.Sleep(c.want - time.Nanosecond)
				signerOf(t, &k)
				if _, err := s.Sign(t.Context(), nil); err != nil {
					t.Errorf("a nanosecond before the end: %v", err)
				}
				time.Sleep(time.Nanosecond)
				stopped(t, &k, s, identity.ErrExpired)
			})
		})
	}
}

func TestKeyringRevoke(t *testing.T) {
	var k identity.Keyring
	first := use(t, &k, issued(t, workload, time.Hour))
	second := use(t, &k, issued(t, workload, time.Hour))
	denied := errors.New("permission denied")
	k.Revoke(denied)
	for _, s := range []lineage.Signer{first, second} {
		stopped(t, &k, s, identity.ErrRevoked, denied)
	}
	if err := k.Use(issued(t, "spiffe://example.org/web", time.Hour)); err == nil {
		t.Error("another principal after a revocation")
	}
	third := use(t, &k, issued(t, workload, time.Hour))
	if signerOf(t, &k) != third {
		t.Error("not the new credential")
	}
	if _, err := first.Sign(t.Context(), nil); !errors.Is(err, identity.ErrRevoked) {
		t.Errorf("a new credential gave an old one back: %v", err)
	}
	k.Revoke(fmt.Errorf("%w: again", identity.ErrRevoked))
	_, err := k.Signer(t.Context())
	if strings.Count(err.Error(), identity.ErrRevoked.Error()) != 1 {
		t.Errorf("says it twice: %v", err)
	}
}

// A credential that was under way when the identity was taken away does not bring it back.
func TestRevokeDuringRenew(t *testing.T) {
	for _, during := range []string{"issue", "publish"} {
		var k identity.Keyring
		old := use(t, &k, issued(t, workload, time.Hour))
		revoke := func(now string) {
			if now == during {
				k.Revoke(errors.New("permission denied"))
			}
		}
		renewal := identity.Renewal{
			Issue: func(context.Context) (identity.Credential, error) {
				revoke("issue")
				return issued(t, workload, time.Hour), nil
			},
			Publish: func(context.Context, *lineage.KeyBinding) error {
				if during == "issue" {
					t.Error("published a binding that cannot be used")
				}
				revoke("publish")
				return nil
			},
		}
		if err := k.Renew(t.Context(), renewal); !errors.Is(err, identity.ErrRevoked) {
			t.Errorf("during %s: %v", during, err)
		}
		stopped(t, &k, old, identity.ErrRevoked)
		during = "never"
		if err := k.Renew(t.Context(), renewal); err != nil {
			t.Error(err)
		}
		signerOf(t, &k)
	}
}

func TestKeyringBinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k identity.Keyring
		a, b := issued(t, workload, time.Hour), issued(t, workload, 3*time.Hour)
		use(t, &k, a)
		use(t, &k, b)
		k.Revoke(nil) // says nothing about what was signed before
		for id, want := range map[string]*lineage.KeyBinding{"": b.Binding, a.Binding.KeyID(): a.Binding, b.Binding.KeyID(): b.Binding, "x": nil} {
			if got := k.Binding(id); got != want {
				t.Errorf("binding of %q: %v", id, got)
			}
		}
		time.Sleep(2 * time.Hour)
		use(t, &k, issued(t, workload, time.Hour))
		if k.Binding(a.Binding.KeyID()) != nil || k.Binding(b.Binding.KeyID()) != b.Binding {
			t.Error("not pruned at the end, or before it")
		}
	})
}

// What a keyring keeps is bounded, and a revocation reaches what it no longer keeps.
func TestKeyringIsBounded(t *testing.T) {
	var k identity.Keyring
	first := issued(t, workload, time.Hour)
	old := use(t, &k, first)
	kept := 0
	var ids []string
	for range 300 {
		c := issued(t, workload, time.Hour)
		use(t, &k, c)
		ids = append(ids, c.Binding.KeyID())
	}
	for _, id := range ids {
		if k.Binding(id) != nil {
			kept++
		}
	}
	if kept != 256 || k.Binding(first.Binding.KeyID()) != nil {
		t.Errorf("%d bindings are kept", kept)
	}
	k.Revoke(nil)
	stopped(t, &k, old, identity.ErrRevoked)
}

func TestKeyringLabels(t *testing.T) {
	var k identity.Keyring
	c := issued(t, workload, time.Hour)
	c.Labels = map[string]string{"iss": "https://issuer.example"}
	s := use(t, &k, c)
	c.Labels["iss"] = "changed"
	if got := s.(identity.Labeler).Labels(); len(got) != 1 || got["iss"] != "https://issuer.example" {
		t.Errorf("labels %v", got)
	}
}
