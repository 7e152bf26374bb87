package oidc_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/identity/oidc"
	"github.com/kest-go/kest/identity/oidc/oidctest"
	"github.com/kest-go/kest/lineage"
)

// recorder remembers every token that a source gave, so that a test can look for them.
type recorder struct {
	oidc.TokenSource
	tokens chan string
}

func (r recorder) Token(ctx context.Context, audience string) (string, error) {
	token, err := r.TokenSource.Token(ctx, audience)
	if err == nil {
		r.tokens <- token
	}
	return token, err
}

// TestContract runs the contract of identities against a real OpenID provider, with tokens that name the key
// (SPEC §8 OIDC, F-ID-01…05).
func TestContract(t *testing.T) {
	op := oidctest.Start(t)
	rec := recorder{op, make(chan string, 1000)}
	p := open(t, oidc.Config{Source: rec, Issuer: op.Issuer})
	identitytest.TestProvider(t, identitytest.Harness{
		New: func(*testing.T) identity.Provider { return p },
		PublicKey: func(keyID string) ed25519.PublicKey { // as a verifier learns it
			b := p.Binding(keyID)
			if b == nil {
				return nil
			}
			k, err := verify(t, rootsFor(t, op.Issuer, nil), b)
			if err != nil {
				t.Error(err)
				return nil
			}
			return k.Key
		},
		Rotate: func() {
			if err := p.Rotate(t.Context()); err != nil {
				t.Error(err)
			}
		},
		Secrets: [][]byte{[]byte(<-rec.tokens)},
	})
}

// TestContractUnbound is the same with a token that cannot name a key.
func TestContractUnbound(t *testing.T) {
	op := oidctest.Start(t)
	token, err := op.Unbound(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := open(t, oidc.Config{Source: always(token), Issuer: op.Issuer, Audience: oidctest.Subject})
	self, err := lineage.NewRoots(lineage.RootsConfig{Self: []string{op.Principal()}})
	if err != nil {
		t.Fatal(err)
	}
	identitytest.TestProvider(t, identitytest.Harness{
		New: func(*testing.T) identity.Provider { return p },
		PublicKey: func(keyID string) ed25519.PublicKey {
			k, err := verify(t, self, p.Binding(keyID))
			if err != nil {
				t.Error(err)
				return nil
			}
			return k.Key
		},
		Rotate:  func() { _ = p.Rotate(t.Context()) },
		Secrets: [][]byte{[]byte(token)},
	})
	if _, err := verify(t, rootsFor(t, op.Issuer, nil), p.Binding("")); !errors.Is(err, lineage.ErrBinding) {
		t.Errorf("who trusts the issuer only gets %v; the issuer never vouched for this key", err)
	}
}

// TestRealProvider is the life of a workload: its token names its key, its provider rotates, withdraws and goes down.
func TestRealProvider(t *testing.T) {
	op := oidctest.Start(t)
	var published []*lineage.KeyBinding
	p := open(t, oidc.Config{Source: op, Issuer: op.Issuer, RequireBound: true,
		Publish: func(_ context.Context, b *lineage.KeyBinding) error { published = append(published, b); return nil }})
	roots := rootsFor(t, op.Issuer, nil)
	first := p.Binding("")
	k, err := verify(t, roots, first)
	if err != nil {
		t.Fatal(err)
	}
	if k.Principal != op.Principal() || k.Form != lineage.FormOIDC || k.Issuer != op.Issuer || !p.Bound() || published[0] != first {
		t.Errorf("%+v", k)
	}
	s, err := p.Signer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if l := s.(identity.Labeler).Labels(); l[lineage.LabelIssuer] != op.Issuer || l[lineage.LabelSubject] != oidctest.Subject || len(l) != 2 {
		t.Errorf("labels %v", l)
	}
	before, err := roots.Roots(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := roots.Roots(t.Context(), first); again != before {
		t.Error("other roots without a change")
	}

	op.Rotate() // both the workload's check and the verifier meet a key that they do not know
	fetches := op.Fetches()
	if err := p.Rotate(t.Context()); !errors.Is(err, oidc.ErrToken) || op.Fetches() != fetches {
		t.Errorf("%v after %d fetches; want a refusal without one, within the pause", err, op.Fetches()-fetches)
	}
	if p.Binding("") != first {
		t.Error("the credential in use is gone")
	}
	fresh := open(t, oidc.Config{Source: op, Issuer: op.Issuer})
	freshRoots := rootsFor(t, op.Issuer, nil)
	if _, err := verify(t, freshRoots, fresh.Binding("")); err != nil {
		t.Error(err)
	}
	if _, err := verify(t, freshRoots, first); err != nil {
		t.Errorf("a binding by the key before: %v", err)
	}
	op.Withdraw()
	if _, err := verify(t, rootsFor(t, op.Issuer, nil), first); !errors.Is(err, lineage.ErrBinding) {
		t.Errorf("a binding by a key that was withdrawn: %v", err)
	}

	op.SetDown(true)
	if _, err := verify(t, freshRoots, fresh.Binding("")); err != nil {
		t.Errorf("the provider is down, but its keys are known: %v", err)
	}
	if _, err := verify(t, rootsFor(t, op.Issuer, nil), first); !errors.Is(err, oidc.ErrKeys) {
		t.Errorf("nothing is known about the provider: %v", err)
	}
	if err := fresh.Rotate(t.Context()); err == nil || strings.Contains(err.Error(), "ey") && strings.Contains(err.Error(), "ey.") {
		t.Errorf("a new token while the provider is down: %v", err)
	}
	if s, err := fresh.Signer(t.Context()); err != nil {
		t.Error(err)
	} else if _, err := s.Sign(t.Context(), []byte("m")); err != nil {
		t.Error(err)
	}
}

// TestRenewsAndExpires: tokens of three seconds are renewed before they end, and nothing is signed after the end.
func TestRenewsAndExpires(t *testing.T) {
	op := oidctest.Start(t)
	op.SetLifetime(3 * time.Second)
	p := open(t, oidc.Config{Source: op})
	first := p.Binding("")
	for deadline := time.Now().Add(10 * time.Second); p.Binding("") == first; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not renewed")
		}
	}
	old, err := p.Signer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	op.SetDown(true)
	time.Sleep(time.Until(p.Binding("").NotAfter())) // real time, because the provider is real
	if sig, err := old.Sign(t.Context(), []byte("m")); !errors.Is(err, identity.ErrExpired) || sig != nil {
		t.Errorf("signed with an expired token: %v", err)
	}
	if _, err := p.Signer(t.Context()); !errors.Is(err, identity.ErrExpired) {
		t.Errorf("signer: %v", err)
	}
}

