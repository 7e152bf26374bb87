package kestgrpc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/kestgrpc"
)

// ca is a certificate authority.
type ca struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t testing.TB) *ca {
	t.Helper()
	c := &ca{t: t}
	c.cert, c.key = c.issue(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return c
}

func (c *ca) issue(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := c.cert, c.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		c.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	return cert, key
}

// named is a certificate with URI names, for both ends of a connection on loopback.
func (c *ca) named(names ...string) *tls.Certificate {
	c.t.Helper()
	template := &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	for _, name := range names {
		u, err := url.Parse(name)
		if err != nil {
			c.t.Fatal(err)
		}
		template.URIs = append(template.URIs, u)
	}
	cert, key := c.issue(template)
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func (c *ca) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return pool
}

// peerName is a ServerConfig.Peer as PeerID of identity/spiffe: verified chains and one name only.
func peerName(state *tls.ConnectionState) (string, error) {
	if len(state.VerifiedChains) == 0 {
		return "", errors.New("no verified certificate")
	}
	uris := state.VerifiedChains[0][0].URIs
	if len(uris) != 1 {
		return "", fmt.Errorf("%d names", len(uris))
	}
	return uris[0].String(), nil
}

// TestRequirePeer (SPEC §8 SPIRE, §9), over TLS as it is: who presents lineage is who signed its tip, in unary calls and
// in streams.
func TestRequirePeer(t *testing.T) {
	good, other := newCA(t), newCA(t)
	for name, c := range map[string]struct {
		certificate *tls.Certificate
		plain       bool
		stranger    bool // brings no lineage
		sealer      func(*testing.T) propagate.Sealer
		listener    propagate.Listener
		code        codes.Code
		say         string
	}{
		"right peer": {certificate: good.named(domain + "frontend"), code: codes.OK},
		"another workload with a stolen passport": {certificate: good.named(domain + "ledger"), code: codes.PermissionDenied, say: "peer is"},
		"no certificate":                       {code: codes.PermissionDenied, say: "no verified certificate"},
		"no TLS":                               {plain: true, code: codes.PermissionDenied, say: "mutual TLS is required"},
		"no name":                              {certificate: good.named(), code: codes.PermissionDenied, say: "0 names"},
		"two names":                            {certificate: good.named(domain+"frontend", domain+"ledger"), code: codes.PermissionDenied, say: "2 names"},
		"another authority":                    {certificate: other.named(domain + "frontend"), code: codes.Unavailable},
		"several leaves":                       {certificate: good.named(domain + "frontend"), sealer: twoLeaves, code: codes.PermissionDenied, say: "several workloads"},
		"internal, without lineage":            {certificate: good.named(domain + "frontend"), stranger: true, code: codes.PermissionDenied, say: "no lineage"},
		"edge, without lineage or certificate": {stranger: true, listener: propagate.Edge, code: codes.OK},
		"edge, stolen":                         {certificate: good.named(domain + "ledger"), listener: propagate.Edge, code: codes.PermissionDenied, say: "peer is"},
	} {
		t.Run(name, func(t *testing.T) {
			frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
			front := orders.front(kestgrpc.ServerConfig{Peer: peerName}, func(in *propagate.IngressConfig) {
				if in.RequirePeer = true; c.listener != 0 {
					in.Listener = c.listener
				}
			})
			var back []grpc.DialOption
			if !c.stranger {
				back = frontend.client(func(e *propagate.EgressConfig) {
					if c.sealer != nil {
						e.Sealer = c.sealer(t)
					}
				})
			}
			if !c.plain {
				front = append(front, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{*good.named()},
					ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: good.pool(), MinVersion: tls.VersionTLS13})))
				config := &tls.Config{RootCAs: good.pool(), MinVersion: tls.VersionTLS13}
				if c.certificate != nil { // also when the server does not name its authority
					config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.certificate, nil }
				}
				back = append(back, grpc.WithTransportCredentials(credentials.NewTLS(config)))
			}
			conn := dial(t, serve(t, &service{}, front...), back...)
			ctx, _ := frontend.session(t.Context())
			if _, err := echo(ctx, conn, "x"); status.Code(err) != c.code {
				t.Fatalf("unary: %v; %s", err, orders.log.String())
			}
			if err := streamOnce(ctx, conn, "x"); status.Code(err) != c.code && (c.code != codes.OK || err.Error() != "EOF") {
				t.Errorf("stream: %v", err)
			}
			if want := map[bool]int{true: 2}[c.code == codes.PermissionDenied]; orders.log.count("request refused") != want || !strings.Contains(orders.log.String(), c.say) {
				t.Errorf("log %q does not say %q", orders.log.String(), c.say)
			}
		})
	}
}

