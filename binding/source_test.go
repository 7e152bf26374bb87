package binding_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

func TestNewReportsEverything(t *testing.T) {
	_, err := binding.New(binding.Config{Leeway: 6 * time.Minute, MaxKeys: -1, FetchTimeout: -1, NegativeTTL: -1, FetchRate: -1})
	for _, name := range []string{"Roots", "Leeway", "MaxKeys", "FetchTimeout", "NegativeTTL", "FetchRate"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is missing in %v", name, err)
		}
	}
	if _, err := binding.New(binding.Config{Roots: &lineage.Roots{}, Leeway: -1}); err == nil {
		t.Error("negative Leeway")
	}
}

// TestWhereBindingsAreFound: along with the request, at the own provider, in the store; and live lineage verifies by each
// (F-ID-04).
func TestWhereBindingsAreFound(t *testing.T) {
	c := newCA(t)
	w := c.workload(shop)
	published := memoryStore(t)
	if err := binding.Publish(t.Context(), published, w.binding); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]struct {
		config binding.Config
		ctx    context.Context
	}{
		"along": {binding.Config{}, offering(t, c.workload(pay).binding, w.binding)},
		"own":   {binding.Config{Own: w.provider(t)}, t.Context()},
		"store": {binding.Config{Store: published}, t.Context()},
	} {
		t.Run(name, func(t *testing.T) {
			var told []*lineage.KeyBinding
			from.config.Roots, from.config.OnVerified = c.roots(), func(b *lineage.KeyBinding) { told = append(told, b) }
			s := source(t, from.config)
			v := verifier(t, s)
			for range 3 {
				_, report, err := v.Verify(from.ctx, w.entry(t, time.Now()))
				if err != nil {
					t.Fatal(err)
				}
				if k := report.Entries()[0].Key; k == nil || k.Form != lineage.FormX509 || k.Issuer != "example.org" || !k.NotAfter.Equal(w.binding.NotAfter()) {
					t.Errorf("certified by %+v", k)
				}
			}
			if len(told) != 1 || told[0].Text() != w.binding.Text() {
				t.Errorf("told of %v", told)
			}
			wantKey(t, s, t.Context(), w, true) // remembered, wherever it was found
			w2 := workload{pay, w.public, w.signer, w.binding}
			wantKey(t, s, from.ctx, w2, false) // and for nobody else
		})
	}
}

// TestRootsAreOfTheMoment: an authority that is removed takes its keys along at once, also those that were verified, and
// brings them back at once.
func TestRootsAreOfTheMoment(t *testing.T) {
	c, other := newCA(t), newCA(t)
	roots := follow(c.roots())
	w, st := c.workload(shop), memoryStore(t)
	if err := binding.Publish(t.Context(), st, w.binding); err != nil {
		t.Fatal(err)
	}
	s := source(t, binding.Config{Roots: roots, Store: st})
	v := verifier(t, s)
	u := w.entry(t, time.Now())
	both := must(lineage.MergeRoots(c.roots(), other.roots()))(t)
	for i, step := range []struct {
		roots *lineage.Roots
		good  bool
	}{{c.roots(), true}, {other.roots(), false}, {c.roots(), true}, {nil, false}, {both, true}, {&lineage.Roots{}, false}, {both, true}} {
		roots.roots.Store(step.roots)
		if _, _, err := v.Verify(t.Context(), u); (err == nil) != step.good {
			t.Errorf("step %d: %v", i, err)
		}
		wantKey(t, s, t.Context(), w, step.good)
		wantKey(t, s, offering(t, w.binding), w, step.good)
	}
}

// TestTimeOfKeys holds the ends to the second, with leeway (NF-SEC-05), whatever entries say about their own time.
func TestTimeOfKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCA(t)
		begin := now().Add(time.Hour)
		w := c.workloadFor(shop, begin, begin.Add(time.Hour))
		s := source(t, binding.Config{Roots: c.roots(), Leeway: time.Minute, NegativeTTL: time.Second})
		ctx := offering(t, w.binding)
		at := func(when time.Time, want bool) {
			t.Helper()
			time.Sleep(time.Until(when))
			wantKey(t, s, ctx, w, want)
		}
		at(begin.Add(-time.Minute-2*time.Second), false)
		at(begin.Add(-time.Minute), true)
		at(begin.Add(time.Hour+time.Minute), true)
		at(begin.Add(time.Hour+time.Minute+time.Millisecond), false)
		_, _, err := verifier(t, s).Verify(ctx, w.entry(t, begin.Add(time.Minute)))
		if !errors.Is(err, lineage.ErrUnverified) {
			t.Errorf("an entry that says that it is old: %v", err)
		}
	})
}

