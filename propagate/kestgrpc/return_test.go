package kestgrpc_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

func dialTo(addr string) grpc.DialOption {
	return grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	})
}

// eventually waits for what another goroutine does.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// TestReturnIsMissed: an answer without lineage that can be believed is a fault of its own: reported, and with
// StrictReturn an error. Nothing of a bad one is taken.
func TestReturnIsMissed(t *testing.T) {
	ledger := newParty(t, "ledger")
	p, err := propagate.New(propagate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	_, foreign := ledger.session(t.Context())
	valid := func(at propagate.Slot) string { // what somebody sends who goes on from nothing
		v, err := p.Return(t.Context(), foreign.Passport(), foreign.Passport(), at)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for name, c := range map[string]struct {
		values []string
		what   string
	}{
		"none":      {nil, "lost"},
		"empty":     {[]string{""}, "lost"},
		"garbage":   {[]string{"kest.passport_z=!"}, "invalid"},
		"announced": {[]string{"kest.chain_tip="}, "invalid"},
		"elsewhere": {[]string{valid(propagate.Whole)}, "invalid"},
		"twice":     {[]string{"kest.chain_tip=" + strings.Repeat("1", 64), "kest.chain_tip=" + strings.Repeat("1", 64)}, "invalid"},
		"too large": {[]string{strings.Repeat("a", 9000)}, "invalid"},
	} {
		for _, how := range []string{"lenient", "strict"} {
			t.Run(name+", "+how, func(t *testing.T) {
				frontend := newParty(t, "frontend")
				trailer := metadata.MD{propagate.FieldReturn: c.values}
				addr := serve(t, &service{
					echo: func(ctx context.Context, in string) (string, error) { grpc.SetTrailer(ctx, trailer); return in, nil },
					chat: func(s grpc.ServerStream) error { s.SetTrailer(trailer); return s.SendMsg(wrapperspb.String("x")) },
				}) // it knows nothing of lineage
				options := frontend.client()
				if how == "strict" {
					options = frontend.client(strict)
				}
				conn := dial(t, addr, options...)
				for kind, call := range map[string]func(context.Context) error{
					"unary": func(ctx context.Context) error { _, err := echo(ctx, conn, "x"); return err },
					"watch": func(ctx context.Context) error { return streamOnce(ctx, conn, "x") },
					"collect": func(ctx context.Context) error {
						s, err := conn.NewStream(ctx, collectDesc, collectMethod)
						if err != nil {
							return err
						}
						return s.RecvMsg(&text{})
					},
				} {
					ctx, session := frontend.session(t.Context())
					before := frontend.log.count("return lineage is " + c.what)
					err := call(ctx)
					if failed := err != nil && !errors.Is(err, io.EOF); failed != (how == "strict") {
						t.Errorf("%s: %v", kind, err)
					}
					if how == "strict" && c.what == "lost" && !errors.Is(err, propagate.ErrNoReturn) {
						t.Errorf("%s: %v", kind, err)
					}
					if frontend.log.count("return lineage is "+c.what) != before+1 || session.Passport().Len() != 1 {
						t.Errorf("%s: %d entries; log %s", kind, session.Passport().Len(), frontend.log.String())
					}
					if unusable := session.Err() != nil; unusable != (how == "strict" && kind != "unary") {
						t.Errorf("%s: session: %v", kind, session.Err())
					}
				}
			})
		}
	}
}

// TestTrailerIsTheLastWord: one that promises more is not complete.
func TestTrailerIsTheLastWord(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	ingress, err := propagate.NewIngress(propagate.IngressConfig{Listener: propagate.Internal, Verifier: orders.verifier})
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, &service{echo: func(ctx context.Context, in string) (string, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		admitted, a, err := ingress.Admit(ctx, propagate.Request{Carrier: propagation.MapCarrier{"baggage": strings.Join(md["baggage"], ",")}})
		if err != nil {
			return "", err
		}
		at := propagate.Whole
		if in == "more" {
			at = propagate.Beginning
		}
		return in, grpc.SetTrailer(ctx, metadata.Pairs(propagate.FieldReturn, ingress.Return(admitted, a, at)))
	}})
	conn := dial(t, addr, frontend.client(strict)...)
	ctx, _ := frontend.session(t.Context())
	if _, err := echo(ctx, conn, "no more"); err != nil {
		t.Error(err)
	}
	if _, err := echo(ctx, conn, "more"); !errors.Is(err, propagate.ErrNoReturn) {
		t.Error(err)
	}
}

// TestFailedCallsKeepTheirError: a call that failed without an answer has told its caller nothing.
func TestFailedCallsKeepTheirError(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		code codes.Code
	}{
		"refused": {nil, codes.PermissionDenied}, "failed": {status.Error(codes.NotFound, "no such order"), codes.NotFound},
	} {
		frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
		s := &service{echo: func(context.Context, string) (string, error) { return "", c.err }, chat: func(grpc.ServerStream) error { return c.err }}
		options := []grpc.ServerOption{}
		if c.err == nil {
			options = orders.server(func(c *propagate.IngressConfig) {
				c.Hook = func(ctx context.Context, _ lineage.Passport) (context.Context, error) { return ctx, errors.New("no") }
			})
		}
		conn := dial(t, serve(t, s, options...), frontend.client(strict)...)
		ctx, session := frontend.session(t.Context())
		if _, err := echo(ctx, conn, "x"); status.Code(err) != c.code {
			t.Errorf("%s: unary: %v", name, err)
		}
		if err := streamOnce(ctx, conn, "x"); status.Code(err) != c.code {
			t.Errorf("%s: stream: %v", name, err)
		}
		if stream, err := conn.NewStream(ctx, watchDesc, watchMethod); err != nil {
			t.Error(err)
		} else if _, err := stream.Header(); status.Code(err) != c.code && status.Code(stream.RecvMsg(&text{})) != c.code {
			t.Errorf("%s: header: %v", name, err)
		}
		if frontend.log.count("return lineage") != 0 || session.Err() != nil {
			t.Errorf("%s: %v, log %s", name, session.Err(), frontend.log.String())
		}
	}
	frontend := newParty(t, "frontend")
	ctx, _ := frontend.session(t.Context())
	if _, err := echo(ctx, dial(t, "127.0.0.1:1", frontend.client(strict)...), "x"); status.Code(err) != codes.Unavailable {
		t.Errorf("nobody there: %v", err)
	}
}

