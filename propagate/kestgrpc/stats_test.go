package kestgrpc_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/kest-go/kest/propagate"
)

// handler is a stats handler, as otelgrpc's: what it does comes after all interceptors of a client, and before those of
// a server.
type handler struct {
	tag func(context.Context) context.Context
}

func (h handler) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return h.tag(ctx) }
func (handler) HandleRPC(context.Context, stats.RPCStats)                         {}
func (handler) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (handler) HandleConn(context.Context, stats.ConnStats)                       {}

// fields is metadata for a propagator.
type fields metadata.MD

func (f fields) Get(name string) string { return strings.Join(metadata.MD(f).Get(name), ",") }
func (f fields) Set(name, value string) { metadata.MD(f).Set(name, value) }
func (f fields) Keys() []string         { return slices.Collect(maps.Keys(f)) }

func injects(p propagation.TextMapPropagator) stats.Handler {
	return handler{func(ctx context.Context) context.Context {
		md, _ := metadata.FromOutgoingContext(ctx)
		if md == nil {
			md = metadata.MD{}
		}
		p.Inject(ctx, fields(md))
		return metadata.NewOutgoingContext(ctx, md)
	}}
}

func extracts(p propagation.TextMapPropagator) stats.Handler {
	return handler{func(ctx context.Context) context.Context {
		md, _ := metadata.FromIncomingContext(ctx)
		return p.Extract(ctx, fields(md))
	}}
}

// TestInstrumentation: with a stats handler that leaves baggage alone, as Kest's propagator does, everything works; one
// that replaces it does not go unnoticed, whether the server would or not.
func TestInstrumentation(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	ours, err := propagate.New(propagate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
	var tenant string
	s := &service{echo: func(ctx context.Context, in string) (string, error) {
		tenant = baggage.FromContext(ctx).Member("tenant").Value()
		return in, orders.work(ctx, "orders.check")
	}}
	addr := serve(t, s, append(orders.server(func(c *propagate.IngressConfig) { c.LineageOptional = true }), grpc.StatsHandler(extracts(ours)))...)
	member, _ := baggage.NewMember("tenant", "7")
	bag, _ := baggage.New(member)
	for name, c := range map[string]struct {
		p  propagation.TextMapPropagator
		ok bool
	}{
		"trace alone": {propagation.TraceContext{}, true}, "baggage": {propagation.Baggage{}, false}, "ours": {ours, true},
	} {
		tenant = ""
		ctx, session := frontend.session(t.Context()) // a new one each time: the answers of earlier calls would be sealed first
		ctx = baggage.ContextWithBaggage(ctx, bag)
		before := session.Passport().Len()
		_, err := echo(ctx, dial(t, addr, append(frontend.client(strict), grpc.WithStatsHandler(injects(c.p)))...), "x")
		if c.ok && (err != nil || tenant != "7" || session.Passport().Len() != before+1) {
			t.Errorf("%s: %v, tenant %q, %d entries", name, err, tenant, session.Passport().Len())
		}
		if !c.ok && (status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "replaced the baggage") || tenant != "") {
			t.Errorf("%s: %v, tenant %q", name, err, tenant)
		}
	}
}

// TestProofCoversLateBaggage: what a stats handler adds is signed as well.
func TestProofCoversLateBaggage(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	h := &hops{}
	addr := serve(t, &service{}, orders.server(requires(h, propagate.ProofRequire, "orders"))...)
	late := handler{func(ctx context.Context) context.Context {
		return metadata.AppendToOutgoingContext(ctx, "baggage", "late=1")
	}}
	conn := dial(t, addr, append(frontend.client(frontend.proves(h)), grpc.WithAuthority("orders"), grpc.WithStatsHandler(late))...)
	ctx, _ := frontend.session(t.Context())
	if _, err := echo(ctx, conn, "x"); err != nil || len(h.requests[0].Fields["baggage"]) != 2 {
		t.Errorf("%v, %d values", err, len(h.requests[0].Fields["baggage"]))
	}
}

// TestExempt: health checks need no lineage, and nothing guarded runs in them, with lineage or without.
func TestExempt(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	for _, name := range []string{echoMethod, "/kest.test.Service/"} {
		var guarded error
		addr := serve(t, &service{echo: func(ctx context.Context, in string) (string, error) {
			guarded = orders.work(ctx, "orders.check")
			return in, nil
		}, chat: func(grpc.ServerStream) error { return nil }}, orders.exempt(name)...)
		ctx, _ := frontend.session(t.Context())
		for _, conn := range []*grpc.ClientConn{dial(t, addr), dial(t, addr, frontend.client()...)} {
			if _, err := echo(ctx, conn, "x"); err != nil || guarded == nil {
				t.Errorf("%s: %v, guarded call: %v", name, err, guarded)
			}
		}
		stranger := streamOnce(t.Context(), dial(t, addr), "x")
		if refused := status.Code(stranger) == codes.PermissionDenied; refused != (name == echoMethod) {
			t.Errorf("%s: another method: %v", name, stranger)
		}
	}
}