// TestOwnKeysRotate: those of earlier credentials count until they end.
func TestOwnKeysRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCA(t)
		first := c.workload(shop)
		own := first.provider(t)
		roots := follow(c.roots())
		s := source(t, binding.Config{Roots: roots, Own: own, Leeway: time.Second})
		wantKey(t, s, t.Context(), first, true)
		time.Sleep(30 * time.Minute)
		second := c.workload(shop)
		if err := own.Use(identity.Credential{Signer: second.signer, Binding: second.binding}); err != nil {
			t.Fatal(err)
		}
		wantKey(t, s, t.Context(), first, true)
		wantKey(t, s, t.Context(), second, true)
		time.Sleep(31 * time.Minute)
		wantKey(t, s, t.Context(), first, false)
		wantKey(t, s, t.Context(), second, true)
		if n := roots.asked.Load(); n > 5 {
			t.Errorf("%d checks for two keys", n)
		}
	})
}

// TestOnVerified is told once of each binding: of a key that is certified again too, and of one that was forgotten.
func TestOnVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCA(t)
		w := c.workload(shop)
		again := workload{shop, w.public, w.signer, c.certify(shop, w.public, now(), now().Add(3*time.Hour))}
		var told []string
		roots := follow(c.roots())
		s := source(t, binding.Config{Roots: roots, OnVerified: func(b *lineage.KeyBinding) { told = append(told, b.Text()) }})
		for range 2 {
			wantKey(t, s, offering(t, w.binding, again.binding), w, true)
			roots.roots.Store(c.roots()) // has it checked again
		}
		time.Sleep(2 * time.Hour)
		wantKey(t, s, offering(t, w.binding, again.binding), w, true)
		if len(told) != 2 || told[0] != w.binding.Text() || told[1] != again.binding.Text() {
			t.Errorf("told of %d", len(told))
		}
	})
}

// TestTwoBindingsAtOnce: two requests bring one key with different bindings, and both are told.
func TestTwoBindingsAtOnce(t *testing.T) {
	c := newCA(t)
	w, roots := c.workload(shop), follow(c.roots())
	second := c.certify(shop, w.public, now(), now().Add(2*time.Hour))
	told := 0
	s := source(t, binding.Config{Roots: roots, OnVerified: func(*lineage.KeyBinding) { told++ }})
	roots.fail = func(b *lineage.KeyBinding) error {
		if b != nil && b.Text() == w.binding.Text() {
			wantKey(t, s, offering(t, second), w, true)
		}
		return nil
	}
	if keys, err := s.Keys(offering(t, w.binding), shop, w.id()); len(keys) != 1 || err != nil || told != 2 {
		t.Errorf("%d keys, %v, told of %d", len(keys), err, told)
	}
}

