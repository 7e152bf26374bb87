package kestgrpc

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// hopRequest is the part of a call that a hop proof covers. Both ends leave out the default port of the authority
// (RFC 9421 §2.2.3), because gRPC does not tell the signer whether it was there.
func hopRequest(method, authority string, md metadata.MD, fields ...string) propagate.HopRequest {
	r := propagate.HopRequest{
		Method: http.MethodPost, Authority: strings.TrimSuffix(authority, ":443"), Path: method, Fields: map[string][]string{},
	}
	for _, name := range fields {
		if values := md.Get(name); len(values) > 0 {
			r.Fields[name] = values
		}
	}
	return r
}

// arrived is the same on the server's side.
func arrived(method string, md metadata.MD) *propagate.HopRequest {
	r := hopRequest(method, carrier(md).Get(fieldAuthority), md, fieldBaggage, fieldSignature, fieldInput)
	return &r
}

// sealed sees a call with lineage off. It is a per-call credential because gRPC asks for those last, for each attempt:
// only there the authority and the metadata are known as they go out, and what gRPC retries or hedges gets a hop proof
// of its own instead of one that the server has seen.
type sealed struct {
	egress  *propagate.Egress
	sent    lineage.Passport
	baggage string                        // as it was written
	other   credentials.PerRPCCredentials // that the caller had chosen, or nil: gRPC knows one per call
}

func newSealed(egress *propagate.Egress, sent lineage.Passport, md metadata.MD, opts []grpc.CallOption) *sealed {
	s := &sealed{egress: egress, sent: sent, baggage: carrier(md).Get(fieldBaggage)}
	for _, o := range opts {
		if o, ok := o.(grpc.PerRPCCredsCallOption); ok {
			s.other = o.Creds
		}
	}
	if egress.Proves() {
		md.Delete(fieldSignature) // of a call that is passed on
		md.Delete(fieldInput)
	}
	return s
}

var (
	errOverwritten = errors.New("something after the interceptor has replaced the baggage, and the lineage in it; " +
		"give the stats handler a propagator without baggage (see package kestgrpc)")
	errNoAuthority = errors.New("hop proof: gRPC does not say to which authority the call goes")
)

// GetRequestMetadata implements credentials.PerRPCCredentials. uri is "https://", the authority, and the service.
func (s *sealed) GetRequestMetadata(ctx context.Context, uri ...string) (map[string]string, error) {
	out := map[string]string{}
	if s.other != nil {
		theirs, err := s.other.GetRequestMetadata(ctx, uri...)
		if err != nil {
			return nil, err
		}
		maps.Copy(out, theirs) // their map may be shared
	}
	md, _ := metadata.FromOutgoingContext(ctx)
	if !slices.Contains(md.Get(fieldBaggage), s.baggage) {
		return nil, errOverwritten // an Edge would take the call for a stranger's
	}
	if !s.egress.Proves() {
		return out, nil
	}
	info, _ := credentials.RequestInfoFromContext(ctx)
	authority, ok := authorityOf(info.Method, uri)
	if !ok {
		return nil, errNoAuthority
	}
	input, signature, err := s.egress.Prove(ctx, s.sent, hopRequest(info.Method, authority, md, fieldBaggage))
	switch {
	case ctx.Err() != nil:
		return nil, status.FromContextError(ctx.Err()).Err()
	case err != nil:
		return nil, err
	}
	out[fieldInput], out[fieldSignature] = input, signature
	return out, nil
}

// authorityOf reads the authority in what gRPC calls the audience of a call.
func authorityOf(method string, uri []string) (authority string, ok bool) {
	if len(uri) != 1 {
		return "", false
	}
	authority, ok = strings.CutSuffix(strings.TrimPrefix(uri[0], "https://"), method[:max(0, strings.LastIndexByte(method, '/'))])
	return authority, ok && authority != ""
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. A hop proof is no secret: it holds for one request.
func (s *sealed) RequireTransportSecurity() bool {
	return s.other != nil && s.other.RequireTransportSecurity()
}
