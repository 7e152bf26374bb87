package bearer_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kest-go/kest/propagate/bearer"
)

// Everything that a server on the network can do instead of answering. Each time the token is good.
func TestKeyServers(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t.Error("the redirect was followed")
		io.WriteString(w, allKeys())
	}))
	defer elsewhere.Close()
	status := func(n int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(n)
			io.WriteString(w, allKeys())
		}
	}
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		reason  string // "": it is accepted
	}{
		"good": {func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.URL.Path != "/keys" || r.Header.Get("Accept") != "application/json" || r.Header.Get("Authorization") != "" {
				t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
			}
			io.WriteString(w, allKeys())
		}, ""},
		"created": {status(201), "201"}, "not found": {status(404), "404"}, "failing": {status(500), "500"},
		"redirecting": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, "redirects"},
		"redirecting to itself": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		}, "redirects"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			io.WriteString(w, allKeys())
		}, "EOF"},
		"hanging up":  {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		"not HTTP":    {hijack("SSH-2.0-secret\r\n\x1b[2J"), "malformed"},
		"huge header": {hijack("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20)), "header"},
		"endless":     {func(w http.ResponseWriter, r *http.Request) { pour(w, r, "[") }, "larger than"},
		"endless gzip": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			pour(z, r, " ")
		}, "larger than"},
		"silent": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "in time"},
		"dripping": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				io.WriteString(w, " ")
				w.(http.Flusher).Flush()
				time.Sleep(10 * time.Millisecond)
			}
		}, "in time"},
	} {
		t.Run(name, func(t *testing.T) {
			_, c := listen(t, test.handler)
			if c.Timeout = 20 * time.Second; test.reason == "in time" {
				c.Timeout = 200 * time.Millisecond
			}
			v := newVerifier(t, c)
			if test.reason == "" {
				accepted(t, v, edToken(nil))
				return
			}
			text := refused(t, v, edToken(nil), bearer.ErrKeys)
			if !strings.Contains(text, test.reason) || strings.ContainsAny(text, "\x1b\r\n") {
				t.Errorf("%q; want %q", text, test.reason)
			}
		})
	}
}

func pour(w io.Writer, r *http.Request, s string) {
	block := []byte(strings.Repeat(s, 1<<16))
	for r.Context().Err() == nil {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

// hijack answers with text as it is.
func hijack(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			io.WriteString(conn, text)
			conn.Close()
		}
	}
}

func TestServerIsDown(t *testing.T) {
	s, c := listen(t, nil)
	s.Close()
	if text := refused(t, newVerifier(t, c), edToken(nil), bearer.ErrKeys); !strings.Contains(text, "refused") || strings.Contains(text, "/keys") {
		t.Error(text)
	}
}

// What a transport says is made short and printable, and the address is left out: it may hold a key.
func TestTransportErrors(t *testing.T) {
	f := &transport{}
	f.set(func(*http.Request) (int, string, error) {
		return 0, "", errors.New("a\x1b[2J\n" + strings.Repeat("x", 1000))
	})
	c := config(f)
	c.JWKS = issuer + "/keys?key=s3cret"
	if text := refused(t, newVerifier(t, c), edToken(nil), bearer.ErrKeys); !strings.Contains(text, `a\x1b[2J\nxxx`) || strings.Contains(text, "s3cret") {
		t.Error(text)
	}
}

func TestUntrustedCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, allKeys()) }))
	s.Config.ErrorLog = nil
	s.StartTLS()
	defer s.Close()
	c := config(nil)
	c.HTTPClient, c.JWKS = nil, s.URL
	if text := refused(t, newVerifier(t, c), edToken(nil), bearer.ErrKeys); !strings.Contains(text, "certificate") {
		t.Error(text)
	}
	c.HTTPClient = s.Client()
	accepted(t, newVerifier(t, c), edToken(nil))
}

// The client of the config is not changed, its cookies are not sent, and its own policy about redirects does not count.
func TestHTTPClientIsCopied(t *testing.T) {
	s, c := listen(t, func(w http.ResponseWriter, r *http.Request) {
		if len(r.Cookies()) > 0 {
			t.Error("a cookie was sent")
		}
		if r.URL.Path == "/keys" {
			http.Redirect(w, r, "/real", http.StatusFound)
			return
		}
		io.WriteString(w, allKeys())
	})
	jar, _ := cookiejar.New(nil)
	client := s.Client()
	client.Jar = jar
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	jar.SetCookies(u, []*http.Cookie{{Name: "a", Value: "b"}})
	c.HTTPClient = client
	refused(t, newVerifier(t, c), edToken(nil), bearer.ErrKeys)
	if client.Jar == nil || client.CheckRedirect != nil {
		t.Error("the client was changed")
	}
}

// A context that ends while keys are on their way ends the wait.
func TestCancellation(t *testing.T) {
	var begun atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	_, c := listen(t, func(_ http.ResponseWriter, r *http.Request) {
		begun.Store(true)
		cancel()
		<-r.Context().Done()
	})
	c.Timeout = time.Second
	if _, err := newVerifier(t, c).VerifyToken(ctx, edToken(nil)); !errors.Is(err, context.Canceled) || !errors.Is(err, bearer.ErrKeys) || !begun.Load() {
		t.Error(err)
	}
}

func TestDiscovery(t *testing.T) {
	f := &transport{}
	discover := func(doc string) {
		f.set(func(r *http.Request) (int, string, error) {
			switch r.URL.String() {
			case issuer + "/.well-known/openid-configuration":
				return 200, doc, nil
			case "https://keys.example/set?v=1":
				return 200, allKeys(), nil
			}
			t.Errorf("asked for %s", r.URL)
			return 404, "", nil
		})
	}
	doc := object{"issuer": issuer, "jwks_uri": "https://keys.example/set?v=1", "x": 1}
	c := config(f)
	c.JWKS = ""
	discover(doc.text())
	accepted(t, newVerifier(t, c), edToken(nil))
	for name, test := range map[string]struct{ doc, reason string }{
		"issuer of another":    {doc.with(object{"issuer": "https://evil.example"}).text(), "another issuer"},
		"issuer with a slash":  {doc.with(object{"issuer": issuer + "/"}).text(), "another issuer"},
		"issuer missing":       {doc.with(object{"issuer": nil}).text(), "another issuer"},
		"issuer twice":         {`{"issuer":"https://evil.example",` + doc.text()[1:], "strict JSON"},
		"no jwks_uri":          {doc.with(object{"jwks_uri": nil}).text(), "not an https URL"},
		"jwks_uri a number":    {doc.with(object{"jwks_uri": 1}).text(), "not an https URL"},
		"jwks_uri a file":      {doc.with(object{"jwks_uri": "file:///etc/passwd"}).text(), "not an https URL"},
		"jwks_uri plain":       {doc.with(object{"jwks_uri": "http://keys.example/set"}).text(), "plain HTTP"},
		"jwks_uri of ours":     {doc.with(object{"jwks_uri": "http://127.0.0.1:8181/keys"}).text(), "plain HTTP"},
		"jwks_uri with a name": {doc.with(object{"jwks_uri": "https://a:b@keys.example/set"}).text(), "credentials"},
		"garbage":              {"<html>", "strict JSON"},
	} {
		discover(test.doc)
		if text := refused(t, newVerifier(t, c), edToken(nil), bearer.ErrKeys); !strings.Contains(text, test.reason) {
			t.Errorf("%s: %s", name, text)
		}
	}
}