// TestRootSourceFails: that is an error and never a "no", and one binding for which it fails is not in the way of others.
func TestRootSourceFails(t *testing.T) {
	c := newCA(t)
	w, broken := c.workload(shop), errors.New("agent is down")
	second := c.certify(shop, w.public, now(), now().Add(2*time.Hour))
	st := memoryStore(t)
	roots := follow(c.roots())
	s := source(t, binding.Config{Roots: roots, Store: st})

	roots.fail = func(*lineage.KeyBinding) error { return broken }
	if err := wantError(t, s, offering(t, w.binding), w); !errors.Is(err, broken) {
		t.Error(err)
	}
	roots.fail = func(b *lineage.KeyBinding) error {
		if b != nil && b.Text() == w.binding.Text() {
			return broken
		}
		return nil
	}
	if err := wantError(t, s, offering(t, w.binding), w); !errors.Is(err, broken) {
		t.Error(err)
	}
	_, _, err := verifier(t, s).Verify(offering(t, w.binding), w.entry(t, time.Now()))
	if !errors.Is(err, broken) {
		t.Errorf("through the verifier: %v", err)
	}
	wantKey(t, s, offering(t, w.binding, second), w, true)

	s = source(t, binding.Config{Roots: roots, Own: w.provider(t)})
	if err := wantError(t, s, t.Context(), w); !errors.Is(err, broken) {
		t.Error(err)
	}
	wantKey(t, s, offering(t, second), w, true)
	s = source(t, binding.Config{Roots: roots, Store: st})
	if err := binding.Publish(t.Context(), st, second); err != nil {
		t.Fatal(err)
	}
	wantKey(t, s, offering(t, w.binding), w, true)
	roots.fail = func(*lineage.KeyBinding) error { return broken }
	if err := wantError(t, s, t.Context(), w); !errors.Is(err, broken) { // although it is remembered
		t.Error(err)
	}
	roots.fail = func(b *lineage.KeyBinding) error {
		if b == nil {
			return broken
		}
		return nil
	}
	for name, s := range map[string]*binding.Source{
		"remembered": s, "offered": source(t, binding.Config{Roots: roots}), "own": source(t, binding.Config{Roots: roots, Own: w.provider(t)}),
		"store": source(t, binding.Config{Roots: roots, Store: st}),
	} {
		if err := wantError(t, s, offering(t, second), w); !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRootSourceFailsAfterAChange: a key that was verified under other roots is neither believed nor forgotten.
func TestRootSourceFailsAfterAChange(t *testing.T) {
	c := newCA(t)
	w, broken, roots := c.workload(shop), errors.New("agent is down"), follow(c.roots())
	s := source(t, binding.Config{Roots: roots})
	wantKey(t, s, offering(t, w.binding), w, true)
	roots.roots.Store(c.roots())
	roots.fail = func(b *lineage.KeyBinding) error {
		if b != nil {
			return broken
		}
		return nil
	}
	if err := wantError(t, s, t.Context(), w); !errors.Is(err, broken) {
		t.Error(err)
	}
	roots.fail = nil
	wantKey(t, s, t.Context(), w, true)
}

// TestKeysThatHoldNoLongerAreForgotten, also while another request does so, and are not checked again for every entry.
func TestKeysThatHoldNoLongerAreForgotten(t *testing.T) {
	c := newCA(t)
	w, roots := c.workload(shop), follow(c.roots())
	s := source(t, binding.Config{Roots: roots})
	wantKey(t, s, offering(t, w.binding), w, true)
	roots.roots.Store(&lineage.Roots{})
	entered := false
	roots.fail = func(b *lineage.KeyBinding) error {
		if b != nil && !entered {
			entered = true
			s.Keys(t.Context(), shop, w.id()) // another, in between
		}
		return nil
	}
	before := roots.asked.Load()
	for range 20 {
		wantKey(t, s, offering(t, w.binding), w, false)
	}
	if n := roots.asked.Load() - before; n != 2 {
		t.Errorf("%d checks; want one by each of two requests", n)
	}
}

// perBinding has roots of its own for each binding, as a source that fetches keys on demand may.
type perBinding struct{ general, special *lineage.Roots }

func (p perBinding) Roots(_ context.Context, b *lineage.KeyBinding) (*lineage.Roots, error) {
	if b != nil {
		return p.special, nil
	}
	return p.general, nil
}

func TestRootsThatDependOnTheBinding(t *testing.T) {
	c := newCA(t)
	w := c.workload(shop)
	s := source(t, binding.Config{Roots: perBinding{nil, c.roots()}, Own: w.provider(t)})
	wantKey(t, s, t.Context(), w, true)
	if n := testing.AllocsPerRun(100, func() { s.Keys(t.Context(), shop, w.id()) }); n > 5 { // a check takes hundreds
		t.Errorf("%.0f allocations for a key that is known", n)
	}
}

// static is a key source that may fail.
type static struct {
	lineage.KeySource
	err error
}

func (s static) Keys(ctx context.Context, principal, keyID string) ([]ed25519.PublicKey, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.KeySource.Keys(ctx, principal, keyID)
}

// TestStaticKeys count beside bindings, under all ids that a key set knows (SPEC §15), and need neither roots nor store.
func TestStaticKeys(t *testing.T) {
	c := newCA(t)
	w, bound := c.workload(shop), c.workload(pay)
	set := must(lineage.NewKeySet(map[string][]ed25519.PublicKey{shop: {w.public}}))(t)
	down, broken := answers("", errors.New("down")), errors.New("no keys today")
	roots := follow(c.roots())
	s := source(t, binding.Config{Roots: roots, Store: down, Static: set})
	for _, id := range []string{w.id(), "", shop} {
		keys, err := s.Keys(t.Context(), shop, id)
		if err != nil || len(keys) != 1 || !w.public.Equal(keys[0]) {
			t.Errorf("id %q: %d keys, %v", id, len(keys), err)
		}
		cert, err := s.Certify(t.Context(), lineage.Signature{Principal: shop, KeyID: id})
		if err != nil || cert.Form != binding.Configured || cert.Proves == "" || cert.Time == "" {
			t.Errorf("id %q: %+v, %v", id, cert, err)
		}
	}
	if n := down.asked.Load(); n != 0 {
		t.Errorf("the store was asked %d times for configured keys", n)
	}
	for _, id := range []string{"", pay, "other"} { // no session key's
		if keys, err := s.Keys(t.Context(), pay, id); len(keys) > 0 || err != nil {
			t.Errorf("id %q: %d keys, %v", id, len(keys), err)
		}
	}
	if down.asked.Load() != 0 {
		t.Error("the store was asked for what is no thumbprint")
	}
	wantKey(t, s, offering(t, bound.binding), bound, true)

	// The same key twice: the binding says more.
	cert, err := s.Certify(offering(t, w.binding), lineage.Signature{Principal: shop, KeyID: w.id()})
	if err != nil || cert.Form != lineage.FormX509 {
		t.Errorf("%+v, %v", cert, err)
	}
	roots.fail = func(*lineage.KeyBinding) error { return broken }
	if keys, err := s.Keys(t.Context(), shop, w.id()); err != nil || len(keys) != 1 {
		t.Errorf("without roots: %d keys, %v", len(keys), err)
	}
	roots.fail = nil

	s = source(t, binding.Config{Roots: c.roots(), Static: static{err: broken}})
	wantKey(t, s, offering(t, bound.binding), bound, true)
	if err := wantError(t, s, t.Context(), w); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// TestStaticCertifier: keys of a source that judges their time are not called configured.
func TestStaticCertifier(t *testing.T) {
	c := newCA(t)
	w := c.workloadFor(shop, now().Add(-2*time.Hour), now().Add(-time.Hour))
	archive := &binding.Archive{}
	archive.Add(w.binding)
	if err := archive.AddRoots(c.roots()); err != nil {
		t.Fatal(err)
	}
	s := source(t, binding.Config{Roots: &lineage.Roots{}, Static: must(archive.Source(binding.AuditConfig{}))(t)})
	if _, _, err := verifier(t, s).Verify(t.Context(), w.entry(t, time.Now())); !errors.Is(err, lineage.ErrUnverified) {
		t.Errorf("after its end: %v", err)
	}
	_, report, err := verifier(t, s).Verify(t.Context(), w.entry(t, w.binding.NotAfter()))
	if err != nil || report.Entries()[0].Key.Time != binding.EvidenceSigner {
		t.Errorf("before its end: %v", err)
	}
}

// TestLogs: what strangers can cause any number of times is not logged above debug.
func TestLogs(t *testing.T) {
	c := newCA(t)
	w := newCA(t).workload(shop)
	var text bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&text, nil))
	s := source(t, binding.Config{Roots: c.roots(), Logger: logger})
	wantKey(t, s, offering(t, w.binding), w, false)
	if text.Len() > 0 {
		t.Error(text.String())
	}
	s = source(t, binding.Config{Roots: c.roots(), Store: answers("{}", nil), Logger: logger})
	wantKey(t, s, t.Context(), w, false)
	if strings.Count(text.String(), "\n") != 1 || !strings.Contains(text.String(), w.id()) {
		t.Errorf("one look-up of a key: %s", text.String())
	}
}

// TestConcurrentUse has everything happen at once, for the race detector: keys found and forgotten, roots and own keys
// that change. What holds under all roots must be found by everybody.
func TestConcurrentUse(t *testing.T) {
	c, other := newCA(t), newCA(t)
	st := memoryStore(t)
	both := must(lineage.MergeRoots(c.roots(), other.roots()))(t)
	roots := follow(both)
	archive := &binding.Archive{}
	var all []workload
	for range 12 {
		w := c.workload(shop)
		all = append(all, w)
		if err := binding.Publish(t.Context(), st, w.binding); err != nil {
			t.Fatal(err)
		}
	}
	own := all[0].provider(t)
	s := source(t, binding.Config{Roots: roots, Own: own, Store: st, MaxKeys: 8, FetchRate: 1e6, OnVerified: archive.Add})
	audit := must(archive.Source(binding.AuditConfig{}))(t)
	stop := make(chan struct{})
	var changing, asking sync.WaitGroup
	changing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			roots.roots.Store([]*lineage.Roots{both, c.roots()}[i%2])
			own.Use(identity.Credential{Signer: all[i%12].signer, Binding: all[i%12].binding})
			archive.AddRoots(both)
			time.Sleep(time.Millisecond)
		}
	})
	for g := range 4 {
		asking.Go(func() {
			for i := range 60 {
				w := all[(i*(g+1))%12]
				ctx := t.Context()
				if i%3 == 0 {
					ctx = offering(t, w.binding)
				}
				wantKey(t, s, ctx, w, true)
				audit.Keys(ctx, w.principal, w.id())
			}
		})
	}
	asking.Wait()
	close(stop)
	changing.Wait()
}
