package kest_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	bytesof "encoding/binary"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/telemetry"
)

const payments = "spiffe://example.org/payments"

type order struct {
	ID     string
	Amount float64
}

// ship is the body of most tests.
func ship(context.Context, order) (string, error) { return "shipped", nil }

// A rig is a guard with everything around it in reach of the test.
type rig struct {
	*kest.Guard
	t        testing.TB
	engine   *policytest.Mock // asked unless the test sets another one
	verifier *lineage.Verifier
	log      *safeBuffer
	spans    *recorder
	sink     *sink
	steps    *journal
}

func newRig(t testing.TB, changes ...func(*kest.Config)) *rig {
	t.Helper()
	r := &rig{t: t, engine: policytest.Allow(), log: &safeBuffer{}, spans: &recorder{}, steps: &journal{}}
	r.sink = &sink{journal: r.steps}
	c := kest.Config{
		Engine: r.engine, Identity: identitytest.New(payments), Sink: r.sink, TracerProvider: r.spans,
		Logger: slog.New(slog.NewJSONHandler(r.log, nil)), PolicyTimeout: time.Minute, // the machine may be busy
	}
	for _, change := range changes {
		change(&c)
	}
	var err error
	if r.Guard, err = kest.New(c); err != nil {
		t.Fatal(err)
	}
	r.verifier = newVerifier(t, lineage.VerifierConfig{Trust: r.Config().Trust, Limits: c.Limits}, c.Origins)
	return r
}

