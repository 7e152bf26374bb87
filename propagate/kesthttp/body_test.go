package kesthttp_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/kesthttp"
)

// TestBodies (RFC 9530): what the handler reads is what was sent, or nothing runs. meddle is somebody on the way.
func TestBodies(t *testing.T) {
	long := strings.Repeat("x", kesthttp.DefaultMaxBody+1)
	once := func(text string) io.Reader { return io.MultiReader(strings.NewReader(text)) } // cannot be read twice
	const standard = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"              // of {"hello": "world"}
	for name, test := range map[string]struct {
		body   io.Reader
		client func(*service)
		meddle func(*http.Request)
		server func(*service)
		status int    // 0: not sent
		log    string // of the server
	}{
		"none":           {status: 200},
		"short":          {body: strings.NewReader("hello"), status: 200},
		"once":           {body: once("hello"), status: 200},
		"empty":          {body: strings.NewReader(""), status: 200},
		"once and empty": {body: once(""), status: 200},
		"long":           {body: strings.NewReader(long), status: 413, log: "more than 1048576 bytes"},
		"long once":      {body: once(long)},
		"long chunked": {body: once(long), client: func(s *service) { s.transport.MaxBody = 2 << 20 }, meddle: func(r *http.Request) { r.ContentLength = -1 },
			status: 413, log: "more than 1048576 bytes"},
		"longer allowed":    {body: once(long), client: func(s *service) { s.transport.MaxBody = 2 << 20 }, server: func(s *service) { s.handler.MaxBody = 2 << 20 }, status: 200},
		"streamed":          {body: once(long), client: func(s *service) { s.transport.StreamBodies = true }, server: func(s *service) { s.handler.StreamBodies = true }, status: 200},
		"streamed, refused": {body: once(long), client: func(s *service) { s.transport.StreamBodies = true }, status: 403, log: "does not cover the body"},
		"unreadable":        {body: io.MultiReader(strings.NewReader("x"), broken{})},
		"replaced":          {body: strings.NewReader("hello"), meddle: replaceBody("HELLO"), status: 403, log: "not the one"},
		"removed":           {body: strings.NewReader("hello"), meddle: replaceBody(""), status: 403, log: "not the one"},
		"added":             {meddle: replaceBody("hello"), status: 403, log: "does not cover the body"},
		"added to streams":  {meddle: replaceBody("hello"), server: func(s *service) { s.handler.StreamBodies = true }, status: 200},
		"digest replaced": {body: strings.NewReader("hello"), meddle: func(r *http.Request) {
			replaceBody(`{"hello": "world"}`)(r)
			r.Header.Set("Content-Digest", standard)
		}, status: 403, log: "hop proof does not hold"},
		"digest removed": {body: strings.NewReader("hello"), meddle: func(r *http.Request) { r.Header.Del("Content-Digest") }, status: 403, log: "hop proof does not hold"},
		"other method":   {meddle: func(r *http.Request) { r.Method = http.MethodDelete }, status: 403, log: "hop proof does not hold"},
		"other path":     {meddle: func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/other", "" }, status: 403, log: "hop proof does not hold"},
		"decoded path":   {meddle: func(r *http.Request) { r.URL.RawPath = "" }, status: 403, log: "hop proof does not hold"},
		"other query":    {meddle: func(r *http.Request) { r.URL.RawQuery = "q=2" }, status: 403, log: "hop proof does not hold"},
		"other service":  {meddle: func(r *http.Request) { r.Host = "other.test" }, status: 403, log: "not among Authorities"},
		"more baggage":   {meddle: func(r *http.Request) { r.Header.Add("Baggage", "role=admin") }, status: 403, log: "hop proof does not hold"},
	} {
		t.Run(name, func(t *testing.T) {
			shop, front := newService(t, "shop").proving(propagate.ProofRequire), newService(t, "front").proving(propagate.ProofOff)
			for i, set := range []func(*service){test.client, test.server} {
				if set != nil {
					set([]*service{front, shop}[i])
				}
			}
			ran := false
			server := shop.serve(func(w http.ResponseWriter, r *http.Request) {
				ran = true
				must(t, shop.note(r.Context(), "run"))
				got, err := io.ReadAll(r.Body)
				if err != nil || r.ContentLength >= 0 && r.ContentLength != int64(len(got)) {
					t.Errorf("%d bytes of %d, %v", len(got), r.ContentLength, err)
				}
				w.Write(got)
			})
			if test.meddle != nil {
				real := &http.Transport{}
				t.Cleanup(real.CloseIdleConnections)
				front.transport.Base = roundTrip(func(r *http.Request) (*http.Response, error) {
					r = r.Clone(r.Context())
					r.GetBody = nil
					test.meddle(r)
					return real.RoundTrip(r)
				})
			}
			_, resp, _, err := front.get(front.client(), http.MethodPost, server.URL+"/a%2Fb/c?q=1", test.body)
			switch {
			case test.status == 0:
				if err == nil {
					t.Fatal("it was sent")
				}
			case err != nil || resp.StatusCode != test.status || !strings.Contains(shop.log.String(), test.log):
				t.Errorf("%v, %v, log %s", resp, err, shop.log)
			}
			if ran != (test.status == 200) || test.log != "" && len(shop.log.lines()) != 1 {
				t.Errorf("ran: %t, log %s", ran, shop.log)
			}
		})
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken") }

func replaceBody(text string) func(*http.Request) {
	return func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		r.Header.Set("Content-Length", strconv.Itoa(len(text)))
	}
}

// TestProxy: the proof holds through a proxy that keeps the Host field.
func TestProxy(t *testing.T) {
	shop, front := newService(t, "shop").proving(propagate.ProofRequire), newService(t, "front").proving(propagate.ProofOff)
	var to *url.URL
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
	}})
	t.Cleanup(proxy.Close)
	shop.aliases = []string{proxy.Listener.Addr().String()}
	server := shop.serve(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	to, _ = url.Parse(server.URL)
	body, _, _, err := front.get(front.client(), http.MethodPut, proxy.URL+"/a%2Fb?q=%20", bytes.NewReader([]byte("hello")))
	if err != nil || body != "hello" {
		t.Errorf("%q, %v, log %s", body, err, shop.log)
	}
}

