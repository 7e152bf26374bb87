package kestgrpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/kest-go/kest/propagate"
)

// ServerConfig configures a [ServerInterceptor].
type ServerConfig struct {
	// Ingress is required: it decides who is served. Its Authorities are names as clients dial them, without the
	// default port ":443".
	Ingress *propagate.Ingress
	// Peer names the principal of a TLS client, for an ingress with RequirePeer, which needs it: PeerID of
	// identity/spiffe, for example. It must refuse a certificate that was not verified: under tls.RequestClientCert and
	// RequireAnyClientCert anybody can show any. It is asked for each call, and is safe for concurrent use.
	Peer func(*tls.ConnectionState) (string, error)
	// Exempt are the methods ("/grpc.health.v1.Health/Check") and services ("/grpc.health.v1.Health/") that anybody
	// may call. They are not looked at, and nothing guarded can run in them. Empty: none.
	Exempt []string
}

// A ServerInterceptor admits calls before their handlers see them. Make it with [NewServerInterceptor]. It is safe for
// concurrent use.
type ServerInterceptor struct {
	ingress *propagate.Ingress
	peer    func(*tls.ConnectionState) (string, error)
	exempt  map[string]bool
}

// NewServerInterceptor checks the configuration and reports everything that is wrong with it.
func NewServerInterceptor(c ServerConfig) (*ServerInterceptor, error) {
	var problems []error
	if c.Ingress == nil {
		problems = append(problems, errors.New("kestgrpc: Ingress is nil; make one with propagate.NewIngress"))
	}
	if c.Ingress != nil && c.Ingress.RequiresPeer() && c.Peer == nil {
		problems = append(problems, errors.New("kestgrpc: Peer is nil, which the RequirePeer of the ingress needs; give PeerID of identity/spiffe, for example"))
	}
	s := &ServerInterceptor{ingress: c.Ingress, peer: c.Peer, exempt: map[string]bool{}}
	for _, name := range c.Exempt {
		if !exemptions.MatchString(name) {
			problems = append(problems, fmt.Errorf(`kestgrpc: Exempt: %q; want "/package.Service/Method" or "/package.Service/"`, name))
		}
		s.exempt[name] = true
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return s, nil
}

var (
	exemptions = regexp.MustCompile(`^/[A-Za-z0-9_.]+/[A-Za-z0-9_]*$`)
	errExempt  = errors.New("the method is exempt from admission; nothing guarded runs in it")
)

// Options are the options of a server all of whose calls are admitted, unary ones and streams.
func (s *ServerInterceptor) Options() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(s.Unary), grpc.ChainStreamInterceptor(s.Stream)}
}

// Unary is a grpc.UnaryServerInterceptor. The handler finds session, identity and caller in its context, as guarded
// calls do, and no baggage members of Kest in its metadata, so that a proxy does not pass them on.
func (s *ServerInterceptor) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	admitted, answer, err := s.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	defer func() { // also when the handler panics and an interceptor before this one recovers
		if md := answer(); md != nil {
			grpc.SetTrailer(ctx, md) //nolint:errcheck // fails where there is no stream, and then there is no trailer
		}
	}()
	reply, err := handler(admitted, req)
	return reply, handled(err)
}

// Stream is a grpc.StreamServerInterceptor. See [ServerInterceptor.Unary].
func (s *ServerInterceptor) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	admitted, answer, err := s.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	defer func() {
		if md := answer(); md != nil {
			ss.SetTrailer(md)
		}
	}()
	return handled(handler(srv, &serverStream{ss, admitted}))
}

// admit returns the context of the handler, and the trailer to set when the handler is done, nil for none.
func (s *ServerInterceptor) admit(ctx context.Context, method string) (context.Context, func() metadata.MD, error) {
	if s.exempt[method] || s.exempt[method[:strings.LastIndexByte(method, '/')+1]] {
		return propagate.Refuse(ctx, errExempt), func() metadata.MD { return nil }, nil
	}
	md, _ := metadata.FromIncomingContext(ctx) // a copy
	principal, noPeer := s.peerOf(ctx)
	out, admission, err := s.ingress.Admit(ctx, propagate.Request{
		Carrier: carrier(md), Authorization: md.Get(fieldAuthorization), Hop: arrived(method, md), Peer: principal, PeerErr: noPeer,
	})
	if err != nil {
		return nil, nil, refused(err)
	}
	if len(md.Get(fieldBaggage)) > 0 {
		propagate.Strip(carrier(md))
		out = metadata.NewIncomingContext(out, md)
	}
	return out, func() metadata.MD {
		value := s.ingress.Return(out, admission, propagate.Whole)
		if value == "" {
			return nil
		}
		return metadata.Pairs(propagate.FieldReturn, value)
	}, nil
}

// peerOf is who the connection shows, "" when that is nobody: the ingress then refuses lineage.
func (s *ServerInterceptor) peerOf(ctx context.Context) (string, error) {
	p, ok := peer.FromContext(ctx)
	if !ok || !s.ingress.RequiresPeer() {
		return "", nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return "", nil
	}
	principal, err := s.peer(&info.State)
	if err != nil {
		return "", err // whatever else came
	}
	return principal, nil
}

// serverStream has the context of the admitted call.
type serverStream struct {
	grpc.ServerStream
	admitted context.Context
}

func (s *serverStream) Context() context.Context { return s.admitted }
