package binding_test

import (
	"testing"
	"time"

	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/lineage"
)

// BenchmarkResolveKeyWarm is what every entry of a verified lineage costs again: the target is below 2 µs.
func BenchmarkResolveKeyWarm(b *testing.B) {
	s, w := warm(b)
	ctx := b.Context()
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if keys, err := s.Keys(ctx, shop, w.id()); err != nil || len(keys) != 1 {
				b.Fatal(len(keys), err)
			}
		}
	})
}

// BenchmarkCertifyWarm is the second question about every entry.
func BenchmarkCertifyWarm(b *testing.B) {
	s, w := warm(b)
	ctx, sig := b.Context(), lineage.Signature{Principal: shop, KeyID: w.id(), SignedMS: time.Now().UnixMilli()}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Certify(ctx, sig); err != nil {
			b.Fatal(err)
		}
	}
}

func warm(b *testing.B) (*binding.Source, workload) {
	b.Helper()
	c := newCA(b)
	w := c.workload(shop)
	s := source(b, binding.Config{Roots: binding.AllRoots(c.roots(), newCA(b).roots()), Store: memoryStore(b)})
	wantKey(b, s, offering(b, w.binding), w, true)
	return s, w
}

// BenchmarkVerifyBinding is the first entry of a key: an X.509-SVID under an intermediate, which came with the request.
func BenchmarkVerifyBinding(b *testing.B) {
	c := newCA(b)
	w := c.intermediate(now(), now().Add(time.Hour)).workload(shop)
	ctx, roots := offering(b, w.binding), c.roots()
	b.ReportAllocs()
	for b.Loop() {
		s := source(b, binding.Config{Roots: roots})
		if keys, err := s.Keys(ctx, shop, w.id()); err != nil || len(keys) != 1 {
			b.Fatal(len(keys), err)
		}
	}
}

// BenchmarkUnknownKeyOffers is what a stranger's entry costs that comes with as many useless bindings as are looked at.
func BenchmarkUnknownKeyOffers(b *testing.B) {
	c := newCA(b)
	w := newCA(b).workload(shop)
	var all []*lineage.KeyBinding
	for i := range binding.MaxOffered {
		all = append(all, newCA(b).certify(shop, w.public, now(), now().Add(time.Hour+time.Duration(i)*time.Second)))
	}
	s, ctx := source(b, binding.Config{Roots: c.roots()}), offering(b, all...)
	b.ReportAllocs()
	for b.Loop() {
		if keys, err := s.Keys(ctx, shop, w.id()); err != nil || len(keys) > 0 {
			b.Fatal(len(keys), err)
		}
	}
}