// TestParseDigest (RFC 9530 §2, RFC 8941 §3).
func TestParseDigest(t *testing.T) {
	const good = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
	for text, want := range map[string]bool{
		good: true, " \t" + good + " ": true, "sha-512=:x:, " + good: true, good + ",unixsum=1": true,
		"": false, "sha-512=:x:": false, good + "," + good: false, strings.ToUpper(good): false,
		strings.Replace(good, "PE=", "PF=", 1): false, strings.TrimSuffix(good, ":"): false, strings.Replace(good, "=:", "=", 1): false,
		strings.Replace(good, "PE=:", "PE:", 1): false, strings.Replace(good, "X48", "X4\n", 1): false, strings.Replace(good, "BPE=", "\n\n\n\n", 1): false,
		strings.Replace(good, "BPE=", "BPEx", 1): false, // 33 bytes "sha-256": false, "sha-256=::": false,
		good + ";a=1":                            false,
	} {
		if _, err := kesthttp.ParseDigest([]string{text}); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParseDigest(f *testing.F) {
	f.Add("sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:", "sha-512=:x:")
	f.Add("sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPEx:", "")
	f.Fuzz(func(t *testing.T, a, b string) {
		d, err := kesthttp.ParseDigest([]string{a, b})
		if err != nil {
			return
		}
		if again, err := kesthttp.ParseDigest([]string{kesthttp.WriteDigest(d)}); err != nil || again != d {
			t.Errorf("%v", err)
		}
	})
}
