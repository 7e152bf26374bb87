package kestgrpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/store"
)

// brokenStore is down.
type brokenStore struct{}

func (brokenStore) Put(context.Context, string, []byte, time.Duration) error {
	return fmt.Errorf("%w: 10.0.0.7 secret", store.ErrUnavailable)
}

func (brokenStore) Get(context.Context, string) ([]byte, error) {
	return nil, fmt.Errorf("%w: 10.0.0.7 secret", store.ErrUnavailable)
}

// tokens accepts one token.
type tokens struct{}

func (tokens) VerifyToken(_ context.Context, token string) (propagate.Caller, error) {
	switch token {
	case "good":
		return propagate.Caller{Identity: propagate.Identity{User: "alice"}}, nil
	case "undecided":
		return propagate.Caller{}, errors.New("secret issuer is down")
	}
	return propagate.Caller{}, fmt.Errorf("secret reason: %w", propagate.ErrBadToken)
}

// TestRefusals (SPEC §9 error responses): what is not admitted never reaches a handler, and is told its class alone.
func TestRefusals(t *testing.T) {
	tip := "kest.chain_tip=" + strings.Repeat("1", 64)
	claim := tip + ",kest.claim_check=0190e2b0-7b3a-4c3e-8a53-000000000000"
	p, err := propagate.New(propagate.Config{Store: brokenStore{}})
	if err != nil {
		t.Fatal(err)
	}
	withStore := func(c *propagate.IngressConfig) { c.Propagator = p }
	withTokens := func(c *propagate.IngressConfig) {
		c.Listener, c.Tokens, c.RequireToken = propagate.Edge, tokens{}, true
	}
	for name, c := range map[string]struct {
		change func(*propagate.IngressConfig)
		pairs  []string
		code   codes.Code
		class  propagate.Class
		reason string
	}{
		"no lineage":      {nil, nil, codes.PermissionDenied, propagate.Forbidden, "KEST_FORBIDDEN"},
		"malformed":       {nil, []string{"baggage", "kest.passport_z=secret!"}, codes.InvalidArgument, propagate.Malformed, "KEST_MALFORMED"},
		"tip alone":       {nil, []string{"baggage", tip}, codes.InvalidArgument, propagate.Malformed, "KEST_MALFORMED"},
		"twice":           {nil, []string{"baggage", tip, "baggage", tip}, codes.InvalidArgument, propagate.Malformed, "KEST_MALFORMED"},
		"too large":       {nil, []string{"baggage", strings.Repeat("a", 9000)}, codes.ResourceExhausted, propagate.TooLarge, "KEST_TOO_LARGE"},
		"large in parts":  {nil, []string{"baggage", strings.Repeat("a", 5000), "baggage", strings.Repeat("b", 5000)}, codes.ResourceExhausted, propagate.TooLarge, "KEST_TOO_LARGE"},
		"store down":      {withStore, []string{"baggage", claim}, codes.Unavailable, propagate.Unavailable, "KEST_UNAVAILABLE"},
		"no token":        {withTokens, nil, codes.Unauthenticated, propagate.Unauthenticated, "KEST_UNAUTHENTICATED"},
		"bad token":       {withTokens, []string{"authorization", "Bearer secret"}, codes.Unauthenticated, propagate.Unauthenticated, "KEST_UNAUTHENTICATED"},
		"two tokens":      {withTokens, []string{"authorization", "Bearer good", "authorization", "Bearer good"}, codes.Unauthenticated, propagate.Unauthenticated, "KEST_UNAUTHENTICATED"},
		"undecided token": {withTokens, []string{"authorization", "Bearer undecided"}, codes.Unavailable, propagate.Unavailable, "KEST_UNAVAILABLE"},
	} {
		t.Run(name, func(t *testing.T) {
			orders := newParty(t, "orders")
			ran := false
			var changes []func(*propagate.IngressConfig)
			if c.change != nil {
				changes = append(changes, c.change)
			}
			addr := serve(t, &service{
				echo: func(context.Context, string) (string, error) { ran = true; return "", nil },
				chat: func(grpc.ServerStream) error { ran = true; return nil },
			}, orders.server(changes...)...)
			conn := dial(t, addr)
			ctx := metadata.NewOutgoingContext(t.Context(), metadata.Pairs(c.pairs...))
			var trailer metadata.MD
			_, err := echo(ctx, conn, "x", grpc.Trailer(&trailer))
			wantStatus(t, err, c.code, c.class, c.reason)
			stream, err := conn.NewStream(ctx, chatDesc, chatMethod)
			if err != nil {
				t.Fatal(err)
			}
			wantStatus(t, stream.RecvMsg(&text{}), c.code, c.class, c.reason)
			if ran || len(trailer[propagate.FieldReturn]) != 0 || len(stream.Trailer()[propagate.FieldReturn]) != 0 {
				t.Error("the handler ran, or the refusal brings lineage")
			}
			if orders.log.count("request refused") != 2 {
				t.Errorf("log %s", orders.log.String())
			}
		})
	}
}

