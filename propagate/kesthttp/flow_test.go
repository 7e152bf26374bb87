package kesthttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/propagation"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/kesthttp"
)

// TestChain (SPEC §9): lineage goes through two services and back. What the last one learned lowers the later calls of
// the first.
func TestChain(t *testing.T) {
	ledger := newService(t, "ledger").proving(propagate.ProofRequire)
	books := ledger.serve(func(w http.ResponseWriter, r *http.Request) {
		must(t, ledger.note(r.Context(), "book"))
		io.WriteString(w, "booked")
	})
	shop := newService(t, "shop").proving(propagate.ProofRequire)
	toLedger := shop.client()
	counter := shop.serve(func(w http.ResponseWriter, r *http.Request) {
		must(t, shop.call(r.Context(), "sell", func(ctx context.Context) error {
			request, _ := http.NewRequestWithContext(ctx, http.MethodPost, books.URL+"/b?x=1", strings.NewReader("5 apples"))
			resp, err := toLedger.Do(request)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			_, err = io.Copy(w, resp.Body)
			return err
		}))
	})
	front := newService(t, "front").proving(propagate.ProofRequire)
	answer, resp, learned, err := front.get(front.client(), http.MethodGet, counter.URL, nil)
	if err != nil || answer != "booked" || resp.ContentLength != 6 {
		t.Fatalf("%q, %v, %v; log %s%s", answer, resp, err, shop.log, ledger.log)
	}
	if got := operations(learned); !slices.Equal(got, []string{"call", "sell", "book"}) {
		t.Errorf("front knows %v", got)
	}
	if text, _ := learned.MarshalText(); strings.Contains(resp.Header.Get("Baggage"), "kest") || len(text) == 0 {
		t.Error("the answer has baggage")
	}
}

// TestLineageReturnsTainted: the callee's origin lowers what the caller does next.
func TestLineageReturnsTainted(t *testing.T) {
	shop, front := newService(t, "shop"), newService(t, "front")
	fetch := kest.MustVerified(shop.guard, func(context.Context, struct{}) (string, error) { return "page", nil },
		kest.Operation("fetch"), kest.Policy("p"), kest.SourceType(lineage.SourceInternet), kest.AddTaints("web"))
	server := shop.serve(func(w http.ResponseWriter, r *http.Request) {
		page, err := fetch(r.Context(), struct{}{})
		must(t, err)
		io.WriteString(w, page)
	})
	client := front.client()
	must(t, front.call(t.Context(), "agent", func(ctx context.Context) error {
		request, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		resp, err := client.Do(request)
		if err != nil {
			return err
		}
		resp.Body.Close()
		return front.call(ctx, "act", func(ctx context.Context) error {
			if e := kest.CurrentEntry(ctx).Entry(); e.TrustScore != 10 || !slices.Equal(e.Taints, []string{"web"}) {
				t.Errorf("after the answer: trust %d, taints %v", e.TrustScore, e.Taints)
			}
			return nil
		})
	}))
}

