package kestgrpc_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/kestgrpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = "spiffe://example.org/"

// text is the message of all methods.
type text = wrapperspb.StringValue

// service is what the tests serve, written by hand instead of by protoc. nil methods echo.
type service struct {
	echo func(ctx context.Context, in string) (string, error)
	chat func(s grpc.ServerStream) error // also of watch and collect
}

const (
	echoMethod    = "/kest.test.Service/Echo"
	watchMethod   = "/kest.test.Service/Watch"
	collectMethod = "/kest.test.Service/Collect"
	chatMethod    = "/kest.test.Service/Chat"
)

var (
	watchDesc   = &grpc.StreamDesc{StreamName: "Watch", ServerStreams: true}
	collectDesc = &grpc.StreamDesc{StreamName: "Collect", ClientStreams: true}
	chatDesc    = &grpc.StreamDesc{StreamName: "Chat", ClientStreams: true, ServerStreams: true}
)

func (s *service) Echo(ctx context.Context, in *text) (*text, error) {
	if s.echo == nil {
		return in, nil
	}
	out, err := s.echo(ctx, in.GetValue())
	if err != nil {
		return nil, err
	}
	return wrapperspb.String(out), nil
}

func (s *service) Chat(stream grpc.ServerStream) error {
	if s.chat != nil {
		return s.chat(stream)
	}
	for {
		in := &text{}
		if err := stream.RecvMsg(in); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(in); err != nil {
			return err
		}
	}
}

func description() *grpc.ServiceDesc {
	echo := func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		in := &text{}
		if err := decode(in); err != nil {
			return nil, err
		}
		handler := func(ctx context.Context, req any) (any, error) { return srv.(*service).Echo(ctx, req.(*text)) }
		if interceptor == nil {
			return handler(ctx, in)
		}
		return interceptor(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: echoMethod}, handler)
	}
	stream := func(srv any, s grpc.ServerStream) error { return srv.(*service).Chat(s) }
	desc := &grpc.ServiceDesc{
		ServiceName: "kest.test.Service", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: echo}},
	}
	for _, d := range []*grpc.StreamDesc{watchDesc, collectDesc, chatDesc} {
		copied := *d
		copied.Handler = stream
		desc.Streams = append(desc.Streams, copied)
	}
	return desc
}

// serve starts a server on loopback and returns its address.
func serve(t testing.TB, s *service, opts ...grpc.ServerOption) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, s, opts...)
	return l.Addr().String()
}

func serveOn(t testing.TB, l net.Listener, s *service, opts ...grpc.ServerOption) {
	server := grpc.NewServer(opts...)
	server.RegisterService(description(), s)
	var wg sync.WaitGroup
	wg.Go(func() { server.Serve(l) })
	t.Cleanup(func() { server.Stop(); wg.Wait() })
}

