package conformance_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// guarded returns a guard whose spans go to a real SDK, and what the SDK exported.
func guarded(t *testing.T, engine policy.Engine, options ...sdktrace.TracerProviderOption) (*kest.Guard, *tracetest.InMemoryExporter) {
	t.Helper()
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(append(options, sdktrace.WithSyncer(exporter))...)
	t.Cleanup(func() {
		if err := provider.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	guard, err := kest.New(kest.Config{
		Engine: engine, Identity: identitytest.New("spiffe://example.org/payments"), TracerProvider: provider,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return guard, exporter
}

func attributes(s tracetest.SpanStub) map[string]string {
	out := map[string]string{}
	for _, a := range s.Attributes {
		out[string(a.Key)] = a.Value.String()
	}
	return out
}

// TestGuardSpansInTheSDK (F-TE-01…04): what the OpenTelemetry SDK exports for a call, its callee, a failed body, a
// panic and a denial. Sessions without a trace must not lose their spans to a sampler that follows the parent.
func TestGuardSpansInTheSDK(t *testing.T) {
	engine := policytest.Func(func(_ context.Context, name string, _ *policy.Input) (policy.Decision, error) {
		return policy.Decision{Allow: name != "a/deny"}, nil
	})
	guard, exporter := guarded(t, engine, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())))
	callee := kest.MustVerified(guard, func(context.Context, int) (int, error) { return 2, nil }, kest.Operation("callee"), kest.Policy("a/b"))
	caller := kest.MustVerified(guard, func(ctx context.Context, n int) (int, error) { return callee(ctx, n) }, kest.Operation("caller"), kest.Policy("a/b"))
	failing := kest.MustVerified(guard, func(context.Context, int) (int, error) { return 0, errors.New("secret") }, kest.Operation("failing"), kest.Policy("a/b"))
	panicking := kest.MustVerified(guard, func(context.Context, int) (int, error) { panic("secret") }, kest.Operation("panicking"), kest.Policy("a/b"))
	denied := kest.MustVerified(guard, func(context.Context, int) (int, error) { return 0, nil }, kest.Operation("denied"), kest.Policy("a/deny"))

	ctx, session := kest.StartSession(t.Context())
	if _, err := caller(ctx, 1); err != nil {
		t.Fatal(err)
	}
	failing(ctx, 1)
	func() {
		defer func() { recover() }()
		panicking(ctx, 1)
	}()
	if _, err := denied(ctx, 1); !errors.Is(err, kest.ErrDenied) {
		t.Fatal(err)
	}
	spans := map[string]tracetest.SpanStub{}
	for _, s := range exporter.GetSpans() {
		spans[strings.TrimPrefix(s.Name, "kest.verified.")] = s
		if s.InstrumentationScope.Name != "kest.core" || s.InstrumentationScope.Version != kest.Version || s.SpanContext.TraceID().String() != session.TraceID() || s.EndTime.Before(s.StartTime) {
			t.Errorf("%s: scope %+v, trace %s", s.Name, s.InstrumentationScope, s.SpanContext.TraceID())
		}
		if strings.Contains(s.Status.Description, "secret") || len(s.Events) != 0 {
			t.Errorf("%s: %+v, events %v", s.Name, s.Status, s.Events)
		}
	}
	if len(spans) != 5 || spans["callee"].Parent.SpanID() != spans["caller"].SpanContext.SpanID() {
		t.Fatalf("%d spans, callee's parent %s", len(spans), spans["callee"].Parent.SpanID())
	}
	for name, code := range map[string]codes.Code{"caller": codes.Unset, "callee": codes.Unset, "failing": codes.Error, "panicking": codes.Error, "denied": codes.Error} {
		if got := spans[name].Status.Code; got != code {
			t.Errorf("%s: status %v", name, got)
		}
	}
	for i, s := range session.Passport().All() {
		e := s.Entry()
		got := attributes(spans[e.Operation])
		for key, want := range map[string]string{
			"kest.signature": s.JWS(), "kest.entry_id": e.ID, "kest.workload_id": e.Principal(), "kest.chain_tip": s.Hash().String(), "kest.trust_score": "100",
		} {
			if got[key] != want {
				t.Errorf("%s: %s = %q, want %q", e.Operation, key, got[key], want)
			}
		}
		u, err := lineage.ParsePassport([]byte(got["kest.passport"]), lineage.Limits{})
		if err != nil || len(u.Entries) != i+1 || strings.Count(got["kest.receipt"], ".") != 2 {
			t.Errorf("%s: passport of %d entries, %v; receipt %q", e.Operation, len(u.Entries), err, got["kest.receipt"])
		}
		if parent := e.OTelContext; !strings.Contains(string(parent), spans[e.Operation].SpanContext.SpanID().String()) {
			t.Errorf("%s: otel_context %s", e.Operation, parent)
		}
	}
	if got := attributes(spans["denied"]); got["kest.denied_policy"] != "a/deny" || got["kest.denied_tier"] != "function" || got["kest.denial"] == "" || got["kest.signature"] != "" {
		t.Errorf("denied: %v", got)
	}
}

// TestGuardUnsampled: a caller that does not want its trace sampled gets no spans, and the same lineage.
func TestGuardUnsampled(t *testing.T) {
	guard, exporter := guarded(t, policytest.Allow(), sdktrace.WithSampler(sdktrace.NeverSample()))
	f := kest.MustVerified(guard, func(ctx context.Context, _ int) (lineage.Entry, error) { return kest.CurrentEntry(ctx).Entry(), nil }, kest.Operation("x"), kest.Policy("a/b"))
	e, err := f(t.Context(), 1)
	if err != nil || len(exporter.GetSpans()) != 0 || !strings.HasSuffix(string(e.OTelContext), `-00"}`) {
		t.Errorf("%v, %d spans, %s", err, len(exporter.GetSpans()), e.OTelContext)
	}
}

// TestGuardLeaksNoGoroutine: neither calls, parallel or nested, nor denials, timeouts and engines that make contexts
// of their own leave a goroutine behind.
func TestGuardLeaksNoGoroutine(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent()) // before the context ends: nothing may hang on to it
	engine := policytest.Func(func(ctx context.Context, name string, _ *policy.Input) (policy.Decision, error) {
		child, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		switch name {
		case "a/deny":
			return policy.Decision{}, nil
		case "a/hang":
			<-child.Done()
			return policy.Decision{}, child.Err()
		case "a/after":
			context.AfterFunc(ctx, func() {}) // ends with the evaluation
		}
		return policy.Decision{Allow: true}, nil
	})
	ctx, _ = kest.StartSession(ctx)
	var wg sync.WaitGroup
	for name, timeout := range map[string]time.Duration{"a/allow": time.Hour, "a/deny": time.Hour, "a/after": time.Hour, "a/hang": time.Millisecond} {
		guard, err := kest.New(kest.Config{
			Engine: engine, Identity: identitytest.New("spiffe://example.org/payments"), PolicyTimeout: timeout, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		f := kest.MustVerified(guard, func(context.Context, int) (int, error) { return 0, nil }, kest.Operation("x"), kest.Policy(name))
		for range 10 {
			wg.Go(func() { f(ctx, 1) })
		}
	}
	wg.Wait()
}