// TestRefusals: nothing runs, the status is right, the answer says its class and nothing else, one line is logged.
func TestRefusals(t *testing.T) {
	front := newService(t, "front")
	good := func() string { // the baggage of a request of front
		var baggage string
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			baggage = r.Header.Get("Baggage")
		}))
		defer server.Close()
		front.egress.StrictReturn = false
		_, _, _, err := front.get(front.client(), http.MethodGet, server.URL, nil)
		must(t, err)
		return baggage
	}()
	for name, test := range map[string]struct {
		header  http.Header
		ingress func(*propagate.IngressConfig)
		status  int
		say     string
	}{
		"good":        {header: http.Header{"Baggage": {good}}, status: 200},
		"stripped":    {status: 403, say: "no lineage"},
		"malformed":   {header: http.Header{"Baggage": {"kest.passport=%5B,kest.chain_tip="}}, status: 400},
		"cut":         {header: http.Header{"Baggage": {strings.Split(good, ",")[0]}}, status: 400, say: "did not come"},
		"twice":       {header: http.Header{"Baggage": {good, good}}, status: 400, say: "twice"},
		"too large":   {header: http.Header{"Baggage": {"a=" + strings.Repeat("x", propagate.MaxHeader)}}, status: 431},
		"bare claim":  {header: http.Header{"Baggage": {"kest.claim_check=0d9c1a52-64a5-4f0e-9f2a-1f2a7c1f0001,kest.chain_tip=" + strings.Repeat("0", 64)}}, status: 503, say: "no store"},
		"no token":    {header: http.Header{"Baggage": {good}}, ingress: func(c *propagate.IngressConfig) { c.Tokens, c.RequireToken = tokens{}, true }, status: 401},
		"bad token":   {header: http.Header{"Baggage": {good}, "Authorization": {"Bearer s3cret"}}, ingress: func(c *propagate.IngressConfig) { c.Tokens = tokens{propagate.ErrBadToken} }, status: 401},
		"two tokens":  {header: http.Header{"Baggage": {good}, "Authorization": {"Bearer a", "Bearer b"}}, ingress: func(c *propagate.IngressConfig) { c.Tokens = tokens{} }, status: 401},
		"issuer down": {header: http.Header{"Baggage": {good}, "Authorization": {"Bearer s3cret"}}, ingress: func(c *propagate.IngressConfig) { c.Tokens = tokens{errors.New("down")} }, status: 503},
		"no proof": {header: http.Header{"Baggage": {good}}, ingress: func(c *propagate.IngressConfig) { c.Proofs, c.Hops = propagate.ProofRequire, seal{} },
			status: 403, say: "hop proof is missing"},
		"hook": {header: http.Header{"Baggage": {good}}, ingress: func(c *propagate.IngressConfig) {
			c.Hook = func(context.Context, lineage.Passport) (context.Context, error) {
				return nil, errors.New("inner detail")
			}
		}, status: 403, say: "inner detail"},
	} {
		t.Run(name, func(t *testing.T) {
			shop := newService(t, "shop")
			if test.ingress != nil {
				test.ingress(&shop.ingress)
			}
			ran := false
			server := shop.serve(func(http.ResponseWriter, *http.Request) { ran = true })
			request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
			request.Header = test.header
			resp, err := http.DefaultClient.Do(request)
			must(t, err)
			defer resp.Body.Close()
			text, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != test.status || ran != (test.status == 200) {
				t.Fatalf("status %d, ran %t: %s\n%s", resp.StatusCode, ran, text, shop.log)
			}
			if test.status == 200 {
				return
			}
			var problem struct {
				Type, Title string
				Status      int
			}
			if err := json.Unmarshal(text, &problem); err != nil || problem.Status != test.status || problem.Type != "about:blank" ||
				problem.Title == "" || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s (%v)", text, err)
			}
			challenge := ""
			if test.status == 401 {
				challenge = "Bearer"
				if test.header.Get("Authorization") != "" {
					challenge = `Bearer error="invalid_token"`
				}
			}
			if resp.Header.Get("WWW-Authenticate") != challenge {
				t.Errorf("WWW-Authenticate: %q", resp.Header.Get("WWW-Authenticate"))
			}
			if lines := shop.log.lines(); len(lines) != 1 || !strings.Contains(lines[0], test.say) || strings.Contains(lines[0], "s3cret") {
				t.Errorf("log: %q", lines)
			}
			if strings.Contains(string(text), "detail") || strings.Contains(string(text), "front") {
				t.Errorf("the answer shows %s", text)
			}
		})
	}
}

// tokens verifies no token.
type tokens struct{ err error }

func (v tokens) VerifyToken(context.Context, string) (propagate.Caller, error) {
	return propagate.Caller{Identity: propagate.Identity{User: "u"}}, v.err
}

// TestWriteError maps what guarded calls say (RFC 9457).
func TestWriteError(t *testing.T) {
	for status, err := range map[int]error{
		403: &kest.DeniedError{Operation: "secret operation"},
		503: fmt.Errorf("outer: %w", &kest.DeniedError{Err: context.DeadlineExceeded}),
		500: errors.New("secret text"),
		401: &propagate.RefusedError{Class: propagate.Unauthenticated, Err: errors.New("secret")},
	} {
		w := httptest.NewRecorder()
		w.Header().Set("Content-Length", "3") // of the answer that was meant to be
		kesthttp.WriteError(w, err)
		if w.Code != status || w.Header().Get("Content-Length") != "" || strings.Contains(w.Body.String(), "secret") || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%v: %d %s", err, w.Code, w.Body)
		}
	}
}

