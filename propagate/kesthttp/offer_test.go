package kesthttp_test

import (
	"context"
	"crypto/ed25519"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// listening is a key source that notes what came along with whatever is verified.
type listening struct {
	keys    lineage.KeySource
	mu      sync.Mutex
	offered string
}

func (l *listening) Keys(ctx context.Context, principal, keyID string) ([]ed25519.PublicKey, error) {
	l.mu.Lock()
	l.offered = strings.Join(lineage.Offered(ctx), ",")
	l.mu.Unlock()
	return l.keys.Keys(ctx, principal, keyID)
}

func (l *listening) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.offered
	l.offered = ""
	return out
}

func everybody(t testing.TB) *lineage.KeySet {
	t.Helper()
	keys := map[string][]ed25519.PublicKey{}
	for _, n := range names {
		keys[n] = identitytest.New(n).PublicKeys()
	}
	set, err := lineage.NewKeySet(keys)
	must(t, err)
	return set
}

// TestBindingsTravel: key bindings go with a request and come back with short and with long answers; a handler that
// passes its header on passes none on, and who may have no lineage gets none.
func TestBindingsTravel(t *testing.T) {
	shop, front := newService(t, "shop"), newService(t, "front")
	sends := func(text string) *propagate.Propagator {
		p, err := propagate.New(propagate.Config{Bindings: func(lineage.Passport) []string { return []string{text} }})
		must(t, err)
		return p
	}
	heard := &listening{keys: everybody(t)}
	var err error
	shop.ingress.Verifier, err = lineage.NewVerifier(lineage.VerifierConfig{Keys: heard})
	must(t, err)
	back := &listening{keys: everybody(t)}
	front.egress.Verifier, err = lineage.NewVerifier(lineage.VerifierConfig{Keys: back})
	must(t, err)
	shop.ingress.Propagator, front.egress.Propagator = sends("of shop"), sends("of front")
	var wire, handler string
	server := shop.serve(func(w http.ResponseWriter, r *http.Request) {
		handler = r.Header.Get("Baggage") + strings.Join(lineage.Offered(r.Context()), "")
		must(t, shop.note(r.Context(), "x"))
		if r.URL.Path == "/long" {
			io.WriteString(w, strings.Repeat("x", 20<<10))
			must(t, shop.note(r.Context(), "y"))
		}
	}, func(s *httptest.Server) {
		inner := s.Config.Handler
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			wire = r.Header.Get("Baggage")
			inner.ServeHTTP(w, r)
		})
	})
	for path, learned := range map[string]int{"/short": 2, "/long": 3} {
		_, _, passport, err := front.get(front.client(), http.MethodGet, server.URL+path, nil)
		if err != nil || passport.Len() != learned {
			t.Errorf("%s: %d entries, %v", path, passport.Len(), err)
		}
		if !strings.Contains(wire, "kest.binding=b2YgZnJvbnQ") || handler != "" {
			t.Errorf("%s: on the wire %.300q, in the handler %q", path, wire, handler)
		}
		if got := heard.take() + "; " + back.take(); got != "of front; of shop" {
			t.Errorf("%s: offered %q", path, got)
		}
	}
}
