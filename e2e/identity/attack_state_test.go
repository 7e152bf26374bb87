package identity_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"

	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/local"
	"github.com/kest-go/kest/identity/spiffe"
	"github.com/kest-go/kest/identity/spiffe/spiffetest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/store"
)

// TestStolenPassportOverTLS: where the connection is the proof, a workload of the same trust domain that presents the
// passport of gate over its own mutual TLS is refused.
func TestStolenPassportOverTLS(t *testing.T) {
	ca := spiffetest.NewCA("example.org")
	open := func(id string) *spiffe.Provider {
		agent := spiffetest.Start(t, spiffetest.Config{CA: ca, IDs: []string{id}})
		p := must(spiffe.New(t.Context(), spiffe.Config{SocketPath: agent.Addr(), Logger: quiet}))(t)
		t.Cleanup(func() { p.Close() })
		return p
	}
	gate, intruder, own := open(gateID), open(intruderID), open(ledgerID)
	members := tlsconfig.AuthorizeMemberOf(spiffeid.RequireTrustDomainFromString("example.org"))
	s := setting{identity: own, keys: source(t, binding.Config{Roots: own}), requirePeer: true, noProofs: true, peer: spiffe.PeerID}
	ledger := newTarget(t, s, spiffe.ServerTLS(own, members))
	passport := by(t, signerOf(t, gate), gate.Binding("").Text())
	passport.prover = nil
	for _, c := range []struct {
		name string
		over *spiffe.Provider
		want int
		ran  int64
	}{{"gate", gate, http.StatusOK, 1}, {"the intruder", intruder, http.StatusForbidden, 1}, {"gate again", gate, http.StatusOK, 2}} {
		passport.client = caller(t, spiffe.ClientTLS(c.over, members))
		if got := passport.send(t, ledger); got != c.want || ledger.ran.Load() != c.ran {
			t.Errorf("over the connection of %s: status %d, %d bodies", c.name, got, ledger.ran.Load())
		}
	}
}

// flaky is a store that can be broken, and that can lie about bindings.
type flaky struct {
	store.Store
	down atomic.Bool
	lie  atomic.Pointer[string]
}

func (f *flaky) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if f.down.Load() {
		return store.ErrUnavailable
	}
	return f.Store.Put(ctx, key, value, ttl)
}

func (f *flaky) Get(ctx context.Context, key string) ([]byte, error) {
	if f.down.Load() {
		return nil, store.ErrUnavailable
	}
	if lie := f.lie.Load(); lie != nil {
		return []byte(*lie), nil
	}
	return f.Store.Get(ctx, key)
}

// TestBindingStripped: somebody on the way takes the bindings off. With a store the request is served all the same, and
// nothing that the store says in its place is believed.
func TestBindingStripped(t *testing.T) {
	ca := spiffetest.NewCA("example.org")
	now := time.Now()
	key, signer := session(t, gateID)
	good := must(lineage.ParseBinding(certify(t, ca, spiffetest.Leaf{ID: gateID}, key, now, now.Add(time.Hour))))(t)
	_, uncertified := session(t, gateID)
	stranger := certify(t, spiffetest.NewCA("example.org"), spiffetest.Leaf{ID: gateID}, key, now, now.Add(time.Hour))
	own, _ := session(t, ledgerID)
	another := certify(t, ca, spiffetest.Leaf{ID: ledgerID}, key, now, now.Add(time.Hour)) // a platform certifies any key
	other := certify(t, ca, spiffetest.Leaf{ID: gateID}, own, now, now.Add(time.Hour))
	garbage := "no binding"
	for _, c := range []struct {
		name   string
		by     lineage.Signer
		lie    *string
		down   bool
		status int
	}{
		{"store has it", signer, nil, false, http.StatusOK},
		{"store has none", uncertified, nil, false, http.StatusForbidden},
		{"store gives gate's binding for a key that it is not about", uncertified, new(good.Text()), false, http.StatusForbidden},
		{"store gives a binding of another key", signer, &other, false, http.StatusForbidden},
		{"store gives a binding of another principal", signer, &another, false, http.StatusForbidden},
		{"store gives a binding by a stranger", signer, &stranger, false, http.StatusForbidden},
		{"store gives garbage", signer, &garbage, false, http.StatusForbidden},
		{"store is down", signer, nil, true, http.StatusServiceUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			bindings := &flaky{Store: memoryStore(t)}
			if err := binding.Publish(t.Context(), bindings, good); err != nil {
				t.Fatal(err)
			}
			bindings.lie.Store(c.lie)
			bindings.down.Store(c.down)
			ledger := newTarget(t, setting{identity: anybody(t), keys: source(t, binding.Config{Roots: ca.Roots(), Store: bindings})}, nil)
			ran := map[bool]int64{true: 1}[c.status == http.StatusOK]
			if got := by(t, c.by).send(t, ledger); got != c.status || ledger.ran.Load() != ran {
				t.Errorf("status %d, want %d; the body ran %d times", got, c.status, ledger.ran.Load())
			}
		})
	}
}

