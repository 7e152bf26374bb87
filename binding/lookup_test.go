package binding_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/store"
)

// TestStoreThatLies: nobody trusts the store, so what it says about a key costs it one look and is no error.
func TestStoreThatLies(t *testing.T) {
	c := newCA(t)
	w := c.workload(shop)
	for name, value := range map[string]string{
		"nothing":           "",
		"garbage":           "\x00\xff",
		"JSON":              "{}",
		"huge":              strings.Repeat("x", 4<<20),
		"another key":       c.workload(shop).binding.Text(),
		"another principal": c.certify(pay, w.public, now(), now().Add(time.Hour)).Text(),
		"no root":           newCA(t).certify(shop, w.public, now(), now().Add(time.Hour)).Text(),
		"ended":             c.certify(shop, w.public, now().Add(-2*time.Hour), now().Add(-time.Hour)).Text(),
	} {
		t.Run(name, func(t *testing.T) {
			st, roots := answers(value, nil), follow(c.roots())
			s := source(t, binding.Config{Roots: roots, Store: st})
			for range 20 {
				wantKey(t, s, t.Context(), w, false)
			}
			if n, m := st.asked.Load(), roots.asked.Load(); n != 1 || m > 1 || m > 0 && name == "another key" {
				t.Errorf("%d look-ups and %d checks", n, m)
			}
			wantKey(t, s, offering(t, w.binding), w, true)
		})
	}
}

// TestKeyOfAnother: an identity whose key is in the store cannot have the store asked, and the binding checked, for every
// entry that names it for somebody else.
func TestKeyOfAnother(t *testing.T) {
	c := newCA(t)
	w := c.workload(shop)
	st, roots := answers(w.binding.Text(), nil), follow(c.roots())
	s := source(t, binding.Config{Roots: roots, Store: st})
	wantKey(t, s, t.Context(), w, true)
	for i := range 20 {
		wantKey(t, s, t.Context(), workload{fmt.Sprint(pay, i), w.public, w.signer, nil}, false)
	}
	wantKey(t, s, t.Context(), w, true)
	if n, m := st.asked.Load(), roots.asked.Load(); n != 1 || m != 1 {
		t.Errorf("%d look-ups and %d checks", n, m)
	}
}

// TestAnswersOfTheStoreAge: after NegativeTTL the store is asked again, and at once under other roots.
func TestAnswersOfTheStoreAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCA(t)
		w, st, roots := c.workload(shop), memoryStore(t), follow(&lineage.Roots{})
		s := source(t, binding.Config{Roots: roots, Store: st})
		wantKey(t, s, t.Context(), w, false)
		if err := binding.Publish(t.Context(), st, w.binding); err != nil {
			t.Fatal(err)
		}
		wantKey(t, s, t.Context(), w, false)
		roots.roots.Store(c.roots())
		wantKey(t, s, t.Context(), w, true)

		late := c.workload(pay)
		wantKey(t, s, t.Context(), late, false)
		if err := binding.Publish(t.Context(), st, late.binding); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5*time.Second - time.Millisecond)
		wantKey(t, s, t.Context(), late, false)
		time.Sleep(time.Millisecond)
		wantKey(t, s, t.Context(), late, true)
	})
}

// TestStoreThatFails is an error and not a "no", which is not remembered.
func TestStoreThatFails(t *testing.T) {
	c := newCA(t)
	w := c.workload(shop)
	st := answers("", fmt.Errorf("%w: no route", store.ErrUnavailable))
	s := source(t, binding.Config{Roots: c.roots(), Store: st})
	if err := wantError(t, s, t.Context(), w); !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
	if _, _, err := verifier(t, s).Verify(t.Context(), w.entry(t, time.Now())); !errors.Is(err, lineage.ErrUnverified) {
		t.Error(err)
	}
	st.get = func(context.Context, string) ([]byte, error) { return []byte(w.binding.Text()), nil }
	wantKey(t, s, t.Context(), w, true)
	wantKey(t, source(t, binding.Config{Roots: c.roots(), Store: answers("", store.ErrUnavailable)}), offering(t, w.binding), w, true)
}