type sealer struct{ p lineage.Passport }

func (s sealer) Seal(context.Context) (lineage.Passport, error) { return s.p, nil }

// twoLeaves is lineage that ends in an entry of frontend and in one of ledger.
func twoLeaves(t *testing.T) propagate.Sealer {
	t.Helper()
	var all lineage.Passport
	var root []lineage.Hash
	for i, name := range []string{"frontend", "frontend", "ledger"} {
		signer, err := identitytest.New(domain + name).Signer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		signed, err := lineage.Sign(t.Context(), signer, lineage.Entry{
			Runtime: lineage.Runtime{Name: "x"}, ID: fmt.Sprintf("0190e2b0-7b3a-7c3e-8a53-%012x", i), Operation: "step",
			Classification: "system", TrustScore: 100, Parents: root,
			Labels: map[string]string{"principal": domain + name, "trace_id": strings.Repeat("1", 32), "kest.source_type": "internal"},
		}, lineage.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if all, err = all.Append(signed); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			root = []lineage.Hash{signed.Hash()}
		}
	}
	return sealer{all}
}

// TestPeerConfig: an ingress that requires a peer must be able to learn it.
func TestPeerConfig(t *testing.T) {
	in, err := propagate.NewIngress(propagate.IngressConfig{Listener: propagate.Internal, Verifier: newParty(t, "orders").verifier, RequirePeer: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := kestgrpc.NewServerInterceptor(kestgrpc.ServerConfig{Ingress: in, Exempt: []string{"x"}})
	if s != nil || err == nil || !strings.Contains(err.Error(), "Peer") || !strings.Contains(err.Error(), "Exempt") {
		t.Errorf("%v", err)
	}
}

// listening is a key source that notes what came along with whatever is verified.
type listening struct {
	keys    lineage.KeySource
	mu      sync.Mutex
	offered string
}

func (l *listening) Keys(ctx context.Context, principal, keyID string) ([]ed25519.PublicKey, error) {
	l.mu.Lock()
	l.offered = strings.Join(lineage.Offered(ctx), ",")
	l.mu.Unlock()
	return l.keys.Keys(ctx, principal, keyID)
}

func (l *listening) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.offered
	l.offered = ""
	return out
}

// TestBindingsTravel: key bindings go with a call and come back with its trailer; a handler that passes its metadata on
// passes none on.
func TestBindingsTravel(t *testing.T) {
	frontend, orders := newParty(t, "frontend"), newParty(t, "orders")
	listen := func() (*listening, *lineage.Verifier) {
		set, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{
			domain + "frontend": identitytest.New(domain + "frontend").PublicKeys(), domain + "orders": identitytest.New(domain + "orders").PublicKeys(),
		})
		if err != nil {
			t.Fatal(err)
		}
		l := &listening{keys: set}
		v, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: l})
		if err != nil {
			t.Fatal(err)
		}
		return l, v
	}
	sends := func(text string) *propagate.Propagator {
		p, err := propagate.New(propagate.Config{Bindings: func(lineage.Passport) []string { return []string{text} }})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	heard, in := listen()
	back, out := listen()
	var handler string
	var wire metadata.MD
	see := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		wire, _ = metadata.FromIncomingContext(ctx)
		return next(ctx, req)
	}
	addr := serve(t, &service{echo: func(ctx context.Context, s string) (string, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		handler = strings.Join(md.Get("baggage"), "") + strings.Join(lineage.Offered(ctx), "")
		return s, orders.work(ctx, "x")
	}}, append([]grpc.ServerOption{grpc.ChainUnaryInterceptor(see)}, orders.server(func(c *propagate.IngressConfig) { c.Propagator, c.Verifier = sends("of orders"), in })...)...)
	conn := dial(t, addr, frontend.client(strict, func(c *propagate.EgressConfig) { c.Propagator, c.Verifier = sends("of frontend"), out })...)
	ctx, session := frontend.session(t.Context())
	if _, err := echo(ctx, conn, "x"); err != nil || session.Passport().Len() != 2 {
		t.Errorf("%d entries, %v", session.Passport().Len(), err)
	}
	if !strings.Contains(strings.Join(wire.Get("baggage"), ","), "kest.binding=b2YgZnJvbnRlbmQ") || handler != "" {
		t.Errorf("on the wire %.300q, in the handler %q", wire.Get("baggage"), handler)
	}
	if got := heard.take() + "; " + back.take(); got != "of frontend; of orders" {
		t.Errorf("offered %q", got)
	}
}
