package spiffetest

import (
	"context"
	"crypto"
	"crypto/x509"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type svid struct {
	id    string
	chain []*x509.Certificate
	key   crypto.Signer
}

// issue makes new SVIDs. The caller holds mu, or is the only one.
func (s *Server) issue() {
	s.svids = nil
	for _, id := range s.config.IDs {
		chain, key := s.CA.Mint(Leaf{ID: id, Key: s.config.Key, Lifetime: s.config.Lifetime})
		s.svids = append(s.svids, svid{id, chain, key})
	}
}

// Message is the SVID in the form of the Workload API, for [Server.Tamper].
func Message(id string, chain []*x509.Certificate, key crypto.Signer, bundle []*x509.Certificate) *workload.X509SVID {
	return &workload.X509SVID{
		SpiffeId: id, X509Svid: der(chain), X509SvidKey: must(x509.MarshalPKCS8PrivateKey(key)), Bundle: der(bundle),
	}
}

func der(certificates []*x509.Certificate) []byte {
	var out []byte
	for _, c := range certificates {
		out = append(out, c.Raw...)
	}
	return out
}

// api is the Workload API of a server.
type api struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	s *Server
}

// checkHeader is what keeps requests out that a browser or a proxy was tricked into (SPIFFE Workload Endpoint §6.1).
func checkHeader(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if !slices.Equal(md.Get("workload.spiffe.io"), []string{"true"}) {
		return status.Error(codes.InvalidArgument, "security header missing from request")
	}
	return nil
}

// stream sends what message makes, now and after every change. message is called with the server locked.
func stream[M any](s *Server, out grpc.ServerStreamingServer[M], message func() *M) error {
	if err := checkHeader(out.Context()); err != nil {
		return err
	}
	for {
		s.mu.Lock()
		changed, hung, failure := s.changed, s.hung, s.failure
		var m *M
		if !hung && failure == codes.OK {
			m = message()
		}
		s.mu.Unlock()
		if failure != codes.OK && !hung {
			return status.Error(failure, "no identity issued")
		}
		if m != nil {
			if err := out.Send(m); err != nil {
				return err
			}
		}
		select {
		case <-out.Context().Done():
			return out.Context().Err()
		case <-changed:
		}
	}
}

func (a api) FetchX509SVID(_ *workload.X509SVIDRequest, out grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	return stream(a.s, out, func() *workload.X509SVIDResponse {
		m := &workload.X509SVIDResponse{FederatedBundles: map[string][]byte{}}
		for _, v := range a.s.svids {
			m.Svids = append(m.Svids, Message(v.id, v.chain, v.key, a.s.CA.X509()))
		}
		for _, other := range a.s.config.Federated {
			m.FederatedBundles["spiffe://"+other.Domain] = der(other.X509())
		}
		if a.s.tamper != nil {
			a.s.tamper(m)
		}
		return m
	})
}

func (a api) FetchX509Bundles(_ *workload.X509BundlesRequest, out grpc.ServerStreamingServer[workload.X509BundlesResponse]) error {
	return stream(a.s, out, func() *workload.X509BundlesResponse {
		m := &workload.X509BundlesResponse{Bundles: map[string][]byte{}}
		for _, ca := range append([]*CA{a.s.CA}, a.s.config.Federated...) {
			m.Bundles["spiffe://"+ca.Domain] = der(ca.X509())
		}
		return m
	})
}

func (a api) FetchJWTBundles(_ *workload.JWTBundlesRequest, out grpc.ServerStreamingServer[workload.JWTBundlesResponse]) error {
	return stream(a.s, out, func() *workload.JWTBundlesResponse {
		m := &workload.JWTBundlesResponse{Bundles: map[string][]byte{}}
		for _, ca := range append([]*CA{a.s.CA}, a.s.config.Federated...) {
			domain := must(spiffeid.TrustDomainFromString(ca.Domain))
			m.Bundles["spiffe://"+ca.Domain] = must(jwtbundle.FromJWTAuthorities(domain, ca.JWT()).Marshal())
		}
		return m
	})
}

func (a api) FetchJWTSVID(ctx context.Context, request *workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
	if err := checkHeader(ctx); err != nil {
		return nil, err
	}
	if len(request.GetAudience()) == 0 {
		return nil, status.Error(codes.InvalidArgument, "audience must be specified")
	}
	a.s.mu.Lock()
	hung, failure, config, tamper := a.s.hung, a.s.failure, a.s.config, a.s.token
	a.s.mu.Unlock()
	if hung {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if failure != codes.OK {
		return nil, status.Error(failure, "no identity issued")
	}
	m := &workload.JWTSVIDResponse{}
	for _, id := range config.IDs {
		if request.GetSpiffeId() != "" && request.GetSpiffeId() != id {
			continue
		}
		now := time.Now()
		token := a.s.CA.Token(map[string]any{
			"aud": request.GetAudience(), "sub": id, "iat": now.Unix(), "exp": now.Add(config.JWTLifetime).Unix(),
		})
		if tamper != nil {
			token = tamper(token)
		}
		m.Svids = append(m.Svids, &workload.JWTSVID{SpiffeId: id, Svid: token})
	}
	if len(m.GetSvids()) == 0 {
		return nil, status.Error(codes.PermissionDenied, "no identity issued")
	}
	return m, nil
}
