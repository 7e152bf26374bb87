package kesthttp_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/kesthttp"
)

// logBuffer is a log that several goroutines write.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBuffer) lines() []string {
	return strings.FieldsFunc(b.String(), func(r rune) bool { return r == '\n' })
}

// A service is a workload with everything that it needs to send and to receive.
type service struct {
	t         testing.TB
	guard     *kest.Guard
	identity  *identitytest.Mock
	engine    *policytest.Mock
	log       *logBuffer
	verifier  *lineage.Verifier
	egress    propagate.EgressConfig
	transport kesthttp.TransportConfig
	ingress   propagate.IngressConfig
	handler   kesthttp.HandlerConfig
	aliases   []string // more names of the server
}

var names = []string{"front", "shop", "ledger", "mallory"}

func newService(t testing.TB, name string) *service {
	t.Helper()
	keys := map[string][]ed25519.PublicKey{}
	for _, n := range names {
		keys[n] = identitytest.New(n).PublicKeys()
	}
	set, err := lineage.NewKeySet(keys)
	must(t, err)
	s := &service{t: t, identity: identitytest.New(name), engine: policytest.Allow(), log: &logBuffer{}}
	logger := slog.New(slog.NewTextHandler(s.log, nil))
	s.guard, err = kest.New(kest.Config{Engine: s.engine, Identity: s.identity, Logger: logger})
	must(t, err)
	s.verifier, err = lineage.NewVerifier(lineage.VerifierConfig{Keys: set})
	must(t, err)
	s.egress = propagate.EgressConfig{Sealer: s.guard, Verifier: s.verifier, StrictReturn: true, Logger: logger}
	s.ingress = propagate.IngressConfig{Listener: propagate.Internal, Verifier: s.verifier, Logger: logger}
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// proving turns hop proofs on, on both sides.
func (s *service) proving(mode propagate.ProofMode) *service {
	s.egress.Hops, s.egress.Identity = seal{}, s.identity
	s.ingress.Proofs, s.ingress.Hops = mode, seal{}
	return s
}

func (s *service) client() *http.Client {
	s.t.Helper()
	var err error
	s.transport.Egress, err = propagate.NewEgress(s.egress)
	must(s.t, err)
	if s.transport.Base == nil {
		base := &http.Transport{}
		s.t.Cleanup(base.CloseIdleConnections)
		s.transport.Base = base
	}
	transport, err := kesthttp.NewTransport(s.transport)
	must(s.t, err)
	return &http.Client{Transport: transport}
}

// serve starts a server behind the ingress.
func (s *service) serve(next http.HandlerFunc, setUp ...func(*httptest.Server)) *httptest.Server {
	s.t.Helper()
	server := httptest.NewUnstartedServer(nil)
	s.ingress.Authorities = append(s.aliases, server.Listener.Addr().String())
	server.Config.Handler = s.wrap(next)
	server.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(s.log, nil), slog.LevelError)
	for _, f := range setUp {
		f(server)
	}
	if server.URL == "" {
		server.Start()
	}
	s.t.Cleanup(server.Close)
	return server
}

func (s *service) wrap(next http.HandlerFunc) http.Handler {
	s.t.Helper()
	var err error
	s.handler.Ingress, err = propagate.NewIngress(s.ingress)
	must(s.t, err)
	handler, err := kesthttp.NewHandler(s.handler)
	must(s.t, err)
	return handler.Wrap(next)
}

// call runs body as a guarded call of the service.
func (s *service) call(ctx context.Context, operation string, body func(context.Context) error) error {
	s.t.Helper()
	f, err := kest.Verified(s.guard, func(ctx context.Context, _ struct{}) (struct{}, error) { return struct{}{}, body(ctx) },
		kest.Operation(operation), kest.Policy("p"))
	must(s.t, err)
	_, err = f(ctx, struct{}{})
	return err
}

// note is a guarded call that does nothing.
func (s *service) note(ctx context.Context, operation string) error {
	return s.call(ctx, operation, func(context.Context) error { return nil })
}

// get sends a request from within a guarded call, and returns what the session knows afterwards.
func (s *service) get(client *http.Client, method, url string, body io.Reader) (answer string, resp *http.Response, learned lineage.Passport, err error) {
	s.t.Helper()
	err = s.call(s.t.Context(), "call", func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, method, url, body)
		must(s.t, err)
		if resp, err = client.Do(request); err != nil {
			return err
		}
		text, err := io.ReadAll(resp.Body)
		answer = string(text)
		err = errors.Join(err, resp.Body.Close())
		learned = kest.CurrentPassport(ctx)
		return err
	})
	return answer, resp, learned, err
}

func operations(p lineage.Passport) (names []string) {
	for _, s := range p.All() {
		names = append(names, s.Entry().Operation)
	}
	return names
}

// seal is a hop proof that covers all of a request, for tests that ask whether both ends see the same. (Package
// hopproof has the real one, in a module of its own.)
type seal struct{}

func (seal) text(r propagate.HopRequest) []byte {
	fields := map[string][]string{}
	for name, lines := range r.Fields {
		if name != "signature" && name != "signature-input" {
			fields[name] = lines
		}
	}
	r.Fields = fields
	text, _ := json.Marshal(r)
	return text
}

func (s seal) SignHop(ctx context.Context, by lineage.Signer, r propagate.HopRequest) (input, signature string, err error) {
	raw, err := by.Sign(ctx, s.text(r))
	return by.KeyID(), base64.StdEncoding.EncodeToString(raw), err
}

func (s seal) VerifyHop(_ context.Context, principal string, r propagate.HopRequest) error {
	if len(r.Fields["signature"]) == 0 {
		return propagate.ErrNoProof
	}
	raw, _ := base64.StdEncoding.DecodeString(r.Fields["signature"][0])
	if !ed25519.Verify(identitytest.New(principal).PublicKeys()[0], s.text(r), raw) {
		return propagate.ErrBadProof
	}
	return nil
}
