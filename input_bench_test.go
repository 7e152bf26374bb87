package kest

import (
	"context"
	"fmt"
	"testing"

	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/policy/policytest"
)

// BenchmarkInput is what the guard does to make the document that policies see, at some depths. Policies that read the
// ancestors pay for them, which read=true shows. It is inside the package because no caller can do this part alone.
func BenchmarkInput(b *testing.B) {
	for _, depth := range []int{1, 100, 1000} {
		for _, read := range []bool{false, true} {
			b.Run(fmt.Sprintf("depth=%d/read=%t", depth, read), func(b *testing.B) { benchmarkInput(b, depth, read) })
		}
	}
}

func benchmarkInput(b *testing.B, depth int, read bool) {
	g, err := New(Config{Engine: policytest.Allow().Keep(0), Identity: identitytest.New("spiffe://example.org/payments")})
	if err != nil {
		b.Fatal(err)
	}
	ctx, s := StartSession(WithIdentity(context.Background(), Identity{User: "alice", Agent: "agent-7", Task: "pay"}))
	f := MustVerified(g, func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil },
		Operation("pay"), Policy("kest/allow_trusted"), Resource("order/1"), AddTaints("a", "b"))
	for range depth {
		if _, err := f(ctx, struct{}{}); err != nil {
			b.Fatal(err)
		}
	}
	signer, err := g.current.Load().config.Identity.Signer(ctx)
	if err != nil {
		b.Fatal(err)
	}
	last := s.Passport().Last()
	c := &call{
		binding: &binding{settings: &settings{}, guard: g.current.Load()}, outer: s, history: s.Passport(),
		signer: signer, entry: last.Entry(), trace: s.TraceID(), source: "internal",
		identity: Identity{User: "alice", Agent: "agent-7", Task: "pay"},
	}
	b.ReportAllocs()
	for b.Loop() {
		c.input = c.document(nil)
		if read && len(c.input.Lineage.History.Past().Steps) == 0 {
			b.Fatal("no steps")
		}
	}
}
