package cedaragent_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedaragent"
	"github.com/kest-go/kest/policy/internal/resttest"
	"github.com/kest-go/kest/policy/policytest"
)

const secretToken = "c2VjcmV0.LXRva2Vu-~+/=="

func TestBearerToken(t *testing.T) {
	var got []string
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Values("Authorization")
		io.WriteString(w, allowed)
	})
	ask := func(c cedaragent.Config, want string) {
		t.Helper()
		c.URL = f.URL
		if d, err := evaluate(engine(t, c)); err != nil || !d.Allow || len(got) != 1 || got[0] != want {
			t.Errorf("%+v, %v, Authorization %q; want %q", d, err, got, want)
		}
	}
	ask(cedaragent.Config{BearerToken: cedaragent.StaticToken(secretToken)}, "Bearer "+secretToken)
	ask(cedaragent.Config{BearerToken: cedaragent.StaticToken(secretToken), BareToken: true}, secretToken)
	file := filepath.Join(t.TempDir(), "token")
	for _, token := range []string{"first", "rotated"} {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		ask(cedaragent.Config{BearerToken: cedaragent.TokenFile(file)}, "Bearer "+token)
	}
	sent := f.Requests.Load()
	for _, source := range []cedaragent.TokenSource{
		cedaragent.StaticToken(""), cedaragent.StaticToken("SECRET\r\nX-Admin: 1"), cedaragent.StaticToken("Bearer SECRET"),
		cedaragent.TokenFile(filepath.Join(t.TempDir(), "none")),
		func(context.Context) (string, error) { return "SECRET", io.ErrClosedPipe },
	} {
		d, err := evaluate(engine(t, cedaragent.Config{URL: f.URL, BearerToken: source}))
		if text := mustRefuse(t, d, err, policy.ErrUnavailable); !strings.Contains(text, "token") || strings.Contains(text, "SECRET") {
			t.Error(text)
		}
	}
	if f.Requests.Load() != sent {
		t.Error("a request went out without the token")
	}
}

// The token is in no print of a config, source or engine, and in no error, even when the server echoes it.
func TestTokenIsNeverPrinted(t *testing.T) {
	url, _ := serveWire(t, func(c net.Conn, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		fmt.Fprintf(c, "%s\r\n%s: x\r\n\r\n%s", token, token, token)
	})
	source := cedaragent.StaticToken(secretToken)
	c := cedaragent.Config{URL: url, BearerToken: source}
	e := engine(t, c)
	_, failed := evaluate(e)
	if failed == nil {
		t.Fatal("no error")
	}
	var out bytes.Buffer
	for _, v := range []any{source, &source, c, &c, e, []any{e}, []cedaragent.Config{c}, failed} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
		b, _ := json.Marshal(v)
		out.Write(b)
	}
	for _, form := range []string{secretToken[:8], fmt.Sprintf("%x", secretToken[:8]), fmt.Sprintf("%X", secretToken[:8])} {
		if i := bytes.Index(out.Bytes(), []byte(form)); i >= 0 {
			t.Errorf("token shows as %q in …%s…", form, out.Bytes()[max(0, i-80):i])
		}
	}
	for _, want := range []string{"[redacted]", "cedaragent.TokenSource([redacted])", "cedar agent at " + url} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing printed as %s", want)
		}
	}
	if s := fmt.Sprintf("%v %#v", cedaragent.TokenSource(nil), e); s != "none cedar agent at "+url+"/is_authorized" {
		t.Error(s)
	}
}

// certificate makes one that is its own authority, for both ends.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestMutualTLS(t *testing.T) {
	server, roots := certificate(t)
	client, clients := certificate(t)
	f := serve(t, answer(allowed), func(f *fake) {
		f.Listener = tls.NewListener(f.Listener, &tls.Config{
			Certificates: []tls.Certificate{server}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert,
		})
	})
	address := "https://" + f.Listener.Addr().String()
	config := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{client}}
	if d, err := evaluate(engine(t, cedaragent.Config{URL: address, TLS: config})); err != nil || !d.Allow {
		t.Errorf("%+v, %v", d, err)
	}
	for name, config := range map[string]*tls.Config{
		"no client certificate": {RootCAs: roots},
		"another client":        {RootCAs: roots, Certificates: []tls.Certificate{server}},
		"unknown server":        {RootCAs: clients, Certificates: []tls.Certificate{client}},
		"wrong name":            {RootCAs: roots, Certificates: []tls.Certificate{client}, ServerName: "evil.internal"},
		"system roots":          nil,
	} {
		d, err := evaluate(engine(t, cedaragent.Config{URL: address, TLS: config}))
		t.Logf("%s: %s", name, mustRefuse(t, d, err, policy.ErrUnavailable))
	}
	if n := f.Requests.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cedar.sock")
	var host, uri string
	serve(t, func(w http.ResponseWriter, r *http.Request) {
		host, uri = r.Host, r.URL.Path
		answer(allowed)(w, r)
	}, resttest.On(net.Listen("unix", path)))
	for _, test := range []struct{ url, host, uri string }{
		{"", "localhost", "/is_authorized"},
		{"http://cedar.internal/v1", "cedar.internal", "/v1/is_authorized"}, // never resolved
	} {
		d, err := evaluate(engine(t, cedaragent.Config{Socket: path, URL: test.url}))
		if err != nil || !d.Allow || host != test.host || uri != test.uri {
			t.Errorf("%+v: %+v, %v, host %q, path %q", test, d, err, host, uri)
		}
	}
}

// One connection serves many evaluations, whatever the answers were, and MaxConns holds under load.
func TestConnections(t *testing.T) {
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Principal string }
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		io.WriteString(w, map[bool]string{true: allowed, false: `{"decision":"Deny"}`}[strings.HasSuffix(q.Principal, `1"`)])
	})
	e := engine(t, cedaragent.Config{URL: f.URL, MaxConns: 4})
	for range 20 {
		evaluate(e)
	}
	if n := f.Conns.Load(); n != 1 {
		t.Errorf("%d connections one after the other", n)
	}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			in := policytest.Input(1)
			in.Subject.Workload = fmt.Sprint("w", i%2)
			for range 25 {
				if d, err := e.Evaluate(t.Context(), "kest/x", in); err != nil || d.Allow != (i%2 == 1) {
					t.Errorf("%+v, %v", d, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := f.Conns.Load(); n > 4 {
		t.Errorf("%d connections; MaxConns is 4", n)
	}
	e.Close()
	e.Close()
	d, err := evaluate(e)
	mustRefuse(t, d, err, policy.ErrUnavailable)
}

// Engines that New did not make deny, and do not panic.
func TestZeroEngine(t *testing.T) {
	for _, e := range []*cedaragent.Engine{nil, {}} {
		d, err := evaluate(e)
		mustRefuse(t, d, err, policy.ErrUnavailable)
		if err := e.Close(); err != nil || e.String() != "cedar agent (not configured)" {
			t.Error(e, err)
		}
	}
}
