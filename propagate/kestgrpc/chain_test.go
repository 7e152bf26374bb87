package kestgrpc_test

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/kestgrpc"
)

func TestConfig(t *testing.T) {
	if _, err := kestgrpc.NewClientInterceptor(kestgrpc.ClientConfig{}); err == nil || !strings.Contains(err.Error(), "Egress is nil") {
		t.Error(err)
	}
	for _, name := range []string{"", "/", "//", "*", "/Service", "/a.Service/*", "a.Service/M", "/a.Service/M/N", "/a Service/M"} {
		_, err := kestgrpc.NewServerInterceptor(kestgrpc.ServerConfig{Exempt: []string{name}})
		if err == nil || !strings.Contains(err.Error(), "Ingress is nil") || !strings.Contains(err.Error(), "Exempt") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestChain (F-CP-01, SPEC §9 return lineage): lineage goes down two hops, and what each added comes back: the next
// call of the first workload descends from the last one's entry, and inherits its taints.
func TestChain(t *testing.T) {
	frontend, orders, ledger := newParty(t, "frontend"), newParty(t, "orders"), newParty(t, "ledger")
	var seen []string
	last := serve(t, &service{echo: func(ctx context.Context, in string) (string, error) {
		seen = operations(kest.CurrentPassport(ctx))
		return in, ledger.work(ctx, "ledger.book", kest.AddTaints("booked"))
	}}, ledger.server()...)
	down := dial(t, last, orders.client()...)
	first := serve(t, &service{echo: func(ctx context.Context, in string) (string, error) {
		if err := orders.work(ctx, "orders.check"); err != nil {
			return "", err
		}
		return echo(ctx, down, in)
	}}, orders.server()...)
	conn := dial(t, first, frontend.client(strict)...)

	ctx, session := frontend.session(t.Context())
	if out, err := echo(ctx, conn, "hello"); err != nil || out != "hello" {
		t.Fatal(out, err)
	}
	if want := []string{"frontend.begin", "orders.check"}; !slices.Equal(seen, want) {
		t.Errorf("the last hop sees %q; want %q", seen, want)
	}
	before := session.Passport().Tips()
	if err := frontend.work(ctx, "frontend.end"); err != nil {
		t.Fatal(err)
	}
	want := []string{"frontend.begin", "orders.check", "ledger.book", "frontend.end"}
	if got := operations(session.Passport()); !slices.Equal(got, want) {
		t.Fatalf("%q; want %q", got, want)
	}
	end := session.Passport().Last().Entry()
	if !slices.Equal(end.Parents, before) || !slices.Contains(end.Taints, "booked") {
		t.Errorf("parents %v, taints %v", end.Parents, end.Taints)
	}
	// A second call goes out sealed by the frontend (decision 8).
	if _, err := echo(ctx, conn, "again"); err != nil {
		t.Fatal(err)
	}
}

// TestStreams: one session per stream, and its lineage comes back at the end, for every kind of stream.
func TestStreams(t *testing.T) {
	orders := newParty(t, "orders")
	addr := serve(t, &service{chat: func(s grpc.ServerStream) error {
		for {
			in := &text{}
			if err := s.RecvMsg(in); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return err
			}
			if err := orders.work(s.Context(), "orders."+in.GetValue()); err != nil {
				return err
			}
		}
		return s.SendMsg(wrapperspb.String("done"))
	}}, orders.server()...)
	for name, c := range map[string]struct {
		desc   *grpc.StreamDesc
		method string
		sent   []string
	}{
		"server": {watchDesc, watchMethod, []string{"a"}},
		"client": {collectDesc, collectMethod, []string{"a", "b", "c"}},
		"both":   {chatDesc, chatMethod, []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			frontend := newParty(t, "frontend")
			conn := dial(t, addr, frontend.client(strict)...)
			ctx, session := frontend.session(t.Context())
			stream, err := conn.NewStream(ctx, c.desc, c.method)
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"frontend.begin"}
			for _, m := range c.sent {
				if err := stream.SendMsg(wrapperspb.String(m)); err != nil {
					t.Fatal(err)
				}
				want = append(want, "orders."+m)
			}
			stream.CloseSend()
			out := &text{}
			if err := stream.RecvMsg(out); err != nil || out.GetValue() != "done" {
				t.Fatal(out, err)
			}
			if c.desc.ServerStreams {
				if err := stream.RecvMsg(out); !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
			}
			if got := operations(session.Passport()); !slices.Equal(got, want) {
				t.Errorf("%q; want %q", got, want)
			}
			if err := stream.RecvMsg(out); c.desc.ServerStreams && !errors.Is(err, io.EOF) {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}

// TestConcurrentCalls: calls in parallel fork, and all of them come back.
func TestConcurrentCalls(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	var all sync.WaitGroup
	all.Add(20)
	addr := serve(t, &service{echo: func(ctx context.Context, in string) (string, error) {
		all.Done()
		all.Wait()
		return in, orders.work(ctx, "orders.check")
	}}, orders.server()...)
	conn := dial(t, addr, frontend.client(strict)...)
	ctx, session := frontend.session(t.Context())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := echo(ctx, conn, "x"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(session.Passport().Tips()); n != 20 || session.Passport().Len() != 21 {
		t.Errorf("%d of 20 came back", n)
	}
}

// TestTransports: Unix sockets are loopback; a name behind a dialer of one's own is a name.
func TestTransports(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, &service{}, orders.server()...)
	ctx, _ := frontend.session(t.Context())
	if _, err := echo(ctx, dial(t, "unix://"+path, frontend.client(strict)...), "x"); err != nil {
		t.Errorf("unix: %v", err)
	}
	b := bufconn.Listen(1 << 16)
	serveOn(t, b, &service{}, orders.server()...)
	dialer := grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return b.DialContext(ctx) })
	allow := func(c *propagate.EgressConfig) { c.Allow = []string{"orders"} }
	if _, err := echo(ctx, dial(t, "passthrough:///orders", append(frontend.client(strict, allow), dialer)...), "x"); err != nil {
		t.Errorf("bufconn: %v", err)
	}
}

// TestHandlersMetadata: a handler does not see our baggage, so a proxy does not pass it on; everything else it sees.
func TestHandlersMetadata(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	var unary, stream metadata.MD
	addr := serve(t, &service{
		echo: func(ctx context.Context, in string) (string, error) {
			unary, _ = metadata.FromIncomingContext(ctx)
			return in, nil
		},
		chat: func(s grpc.ServerStream) error { stream, _ = metadata.FromIncomingContext(s.Context()); return nil },
	}, orders.server()...)
	conn := dial(t, addr, frontend.client()...)
	ctx, _ := frontend.session(t.Context())
	ctx = metadata.AppendToOutgoingContext(ctx, "baggage", "tenant=7;p=1", "x-other", "y")
	if _, err := echo(ctx, conn, "x"); err != nil {
		t.Fatal(err)
	}
	s, err := conn.NewStream(ctx, chatDesc, chatMethod)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(&text{}); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	for _, md := range []metadata.MD{unary, stream} {
		if got := strings.Join(md["baggage"], "|"); got != "tenant=7;p=1" || md.Get("x-other")[0] != "y" {
			t.Errorf("%v", md)
		}
	}
}
