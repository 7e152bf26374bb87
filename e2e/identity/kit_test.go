package identity_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/hopproof"
	"github.com/kest-go/kest/propagate/kesthttp"
	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A service is one of the two: gate takes orders from anybody and passes them to ledger, which serves workloads only.
type service struct {
	guard    *kest.Guard
	verifier *lineage.Verifier
	front    *kesthttp.Handler
	client   *http.Client
	arrived  atomic.Int64 // requests, whatever became of them
	ran      atomic.Int64 // bodies
}

// setting is what tests vary. Nothing in it depends on the platform but the identity, the key source and TLS.
type setting struct {
	identity identity.Provider
	keys     lineage.KeySource
	// bindings are sent along, so that no store is needed. nil: none.
	bindings func(lineage.Passport) []string
	listener propagate.Listener
	address  string // of this service
	nonces   store.Store

	client      *tls.Config
	noProofs    bool // at an internal listener
	requirePeer bool
	peer        func(*tls.ConnectionState) (string, error)
}

func newService(t *testing.T, s setting) *service {
	t.Helper()
	w := &service{
		guard:    must(kest.New(kest.Config{Engine: policy.InsecureAllowAll(quiet), Identity: s.identity, Logger: quiet}))(t),
		verifier: must(lineage.NewVerifier(lineage.VerifierConfig{Keys: s.keys}))(t),
	}
	propagator := must(propagate.New(propagate.Config{Bindings: s.bindings, Store: s.nonces}))(t)
	in := propagate.IngressConfig{
		Listener: s.listener, Propagator: propagator, Verifier: w.verifier, RequirePeer: s.requirePeer, Logger: slog.Default(),
	}
	if s.listener == propagate.Internal && !s.noProofs {
		in.Proofs, in.Authorities = propagate.ProofRequire, []string{s.address}
		in.Hops = must(hopproof.NewVerifier(hopproof.Config{Keys: s.keys, Store: s.nonces}))(t)
	}
	w.front = must(kesthttp.NewHandler(kesthttp.HandlerConfig{Ingress: must(propagate.NewIngress(in))(t), Peer: s.peer}))(t)
	egress := must(propagate.NewEgress(propagate.EgressConfig{
		Sealer: w.guard, Propagator: propagator, Hops: hopproof.Signer{}, Identity: s.identity, Verifier: w.verifier,
		StrictReturn: true, Logger: slog.Default(),
	}))(t)
	base := &http.Transport{TLSClientConfig: s.client, MaxIdleConnsPerHost: 64}
	t.Cleanup(base.CloseIdleConnections)
	w.client = &http.Client{Transport: must(kesthttp.NewTransport(kesthttp.TransportConfig{Egress: egress, Base: base}))(t), Timeout: 10 * time.Second}
	return w
}

func (w *service) ledger() http.Handler {
	book := kest.MustVerified(w.guard, func(_ context.Context, order string) (string, error) {
		w.ran.Add(1)
		return "booked " + order, nil
	}, kest.Operation("ledger.book"), kest.Policy("p"))
	return w.counted(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		order, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
		var answer string
		if err == nil {
			answer, err = book(r.Context(), string(order))
		}
		if err != nil {
			kesthttp.WriteError(rw, err)
			return
		}
		io.WriteString(rw, answer)
	}))
}

func (w *service) counted(next http.Handler) http.Handler {
	next = w.front.Wrap(next)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.arrived.Add(1)
		next.ServeHTTP(rw, r)
	})
}

// gate answers with the lineage that it has after the ledger's answer.
func (w *service) gate(ledger string) http.Handler {
	pay := kest.MustVerified(w.guard, func(ctx context.Context, order string) (string, error) {
		w.ran.Add(1)
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, ledger, strings.NewReader(order))
		if err != nil {
			return "", err
		}
		resp, err := w.client.Do(request)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		return string(answer), errors.Join(err, kesthttp.ErrorOf(resp))
	}, kest.Operation("gate.pay"), kest.Policy("p"))
	return w.counted(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if _, err := pay(r.Context(), "order"); err != nil {
			slog.Default().Warn("pay", "error", err)
			kesthttp.WriteError(rw, err)
			return
		}
		text, err := kest.CurrentPassport(r.Context()).MarshalText()
		if err != nil {
			kesthttp.WriteError(rw, err)
			return
		}
		rw.Write(text)
	}))
}

func serve(t *testing.T, l net.Listener, h http.Handler, config *tls.Config) {
	t.Helper()
	server := &http.Server{Handler: h, TLSConfig: config, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if config != nil {
			server.ServeTLS(l, "", "")
			return
		}
		server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
}

// pay orders once and returns the lineage that came of it, not verified.
func pay(ctx context.Context, client *http.Client, gate string) (lineage.Unverified, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, gate, strings.NewReader("order"))
	if err != nil {
		return lineage.Unverified{}, err
	}
	resp, err := client.Do(request)
	if err != nil {
		return lineage.Unverified{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return lineage.Unverified{}, errors.Join(err, fmt.Errorf("status %d: %s", resp.StatusCode, text))
	}
	return lineage.ParsePassport(text, lineage.Limits{})
}

// twoEntries demands that a passport is gate's entry and then ledger's.
func twoEntries(p lineage.Passport, gate, ledger string) error {
	if p.Len() != 2 {
		return fmt.Errorf("%d entries", p.Len())
	}
	for i, want := range []string{gate, ledger} {
		for n, s := range p.All() {
			if e := s.Entry(); n == i && e.Principal() != want {
				return fmt.Errorf("entry %d is by %q, not %q", i, e.Principal(), want)
			}
		}
	}
	return nil
}

func principalOf(t *testing.T, p identity.Provider) string {
	t.Helper()
	return must(p.Signer(t.Context()))(t).Principal()
}

func memoryStore(t *testing.T) store.Store { return must(memory.New(memory.Config{}))(t) }

// source makes the key source of a service.
func source(t *testing.T, c binding.Config) *binding.Source {
	t.Helper()
	c.Logger = quiet
	return must(binding.New(c))(t)
}
