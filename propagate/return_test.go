package propagate_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	oteltrace "go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// eventSpan keeps the attributes of its events.
type eventSpan struct {
	noop.Span
	events []map[string]string
}

func (s *eventSpan) AddEvent(name string, o ...oteltrace.EventOption) {
	event := map[string]string{"": name}
	config := oteltrace.NewEventConfig(o...)
	for _, a := range config.Attributes() {
		event[string(a.Key)] = a.Value.String()
	}
	s.events = append(s.events, event)
}

// TestReturnLineage: what the callee learned comes back in any form, and the caller's session ends in it.
func TestReturnLineage(t *testing.T) {
	sent := chain(t, 2)
	for name, c := range map[string]propagate.Config{
		propagate.KeyPassport: {}, propagate.KeyPassportZ: {CompressFirst: true}, propagate.KeyClaimCheck: {Store: newShelf(), Threshold: -1},
	} {
		p := propagator(t, c)
		i := ingress(t, propagate.IngressConfig{Propagator: p})
		callee, admission, err := i.Admit(t.Context(), propagate.Request{Carrier: carry(headerOf(t, p, sent))})
		if err != nil {
			t.Fatal(err)
		}
		session := propagate.NewSession(sent, trace, "")
		caller := propagate.WithSession(t.Context(), session)
		e := egress(t, propagate.EgressConfig{Propagator: p, Verifier: verifier(t), StrictReturn: true})
		for calls, at := range []propagate.Slot{propagate.Beginning, propagate.Beginning, propagate.Trailer} {
			value, more := i.Return(callee, admission, at), at == propagate.Beginning
			if got := form(value); len(got) != 1 || got[0] != name || strings.Contains(value, sent.Last().JWS()) {
				t.Errorf("%s: %q in %.80q", name, got, value)
			}
			again, err := e.Learn(caller, sent, []string{value})
			if err != nil || again != more || session.Passport().Len() != 2+calls || session.Passport().Last().Hash() != propagate.SessionFrom(callee).Passport().Last().Hash() {
				t.Errorf("%s, %d calls: more %t, %d entries, %v", name, calls, again, session.Passport().Len(), err)
			}
			if entry, err := call(t, callee); err != nil || entry == nil {
				t.Fatal(err)
			}
		}
	}
}

