package propagate_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// admitted runs a request that must be served, without a line in the log.
func admitted(t testing.TB, c propagate.IngressConfig, ctx context.Context, r propagate.Request) (context.Context, propagate.Admission) {
	t.Helper()
	var l logs
	c.Logger = l.logger()
	i := ingress(t, c)
	l.lines(t) // of the construction
	ctx, admission, err := i.Admit(ctx, r)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	if text := l.text(); text != "" {
		t.Errorf("a good request is logged: %s", text)
	}
	if propagate.CarriesUnverified(ctx) || propagate.Refusal(ctx) != nil {
		t.Error("an admitted context is not trusted")
	}
	return ctx, admission
}

// entryUnder is what a guarded call signs under ctx.
func entryUnder(t testing.TB, ctx context.Context) lineage.Entry {
	t.Helper()
	entry, err := call(t, ctx)
	if err != nil {
		t.Fatal(err)
	}
	return entry.Entry()
}

// TestIngressConfig: everything that is wrong is said at once, and every combination that weakens silently is wrong.
func TestIngressConfig(t *testing.T) {
	_, err := propagate.NewIngress(propagate.IngressConfig{
		LineageOptional: true, Proofs: propagate.ProofRequire, RequireToken: true, Timeout: -1, Authorities: []string{""},
	})
	for _, field := range []string{"Listener", "LineageOptional", "Verifier", "Hops", "RequireToken", "Timeout", "Authorities"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	v, hops := verifier(t), &hopVerifier{}
	good := propagate.IngressConfig{Listener: propagate.Internal, Verifier: v, Proofs: propagate.ProofRequire, Hops: hops, Authorities: []string{"A:1"}}
	if _, err := propagate.NewIngress(good); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]propagate.IngressConfig{
		"zero":                        {},
		"no listener":                 {Verifier: v},
		"other listener":              {Verifier: v, Listener: 3},
		"negative listener":           {Verifier: v, Listener: -1},
		"optional at an edge":         {Verifier: v, Listener: propagate.Edge, LineageOptional: true},
		"verifier that is ignored":    {Verifier: v, Listener: propagate.Edge, InsecureIgnoreLineage: true},
		"internal without lineage":    {Listener: propagate.Internal, InsecureIgnoreLineage: true},
		"proofs of dropped lineage":   {Listener: propagate.Edge, InsecureIgnoreLineage: true, Proofs: propagate.ProofAccept, Hops: hops, Authorities: []string{"a"}},
		"proofs without verifier":     {Listener: propagate.Edge, Verifier: v, Proofs: propagate.ProofAccept, Authorities: []string{"a"}},
		"proofs without authorities":  {Listener: propagate.Edge, Verifier: v, Proofs: propagate.ProofAccept, Hops: hops},
		"proofs for nobody":           {Listener: propagate.Edge, Verifier: v, Proofs: propagate.ProofAccept, Hops: hops, Authorities: []string{"a", ""}},
		"unknown mode":                {Listener: propagate.Edge, Verifier: v, Proofs: 3, Hops: hops, Authorities: []string{"a"}},
		"required token without keys": {Listener: propagate.Edge, Verifier: v, RequireToken: true},
	} {
		if i, err := propagate.NewIngress(c); err == nil || i != nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// TestListeners: who comes without lineage begins one at an edge, as the internet or as Origin says; an internal
// listener refuses, unless lineage is optional for now. "[]" is no better than nothing.
func TestListeners(t *testing.T) {
	for _, lines := range [][]string{nil, {""}, {"kest.passport=%5B%5D,kest.chain_tip="}, {"kest.user=alice,a=b"}} {
		r := propagate.Request{Carrier: carry(lines...)}
		for _, c := range []struct {
			config propagate.IngressConfig
			source string
			trust  int
		}{
			{propagate.IngressConfig{Listener: propagate.Edge}, "internet", 10},
			{propagate.IngressConfig{Listener: propagate.Edge, Origin: "user_input"}, "user_input", 40},
			{propagate.IngressConfig{Listener: propagate.Internal, LineageOptional: true}, "internet", 10},
			{propagate.IngressConfig{Listener: propagate.Edge, InsecureIgnoreLineage: true}, "internet", 10},
		} {
			ctx, admission := admitted(t, c.config, t.Context(), r)
			if admission.Lineage.Len() != 0 || admission.Proven || propagate.IdentityFrom(ctx) != (propagate.Identity{}) {
				t.Errorf("%+v", admission)
			}
			if e := entryUnder(t, ctx); len(e.Parents) != 0 || e.SourceType() != c.source || e.TrustScore != c.trust {
				t.Errorf("%q: %s with trust %d, want %s with %d", lines, e.SourceType(), e.TrustScore, c.source, c.trust)
			}
		}
		var l logs
		refused(t, ingress(t, propagate.IngressConfig{Listener: propagate.Internal, Logger: l.logger()}), &l, propagate.Forbidden, r)
	}
	var l logs
	refused(t, ingress(t, propagate.IngressConfig{Listener: propagate.Internal, Logger: l.logger()}), &l, propagate.Forbidden, propagate.Request{})
}

// TestOriginCapsRoots: a root behind an edge is no better than the edge says, whatever the call declares.
func TestOriginCapsRoots(t *testing.T) {
	ctx, _ := admitted(t, propagate.IngressConfig{}, t.Context(), propagate.Request{})
	f, err := kest.Verified(guard(t), func(ctx context.Context, _ struct{}) (lineage.Entry, error) {
		return kest.CurrentEntry(ctx).Entry(), nil
	}, kest.Operation("x"), kest.Policy("p"), kest.SourceType("system"))
	if err != nil {
		t.Fatal(err)
	}
	if e, err := f(ctx, struct{}{}); err != nil || e.TrustScore != 10 {
		t.Errorf("trust %d, %v", e.TrustScore, err)
	}
}

// TestLineageArrives (F-CP-07): verified lineage goes on, in its own trace, whether the ingress reads the message or a
// propagator has.
func TestLineageArrives(t *testing.T) {
	p := propagator(t, propagate.Config{})
	passport := chain(t, 3)
	carrier := carry("a=1;p," + headerOf(t, p, passport))
	carrier.Set("traceparent", "00-"+strings.Repeat("2", 32)+"-1111111111111111-01")
	for _, listener := range []propagate.Listener{propagate.Edge, propagate.Internal} {
		for name, r := range map[string]propagate.Request{"carrier": {Carrier: carrier}, "extracted": {}} {
			ctx := t.Context()
			if r.Carrier == nil {
				ctx = p.Extract(ctx, carrier)
			}
			ctx, admission := admitted(t, propagate.IngressConfig{Listener: listener, Origin: "llm"}, ctx, r)
			session := propagate.SessionFrom(ctx)
			if session.TraceID() != trace || session.Origin() != "" || textOf(t, session.Passport()) != textOf(t, passport) || textOf(t, admission.Lineage) != textOf(t, passport) {
				t.Errorf("%s: trace %s, origin %q, %d entries", name, session.TraceID(), session.Origin(), session.Passport().Len())
			}
			if e := entryUnder(t, ctx); len(e.Parents) != 1 || e.Parents[0] != passport.Last().Hash() || e.TraceID() != trace || e.TrustScore != 100 {
				t.Errorf("%s: %+v", name, e)
			}
			if bag := baggage.FromContext(ctx); bag.String() != "a=1;p" {
				t.Errorf("%s: baggage %q", name, bag)
			}
		}
	}
	got, err := ingress(t, propagate.IngressConfig{}).Passport(t.Context(), carrier)
	if err != nil || textOf(t, got) != textOf(t, passport) {
		t.Errorf("%v", err)
	}
	if got, err := ingress(t, propagate.IngressConfig{}).Passport(t.Context(), carry("kest.passport=%5B")); got.Len() != 0 || propagate.ClassOf(err) != propagate.Malformed {
		t.Errorf("%v", err)
	}
}

// TestTraceOfRoots: without lineage the request's trace counts: a span that was begun, else traceparent, else a new one.
func TestTraceOfRoots(t *testing.T) {
	begun := oteltrace.ContextWithSpanContext(t.Context(), oteltrace.NewSpanContext(oteltrace.SpanContextConfig{
		TraceID: oteltrace.TraceID{0x33}, SpanID: oteltrace.SpanID{1},
	}))
	two := strings.Repeat("2", 32)
	sent := carry()
	sent.Set("traceparent", "00-"+two+"-1111111111111111-01")
	broken := carry()
	broken.Set("traceparent", "00-"+strings.Repeat("0", 32)+"-1111111111111111-01")
	for name, c := range map[string]struct {
		ctx     context.Context
		carrier propagation.TextMapCarrier
		want    string
	}{
		"span": {begun, sent, "33" + strings.Repeat("0", 30)}, "header": {t.Context(), sent, two}, "broken": {t.Context(), broken, ""}, "none": {t.Context(), nil, ""},
	} {
		ctx, _ := admitted(t, propagate.IngressConfig{}, c.ctx, propagate.Request{Carrier: c.carrier})
		got := propagate.SessionFrom(ctx).TraceID()
		again, _ := admitted(t, propagate.IngressConfig{}, c.ctx, propagate.Request{Carrier: c.carrier})
		if c.want != "" && got != c.want || c.want == "" && (len(got) != 32 || got == propagate.SessionFrom(again).TraceID()) {
			t.Errorf("%s: trace %s", name, got)
		}
		if e := entryUnder(t, ctx); e.TraceID() != got {
			t.Errorf("%s: entry of trace %s", name, e.TraceID())
		}
	}
}

// TestInsecureIgnoreLineage: it warns once, drops what came, also garbage that only a verifier would refuse, and keeps
// what belongs to others.
func TestInsecureIgnoreLineage(t *testing.T) {
	var l logs
	i := ingress(t, propagate.IngressConfig{InsecureIgnoreLineage: true, Logger: l.logger()})
	if out := l.lines(t); len(out) != 1 || out[0]["level"] != "WARN" || !strings.Contains(out[0]["msg"].(string), "DOES NOT VERIFY") {
		t.Errorf("%v", out)
	}
	p := propagator(t, propagate.Config{})
	extracted := p.Extract(t.Context(), carry(headerOf(t, p, chain(t, 2))))
	for name, c := range map[string]struct {
		ctx context.Context
		r   propagate.Request
	}{
		"carrier": {t.Context(), propagate.Request{Carrier: carry("a=1,kest.user=alice," + headerOf(t, p, chain(t, 2)))}},
		"garbage": {t.Context(), propagate.Request{Carrier: carry("a=1,kest.passport=garbage")}}, "extracted": {extracted, propagate.Request{}},
	} {
		ctx, admission, err := i.Admit(c.ctx, c.r)
		if err != nil || admission.Lineage.Len() != 0 || propagate.IdentityFrom(ctx) != (propagate.Identity{}) {
			t.Fatalf("%s: %+v, %v", name, admission, err)
		}
		if e := entryUnder(t, ctx); len(e.Parents) != 0 || e.SourceType() != "internet" {
			t.Errorf("%s: %+v", name, e)
		}
		if c.r.Carrier != nil && baggage.FromContext(ctx).String() != "a=1" {
			t.Errorf("%s: %q", name, baggage.FromContext(ctx))
		}
	}
	refused(t, i, &l, propagate.Malformed, propagate.Request{Carrier: carry("kest.user=a,kest.user=b")})
}

// TestLineageInBaggage: with OpenTelemetry's own propagator in front, and nothing that reads the message, lineage must
// not look like none.
func TestLineageInBaggage(t *testing.T) {
	ctx := propagation.Baggage{}.Extract(t.Context(), carry(headerOf(t, propagator(t, propagate.Config{}), chain(t, 2))))
	var l logs
	ctx, _, err := ingress(t, propagate.IngressConfig{Logger: l.logger()}).Admit(ctx, propagate.Request{})
	wantClass(t, err, propagate.Fault)
	stopped(t, ctx)
	carrier := carry(headerOf(t, propagator(t, propagate.Config{}), chain(t, 2)))
	in := propagation.Baggage{}.Extract(t.Context(), carrier)
	ctx, admission := admitted(t, propagate.IngressConfig{}, in, propagate.Request{Carrier: carrier})
	if admission.Lineage.Len() != 2 || baggage.FromContext(ctx).Len() != 0 {
		t.Errorf("%d entries; baggage %q", admission.Lineage.Len(), baggage.FromContext(ctx)) // decision 0009
	}
}

// TestDefaultLogger: without a logger the process's gets the lines.
func TestDefaultLogger(t *testing.T) {
	var l logs
	before := slog.Default()
	slog.SetDefault(l.logger())
	t.Cleanup(func() { slog.SetDefault(before) })
	refused(t, ingress(t, propagate.IngressConfig{}), &l, propagate.Malformed, propagate.Request{Carrier: carry("kest.passport=x")})
	e := egress(t, propagate.EgressConfig{Verifier: verifier(t)})
	if _, err := e.Learn(t.Context(), lineage.Passport{}, nil); err != nil || len(l.lines(t)) != 1 {
		t.Errorf("%v", err)
	}
}

// TestRefusalStays: what a propagator in front refused stays refused, whatever the ingress reads.
func TestRefusalStays(t *testing.T) {
	p := propagator(t, propagate.Config{})
	cause := errors.New("cause")
	var l logs
	i := ingress(t, propagate.IngressConfig{Logger: l.logger()})
	for want, ctx := range map[propagate.Class]context.Context{
		propagate.Malformed: p.Extract(t.Context(), carry("kest.passport=x")), propagate.Fault: propagate.Refuse(t.Context(), cause),
	} {
		out, _, err := i.Admit(ctx, propagate.Request{Carrier: carry(headerOf(t, p, chain(t, 1)))})
		wantClass(t, err, want)
		stopped(t, out)
		if len(l.lines(t)) != 1 {
			t.Error("not one line")
		}
	}
}

// TestVerificationFails: whose fault it is decides the class.
func TestVerificationFails(t *testing.T) {
	p := propagator(t, propagate.Config{})
	down := errors.New("JWKS: connection refused")
	stranger := grow(t, lineage.Passport{}, 1, mallory)
	stolen := grow(t, lineage.Passport{}, 1, mallory, func(e *lineage.Entry) { e.Operation = "pays" })
	for name, c := range map[string]struct {
		passport lineage.Passport
		edit     func(*lineage.VerifierConfig)
		want     propagate.Class
	}{
		"unknown principal": {stranger, func(*lineage.VerifierConfig) {}, propagate.Forbidden},
		"stolen name":       {stolen, func(c *lineage.VerifierConfig) { c.Keys = keyFunc(otherKey) }, propagate.Forbidden},
		"unknown key": {chain(t, 1), func(c *lineage.VerifierConfig) {
			c.Keys = keyFunc(func(context.Context, string, string) ([]ed25519.PublicKey, error) { return nil, nil })
		}, propagate.Forbidden},
		"key source down": {chain(t, 1), func(c *lineage.VerifierConfig) {
			c.Keys = keyFunc(func(context.Context, string, string) ([]ed25519.PublicKey, error) { return nil, down })
		}, propagate.Unavailable},
		"no authority": {chain(t, 1), func(c *lineage.VerifierConfig) { c.Authority = &lineage.Authority{} }, propagate.Forbidden},
		"over a limit": {chain(t, 3), func(c *lineage.VerifierConfig) { c.Limits.PassportEntries = 2 }, propagate.TooLarge},
		"trust raised": {grow(t, chain(t, 1), 5, web, func(e *lineage.Entry) { e.TrustScore = 99 }), func(*lineage.VerifierConfig) {}, propagate.Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			var l logs
			header := headerOf(t, p, c.passport)
			i := ingress(t, propagate.IngressConfig{Verifier: verifier(t, c.edit), Logger: l.logger()})
			refused(t, i, &l, c.want, propagate.Request{Carrier: carry(header)}, header)
		})
	}
	slow := keyFunc(func(ctx context.Context, _, _ string) ([]ed25519.PublicKey, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	var l logs
	i := ingress(t, propagate.IngressConfig{
		Verifier: verifier(t, func(c *lineage.VerifierConfig) { c.Keys = slow }), Logger: l.logger(), Timeout: time.Millisecond,
	})
	refused(t, i, &l, propagate.Unavailable, propagate.Request{Carrier: carry(headerOf(t, p, chain(t, 1)))})
}

type keyFunc func(ctx context.Context, principal, keyID string) ([]ed25519.PublicKey, error)

func (f keyFunc) Keys(ctx context.Context, principal, keyID string) ([]ed25519.PublicKey, error) {
	return f(ctx, principal, keyID)
}

// otherKey answers with a key that did not sign.
func otherKey(context.Context, string, string) ([]ed25519.PublicKey, error) {
	return []ed25519.PublicKey{keyOf(pay).Public().(ed25519.PublicKey)}, nil
}