// TestFlood: strangers who send made-up keys use up the looks into the store. Who is known, or brings a binding, is served all
// the same, and who has to be looked for is told to come again.
func TestFlood(t *testing.T) {
	ca, bindings, now := spiffetest.NewCA("example.org"), memoryStore(t), time.Now()
	honest := func() (signer lineage.Signer, text string) {
		key, signer := session(t, gateID)
		text = certify(t, ca, spiffetest.Leaf{ID: gateID}, key, now, now.Add(time.Hour))
		if err := binding.Publish(t.Context(), bindings, must(lineage.ParseBinding(text))(t)); err != nil {
			t.Fatal(err)
		}
		return signer, text
	}
	ledger := newTarget(t, setting{identity: anybody(t), keys: source(t, binding.Config{Roots: ca.Roots(), Store: bindings, FetchRate: 1})}, nil)
	known, _ := honest()
	fresh, _ := honest()
	riding, text := honest()
	_, stranger := session(t, gateID)
	step := func(name string, a attempt, want int) {
		t.Helper()
		before := ledger.ran.Load()
		if got := a.send(t, ledger); got != want || (ledger.ran.Load() > before) != (want == http.StatusOK) {
			t.Errorf("%s: status %d, want %d", name, got, want)
		}
	}
	step("the first", by(t, known), http.StatusOK)
	step("a made-up key", by(t, stranger), http.StatusForbidden)
	flood := func() {
		for range 20 {
			if _, other := session(t, gateID); by(t, other).send(t, ledger) == http.StatusServiceUnavailable {
				return
			}
		}
		t.Error("20 looks into the store in a moment")
	}
	flood()
	step("a key to look for", by(t, fresh), http.StatusServiceUnavailable)
	step("a made-up key that was looked for already", by(t, stranger), http.StatusForbidden)
	step("a known key", by(t, known), http.StatusOK)
	step("a key whose binding rides along", by(t, riding, text), http.StatusOK)
	time.Sleep(1100 * time.Millisecond)
	step("that a second later", by(t, fresh), http.StatusOK)
	if ran := ledger.ran.Load(); ran != 4 {
		t.Errorf("%d bodies", ran)
	}
}

// switched are roots that somebody changes.
type switched struct{ atomic.Pointer[lineage.Roots] }

func (s *switched) Roots(context.Context, *lineage.KeyBinding) (*lineage.Roots, error) {
	roots := s.Load()
	if roots == nil {
		return nil, errors.New("nobody knows the roots")
	}
	return roots, nil
}

// TestRootsRemoved: a passport that was verified a moment ago, and is remembered, is refused at once when the roots behind
// its key are gone, and when they cannot be had.
func TestRootsRemoved(t *testing.T) {
	ca := spiffetest.NewCA("example.org")
	key, signer := session(t, gateID)
	now := time.Now()
	roots := &switched{}
	roots.Store(ca.Roots())
	ledger := newTarget(t, setting{identity: anybody(t), keys: source(t, binding.Config{Roots: roots})}, nil)
	passport := by(t, signer, certify(t, ca, spiffetest.Leaf{ID: gateID}, key, now, now.Add(time.Hour)))
	for n, c := range []struct {
		roots *lineage.Roots
		want  int
		ran   int64
	}{
		{roots.Load(), http.StatusOK, 1}, {roots.Load(), http.StatusOK, 2},
		{spiffetest.NewCA("example.org").Roots(), http.StatusForbidden, 2},
		{&lineage.Roots{}, http.StatusForbidden, 2},
		{nil, http.StatusServiceUnavailable, 2},
		{ca.Roots(), http.StatusOK, 3},
	} {
		roots.Store(c.roots)
		if got := passport.send(t, ledger); got != c.want || ledger.ran.Load() != c.ran {
			t.Errorf("%d: status %d, want %d; %d bodies, want %d", n, got, c.want, ledger.ran.Load(), c.ran)
		}
	}
}

// TestSessionKeyEnded: whoever got hold of a session key, and makes new entries and proofs with it, is served within the
// leeway of its end and no longer, although the verifier remembers key and passport.
func TestSessionKeyEnded(t *testing.T) {
	ca := spiffetest.NewCA("example.org")
	key, signer := session(t, gateID)
	begin := time.Now().Truncate(time.Second)
	end := begin.Add(2 * time.Second)
	ledger := newTarget(t, setting{identity: anybody(t), keys: source(t, binding.Config{Roots: ca.Roots(), Leeway: 2 * time.Second})}, nil)
	text := certify(t, ca, spiffetest.Leaf{ID: gateID}, key, begin, end)
	old := by(t, signer, text)
	for _, c := range []struct {
		name string
		at   time.Time
		want int
		ran  int64
	}{{"before", time.Now(), http.StatusOK, 2}, {"within the leeway", end.Add(time.Second), http.StatusOK, 4}, {"after it", end.Add(2100 * time.Millisecond), http.StatusForbidden, 4}} {
		time.Sleep(time.Until(c.at))
		for _, a := range []attempt{old, by(t, signer, text)} {
			if got := a.send(t, ledger); got != c.want {
				t.Errorf("%s: status %d, want %d", c.name, got, c.want)
			}
		}
		if ledger.ran.Load() != c.ran {
			t.Errorf("%s: %d bodies, want %d", c.name, ledger.ran.Load(), c.ran)
		}
	}
}

// anybody is the identity of a ledger whose answers nobody looks at.
func anybody(t *testing.T) identity.Provider {
	t.Helper()
	return must(local.New(local.Config{Logger: quiet}))(t)
}