// keysOf is the key source of a verifier that looks bindings up in a provider and checks them against roots.
type keysOf struct {
	t     *testing.T
	p     *oidc.Provider
	roots lineage.RootSource
}

func (k keysOf) Keys(_ context.Context, principal, keyID string) ([]ed25519.PublicKey, error) {
	bound, err := verify(k.t, k.roots, k.p.Binding(keyID))
	if err != nil || bound.Principal != principal {
		return nil, err // no key is no error
	}
	return []ed25519.PublicKey{bound.Key}, nil
}

func (k keysOf) Certify(_ context.Context, s lineage.Signature) (lineage.Certificate, error) {
	bound, err := verify(k.t, k.roots, k.p.Binding(s.KeyID))
	if err != nil {
		return lineage.Certificate{}, err
	}
	return bound.Certificate("verified now"), nil
}

// TestEntryToReport signs an entry, verifies it by roots only, and finds the level of proof in the report, for both forms.
func TestEntryToReport(t *testing.T) {
	op := oidctest.Start(t)
	unbound, err := op.Unbound(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	self, err := lineage.NewRoots(lineage.RootsConfig{Self: []string{op.Principal()}})
	if err != nil {
		t.Fatal(err)
	}
	for form, test := range map[lineage.BindingForm]struct {
		source oidc.TokenSource
		roots  lineage.RootSource
	}{
		lineage.FormOIDC: {op, rootsFor(t, op.Issuer, nil)},
		lineage.FormSelf: {always(unbound), self},
	} {
		p := open(t, oidc.Config{Source: test.source, Issuer: op.Issuer})
		signer, err := p.Signer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		signed, err := lineage.Sign(t.Context(), signer, lineage.Entry{
			Runtime: lineage.Runtime{Name: "kest-go", Version: "test"}, ID: "0199f0a5-8a11-7c31-9d2e-4f6b1c0a9e57",
			Operation: "payments.Transfer", Classification: "system", TrustScore: 100, TimestampMS: time.Now().UnixMilli(),
			Labels: map[string]string{lineage.LabelPrincipal: signer.Principal(), lineage.LabelSourceType: lineage.SourceInternal,
				lineage.LabelTraceID: "4bf92f3577b34da6a3ce929d0e0e4736"},
			Policies: lineage.PolicyContext{Function: []string{"kest/allow_trusted"}},
		}, lineage.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		v, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keysOf{t, p, test.roots}})
		if err != nil {
			t.Fatal(err)
		}
		_, report, err := v.Verify(t.Context(), lineage.Unverified{Entries: []string{signed.JWS()}})
		if err != nil {
			t.Fatal(err)
		}
		if key := report.Entries()[0].Key; key == nil || key.Form != form || key.Proves != form.Proves() {
			t.Errorf("%s: report says %+v", form, key)
		}
	}
}