// TestAdmittedWithToken: the caller of a verified token is who acts.
func TestAdmittedWithToken(t *testing.T) {
	orders := newParty(t, "orders")
	addr := serve(t, &service{echo: func(ctx context.Context, _ string) (string, error) {
		return propagate.IdentityFrom(ctx).User, nil
	}}, orders.server(func(c *propagate.IngressConfig) { c.Listener, c.Tokens = propagate.Edge, tokens{} })...)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "bearer good")
	if user, err := echo(ctx, dial(t, addr), "x"); err != nil || user != "alice" {
		t.Error(user, err)
	}
}

// classed is an error with a class and, inside, somebody else's status.
type classed struct{ error }

func (classed) RefusalClass() propagate.Class { return propagate.ContentTooLarge }
func (c classed) Unwrap() error               { return c.error }

// own is a status of the handler's, made from a denial.
type own struct{ error }

func (o own) Unwrap() error            { return o.error }
func (own) GRPCStatus() *status.Status { return status.New(codes.NotFound, "no such order") }

// TestHandlerErrors: errors with a class become its status, without a word of theirs; a handler's own status stays.
func TestHandlerErrors(t *testing.T) {
	orders := newParty(t, "orders")
	orders.engine = policytest.Func(deny)
	denied := orders.work(t.Context(), "orders.check", kest.WithEngine(orders.engine))
	if !errors.Is(denied, kest.ErrDenied) {
		t.Fatal(denied)
	}
	inner := classed{status.Error(codes.AlreadyExists, "secret of another server")}
	var fail error
	addr := serve(t, &service{
		echo: func(context.Context, string) (string, error) { return "", fail },
		chat: func(grpc.ServerStream) error { return fail },
	}, orders.server(func(c *propagate.IngressConfig) { c.Listener = propagate.Edge })...)
	conn := dial(t, addr)
	call := func(t *testing.T) [2]error {
		_, unary := echo(t.Context(), conn, "x")
		stream, err := conn.NewStream(t.Context(), watchDesc, watchMethod)
		if err != nil {
			t.Fatal(err)
		}
		return [2]error{unary, stream.RecvMsg(&text{})}
	}
	for name, c := range map[string]struct {
		err    error
		code   codes.Code
		class  propagate.Class
		reason string
	}{
		"denied":          {denied, codes.PermissionDenied, propagate.Forbidden, "KEST_FORBIDDEN"},
		"wrapped":         {fmt.Errorf("secret: %w", denied), codes.PermissionDenied, propagate.Forbidden, "KEST_FORBIDDEN"},
		"status inside":   {inner, codes.ResourceExhausted, propagate.ContentTooLarge, "KEST_CONTENT_TOO_LARGE"},
		"fault":           {&propagate.RefusedError{Class: propagate.Fault, Err: errors.New("secret")}, codes.Internal, propagate.Fault, "KEST_FAULT"},
		"class not known": {&propagate.RefusedError{Class: 99, Err: errors.New("secret")}, codes.Internal, propagate.Fault, "KEST_FAULT"},
	} {
		t.Run(name, func(t *testing.T) {
			fail = c.err
			for _, err := range call(t) {
				wantStatus(t, err, c.code, c.class, c.reason)
			}
		})
	}
	for name, c := range map[string]struct {
		err  error
		code codes.Code
		text string
	}{
		"plain":      {errors.New("sold out"), codes.Unknown, "sold out"},
		"status":     {status.Error(codes.NotFound, "no such order"), codes.NotFound, "no such order"},
		"own status": {own{denied}, codes.NotFound, "no such order"},
		"canceled":   {context.Canceled, codes.Canceled, "context canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			fail = c.err
			for _, err := range call(t) {
				if s := status.Convert(err); s.Code() != c.code || s.Message() != c.text || len(s.Details()) != 0 {
					t.Errorf("%v", err)
				}
			}
		})
	}
}

