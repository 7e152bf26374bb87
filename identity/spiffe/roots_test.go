package spiffe_test

import (
	"context"
	"errors"
	"testing"
	"time"

	api "github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"

	"github.com/kest-go/kest/identity/spiffe"
	"github.com/kest-go/kest/identity/spiffe/spiffetest"
	"github.com/kest-go/kest/lineage"
)

func rootsOf(t *testing.T, source lineage.RootSource) *lineage.Roots {
	t.Helper()
	roots, err := source.Roots(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return roots
}

func watch(t *testing.T, s *spiffetest.Server) *spiffe.RootSource {
	t.Helper()
	r, err := spiffe.WatchRoots(context.Background(), spiffe.Config{SocketPath: s.Addr(), Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// TestFederation: a workload of another domain verifies when the agent federates with it, in both forms, by a signing
// workload and by a process that only verifies, and not otherwise.
func TestFederation(t *testing.T) {
	t.Parallel()
	caller := spiffetest.Start(t, spiffetest.Config{CA: spiffetest.NewCA("partner.example")})
	callee := spiffetest.Start(t, spiffetest.Config{})
	sources := map[string]lineage.RootSource{"provider": start(t, callee, spiffe.Config{}), "verifier": watch(t, callee)}
	for _, form := range []lineage.BindingForm{lineage.FormX509, lineage.FormJWT} {
		b := start(t, caller, spiffe.Config{Form: form}).Binding("")
		verify := func(source lineage.RootSource) error {
			_, err := b.Verify(time.Now(), 0, rootsOf(t, source))
			return err
		}
		for name, source := range sources {
			callee.SetFederated()
			eventually(t, "refused by the "+name, func() bool { return errors.Is(verify(source), lineage.ErrBinding) })
			callee.SetFederated(caller.CA)
			eventually(t, "verified by the "+name, func() bool { return verify(source) == nil })
		}
	}
}

// TestRootsStayTheSame: verifiers forget what they know when the pointer changes, so it does only with the bundles.
func TestRootsStayTheSame(t *testing.T) {
	t.Parallel()
	s := spiffetest.Start(t, spiffetest.Config{})
	p, r := start(t, s, spiffe.Config{}), watch(t, s)
	before, beforeR := rootsOf(t, p), rootsOf(t, r)
	newKey(t, p, s.Rotate)
	if rootsOf(t, p) != before || rootsOf(t, r) != beforeR {
		t.Error("a new SVID changed the roots")
	}
	s.CA.Rotate()
	newKey(t, p, s.Rotate)
	eventually(t, "new roots", func() bool { return rootsOf(t, p) != before && rootsOf(t, r) != beforeR })
}

// TestAuthorityRotates: bindings from before and after hold while the bundle has both roots; then the old one is believed
// no more, at once.
func TestAuthorityRotates(t *testing.T) {
	t.Parallel()
	s := spiffetest.Start(t, spiffetest.Config{})
	for _, form := range []lineage.BindingForm{lineage.FormX509, lineage.FormJWT} {
		p, r := start(t, s, spiffe.Config{Form: form}), watch(t, s)
		old := p.Binding("")
		newKey(t, p, func() { s.CA.Rotate(); s.Rotate() })
		for _, source := range []lineage.RootSource{p, r} {
			holds := func(b *lineage.KeyBinding) bool {
				_, err := b.Verify(time.Now(), 0, rootsOf(t, source))
				return err == nil
			}
			eventually(t, "both verify", func() bool { return holds(old) && holds(p.Binding("")) })
		}
		s.CA.Forget()
		s.Update()
		for _, source := range []lineage.RootSource{p, r} {
			eventually(t, "the old authority is forgotten", func() bool {
				_, err := old.Verify(time.Now(), 0, rootsOf(t, source))
				return errors.Is(err, lineage.ErrBinding)
			})
		}
		if _, err := signed(p, s.Roots()); err != nil {
			t.Error(err)
		}
	}
}

// TestBadFederatedBundle: a bundle that cannot be used leaves its own domain without roots, and no other.
func TestBadFederatedBundle(t *testing.T) {
	t.Parallel()
	s := spiffetest.Start(t, spiffetest.Config{})
	chain, _ := s.CA.Mint(spiffetest.Leaf{ID: workload})
	s.Tamper(func(m *api.X509SVIDResponse) {
		m.FederatedBundles["spiffe://bad.example"] = chain[0].Raw // a workload's certificate, no authority's
	})
	var l journal
	p := start(t, s, spiffe.Config{Logger: l.logger()})
	if _, err := signed(p, rootsOf(t, p)); err != nil {
		t.Error(err)
	}
	wants(t, errors.New(l.String()), "bad.example", "nobody in its domain is believed")
}

func TestWatchRootsFails(t *testing.T) {
	t.Parallel()
	s := spiffetest.Start(t, spiffetest.Config{})
	s.Revoke()
	r, err := spiffe.WatchRoots(context.Background(), spiffe.Config{SocketPath: s.Addr(), Wait: 300 * time.Millisecond, Logger: quiet()})
	if r != nil {
		t.Fatal("there are roots")
	}
	wants(t, err, s.Addr(), "registration entry")
	s.Hang(true)
	_, err = spiffe.WatchRoots(context.Background(), spiffe.Config{SocketPath: s.Addr(), Wait: 300 * time.Millisecond, Logger: quiet()})
	wants(t, err, s.Addr(), "no answer")
	_, err = spiffe.WatchRoots(context.Background(), spiffe.Config{SocketPath: "http://x", Form: "x"})
	wants(t, err, "SocketPath", "Form")
}