// TestBaggageStaysWithKest: a handler that passes its header on passes no lineage on, and all that belongs to others.
func TestBaggageStaysWithKest(t *testing.T) {
	shop, front := newService(t, "shop"), newService(t, "front")
	var seen, baggage string
	server := shop.serve(func(_ http.ResponseWriter, r *http.Request) {
		seen = r.Header.Get("Baggage")
		must(t, shop.note(r.Context(), "x"))
	}, func(s *httptest.Server) {
		inner := s.Config.Handler
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { baggage = r.Header.Get("Baggage") }() // Wrap changes no request
			inner.ServeHTTP(w, r)
		})
	})
	client := front.client()
	must(t, front.call(t.Context(), "call", func(ctx context.Context) error {
		request, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		request.Header.Set("Baggage", "a=1;p=q, b=%20")
		resp, err := client.Do(request)
		if err != nil {
			return err
		}
		if got := request.Header.Get("Baggage"); got != "a=1;p=q, b=%20" {
			t.Errorf("the client's request was changed: %q", got)
		}
		return resp.Body.Close()
	}))
	if seen != "a=1;p=q,b=%20" || !strings.Contains(baggage, "kest.") {
		t.Errorf("%q, %q", seen, baggage)
	}
}

// TestEgress: no lineage for those who are not named, on a redirect either.
func TestEgress(t *testing.T) {
	shop, front := newService(t, "shop"), newService(t, "front")
	shop.ingress.LineageOptional = true
	var got []string
	server := shop.serve(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "http://elsewhere.test/there", http.StatusTemporaryRedirect)
			return
		}
		fmt.Fprint(w, kest.CurrentPassport(r.Context()).Len())
	})
	real := &http.Transport{}
	t.Cleanup(real.CloseIdleConnections)
	front.transport.Base = roundTrip(func(r *http.Request) (*http.Response, error) {
		got = append(got, r.URL.Host+" "+r.Header.Get("Baggage")+r.Header.Get("Signature"))
		if r.URL.Host == "elsewhere.test" {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("0")), Header: http.Header{}}, nil
		}
		return real.RoundTrip(r)
	})
	front.proving(propagate.ProofOff)
	front.egress.Allow = []string{"elsewhere.test:8080"} // another port
	answer, _, _, err := front.get(front.client(), http.MethodPost, server.URL+"/away", strings.NewReader("x"))
	if err != nil || answer != "0" || len(got) != 2 || !strings.Contains(got[0], "kest.chain_tip") || got[1] != "elsewhere.test " {
		t.Errorf("%q, %v, %q", answer, err, got)
	}
	got, front.egress.Allow = nil, []string{"elsewhere.test:80"}
	front.egress.StrictReturn = false
	if _, _, _, err = front.get(front.client(), http.MethodGet, "http://elsewhere.test", nil); err != nil || !strings.Contains(got[0], "kest.chain_tip") {
		t.Errorf("%v, %q", err, got)
	}
	if _, _, _, err = front.get(front.client(), http.MethodGet, server.URL, nil); err != nil {
		t.Error(err)
	}
}

// TestStrip: what is in a request already does not reach those who may not have it either.
func TestStrip(t *testing.T) {
	front := newService(t, "front")
	var got []string
	front.transport.Base = roundTrip(func(r *http.Request) (*http.Response, error) {
		got = append(got, r.Header.Get("Baggage"))
		return &http.Response{StatusCode: 200, Body: http.NoBody, Header: http.Header{}}, nil
	})
	front.egress.Allow, front.egress.StrictReturn = []string{"elsewhere.test:443"}, false
	client := front.client()
	for _, url := range []string{"http://elsewhere.test", "https://elsewhere.test"} {
		must(t, front.call(t.Context(), "call", func(ctx context.Context) error {
			request, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			request.Header.Set("Baggage", "kest.passport=%5B%5D,a=1")
			resp, err := client.Do(request)
			if err == nil {
				resp.Body.Close()
			}
			return err
		}))
	}
	if got[0] != "a=1" || !strings.HasPrefix(got[1], "a=1,kest.chain_tip=") || strings.Contains(got[1], "%5B%5D") {
		t.Errorf("%q", got)
	}
}

