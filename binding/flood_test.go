package binding_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/lineage"
)

// TestFlood: a workload may have its platform certify as many keys as it likes. It drives out its own, not those of others.
func TestFlood(t *testing.T) {
	c := newCA(t)
	s := source(t, binding.Config{Roots: c.roots(), MaxKeys: 20})
	var others []workload
	for i := range 6 {
		w := c.workload(fmt.Sprintf("%s-%d", shop, i%3))
		others = append(others, w)
		wantKey(t, s, offering(t, w.binding), w, true)
	}
	for range 100 {
		w := c.workload(pay)
		wantKey(t, s, offering(t, w.binding), w, true)
	}
	for _, w := range others {
		wantKey(t, s, t.Context(), w, true)
	}
}

// TestFloodOfPrincipals: with as many principals as there is room for, each keeps about as much, and all is bounded.
func TestFloodOfPrincipals(t *testing.T) {
	c := newCA(t)
	s := source(t, binding.Config{Roots: c.roots(), MaxKeys: 8})
	var all []workload
	for i := range 40 {
		w := c.workload(fmt.Sprintf("%s-%d", shop, i))
		all = append(all, w)
		wantKey(t, s, offering(t, w.binding), w, true)
	}
	remembered := 0
	for _, w := range all {
		if keys, err := s.Keys(t.Context(), w.signer.Principal(), w.id()); err == nil && len(keys) > 0 {
			remembered++
		}
	}
	if remembered == 0 || remembered > 8 {
		t.Errorf("%d keys are remembered", remembered)
	}
}

// TestForgottenAndFound: however often a published key is driven out while others look for it, it is never unknown.
func TestForgottenAndFound(t *testing.T) {
	c, st := newCA(t), memoryStore(t)
	good := c.workload(shop)
	if err := binding.Publish(t.Context(), st, good.binding); err != nil {
		t.Fatal(err)
	}
	s := source(t, binding.Config{Roots: c.roots(), Store: st, MaxKeys: 1, FetchRate: 1_000_000})
	var wg sync.WaitGroup
	deadline := time.Now().Add(time.Second)
	for range 3 {
		w := c.workload(pay)
		wg.Go(func() {
			ctx := lineage.WithOffered(context.Background(), []string{w.binding.Text()})
			for time.Now().Before(deadline) {
				s.Keys(ctx, pay, w.id())
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for time.Now().Before(deadline) {
				if keys, err := s.Keys(context.Background(), shop, good.id()); err == nil && len(keys) == 0 {
					t.Error("a published key is unknown")
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestColdAtOnce: whoever asks at the moment in which a look-up ends finds what it found.
func TestColdAtOnce(t *testing.T) {
	c, st := newCA(t), memoryStore(t)
	s := source(t, binding.Config{Roots: c.roots(), Store: st, FetchRate: 1_000_000})
	for range 200 {
		w := c.workload(shop)
		if err := binding.Publish(t.Context(), st, w.binding); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 20 * time.Microsecond)
				if keys, err := s.Keys(context.Background(), shop, w.id()); err != nil || len(keys) != 1 {
					t.Errorf("%d keys, %v", len(keys), err)
				}
			})
		}
		wg.Wait()
	}
}

// TestEndedGoesNowhere: a key that has ended is not sent along, although it is still remembered.
func TestEndedGoesNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCA(t)
		s := source(t, binding.Config{Roots: c.roots()})
		w := c.workloadFor(shop, now(), now().Add(time.Minute))
		wantKey(t, s, offering(t, w.binding), w, true)
		p, _, err := verifier(t, s).Verify(t.Context(), w.entry(t, time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(s.Bindings(p)); n != 1 {
			t.Errorf("%d bindings go along", n)
		}
		time.Sleep(2 * time.Minute)
		if n := len(s.Bindings(p)); n != 0 {
			t.Errorf("%d bindings go along after the end", n)
		}
	})
}

// TestLateIsSaid: that an entry was seen too late is said whatever else somebody put into the archive about its key.
func TestLateIsSaid(t *testing.T) {
	start := now().Add(-2 * time.Hour)
	c := caFor(t, start.Add(-time.Hour), start.Add(100*time.Hour), newKey(t))
	w := c.workloadFor(shop, start, start.Add(time.Hour))
	a := &binding.Archive{}
	a.Add(w.binding)
	a.Add(newCA(t).certify(shop, w.public, start, start.Add(time.Hour)))
	if err := a.AddRoots(c.roots()); err != nil {
		t.Fatal(err)
	}
	a.Observe(lineage.Hash{}, start.Add(90*time.Minute))
	audit, err := a.Source(binding.AuditConfig{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = audit.Certify(t.Context(), lineage.Signature{Principal: shop, KeyID: w.id(), SignedMS: start.Add(time.Minute).UnixMilli()})
	if err == nil || !strings.Contains(err.Error(), "dated it back") {
		t.Error(err)
	}
}
