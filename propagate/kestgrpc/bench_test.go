package kestgrpc_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"

	"github.com/kest-go/kest/propagate"
)

// BenchmarkUnary compares a bare echo with one that carries a lineage of one entry, with one whose proof is signed, and
// with one whose answer brings an entry back. Compare within one run.
func BenchmarkUnary(b *testing.B) {
	frontend, orders := newParty(b, "frontend"), newParty(b, "orders")
	h := &hops{}
	work := &service{echo: func(ctx context.Context, in string) (string, error) { return in, orders.work(ctx, "orders.check") }}
	for _, c := range []struct {
		name string
		addr string
		opts []grpc.DialOption
		ctx  func(context.Context) context.Context
	}{
		{"bare", serve(b, &service{}), nil, func(ctx context.Context) context.Context { return ctx }},
		{"lineage", serve(b, &service{}, orders.server()...), frontend.client(strict), nil},
		{"lineage and proof", serve(b, &service{}, orders.server(requires(h, propagate.ProofRequire, "orders"))...), append(frontend.client(frontend.proves(h)), grpc.WithAuthority("orders")), nil},
		{"lineage and a call", serve(b, work, orders.server()...), frontend.client(strict), nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			conn := dial(b, c.addr, c.opts...)
			if _, err := echo(b.Context(), conn, "x", grpc.WaitForReady(true)); c.ctx != nil && err != nil {
				b.Fatal(err)
			}
			base, _ := frontend.session(b.Context())
			b.ReportAllocs()
			for b.Loop() {
				ctx := propagate.WithSession(b.Context(), propagate.SessionFrom(base).Branch())
				if c.ctx != nil {
					ctx = c.ctx(b.Context())
				}
				if _, err := echo(ctx, conn, "x"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
