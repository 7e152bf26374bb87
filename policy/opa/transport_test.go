package opa_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/opa"
)

// An authority issues certificates for the TLS tests.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	a := &authority{pool: x509.NewCertPool()}
	c := a.issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	a.key, a.cert = c.PrivateKey.(*ecdsa.PrivateKey), c.Leaf
	a.pool.AddCert(a.cert)
	return a
}

// issue signs template, with itself while the authority has no certificate.
func (a *authority) issue(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) server(t *testing.T) tls.Certificate {
	return a.issue(t, &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"opa.internal"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

func (a *authority) client(t *testing.T) tls.Certificate {
	return a.issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "payments"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// serveTLS starts a fake that speaks TLS with config.
func serveTLS(t *testing.T, config *tls.Config, h http.HandlerFunc) string {
	t.Helper()
	f := serve(t, h, func(f *fake) { f.Listener = tls.NewListener(f.Listener, config); f.EnableHTTP2 = false })
	return "https://" + f.Listener.Addr().String()
}

func TestMutualTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	var peer string
	address := serveTLS(t, &tls.Config{
		Certificates: []tls.Certificate{ca.server(t)}, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert,
		NextProtos: []string{"h2", "http/1.1"}, // an HTTP/2 answer would be unreadable
	}, answer(allowed))
	with := func(pool *x509.CertPool, certs ...tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: pool, Certificates: certs, NextProtos: []string{"h2"},
			VerifyConnection: func(s tls.ConnectionState) error { peer = s.PeerCertificates[0].DNSNames[0]; return nil }}
	}
	config := with(ca.pool, ca.client(t))
	e := engine(t, opa.Config{URL: address, TLS: config, BearerToken: opa.StaticToken("x")})
	config.RootCAs = nil // it was copied
	if d, err := evaluate(e); err != nil || !d.Allow || peer != "opa.internal" {
		t.Errorf("good certificates: %+v, %v, peer %q", d, err, peer)
	}
	host, port, _ := strings.Cut(strings.TrimPrefix(address, "https://"), ":")
	var number int
	fmt.Sscan(port, &number)
	if d, err := evaluate(engine(t, opa.Config{Host: host, Port: number, TLS: with(ca.pool, ca.client(t))})); err != nil || !d.Allow {
		t.Errorf("by host and port: %+v, %v", d, err)
	}

	for name, c := range map[string]*tls.Config{
		"no client certificate":      with(ca.pool),
		"client of another CA":       with(ca.pool, other.client(t)),
		"server certificate as ours": with(ca.pool, ca.server(t)),
		"unknown server CA":          with(other.pool, ca.client(t)),
		"system roots":               nil,
		"wrong name":                 {RootCAs: ca.pool, Certificates: []tls.Certificate{ca.client(t)}, ServerName: "evil.internal"},
		"own verification fails":     {RootCAs: ca.pool, Certificates: []tls.Certificate{ca.client(t)}, VerifyConnection: func(tls.ConnectionState) error { return errors.New("no") }},
	} {
		d, err := evaluate(engine(t, opa.Config{URL: address, TLS: c}))
		t.Logf("%s: %s", name, mustRefuse(t, d, err, policy.ErrUnavailable))
		if strings.Contains(name, "unknown") {
			var unknown x509.UnknownAuthorityError
			if !errors.As(err, &unknown) {
				t.Errorf("%s: %v does not wrap x509.UnknownAuthorityError", name, err)
			}
		}
	}
}

// http on one side and https on the other: an error, and no request in the clear.
func TestWrongScheme(t *testing.T) {
	ca := newAuthority(t)
	secure := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.server(t)}}, answer(allowed))
	d, err := evaluate(engine(t, opa.Config{URL: "http://" + strings.TrimPrefix(secure, "https://")}))
	mustRefuse(t, d, err, policy.ErrUnavailable)
	plain := serve(t, answer(allowed))
	d, err = evaluate(engine(t, opa.Config{URL: "https://" + strings.TrimPrefix(plain.URL, "http://"), TLS: &tls.Config{RootCAs: ca.pool}}))
	if text := mustRefuse(t, d, err, policy.ErrUnavailable); !strings.Contains(text, "scheme") {
		t.Error(text)
	}
	if plain.Requests.Load() != 0 {
		t.Error("a request went out in the clear")
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "opa.sock")
	var host, uri string
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		host, uri = r.Host, r.URL.Path
		answer(allowed)(w, r)
	}, func(f *fake) {
		f.Listener.Close()
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		f.Listener = l
	})
	for _, test := range []struct{ url, host, uri string }{
		{"", "localhost", "/v1/data/kest/allow_trusted"},
		{"http://opa.internal/p", "opa.internal", "/p/v1/data/kest/allow_trusted"}, // never resolved
	} {
		d, err := evaluate(engine(t, opa.Config{Socket: path, URL: test.url, BearerToken: opa.StaticToken("x")}))
		if err != nil || !d.Allow || host != test.host || uri != test.uri {
			t.Errorf("%+v: %+v, %v, host %q, path %q", test, d, err, host, uri)
		}
	}
	if f.Requests.Load() != 2 {
		t.Errorf("%d requests over the socket", f.Requests.Load())
	}
}

func TestUnixSocketTLS(t *testing.T) {
	ca := newAuthority(t)
	path := filepath.Join(t.TempDir(), "opa.sock")
	serve(t, answer(allowed), func(f *fake) {
		f.Listener.Close()
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		f.Listener = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{ca.server(t)}})
	})
	config := &tls.Config{RootCAs: ca.pool}
	if d, err := evaluate(engine(t, opa.Config{Socket: path, URL: "https://opa.internal", TLS: config})); err != nil || !d.Allow {
		t.Errorf("%+v, %v", d, err)
	}
	d, err := evaluate(engine(t, opa.Config{Socket: path, TLS: config})) // the certificate is not for localhost
	mustRefuse(t, d, err, policy.ErrUnavailable)
}
