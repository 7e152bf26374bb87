package binding_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/lineage"
)

func TestAllRoots(t *testing.T) {
	c, other := newCA(t), newCA(t)
	first, second := follow(c.roots()), follow(nil)
	all := binding.AllRoots(first, second)
	w, of := c.workload(shop), other.workload(pay)
	get := func() *lineage.Roots {
		t.Helper()
		r := must(all.Roots(t.Context(), nil))(t)
		if r2 := must(all.Roots(t.Context(), w.binding))(t); r != r2 {
			t.Error("other roots, and nothing has changed")
		}
		return r
	}
	holds := func(w workload, r *lineage.Roots) bool {
		_, err := w.binding.Verify(time.Now(), 0, r)
		return err == nil
	}
	one := get()
	if !holds(w, one) || holds(of, one) {
		t.Error("one source")
	}
	second.roots.Store(other.roots())
	two := get()
	if !holds(w, two) || !holds(of, two) {
		t.Error("two sources")
	}
	first.roots.Store(&lineage.Roots{})
	if three := get(); holds(w, three) || !holds(of, three) {
		t.Error("after the first has changed")
	}
	if n := testing.AllocsPerRun(100, func() { all.Roots(t.Context(), nil) }); n > 0 {
		t.Errorf("%.0f allocations when nothing has changed", n)
	}

	broken := errors.New("down")
	second.fail = func(*lineage.KeyBinding) error { return broken }
	if r, err := all.Roots(t.Context(), nil); !errors.Is(err, broken) || r != nil {
		t.Errorf("one fails: %v, %v", r, err)
	}
	if _, err := binding.AllRoots(first, nil).Roots(t.Context(), nil); err == nil {
		t.Error("a source that is nil")
	}
	if r, err := binding.AllRoots().Roots(t.Context(), nil); err != nil || holds(w, r) {
		t.Errorf("no source: %v", err)
	}
}

// TestAllRootsTogether: whoever sees the same parts gets the same roots.
func TestAllRootsTogether(t *testing.T) {
	c := newCA(t)
	changing := follow(c.roots())
	all := binding.AllRoots(c.roots(), changing)
	for range 20 {
		changing.roots.Store(c.roots())
		got := make([]*lineage.Roots, 8)
		var asking sync.WaitGroup
		for i := range got {
			asking.Go(func() { got[i], _ = all.Roots(t.Context(), nil) })
		}
		asking.Wait()
		for _, r := range got {
			if r == nil || r != got[0] {
				t.Fatal("different roots")
			}
		}
	}
}