// TestSlowStore: a look-up ends after FetchTimeout, with and without the store's consent, and that does not look like the
// end of the caller's context.
func TestSlowStore(t *testing.T) {
	for name, get := range map[string]func(context.Context, string) ([]byte, error){
		"heeds its context": func(ctx context.Context, _ string) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
		"does not":          func(context.Context, string) ([]byte, error) { time.Sleep(time.Hour); return nil, store.ErrNotFound },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCA(t)
				w := c.workload(shop)
				s := source(t, binding.Config{Roots: c.roots(), Store: &lying{get: get}, FetchTimeout: 3 * time.Second})
				for range 20 { // answer and end come at the same time
					begin, w := time.Now(), c.workload(shop)
					var waiting sync.WaitGroup
					for range 20 {
						waiting.Go(func() {
							err := wantError(t, s, t.Context(), w)
							if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 3*time.Second {
								t.Errorf("after %s: %v", time.Since(begin), err)
							}
						})
					}
					waiting.Wait()
				}
				wantKey(t, s, offering(t, w.binding), w, true)
				time.Sleep(2 * time.Hour) // the store's own goroutine
			})
		})
	}
}

// TestOneLookUpForAll: those who need a key at once share a look-up and its check, each for as long as their context
// lasts, and whoever began it leaves it to the others.
func TestOneLookUpForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCA(t)
		w, roots := c.workload(shop), follow(c.roots())
		st := &lying{get: func(ctx context.Context, _ string) ([]byte, error) {
			select {
			case <-time.After(time.Second):
				return []byte(w.binding.Text()), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}
		s := source(t, binding.Config{Roots: roots, Store: st})
		var waiting sync.WaitGroup
		hurry, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		waiting.Go(func() {
			begin := time.Now()
			if err := wantError(t, s, hurry, w); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 100*time.Millisecond {
				t.Errorf("in a hurry: %v after %s", err, time.Since(begin))
			}
		})
		synctest.Wait()
		for i := range 50 {
			waiting.Go(func() {
				if i%2 == 0 {
					wantKey(t, s, t.Context(), w, true)
				} else {
					wantKey(t, s, t.Context(), workload{pay, w.public, w.signer, nil}, false)
				}
			})
		}
		waiting.Wait()
		if n, m := st.asked.Load(), roots.asked.Load(); n != 1 || m != 1 {
			t.Errorf("%d look-ups and %d checks", n, m)
		}
	})
}

// TestRootsChangeDuringLookUp: whoever asks after the change gets no key of before, although they joined a look-up that
// had been checked already.
func TestRootsChangeDuringLookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCA(t)
		w, roots := c.workload(shop), follow(c.roots())
		var s *binding.Source
		var late sync.WaitGroup
		s = source(t, binding.Config{Roots: roots, Store: answers(w.binding.Text(), nil), OnVerified: func(*lineage.KeyBinding) {
			roots.roots.Store(&lineage.Roots{})
			late.Go(func() { wantKey(t, s, t.Context(), w, false) })
			time.Sleep(time.Second) // it has joined
		}})
		s.Keys(t.Context(), shop, w.id())
		late.Wait()
	})
}

// TestRateOfLookUps: beyond it strangers get an error, until time has passed, and known keys and offers are not concerned.
func TestRateOfLookUps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCA(t)
		known, st := c.workload(shop), answers("", store.ErrNotFound)
		s := source(t, binding.Config{Roots: c.roots(), Store: st, FetchRate: 2})
		wantKey(t, s, offering(t, known.binding), known, true)
		stranger := func() error {
			_, err := s.Keys(t.Context(), shop, c.workload(shop).id())
			return err
		}
		for i, want := range []int{4, 2, 4, 4} { // twice the rate at once, then the rate; a long pause saves no more
			good := 0
			for range 10 {
				if stranger() == nil {
					good++
				}
			}
			if good != want {
				t.Errorf("round %d: %d look-ups; want %d", i, good, want)
			}
			if err := stranger(); err == nil || !strings.Contains(err.Error(), "FetchRate") {
				t.Errorf("beyond the rate: %v", err)
			}
			wantKey(t, s, t.Context(), known, true)
			other := c.workload(pay)
			wantKey(t, s, offering(t, other.binding), other, true)
			time.Sleep([]time.Duration{time.Second, 2 * time.Second, time.Hour, 0}[i])
		}
		if n := st.asked.Load(); n != 14 {
			t.Errorf("%d look-ups", n)
		}
	})
}

// TestLookUpsAtOnce: a store that never answers does not collect goroutines without end.
func TestLookUpsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCA(t)
		st := &lying{get: func(context.Context, string) ([]byte, error) { time.Sleep(time.Hour); return nil, store.ErrNotFound }}
		s := source(t, binding.Config{Roots: c.roots(), Store: st, FetchRate: 1000, MaxKeys: 5, FetchTimeout: time.Millisecond})
		for range 20 {
			wantError(t, s, t.Context(), c.workload(shop))
		}
		if n := st.asked.Load(); n != 5 {
			t.Errorf("%d look-ups at once", n)
		}
		time.Sleep(2 * time.Hour)
	})
}
