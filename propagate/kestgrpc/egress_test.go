package kestgrpc_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/propagate"
)

// goesOut returns the metadata with which a call would be made, unary and as a stream.
func goesOut(t *testing.T, p *party, ctx context.Context, conn *grpc.ClientConn, allow ...string) [2]metadata.MD {
	t.Helper()
	i := p.interceptor(func(c *propagate.EgressConfig) { c.Allow = allow })
	var out [2]metadata.MD
	err := i.Unary(ctx, echoMethod, nil, nil, conn, func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
		out[0], _ = metadata.FromOutgoingContext(ctx)
		return errors.New("not made")
	})
	if err == nil || err.Error() != "not made" {
		t.Fatal(err)
	}
	_, err = i.Stream(ctx, chatDesc, conn, chatMethod, func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
		out[1], _ = metadata.FromOutgoingContext(ctx)
		return nil, errors.New("not made")
	})
	if err == nil || err.Error() != "not made" {
		t.Fatal(err)
	}
	return out
}

// TestDestinations (SPEC §9 egress): lineage goes by where the connection goes. Whoever may not have it gets nothing
// of ours, not even what stands in the metadata already, and keeps what others wrote.
func TestDestinations(t *testing.T) {
	frontend := newParty(t, "frontend")
	ctx, _ := frontend.session(t.Context())
	ctx = metadata.AppendToOutgoingContext(ctx, "baggage", "tenant=7;p=1,kest.user=mallory", "baggage", "x=%20y,kest.chain_tip=1", "x-other", "z")
	static := manual.NewBuilderWithScheme("static")
	static.InitialState(resolver.State{})
	for target, allowed := range map[string]bool{
		"127.0.0.1:9":                        true,
		"localhost:9":                        true,
		":9":                                 true,
		"[::1]:9":                            true,
		"dns:///localhost:9":                 true,
		"unix:/tmp/s":                        true,
		"unix:///tmp/s":                      true,
		"unix-abstract:s":                    true,
		"passthrough:///ledger:9":            true,
		"dns:///LEDGER.:9":                   true,
		"dns://127.0.0.1/ledger:9":           true,
		"static:///ledger":                   true,
		"a.mesh.internal:9":                  true,
		"evil.example:9":                     false,
		"dns://localhost/evil.example:9":     false, // who is asked, not where the connection goes
		"dns://ledger/evil.example:9":        false,
		"passthrough:///evil.example:9":      false,
		"static:///evil.example":             false,
		"static:///evil,a.mesh.internal:9":   false, // a list
		"static:///evil/a.mesh.internal":     false,
		"passthrough:///x@a.mesh.internal":   false,
		"passthrough:///a%3Fb.mesh.internal": false,
		"static:///evil.example/ledger":      false,
		"passthrough:///x@ledger:9":          false,
		"static:///":                         false,
	} {
		for _, authority := range []string{"", "ledger", "evil.example"} { // decides nothing
			opts := []grpc.DialOption{grpc.WithResolvers(static)}
			if authority != "" {
				opts = append(opts, grpc.WithAuthority(authority))
			}
			for _, md := range goesOut(t, frontend, ctx, dial(t, target, opts...), "ledger", ".mesh.internal") {
				bag := strings.Join(md["baggage"], ",")
				if got := strings.Contains(bag, "kest.passport"); got != allowed {
					t.Errorf("%s, authority %q: lineage %t", target, authority, got)
				}
				if !strings.HasPrefix(bag, "tenant=7;p=1,x=%20y") || md.Get("x-other")[0] != "z" || strings.Contains(bag, "mallory") {
					t.Errorf("%s: %v", target, md)
				}
				if !allowed && strings.Contains(bag, "kest.") {
					t.Errorf("%s: %s", target, bag)
				}
			}
		}
	}
	if md, _ := metadata.FromOutgoingContext(ctx); len(md["baggage"]) != 2 {
		t.Error("the caller's metadata was changed")
	}
}

// TestNothingToSend: without lineage a call is an ordinary one.
func TestNothingToSend(t *testing.T) {
	frontend := newParty(t, "frontend")
	for _, target := range []string{"evil.example:9", "127.0.0.1:9"} {
		for _, md := range goesOut(t, frontend, t.Context(), dial(t, target)) {
			if len(md) != 0 {
				t.Errorf("%s: %v", target, md)
			}
		}
	}
	if _, err := echo(t.Context(), dial(t, serve(t, &service{}), frontend.client(strict)...), "x"); err != nil {
		t.Errorf("lineage is missed where none was sent: %v", err)
	}
}

