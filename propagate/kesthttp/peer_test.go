package kesthttp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/kesthttp"
)

// domain begins the names in certificates. The principals of these tests are the rest.
const domain = "spiffe://example.org/"

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
	must(c.t, err)
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := c.cert, c.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	must(c.t, err)
	cert, err := x509.ParseCertificate(der)
	must(c.t, err)
	return cert, key
}

// named is a certificate with URI names, for both ends of a connection on loopback.
func (c *ca) named(names ...string) tls.Certificate {
	c.t.Helper()
	template := &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	for _, name := range names {
		u, err := url.Parse(name)
		must(c.t, err)
		template.URIs = append(template.URIs, u)
	}
	cert, key := c.issue(template)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func (c *ca) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return pool
}

// peerName is a HandlerConfig.Peer as PeerID of identity/spiffe: verified chains and one name only.
func peerName(state *tls.ConnectionState) (string, error) {
	if len(state.VerifiedChains) == 0 {
		return "", errors.New("no verified certificate")
	}
	uris := state.VerifiedChains[0][0].URIs
	if len(uris) != 1 {
		return "", fmt.Errorf("%d names", len(uris))
	}
	return strings.TrimPrefix(uris[0].String(), domain), nil
}

// sealed is a Sealer with a passport that is ready.
type sealed struct{ p lineage.Passport }

func (s sealed) Seal(context.Context) (lineage.Passport, error) { return s.p, nil }

// TestRequirePeer (SPEC §8 SPIRE, §9), over TLS as it is, with HTTP/1.1 and HTTP/2: who presents lineage is who signed
// its tip.
func TestRequirePeer(t *testing.T) {
	good, other := newCA(t), newCA(t)
	front, shop := good.named(domain+"front"), good.named(domain+"shop")
	for name, c := range map[string]struct {
		certificate *tls.Certificate
		listener    propagate.Listener
		clientAuth  tls.ClientAuthType
		plain       bool // no TLS at all
		stranger    bool // brings no lineage
		passport    func(*service) lineage.Passport
		status      int // 0: the handshake fails
		say         string
	}{
		"right peer": {certificate: &front, status: 200},
		"another workload with a stolen passport": {certificate: &shop, status: 403, say: `peer is \"shop\"`},
		"no certificate":                       {status: 403, say: "no verified certificate"},
		"no TLS":                               {plain: true, status: 403, say: "mutual TLS is required"},
		"no name":                              {certificate: p(good.named()), status: 403, say: "0 names"},
		"two names":                            {certificate: p(good.named(domain+"front", domain+"shop")), status: 403, say: "2 names"},
		"another trust domain":                 {certificate: p(good.named("spiffe://evil.example/front")), status: 403, say: "evil.example"},
		"another authority":                    {certificate: p(other.named(domain + "front"))},
		"another authority, not verified":      {certificate: p(other.named(domain + "front")), clientAuth: tls.RequireAnyClientCert, status: 403, say: "no verified"},
		"several leaves":                       {certificate: &front, passport: twoLeaves, status: 403, say: "several workloads"},
		"internal, without lineage":            {certificate: &front, stranger: true, status: 403, say: "no lineage"},
		"edge, without lineage or certificate": {listener: propagate.Edge, stranger: true, status: 200},
		"edge, stolen":                         {certificate: &shop, listener: propagate.Edge, status: 403, say: `peer is \"shop\"`},
		"edge, no certificate":                 {listener: propagate.Edge, status: 403, say: "no verified certificate"},
	} {
		for _, proto := range []int{1, 2} {
			if c.plain && proto == 2 {
				continue
			}
			t.Run(fmt.Sprintf("%s, HTTP/%d", name, proto), func(t *testing.T) {
				callee, caller := newService(t, "ledger"), newService(t, "front")
				callee.ingress.RequirePeer, callee.handler.Peer = true, peerName
				if c.listener != 0 {
					callee.ingress.Listener = c.listener
				}
				ran := 0
				server := callee.serve(func(_ http.ResponseWriter, r *http.Request) {
					if ran++; r.ProtoMajor != proto {
						t.Errorf("over %s", r.Proto)
					}
				}, func(s *httptest.Server) {
					if c.plain {
						return
					}
					auth := tls.VerifyClientCertIfGiven
					if c.clientAuth != 0 {
						auth = c.clientAuth
					}
					s.EnableHTTP2 = proto == 2
					s.TLS = &tls.Config{Certificates: []tls.Certificate{good.named()}, ClientAuth: auth, ClientCAs: good.pool(), MinVersion: tls.VersionTLS13}
					s.StartTLS()
				})
				config := &tls.Config{RootCAs: good.pool(), MinVersion: tls.VersionTLS13}
				if c.certificate != nil { // also when the server does not name its authority
					config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.certificate, nil }
				}
				base := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: proto == 2}
				defer base.CloseIdleConnections()
				caller.transport.Base = base
				if c.passport != nil {
					caller.egress.Sealer = sealed{c.passport(caller)}
				}
				client := caller.client()
				if c.stranger {
					client = &http.Client{Transport: base}
				}
				for range 2 { // the second on the same connection
					_, resp, _, err := caller.get(client, http.MethodGet, server.URL, nil)
					if c.status == 0 {
						if err == nil {
							t.Fatal("served")
						}
						continue
					}
					must(t, err)
					if resp.StatusCode != c.status {
						t.Fatalf("status %d: %s", resp.StatusCode, callee.log)
					}
				}
				if want := map[bool]int{true: 2}[c.status == 200]; ran != want {
					t.Errorf("the handler ran %d times", ran)
				}
				if log := callee.log.String(); !strings.Contains(log, c.say) || strings.Contains(log, "request refused") != (c.status == 403) {
					t.Errorf("log %q does not say %q", log, c.say)
				}
			})
		}
	}
}