// TestReturnNothing: who sent no lineage gets none; what cannot be sent is noticed by the caller, and by us.
func TestReturnNothing(t *testing.T) {
	var l logs
	i := ingress(t, propagate.IngressConfig{Logger: l.logger()})
	sent := chain(t, 1)
	with := propagate.Admission{Lineage: sent}
	ctx, admission, err := i.Admit(t.Context(), propagate.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if value := i.Return(ctx, admission, propagate.Whole); value != "" || l.text() != "" {
		t.Errorf("%q, %s", value, l.text())
	}
	failed := propagate.NewSession(sent, trace, "")
	failed.Fail(errors.New("conflict"))
	e := egress(t, propagate.EgressConfig{Verifier: verifier(t), StrictReturn: true, Logger: new(logs).logger()})
	for name, ctx := range map[string]context.Context{
		"no session": t.Context(), "failed": propagate.WithSession(t.Context(), failed),
		"too large":     propagate.WithSession(t.Context(), propagate.NewSession(chain(t, 40), trace, "")),
		"too many tips": propagate.WithSession(t.Context(), propagate.NewSession(fork(t, 65, pay), trace, "")),
	} {
		value := i.Return(ctx, with, propagate.Beginning)
		if out := l.lines(t); len(out) != 1 || out[0]["level"] != "ERROR" || out[0]["reason"] == nil {
			t.Errorf("%s: %v", name, out)
		}
		session := propagate.NewSession(sent, trace, "")
		if _, err := e.Learn(propagate.WithSession(t.Context(), session), sent, []string{value}); err == nil || session.Passport().Len() != 1 {
			t.Errorf("%s: the caller does not notice %q", name, value)
		}
	}
}

// TestReturnLimits: 64 leaves and a whole header are the most that a value has.
func TestReturnLimits(t *testing.T) {
	p := propagator(t, propagate.Config{Threshold: propagate.MaxHeader, Store: newShelf()})
	sent := chain(t, 1)
	if value, err := p.Return(t.Context(), sent, fork(t, 64, pay), propagate.Whole); err != nil || strings.Count(value, "%2C") < 63 {
		t.Errorf("64 leaves: %v", err)
	}
	value, err := p.Return(t.Context(), sent, fork(t, 65, pay), propagate.Whole)
	if wantClass(t, err, propagate.TooLarge); value != "kest.chain_tip=" {
		t.Errorf("65 leaves: %.80q", value)
	}
	padded := func(entries, n int) string {
		now := sent
		for i := range entries {
			now = grow(t, now, 5+i, pay)
		}
		now = grow(t, now, 50, pay, func(e *lineage.Entry) { e.Operation = strings.Repeat("o", 1+n) })
		value, err := p.Return(t.Context(), sent, now, propagate.Whole)
		if err != nil || len(value) > propagate.MaxHeader {
			t.Fatalf("%d bytes, %v", len(value), err)
		}
		return value
	}
	longest := 0
	for entries := range 4 { // base64url grows by four bytes for three, so one list alone does not have every length
		least := (propagate.MaxHeader - len(padded(entries, 0))) * 3 / 4
		for pad := range 20 {
			longest = max(longest, len(padded(entries, least+pad-10)))
		}
	}
	if longest != propagate.MaxHeader {
		t.Errorf("the longest value has %d bytes: not at the boundary", longest)
	}
}

// TestLearnHostile: an answer is believed as little as a request. The caller's session keeps what it knew.
func TestLearnHostile(t *testing.T) {
	p := propagator(t, propagate.Config{Store: newShelf(), Threshold: 4000})
	sent := chain(t, 2)
	answer := func(now lineage.Passport) string {
		value, err := p.Return(t.Context(), sent, now, propagate.Whole)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	good := answer(grow(t, sent, 5, pay))
	tips, _ := valueOf(good, propagate.KeyChainTip)
	passport, _ := valueOf(good, propagate.KeyPassport)
	separate, err := lineage.Merge(sent, grow(t, lineage.Passport{}, 6, pay))
	if err != nil {
		t.Fatal(err)
	}
	both, err := lineage.Merge(grow(t, sent, 7, web, func(e *lineage.Entry) { e.Operation = "another" }), grow(t, sent, 5, pay))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		values []string
		what   string
	}{
		"none":             {nil, "lost"},
		"empty":            {[]string{""}, "lost"},
		"others":           {[]string{"a=1"}, "lost"},
		"more alone":       {[]string{"kest.more=1"}, "lost"},
		"tips alone":       {[]string{"kest.chain_tip=" + tips}, "invalid"},
		"no tips":          {[]string{"kest.passport=" + passport}, "invalid"},
		"empty tips":       {[]string{"kest.passport=" + passport + ",kest.chain_tip="}, "invalid"},
		"garbage":          {[]string{"kest.passport=x,kest.chain_tip=" + tips}, "invalid"},
		"twice":            {[]string{good, good}, "invalid"},
		"too large":        {[]string{good, "a=" + strings.Repeat("x", 8192)}, "invalid"},
		"bomb":             {[]string{"kest.chain_tip=" + tips + ",kest.passport_z=" + pack(t, strings.Repeat(" ", 60_000))}, "invalid"},
		"unknown claim":    {[]string{"kest.chain_tip=" + tips + ",kest.claim_check=" + someID}, "invalid"},
		"line break":       {[]string{good + ",kest.x=\r\n"}, "invalid"},
		"of a stranger":    {[]string{answer(grow(t, sent, 5, mallory))}, "invalid"},
		"signature":        {[]string{"kest.chain_tip=" + tips + ",kest.passport=" + url.PathEscape(forged(`["`+grow(t, sent, 5, pay).Last().JWS()+`"]`))}, "invalid"},
		"repeats the sent": {[]string{headerOf(t, p, sent)}, "invalid"},
		"another lineage":  {[]string{answer(grow(t, grow(t, lineage.Passport{}, 8, web), 9, web))}, "invalid"},
		"not connected":    {[]string{answer(separate)}, "invalid"},
		"raises trust":     {[]string{answer(grow(t, grow(t, sent, 5, pay, lower), 6, pay))}, "invalid"},
		"same id twice":    {[]string{answer(grow(t, sent, 0, pay))}, "invalid"},
		"conflict":         {[]string{answer(both)}, "invalid"},
	} {
		for _, strict := range []bool{true, false} {
			var l logs
			e := egress(t, propagate.EgressConfig{Propagator: p, Verifier: verifier(t), StrictReturn: strict, Logger: l.logger()})
			session, span := propagate.NewSession(sent, trace, ""), &eventSpan{}
			if name == "conflict" { // with what a parallel call learned
				if err := session.Absorb(grow(t, sent, 7, web)); err != nil {
					t.Fatal(err)
				}
			}
			before := textOf(t, session.Passport())
			ctx := oteltrace.ContextWithSpan(propagate.WithSession(t.Context(), session), span)
			_, err := e.Learn(ctx, sent, c.values)
			if strict {
				wantClass(t, err, propagate.Unavailable)
			}
			if !strict && err != nil || textOf(t, session.Passport()) != before || (session.Err() != nil) != (name == "conflict") {
				t.Errorf("%s, strict %t: %v; session %v", name, strict, err, session.Err())
			}
			if len(span.events) != 1 || span.events[0][""] != "kest.return_lineage" || span.events[0]["kest.return_lineage"] != c.what || span.events[0]["reason"] == "" {
				t.Errorf("%s: events %v", name, span.events)
			}
			text := l.text()
			if out := l.lines(t); len(out) != 1 || out[0]["level"] != "WARN" || !strings.HasSuffix(out[0]["msg"].(string), c.what) || out[0]["reason"] == nil {
				t.Errorf("%s: log %v", name, out)
			}
			if strings.Contains(text, passport[10:60]) || strings.Contains(text, someID) || len(text) > 1000 {
				t.Errorf("%s: the log repeats what came: %s", name, text)
			}
		}
	}
}

func lower(e *lineage.Entry) { e.Labels[lineage.LabelSourceType], e.TrustScore = "internet", 10 }

// TestLearn: a good answer is not logged; without a session it is a fault; without a verifier nothing is looked at.
func TestLearn(t *testing.T) {
	p, sent := propagator(t, propagate.Config{}), chain(t, 1)
	value, err := p.Return(t.Context(), sent, grow(t, sent, 5, pay, lower), propagate.Whole)
	if err != nil {
		t.Fatal(err)
	}
	var l logs
	e := egress(t, propagate.EgressConfig{Verifier: verifier(t), StrictReturn: true, Logger: l.logger()})
	session, span := propagate.NewSession(sent, trace, ""), &eventSpan{}
	ctx := oteltrace.ContextWithSpan(propagate.WithSession(t.Context(), session), span)
	for range 2 { // again changes nothing
		if more, err := e.Learn(ctx, sent, []string{"a=1", value}); err != nil || more || session.Passport().Len() != 2 {
			t.Fatalf("%t, %v", more, err)
		}
	}
	if l.text() != "" || len(span.events) != 0 || !e.Returns() {
		t.Errorf("%s, %v", l.text(), span.events)
	}
	if entry := entryUnder(t, ctx); entry.TrustScore != 10 {
		t.Errorf("the callee's low trust does not lower the caller's next call: %d", entry.TrustScore)
	}
	_, err = e.Learn(t.Context(), sent, []string{value})
	wantClass(t, err, propagate.Unavailable)
	off := egress(t, propagate.EgressConfig{})
	if more, err := off.Learn(ctx, sent, []string{value}); err != nil || more || off.Returns() {
		t.Errorf("%t, %v", more, err)
	}
}
