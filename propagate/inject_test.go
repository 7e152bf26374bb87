package propagate_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// handled collects what is reported to OpenTelemetry, whose handler is the process's.
type handled struct {
	mu   sync.Mutex
	errs []error
}

func (h *handled) Handle(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errs = append(h.errs, err)
}

// take returns what was reported since the last call.
func (h *handled) take() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() { h.errs = nil }()
	return errors.Join(h.errs...)
}

func handler(t *testing.T) *handled {
	t.Helper()
	h, before := &handled{}, otel.GetErrorHandler()
	otel.SetErrorHandler(h)
	t.Cleanup(func() { otel.SetErrorHandler(before) })
	return h
}

// inSession is a context whose session has learned p.
func inSession(ctx context.Context, p lineage.Passport) context.Context {
	return propagate.WithSession(ctx, propagate.NewSession(p, trace, ""))
}

// TestInject (F-CP-07): Inject does not know the destination, so lineage goes out only where InjectEverywhere says so;
// what is left out is reported.
func TestInject(t *testing.T) {
	h := handler(t)
	p, everywhere := propagator(t, propagate.Config{}), propagator(t, propagate.Config{InjectEverywhere: true})
	ctx := inSession(p.Extract(t.Context(), carry("a=1;p")), chain(t, 2))
	ctx = propagate.WithIdentity(ctx, propagate.Identity{User: "alice"})
	out := carry("kest.passport=old,b=2")
	p.Inject(ctx, out)
	if err := h.take(); out.Get("baggage") != "b=2,a=1;p" || err == nil || !strings.Contains(err.Error(), "InjectEverywhere") {
		t.Errorf("%q, %v", out.Get("baggage"), err)
	}
	out = carry("kest.passport=old,b=2")
	everywhere.Inject(ctx, out)
	if err := h.take(); err != nil || !strings.HasPrefix(out.Get("baggage"), "b=2,a=1;p,kest.chain_tip=") || !strings.Contains(out.Get("baggage"), ",kest.user=alice,") {
		t.Errorf("%q, %v", out.Get("baggage"), err)
	}
	if got := restored(t, p, out.Get("baggage")); got.Len() != 2 {
		t.Errorf("%d entries", got.Len())
	}
	for _, p := range []*propagate.Propagator{p, everywhere} {
		for name, ctx := range map[string]context.Context{"no session": t.Context(), "empty session": inSession(t.Context(), lineage.Passport{})} {
			out := carry("a=1")
			if p.Inject(ctx, out); out.Get("baggage") != "a=1" || h.take() != nil {
				t.Errorf("%s: %q", name, out.Get("baggage"))
			}
		}
	}
}

// TestInjectUnsendable: lineage that nobody may believe, or that does not fit, is announced and not sent, so that the
// receiver refuses instead of beginning anew.
func TestInjectUnsendable(t *testing.T) {
	h := handler(t)
	tied, err := lineage.Merge(chain(t, 1), grow(t, lineage.Passport{}, 9, pay))
	if err != nil {
		t.Fatal(err)
	}
	plain, everywhere := propagator(t, propagate.Config{}), propagator(t, propagate.Config{InjectEverywhere: true})
	down := propagator(t, propagate.Config{InjectEverywhere: true, Store: &shelf{fail: errors.New("down")}})
	failed := propagate.NewSession(chain(t, 1), trace, "")
	failed.Fail(errors.New("conflict"))
	header := headerOf(t, plain, chain(t, 1))
	full := set(t, inSession(t.Context(), chain(t, 1)), "f", strings.Repeat("x", 8150))
	for name, c := range map[string]struct {
		p   *propagate.Propagator
		ctx context.Context
	}{
		"refused":               {everywhere, plain.Extract(t.Context(), carry("kest.passport=x"))},
		"refused, not injected": {plain, propagate.Refuse(inSession(t.Context(), chain(t, 1)), nil)},
		"unverified":            {everywhere, plain.Extract(t.Context(), carry(header))},
		"unverified later":      {everywhere, plain.Extract(inSession(t.Context(), chain(t, 1)), carry(header))},
		"unverified in baggage": {plain, propagation.Baggage{}.Extract(t.Context(), carry(header))},
		"failed":                {everywhere, propagate.WithSession(t.Context(), failed)},
		"not tied":              {everywhere, inSession(t.Context(), tied)},
		"too large":             {everywhere, inSession(t.Context(), chain(t, 40))},
		"store down":            {down, inSession(t.Context(), chain(t, 40))},
		"no room":               {everywhere, full},
	} {
		out := carry("a=1," + header)
		c.p.Inject(c.ctx, out)
		want := "a=1,kest.chain_tip=" + strings.Repeat("0", 64)
		if name == "no room" { // the announcement is more important
			want = strings.TrimPrefix(want, "a=1,")
		}
		if got := out.Get("baggage"); got != want || h.take() == nil {
			t.Errorf("%s: %.200q", name, got)
		}
		turnedAway(t, plain, propagate.Malformed, out.Get("baggage"))
	}
	out := carry(strings.Repeat("a=1,", 64)) // a carrier that cannot be read is replaced
	if everywhere.Inject(inSession(t.Context(), chain(t, 1)), out); out.Get("baggage") != "kest.chain_tip="+strings.Repeat("0", 64) || h.take() == nil {
		t.Errorf("%.200q", out.Get("baggage"))
	}
	if plain.Inject(set(t, t.Context(), "schlüssel", "1"), out); out.Get("baggage") == "" || h.take() == nil {
		t.Errorf("%.200q", out.Get("baggage"))
	}
}

// TestWithAttached: what a transport has attached, or taken away, is not written over further down.
func TestWithAttached(t *testing.T) {
	h := handler(t)
	ctx := propagate.WithAttached(set(t, inSession(t.Context(), chain(t, 1)), "b", "2"))
	for _, everywhere := range []bool{true, false} {
		out := carry("a=1,kest.chain_tip=x")
		propagator(t, propagate.Config{InjectEverywhere: everywhere}).Inject(ctx, out)
		if got := out.Get("baggage"); got != "a=1,kest.chain_tip=x" || h.take() != nil {
			t.Errorf("%q", got)
		}
	}
}

// TestAsOpenTelemetry: it stands in for propagation.Baggage in a composite, beside traces.
func TestAsOpenTelemetry(t *testing.T) {
	p := propagator(t, propagate.Config{InjectEverywhere: true})
	all := propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, p)
	in := propagation.MapCarrier{
		"traceparent": "00-" + trace + "-1111111111111111-01", "baggage": "a=%20;p=1," + headerOf(t, p, chain(t, 1)),
	}
	ctx := all.Extract(t.Context(), in)
	if a := propagate.ArrivalFrom(ctx); a == nil || !a.Present || baggage.FromContext(ctx).Member("a").Value() != " " {
		t.Errorf("%v", propagate.Refusal(ctx))
	}
	stopped(t, ctx)
	ctx, _ = admitted(t, propagate.IngressConfig{}, ctx, propagate.Request{})
	out := propagation.MapCarrier{}
	if all.Inject(ctx, out); out["baggage"] != in["baggage"] || out["traceparent"] != in["traceparent"] {
		t.Errorf("passed on as %v", out)
	}
}
