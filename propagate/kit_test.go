package propagate_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/store"
)

// The principals of the tests. Their keys are made from their names.
const (
	web     = "spiffe://example.org/web"
	pay     = "spiffe://example.org/payments"
	python  = "python-service"
	mallory = "spiffe://evil.example/web" // nobody knows the key
	guarded = "spiffe://example.org/guarded"
)

func keyOf(name string) ed25519.PrivateKey {
	if name == "w" { // of passport
		return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	}
	seed := sha256.Sum256([]byte("kest propagate test key: " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func signerOf(t testing.TB, name string) lineage.Signer {
	t.Helper()
	s, err := lineage.NewSigner(name, keyOf(name))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// grow returns p with one entry more that name has signed. Its parents are the leaves of p.
func grow(t testing.TB, p lineage.Passport, n int, name string, edits ...func(*lineage.Entry)) lineage.Passport {
	t.Helper()
	e := lineage.Entry{
		Runtime: lineage.Runtime{Name: "x"}, ID: fmt.Sprintf("0190e2b0-7b3a-7c3e-8a53-%012x", n), Operation: "step",
		Classification: "system", TrustScore: 100, Parents: p.Tips(),
		Labels: map[string]string{"principal": name, "trace_id": trace, "kest.source_type": "internal"},
	}
	for _, edit := range edits {
		edit(&e)
	}
	signed, err := lineage.Sign(t.Context(), signerOf(t, name), e, lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if p, err = p.Append(signed); err != nil {
		t.Fatal(err)
	}
	return p
}

// chain makes n entries, each the child of the one before.
func chain(t testing.TB, n int) (p lineage.Passport) {
	t.Helper()
	for i := range n {
		p = grow(t, p, i, []string{web, pay}[i%2])
	}
	return p
}

// fork makes a root by web and n children of it, all by name.
func fork(t testing.TB, n int, name string) lineage.Passport {
	t.Helper()
	root := chain(t, 1)
	all := root
	for i := range n {
		var err error
		if all, err = lineage.Merge(all, grow(t, root, 100+i, name)); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func signing(id string) func(*lineage.Entry) {
	return func(e *lineage.Entry) { e.Labels[lineage.LabelIdentity] = id }
}

func textOf(t testing.TB, p lineage.Passport) string {
	t.Helper()
	text, err := p.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func keys(t testing.TB) *lineage.KeySet {
	t.Helper()
	known := map[string][]ed25519.PublicKey{guarded: identitytest.New(guarded).PublicKeys()}
	for _, name := range []string{"w", web, pay, python} {
		known[name] = []ed25519.PublicKey{keyOf(name).Public().(ed25519.PublicKey)}
	}
	set, err := lineage.NewKeySet(known)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func verifier(t testing.TB, edits ...func(*lineage.VerifierConfig)) *lineage.Verifier {
	t.Helper()
	c := lineage.VerifierConfig{Keys: keys(t)}
	for _, edit := range edits {
		edit(&c)
	}
	v, err := lineage.NewVerifier(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func propagator(t testing.TB, c propagate.Config) *propagate.Propagator {
	t.Helper()
	p, err := propagate.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// carry is a message with the lines of a baggage header.
func carry(lines ...string) propagation.HeaderCarrier {
	return propagation.HeaderCarrier(http.Header{"Baggage": lines})
}

// headerOf writes a passport as p does, beside nothing.
func headerOf(t testing.TB, p *propagate.Propagator, passport lineage.Passport) string {
	t.Helper()
	carrier := propagation.MapCarrier{}
	if err := p.Attach(t.Context(), carrier, passport); err != nil {
		t.Fatal(err)
	}
	return carrier["baggage"]
}

// valueOf returns the value of a member as it stands in a header.
func valueOf(header, key string) (string, bool) {
	for m := range strings.SplitSeq(header, ",") {
		if k, v, _ := strings.Cut(m, "="); k == key {
			return v, true
		}
	}
	return "", false
}

// form lists the members of Kest in a header that carry a passport.
func form(header string) (out []string) {
	for _, key := range []string{propagate.KeyPassport, propagate.KeyPassportZ, propagate.KeyClaimCheck} {
		if _, ok := valueOf(header, key); ok {
			out = append(out, key)
		}
	}
	return out
}

// shelf is a store in memory that can fail.
type shelf struct {
	mu     sync.Mutex
	values map[string][]byte
	ttl    time.Duration // of the last Put
	fail   error
	hang   bool // until the context ends
}

func newShelf() *shelf { return &shelf{values: map[string][]byte{}} }

func (s *shelf) ready(ctx context.Context) error {
	if s.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.fail
}

func (s *shelf) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := errors.Join(s.ready(ctx), store.Check(key, value, 0, ttl)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.values[key]; ok {
		return store.ErrExists
	}
	s.values[key], s.ttl = bytes.Clone(value), ttl
	return nil
}

func (s *shelf) Get(ctx context.Context, key string) ([]byte, error) {
	if err := errors.Join(s.ready(ctx), store.CheckKey(key)); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if value, ok := s.values[key]; ok {
		return bytes.Clone(value), nil
	}
	return nil, store.ErrNotFound
}

// keys are those that were written.
func (s *shelf) keys() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.values {
		out = append(out, key)
	}
	return out
}

// logs collects the lines of a logger.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

func (l *logs) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// lines returns what was logged since the last call.
func (l *logs) lines(t testing.TB) (out []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		out = append(out, m)
	}
	l.b.Reset()
	return out
}

func guard(t testing.TB) *kest.Guard {
	t.Helper()
	g, err := kest.New(kest.Config{
		Engine: policytest.Allow(), Identity: identitytest.New(guarded), Logger: slog.New(slog.DiscardHandler), TracerProvider: noop.NewTracerProvider(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// call runs a guarded function under ctx. entry is what it signed, nil when its body did not run.
func call(t testing.TB, ctx context.Context) (entry *lineage.Signed, err error) {
	t.Helper()
	f, err := kest.Verified(guard(t), func(ctx context.Context, _ struct{}) (int, error) {
		entry = kest.CurrentEntry(ctx)
		return 0, nil
	}, kest.Operation("guarded"), kest.Policy("p"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = f(ctx, struct{}{})
	return entry, err
}

// stopped holds every guarded call under ctx to be refused before its body runs.
func stopped(t testing.TB, ctx context.Context) {
	t.Helper()
	if entry, err := call(t, ctx); entry != nil || !errors.Is(err, kest.ErrUntrustedLineage) {
		t.Errorf("a guarded call ran under refused lineage: %v", err)
	}
}

// wantClass holds an error to a class.
func wantClass(t testing.TB, err error, want propagate.Class) {
	t.Helper()
	var refused *propagate.RefusedError
	if !errors.As(err, &refused) || refused.Class != want || propagate.ClassOf(err) != want {
		t.Errorf("error %v (class %q), want class %q", err, propagate.ClassOf(err).Title(), want.Title())
	}
}