func dial(t testing.TB, target string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(target, append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func echo(ctx context.Context, conn *grpc.ClientConn, in string, opts ...grpc.CallOption) (string, error) {
	out := &text{}
	err := conn.Invoke(ctx, echoMethod, wrapperspb.String(in), out, opts...)
	return out.GetValue(), err
}

// log keeps what was logged.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *log) count(s string) int { return bytes.Count([]byte(l.String()), []byte(s)) }

// party is one workload: its guard, its log, and both interceptors.
type party struct {
	t        testing.TB
	name     string
	guard    *kest.Guard
	engine   *policytest.Mock
	verifier *lineage.Verifier
	log      log
}

func newParty(t testing.TB, name string) *party {
	t.Helper()
	p := &party{t: t, name: name, engine: policytest.Allow()}
	keys := map[string][]ed25519.PublicKey{}
	for _, n := range []string{"frontend", "orders", "ledger"} {
		keys[domain+n] = identitytest.New(domain + n).PublicKeys()
	}
	set, err := lineage.NewKeySet(keys)
	if err != nil {
		t.Fatal(err)
	}
	if p.verifier, err = lineage.NewVerifier(lineage.VerifierConfig{Keys: set}); err != nil {
		t.Fatal(err)
	}
	p.guard, err = kest.New(kest.Config{Engine: p.engine, Identity: identitytest.New(domain + name), Logger: p.logger()})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *party) logger() *slog.Logger { return slog.New(slog.NewTextHandler(&p.log, nil)) }

func (p *party) server(changes ...func(*propagate.IngressConfig)) []grpc.ServerOption {
	p.t.Helper()
	return p.front(kestgrpc.ServerConfig{}, changes...)
}

func (p *party) exempt(names ...string) []grpc.ServerOption {
	p.t.Helper()
	return p.front(kestgrpc.ServerConfig{Exempt: names})
}

func (p *party) front(sc kestgrpc.ServerConfig, changes ...func(*propagate.IngressConfig)) []grpc.ServerOption {
	p.t.Helper()
	c := propagate.IngressConfig{Listener: propagate.Internal, Verifier: p.verifier, Logger: p.logger()}
	for _, change := range changes {
		change(&c)
	}
	ingress, err := propagate.NewIngress(c)
	if err != nil {
		p.t.Fatal(err)
	}
	sc.Ingress = ingress
	s, err := kestgrpc.NewServerInterceptor(sc)
	if err != nil {
		p.t.Fatal(err)
	}
	return s.Options()
}

func (p *party) interceptor(changes ...func(*propagate.EgressConfig)) *kestgrpc.ClientInterceptor {
	p.t.Helper()
	c := propagate.EgressConfig{Sealer: p.guard, Verifier: p.verifier, Logger: p.logger()}
	for _, change := range changes {
		change(&c)
	}
	egress, err := propagate.NewEgress(c)
	if err != nil {
		p.t.Fatal(err)
	}
	i, err := kestgrpc.NewClientInterceptor(kestgrpc.ClientConfig{Egress: egress})
	if err != nil {
		p.t.Fatal(err)
	}
	return i
}

func (p *party) client(changes ...func(*propagate.EgressConfig)) []grpc.DialOption {
	p.t.Helper()
	return p.interceptor(changes...).Options()
}

func strict(c *propagate.EgressConfig) { c.StrictReturn = true }

// work is a guarded call of the party.
func (p *party) work(ctx context.Context, operation string, options ...kest.Option) error {
	options = append([]kest.Option{kest.Operation(operation), kest.Policy("kest/allow")}, options...)
	f, err := kest.Verified(p.guard, func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil }, options...)
	if err != nil {
		return err
	}
	_, err = f(ctx, struct{}{})
	return err
}

// session begins a lineage with one entry.
func (p *party) session(ctx context.Context) (context.Context, *propagate.Session) {
	p.t.Helper()
	ctx, session := kest.StartSession(ctx)
	if err := p.work(ctx, p.name+".begin"); err != nil {
		p.t.Fatal(err)
	}
	return ctx, session
}

// operations are those of a passport, in order.
func operations(p lineage.Passport) []string {
	var out []string
	for _, s := range p.All() {
		out = append(out, s.Entry().Operation)
	}
	return out
}

// wantStatus checks what a client is told: the code, the words of the class, and the detail, and nothing else.
func wantStatus(t *testing.T, err error, code codes.Code, class propagate.Class, reason string) {
	t.Helper()
	s, ok := status.FromError(err)
	if !ok || s.Code() != code || s.Message() != class.Title() {
		t.Fatalf("%v; want %s, %q", err, code, class.Title())
	}
	details := s.Details()
	if len(details) != 1 {
		t.Fatalf("%d details", len(details))
	}
	info, ok := details[0].(*errdetails.ErrorInfo)
	if !ok || info.GetReason() != reason || info.GetDomain() != "kest" || len(info.GetMetadata()) != 0 {
		t.Errorf("detail %v", details[0])
	}
}

func deny(context.Context, string, *policy.Input) (policy.Decision, error) {
	return policy.Decision{Reason: "secret reason"}, nil
}