// TestInstrumentationBelow: what injects once more under the transport does not write over the lineage.
func TestInstrumentationBelow(t *testing.T) {
	shop, front := newService(t, "shop"), newService(t, "front")
	server := shop.serve(func(w http.ResponseWriter, r *http.Request) { must(t, shop.note(r.Context(), "x")) })
	propagator, err := propagate.New(propagate.Config{})
	must(t, err)
	real := &http.Transport{}
	t.Cleanup(real.CloseIdleConnections)
	front.transport.Base = roundTrip(func(r *http.Request) (*http.Response, error) {
		propagator.Inject(r.Context(), propagation.HeaderCarrier(r.Header))
		return real.RoundTrip(r)
	})
	if _, resp, learned, err := front.get(front.client(), http.MethodGet, server.URL, nil); err != nil || resp.StatusCode != 200 || learned.Len() != 2 {
		t.Errorf("%v, %v", resp, err)
	}
}

// TestHostField: the proof is for the name by which the client addresses the service, wherever it connects.
func TestHostField(t *testing.T) {
	shop, front := newService(t, "shop").proving(propagate.ProofRequire), newService(t, "front").proving(propagate.ProofOff)
	shop.aliases = []string{"shop.example.org"}
	server := shop.serve(func(w http.ResponseWriter, r *http.Request) {})
	client := front.client()
	must(t, front.call(t.Context(), "call", func(ctx context.Context) error {
		request, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		request.Host = "shop.example.org"
		request.Header.Set("Content-Digest", "sha-256=:stale:") // of another body
		resp, err := client.Do(request)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		return kesthttp.ErrorOf(resp)
	}))
}

// TestErrorOf: what another service refused is refused here too; everything else is a fault of ours.
func TestErrorOf(t *testing.T) {
	for status, want := range map[int]propagate.Class{
		403: propagate.Forbidden, 503: propagate.Unavailable, 400: propagate.Fault, 401: propagate.Fault, 431: propagate.Fault, 500: propagate.Fault,
	} {
		if err := kesthttp.ErrorOf(&http.Response{StatusCode: status}); err == nil || propagate.ClassOf(err) != want {
			t.Errorf("%d: %v", status, err)
		}
	}
	if err := kesthttp.ErrorOf(&http.Response{StatusCode: 302}); err != nil {
		t.Error(err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestNotSent: a request whose lineage cannot be sent is not sent, and its body is closed.
func TestNotSent(t *testing.T) {
	front := newService(t, "front")
	front.transport.Base = roundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("it was sent")
		return nil, io.EOF
	})
	client := front.client()
	cause := errors.New("cause")
	body := &closer{Reader: strings.NewReader("x")}
	request, _ := http.NewRequestWithContext(propagate.Refuse(t.Context(), cause), http.MethodPost, "http://127.0.0.1", body)
	if _, err := client.Do(request); !errors.Is(err, cause) || !body.closed {
		t.Errorf("%v, closed %t", err, body.closed)
	}
}

type closer struct {
	io.Reader
	closed bool
}

func (c *closer) Close() error {
	c.closed = true
	return nil
}

// TestConfig: all problems at once.
func TestConfig(t *testing.T) {
	if _, err := kesthttp.NewHandler(kesthttp.HandlerConfig{MaxBody: -1}); err == nil || strings.Count(err.Error(), "kesthttp:") != 2 {
		t.Error(err)
	}
	if _, err := kesthttp.NewTransport(kesthttp.TransportConfig{MaxBody: -1}); err == nil || strings.Count(err.Error(), "kesthttp:") != 2 {
		t.Error(err)
	}
	front := newService(t, "front")
	front.transport.Base = http.DefaultTransport
	front.client().CloseIdleConnections()
}

// TestConcurrency: one handler and one transport for many requests, each with a chain of its own.
func TestConcurrency(t *testing.T) {
	shop, front := newService(t, "shop").proving(propagate.ProofRequire), newService(t, "front").proving(propagate.ProofRequire)
	server := shop.serve(func(w http.ResponseWriter, r *http.Request) {
		must(t, shop.note(r.Context(), "x"))
		fmt.Fprint(w, kest.CurrentPassport(r.Context()).Len())
	})
	client := front.client()
	errs := make(chan error, 16)
	for range cap(errs) {
		go func() {
			var err error
			for range 5 {
				answer, _, learned, failed := front.get(client, http.MethodGet, server.URL, nil)
				if failed != nil || answer != "2" || learned.Len() != 2 {
					err = fmt.Errorf("%q, %d entries, %w", answer, learned.Len(), failed)
				}
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		select {
		case err := <-errs:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("too slow")
		}
	}
}