// TestHeaderFirst: a caller that asks for the header of a failed stream first still gets the lineage of the failure.
func TestHeaderFirst(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	addr := serve(t, &service{chat: func(s grpc.ServerStream) error {
		if err := orders.work(s.Context(), "orders.check"); err != nil {
			return err
		}
		return status.Error(codes.NotFound, "no such order")
	}}, orders.server()...)
	ctx, session := frontend.session(t.Context())
	stream, err := dial(t, addr, frontend.client(strict)...).NewStream(ctx, watchDesc, watchMethod)
	if err != nil {
		t.Fatal(err)
	}
	stream.Header()
	if err := stream.RecvMsg(&text{}); status.Code(err) != codes.NotFound || session.Passport().Len() != 2 {
		t.Errorf("%v, %q", err, operations(session.Passport()))
	}
}

// TestCanceledCall: the end of the caller's context is the error, and nothing else is reported.
func TestCanceledCall(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	addr := serve(t, &service{echo: func(ctx context.Context, _ string) (string, error) { <-ctx.Done(); return "", ctx.Err() }}, orders.server()...)
	conn := dial(t, addr, frontend.client(strict)...)
	ctx, _ := frontend.session(t.Context())
	ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := echo(ctx, conn, "x"); status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
	if frontend.log.count("return lineage") != 0 {
		t.Error(frontend.log.String())
	}
}