// TestNotSent: lineage that cannot be sent stops the call, with the reason in the error's chain.
func TestNotSent(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	ran := false
	addr := serve(t, &service{echo: func(context.Context, string) (string, error) { ran = true; return "", nil }},
		orders.server(func(c *propagate.IngressConfig) { c.Listener = propagate.Edge })...)
	conn := dial(t, addr, frontend.client()...)
	reason := errors.New("lineage was not believed")
	check := func(ctx context.Context, want error) {
		t.Helper()
		if _, err := echo(ctx, conn, "x"); !errors.Is(err, want) {
			t.Errorf("unary: %v", err)
		}
		if _, err := conn.NewStream(ctx, chatDesc, chatMethod); !errors.Is(err, want) {
			t.Errorf("stream: %v", err)
		}
	}
	check(propagate.Refuse(t.Context(), reason), reason)
	joined, session := frontend.session(t.Context())
	other, _ := frontend.session(t.Context())
	if err := kest.Join(joined, kest.CurrentPassport(other)); err != nil {
		t.Fatal(err)
	}
	guard, err := kest.New(kest.Config{Engine: policytest.Func(deny), Enterprise: []string{"kest/no"}, Identity: identitytest.New(domain + "frontend"), Logger: frontend.logger()})
	if err != nil {
		t.Fatal(err)
	}
	conn = dial(t, addr, frontend.client(func(c *propagate.EgressConfig) { c.Sealer = guard })...)
	check(joined, kest.ErrDenied) // the entry that would tie the two needs a policy
	session.Fail(reason)
	check(joined, reason)
	if ran {
		t.Error("a call went out")
	}
}

// TestOptionsAreTheCallers: gRPC gives the same slice of options to calls in parallel.
func TestOptionsAreTheCallers(t *testing.T) {
	frontend := newParty(t, "frontend")
	ctx, _ := frontend.session(t.Context())
	opts := make([]grpc.CallOption, 0, 8)
	got := 0
	frontend.interceptor(strict).Unary(ctx, echoMethod, nil, nil, dial(t, "127.0.0.1:9"),
		func(_ context.Context, _ string, _, _ any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
			got = len(opts)
			return errors.New("not made")
		}, opts...)
	if spare := opts[:8]; got != 2 || spare[0] != nil || spare[1] != nil {
		t.Errorf("%d options, %v", got, spare)
	}
}

// TestTrace: the trace of the caller goes on where nothing else carries it.
func TestTrace(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	traces := make(chan string, 1)
	addr := serve(t, &service{echo: func(ctx context.Context, _ string) (string, error) {
		traces <- propagate.SessionFrom(ctx).TraceID()
		return "", nil
	}}, orders.server(func(c *propagate.IngressConfig) { c.Listener = propagate.Edge })...)
	id := trace.TraceID{1, 2, 3}
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{4}, TraceFlags: trace.FlagsSampled})
	ctx := trace.ContextWithSpanContext(t.Context(), span)
	if _, err := echo(ctx, dial(t, addr, frontend.client()...), "x"); err != nil {
		t.Fatal(err)
	}
	if got := <-traces; got != id.String() {
		t.Errorf("without lineage: %s", got)
	}
	ctx = metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-"+id.String()+"-0400000000000000-01",
		"traceparent", "00-"+strings.Repeat("9", 32)+"-0400000000000000-01")
	if _, err := echo(ctx, dial(t, addr), "x"); err != nil {
		t.Fatal(err)
	}
	if got := <-traces; got != id.String() {
		t.Errorf("twice: %s", got)
	}
	ctx, session := frontend.session(t.Context())
	if _, err := echo(ctx, dial(t, addr, frontend.client()...), "x"); err != nil {
		t.Fatal(err)
	}
	if got := <-traces; got != session.TraceID() {
		t.Errorf("with lineage: %s; want %s", got, session.TraceID())
	}
}

// TestOldLineageInMetadata: a proxy that passes its incoming metadata on sends its own lineage, not its caller's twice.
func TestOldLineageInMetadata(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	var seen []string
	addr := serve(t, &service{echo: func(ctx context.Context, _ string) (string, error) {
		seen = operations(kest.CurrentPassport(ctx))
		return "", nil
	}}, orders.server()...)
	conn := dial(t, addr, frontend.client()...)
	ctx, _ := frontend.session(t.Context())
	old := goesOut(t, frontend, ctx, conn)[0]
	ctx, _ = frontend.session(metadata.NewOutgoingContext(t.Context(), old))
	if err := frontend.work(ctx, "frontend.more"); err != nil {
		t.Fatal(err)
	}
	if _, err := echo(ctx, conn, "x"); err != nil || !slices.Equal(seen, []string{"frontend.begin", "frontend.more"}) {
		t.Errorf("%v, %q", err, seen)
	}
}

// TestStripped: a server that may not have lineage refuses where it needs it, rather than getting it.
func TestStripped(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	addr := serve(t, &service{}, orders.server()...)
	conn := dial(t, "passthrough:///evil.example:9", append(frontend.client(strict), dialTo(addr))...)
	ctx, _ := frontend.session(t.Context())
	if _, err := echo(ctx, conn, "x"); status.Code(err) != codes.PermissionDenied {
		t.Error(err)
	}
}