func p(c tls.Certificate) *tls.Certificate { return &c }

// twoLeaves is lineage that ends in an entry of front and in one of shop.
func twoLeaves(s *service) lineage.Passport {
	s.t.Helper()
	var all lineage.Passport
	for i, name := range []string{"front", "front", "shop"} {
		e := lineage.Entry{
			Runtime: lineage.Runtime{Name: "x"}, ID: fmt.Sprintf("0190e2b0-7b3a-7c3e-8a53-%012x", i), Operation: "step",
			Classification: "system", TrustScore: 100,
			Labels: map[string]string{"principal": name, "trace_id": strings.Repeat("1", 32), "kest.source_type": "internal"},
		}
		if i > 0 {
			e.Parents = []lineage.Hash{first(all).Hash()}
		}
		signer, err := newService(s.t, name).identity.Signer(s.t.Context())
		must(s.t, err)
		signed, err := lineage.Sign(s.t.Context(), signer, e, lineage.Limits{})
		must(s.t, err)
		all, err = all.Append(signed)
		must(s.t, err)
	}
	return all
}

func first(p lineage.Passport) *lineage.Signed {
	for _, s := range p.All() {
		return s
	}
	return nil
}

// TestPeerConfig: an ingress that requires a peer must be able to learn it, and nobody else is asked.
func TestPeerConfig(t *testing.T) {
	s := newService(t, "shop")
	in, err := propagate.NewIngress(propagate.IngressConfig{Listener: propagate.Internal, Verifier: s.verifier, RequirePeer: true})
	must(t, err)
	if h, err := kesthttp.NewHandler(kesthttp.HandlerConfig{Ingress: in, MaxBody: -1}); h != nil || err == nil || !strings.Contains(err.Error(), "Peer") || !strings.Contains(err.Error(), "MaxBody") {
		t.Errorf("%v", err)
	}
	s.handler.Peer = func(*tls.ConnectionState) (string, error) { t.Error("asked for nothing"); return "", nil }
	server := s.serve(func(http.ResponseWriter, *http.Request) {}, func(s *httptest.Server) { s.StartTLS() })
	front := newService(t, "front")
	front.transport.Base = server.Client().Transport
	_, resp, _, err := front.get(front.client(), http.MethodGet, server.URL, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("%v, %v", resp, err)
	}
}