// TestAbandonedStream: a stream that is left after it said something is a loss that shows, whoever ends it, and with
// StrictReturn its session is not used on. One that said nothing is none.
func TestAbandonedStream(t *testing.T) {
	orders := newParty(t, "orders")
	addr := serve(t, &service{chat: func(s grpc.ServerStream) error {
		in := &text{}
		for {
			if err := s.RecvMsg(in); err != nil {
				return err
			}
			if err := s.SendMsg(in); err != nil {
				return err
			}
		}
	}}, orders.server()...)
	for name, end := range map[string]func(cancel func(), conn *grpc.ClientConn, s grpc.ClientStream){
		"canceled":         func(cancel func(), _ *grpc.ClientConn, _ grpc.ClientStream) { cancel() },
		"closed":           func(_ func(), conn *grpc.ClientConn, _ grpc.ClientStream) { conn.Close() },
		"canceled, waited": func(cancel func(), _ *grpc.ClientConn, s grpc.ClientStream) { cancel(); s.RecvMsg(&text{}) },
		"canceled within": func(cancel func(), _ *grpc.ClientConn, s grpc.ClientStream) {
			time.AfterFunc(5*time.Millisecond, cancel)
			s.RecvMsg(&text{})
		},
	} {
		for _, received := range []bool{true, false} {
			frontend := newParty(t, "frontend")
			conn := dial(t, addr, frontend.client(strict)...)
			base, session := frontend.session(t.Context())
			ctx, cancel := context.WithCancel(base)
			stream, err := conn.NewStream(ctx, chatDesc, chatMethod)
			if err != nil {
				t.Fatal(err)
			}
			if received {
				if err := errors.Join(stream.SendMsg(wrapperspb.String("x")), stream.RecvMsg(&text{})); err != nil {
					t.Fatal(err)
				}
			}
			end(cancel, conn, stream)
			if received {
				eventually(t, name+": the loss does not show", func() bool { return session.Err() != nil })
			}
			cancel()
			conn.Close()
			if n := frontend.log.count("return lineage is lost"); (n == 1) != received || n > 1 {
				t.Errorf("%s, received %t: %d reports", name, received, n)
			}
			if (session.Err() != nil) != received {
				t.Errorf("%s, received %t: session %v", name, received, session.Err())
			}
		}
	}
}

// TestReturnOnlyToSenders: who sent no lineage gets none.
func TestReturnOnlyToSenders(t *testing.T) {
	orders := newParty(t, "orders")
	addr := serve(t, &service{echo: func(ctx context.Context, in string) (string, error) { return in, orders.work(ctx, "orders.check") }},
		orders.server(func(c *propagate.IngressConfig) { c.Listener = propagate.Edge })...)
	var trailer metadata.MD
	if _, err := echo(t.Context(), dial(t, addr), "x", grpc.Trailer(&trailer)); err != nil || len(trailer[propagate.FieldReturn]) != 0 {
		t.Errorf("%v, %v", err, trailer)
	}
}

// TestCallersTrailer: a caller's own wish for the trailer is served, too.
func TestCallersTrailer(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	addr := serve(t, &service{echo: func(ctx context.Context, in string) (string, error) {
		return in, grpc.SetTrailer(ctx, metadata.Pairs("own", "1"))
	}}, orders.server()...)
	ctx, _ := frontend.session(t.Context())
	var trailer metadata.MD
	if _, err := echo(ctx, dial(t, addr, frontend.client(strict)...), "x", grpc.Trailer(&trailer)); err != nil || trailer.Get("own") == nil {
		t.Errorf("%v, %v", err, trailer)
	}
}

// TestReturnsAreOff: without a verifier answers are not looked at.
func TestReturnsAreOff(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	addr := serve(t, &service{echo: func(ctx context.Context, in string) (string, error) { return in, orders.work(ctx, "orders.check") }}, orders.server()...)
	conn := dial(t, addr, frontend.client(func(c *propagate.EgressConfig) { c.Verifier = nil })...)
	ctx, session := frontend.session(t.Context())
	if _, err := echo(ctx, conn, "x"); err != nil || session.Passport().Len() != 1 {
		t.Errorf("%v, %q", err, operations(session.Passport()))
	}
}