// newVerifier knows the keys of the principals that the tests use, and lets only payments begin lineages, override
// trust and remove taints, so that authority is checked too.
func newVerifier(t testing.TB, c lineage.VerifierConfig, origins map[string]int) *lineage.Verifier {
	t.Helper()
	keys := map[string][]ed25519.PublicKey{}
	for _, name := range []string{payments, "spiffe://example.org/other"} {
		keys[name] = identitytest.New(name).PublicKeys()
	}
	set, err := lineage.NewKeySet(keys)
	if err != nil {
		t.Fatal(err)
	}
	c.Keys = set
	if c.Origins, err = lineage.NewOrigins(origins); err != nil {
		t.Fatal(err)
	}
	c.Authority = &lineage.Authority{Grants: []lineage.Grant{
		{Principal: payments, Originate: []string{"*"}, OverrideTrust: 100, RemoveTaints: []string{"*"}},
	}}
	v, err := lineage.NewVerifier(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// verify takes the passport through its text form, as another process would get it.
func (r *rig) verify(p lineage.Passport) *lineage.Report {
	r.t.Helper()
	text, err := p.MarshalText()
	if err != nil {
		r.t.Fatal(err)
	}
	u, err := lineage.ParsePassport(text, r.Config().Limits)
	if err != nil {
		r.t.Fatal(err)
	}
	u.Tips = p.Tips()
	_, report, err := r.verifier.Verify(context.Background(), u)
	if err != nil || !report.Valid() || !report.AuthorityUsed || !report.TipsCompared {
		r.t.Fatalf("passport of %d entries: %v (authority %t, tips %t)", p.Len(), err, report.AuthorityUsed, report.TipsCompared)
	}
	if len(report.Entries()) != p.Len() {
		r.t.Fatalf("report has %d entries, passport %d", len(report.Entries()), p.Len())
	}
	return report
}

// entry runs one call with the options and returns what was signed.
func (r *rig) entry(ctx context.Context, options ...kest.Option) lineage.Entry {
	r.t.Helper()
	return signedBy(r.t, r.Guard, ctx, order{ID: "o-1", Amount: 2}, options...).Entry()
}

func signedBy[In any](t testing.TB, g *kest.Guard, ctx context.Context, in In, options ...kest.Option) *lineage.Signed {
	t.Helper()
	var signed *lineage.Signed
	f, err := kest.Verified(g, func(ctx context.Context, _ In) (int, error) {
		signed = kest.CurrentEntry(ctx)
		return 0, nil
	}, append([]kest.Option{kest.Operation("test.op"), kest.Policy("kest/allow_trusted")}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f(ctx, in); err != nil {
		t.Fatal(err)
	}
	return signed
}

// call wraps ship with the options and calls it.
func (r *rig) call(ctx context.Context, options ...kest.Option) error {
	r.t.Helper()
	f, err := kest.Verified(r.Guard, ship, append([]kest.Option{kest.Policy("kest/allow_trusted")}, options...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	_, err = f(ctx, order{})
	return err
}

// wantDenied, wantStopped and wantConfig return the typed error or end the test.
func wantDenied(t testing.TB, err error) *kest.DeniedError {
	t.Helper()
	denied, ok := err.(*kest.DeniedError)
	if !ok || !errors.Is(err, kest.ErrDenied) {
		t.Fatalf("error %T %v, want a *DeniedError", err, err)
	}
	return denied
}

func wantStopped(t testing.TB, err error, step kest.Step) *kest.CallError {
	t.Helper()
	stopped, ok := err.(*kest.CallError)
	if !ok || stopped.Step != step || errors.Is(err, kest.ErrDenied) {
		t.Fatalf("error %T %v, want a *CallError of step %s", err, err, step)
	}
	return stopped
}

func wantConfig(t testing.TB, err error) *kest.ConfigError {
	t.Helper()
	config, ok := err.(*kest.ConfigError)
	if !ok || len(config.Problems) == 0 {
		t.Fatalf("error %T %v, want a *ConfigError", err, err)
	}
	return config
}

// allowOnly is an engine that allows the named policies.
func allowOnly(names ...string) *policytest.Mock {
	return policytest.Func(func(_ context.Context, name string, _ *policy.Input) (policy.Decision, error) {
		for _, n := range names {
			if n == name {
				return policy.Decision{Allow: true}, nil
			}
		}
		return policy.Decision{Reason: "not on the list"}, nil
	})
}

// journal is the order of events.
type journal struct {
	mu     sync.Mutex
	events []string
}

func (j *journal) add(event string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, event)
}

// sink keeps records, and fails for the kinds of fail.
type sink struct {
	*journal
	fail    map[telemetry.Kind]error
	records []telemetry.Record
}

func (s *sink) Record(_ context.Context, r telemetry.Record) error {
	s.add("sink " + string(r.Kind))
	if err := s.fail[r.Kind]; err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = append(s.records, r)
	return nil
}

func (s *sink) last(t testing.TB, kind telemetry.Kind) telemetry.Record {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.records) - 1; i >= 0; i-- {
		if s.records[i].Kind == kind {
			return s.records[i]
		}
	}
	t.Fatalf("no %s record", kind)
	return telemetry.Record{}
}

// provider is an identity made of functions.
type provider struct {
	signer func(context.Context) (lineage.Signer, error)
}

func (p provider) Signer(ctx context.Context) (lineage.Signer, error) { return p.signer(ctx) }

// signer signs with a function of its own.
type signer struct {
	lineage.Signer
	sign func(context.Context, []byte) ([]byte, error)
}

func (s signer) Sign(ctx context.Context, m []byte) ([]byte, error) { return s.sign(ctx, m) }

// signing returns an identity whose signatures are made by sign; next makes the good one.
func signing(t testing.TB, sign func(ctx context.Context, m []byte, next lineage.Signer) ([]byte, error)) provider {
	t.Helper()
	next, err := identitytest.New(payments).Signer(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return provider{func(context.Context) (lineage.Signer, error) {
		return signer{next, func(ctx context.Context, m []byte) ([]byte, error) { return sign(ctx, m, next) }}, nil
	}}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// recorder is a TracerProvider that keeps its spans. The zero value records.
type recorder struct {
	noop.TracerProvider
	off bool // spans are not recorded

	mu     sync.Mutex
	all    []*span
	scopes map[string]bool
}

func (r *recorder) Tracer(name string, o ...trace.TracerOption) trace.Tracer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.scopes == nil {
		r.scopes = map[string]bool{}
	}
	config := trace.NewTracerConfig(o...)
	r.scopes[name+"@"+config.InstrumentationVersion()] = true
	return tracer{r: r}
}

type tracer struct {
	noop.Tracer
	r *recorder
}

func (t tracer) Start(ctx context.Context, name string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	s := &span{r: t.r, name: name, attributes: map[string]attribute.Value{}}
	config := trace.SpanContextConfig{TraceFlags: trace.FlagsSampled.WithSampled(!t.r.off)}
	if parent := trace.SpanContextFromContext(ctx); parent.IsValid() {
		config.TraceID, s.parent = parent.TraceID(), parent.SpanID()
	} else {
		bytesof.BigEndian.PutUint64(config.TraceID[8:], uint64(len(t.r.all)+1))
	}
	bytesof.BigEndian.PutUint64(config.SpanID[:], uint64(len(t.r.all)+1))
	s.context = trace.NewSpanContext(config)
	t.r.all = append(t.r.all, s)
	return trace.ContextWithSpan(ctx, s), s
}

// last returns the latest span, which must have ended.
func (r *recorder) last(t testing.TB) *span {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == 0 || r.all[len(r.all)-1].ended != 1 {
		t.Fatalf("%d spans, the last one has not ended exactly once", len(r.all))
	}
	return r.all[len(r.all)-1]
}

type span struct {
	noop.Span
	r           *recorder
	name        string
	context     trace.SpanContext
	parent      trace.SpanID
	attributes  map[string]attribute.Value
	status      codes.Code
	description string
	ended       int
}

func (s *span) SpanContext() trace.SpanContext { return s.context }
func (s *span) IsRecording() bool              { return !s.r.off }
func (s *span) SetStatus(c codes.Code, d string) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.status, s.description = c, d
}
func (s *span) End(...trace.SpanEndOption) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.ended++
}
func (s *span) SetAttributes(kv ...attribute.KeyValue) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	for _, a := range kv {
		s.attributes[string(a.Key)] = a.Value
	}
}
