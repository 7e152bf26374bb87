package decisioncache_test

import (
	"context"
	"testing"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/decisioncache"
	"github.com/kest-go/kest/policy/policytest"
)

// BenchmarkEvaluate: what a hit costs, and what a miss adds to an engine that costs nothing.
func BenchmarkEvaluate(b *testing.B) {
	allow := engine(func(context.Context, string, *policy.Input) (policy.Decision, error) {
		return policy.Decision{Allow: true, Revision: "r1"}, nil
	})
	run := func(b *testing.B, e policy.Engine, before func(i int, in *policy.Input)) {
		in := policytest.Input(40)
		ctx := context.Background()
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			before(i, in)
			if d, err := e.Evaluate(ctx, policytest.AllowTrusted, in); err != nil || !d.Allow {
				b.Fatal(d, err)
			}
		}
	}
	cached := open(b, decisioncache.Config{Engine: allow, Revision: func() string { return "r1" }, Ignore: perCall})
	b.Run("bare", func(b *testing.B) { run(b, allow, func(int, *policy.Input) {}) })
	b.Run("hit", func(b *testing.B) { run(b, cached, func(int, *policy.Input) {}) })
	b.Run("miss", func(b *testing.B) { run(b, cached, func(i int, in *policy.Input) { in.Lineage.Length = i }) })
	b.Run("hit parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			in := policytest.Input(40)
			for pb.Next() {
				cached.Evaluate(context.Background(), policytest.AllowTrusted, in)
			}
		})
	})
}
