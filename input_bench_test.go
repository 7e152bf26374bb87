package kest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/policy/policytest"
)

// BenchmarkInput is what the guard does to make the document that policies see, at some depths. Policies that read the
// ancestors pay for them, which read=true shows.
func BenchmarkInput(b *testing.B) {
	for _, depth := range []int{1, 100, 1000} {
		for _, read := range []bool{false, true} {
			b.Run(fmt.Sprintf("depth=%d/read=%t", depth, read), func(b *testing.B) { benchmarkInput(b, depth, read) })
		}
	}
}

func benchmarkInput(b *testing.B, depth int, read bool) {
	g, err := kest.New(kest.Config{Engine: policytest.Allow().Keep(0), Identity: identitytest.New(payments)})
	must(b, err)
	ctx, s := kest.StartSession(kest.WithIdentity(context.Background(), kest.Identity{User: "alice", Agent: "agent-7", Task: "pay"}))
	f := kest.MustVerified(g, func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil },
		kest.Operation("pay"), kest.Policy("kest/allow_trusted"), kest.Resource("order/1"), kest.AddTaints("a", "b"))
	for range depth {
		_, err := f(ctx, struct{}{})
		must(b, err)
	}
	input, err := kest.InputMaker(ctx, g, s)
	must(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if in := input(); read && len(in.Lineage.History.Past().Steps) == 0 {
			b.Fatal("no steps")
		}
	}
}