// TestInterceptorsSeeTheCause: an interceptor before ours can log the reason, and what it wraps stays hidden.
func TestInterceptorsSeeTheCause(t *testing.T) {
	orders := newParty(t, "orders")
	var seen error
	outer := grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		reply, err := next(ctx, req)
		seen = err
		return reply, fmt.Errorf("outer: %w", err)
	})
	addr := serve(t, &service{}, append([]grpc.ServerOption{outer}, orders.server()...)...)
	_, err := echo(t.Context(), dial(t, addr), "x")
	var refused *propagate.RefusedError
	if !errors.As(seen, &refused) || refused.Class != propagate.Forbidden {
		t.Errorf("%v", seen)
	}
	if s := status.Convert(err); s.Code() != codes.PermissionDenied || strings.Contains(s.Message(), "listener requires") {
		t.Errorf("%v", err)
	}
}

// TestHandlersLineageOfFailure: what a handler learned before it failed, or panicked, comes back with the error.
func TestHandlersLineageOfFailure(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	recovering := []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (_ any, err error) {
			defer func() {
				if recover() != nil {
					err = status.Error(codes.Internal, "recovered")
				}
			}()
			return next(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
			defer func() {
				if recover() != nil {
					err = status.Error(codes.Internal, "recovered")
				}
			}()
			return next(srv, ss)
		}),
	}
	fail := func(ctx context.Context, how string) error {
		if err := orders.work(ctx, "orders.check"); err != nil {
			return err
		}
		if how == "panic" {
			panic("handler")
		}
		return status.Error(codes.Internal, "failed")
	}
	addr := serve(t, &service{
		echo: func(ctx context.Context, in string) (string, error) { return "", fail(ctx, in) },
		chat: func(s grpc.ServerStream) error {
			in := &text{}
			if err := s.RecvMsg(in); err != nil {
				return err
			}
			return fail(s.Context(), in.GetValue())
		},
	}, append(recovering, orders.server()...)...)
	conn := dial(t, addr, frontend.client(strict)...)
	for _, how := range []string{"error", "panic"} {
		ctx, session := frontend.session(t.Context())
		if _, err := echo(ctx, conn, how); status.Code(err) != codes.Internal {
			t.Fatal(err)
		}
		if got := operations(session.Passport()); len(got) != 2 || got[1] != "orders.check" {
			t.Errorf("unary, %s: %q", how, got)
		}
		ctx, session = frontend.session(t.Context())
		if err := streamOnce(ctx, conn, how); status.Code(err) != codes.Internal {
			t.Fatal(err)
		}
		if got := operations(session.Passport()); len(got) != 2 || got[1] != "orders.check" {
			t.Errorf("stream, %s: %q", how, got)
		}
	}
}

// streamOnce sends one message and receives until the end.
func streamOnce(ctx context.Context, conn *grpc.ClientConn, message string) error {
	stream, err := conn.NewStream(ctx, chatDesc, chatMethod)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(wrapperspb.String(message)); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	stream.CloseSend()
	for {
		if err := stream.RecvMsg(&text{}); err != nil {
			return err
		}
	}
}
