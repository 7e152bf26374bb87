package propagate_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/propagation"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// listening is the keys of the tests, and notes what came along with whatever is verified.
type listening struct {
	lineage.KeySource
	mu      sync.Mutex
	offered []string
}

func (l *listening) Keys(ctx context.Context, principal, keyID string) ([]ed25519.PublicKey, error) {
	l.mu.Lock()
	l.offered = lineage.Offered(ctx)
	l.mu.Unlock()
	return l.KeySource.Keys(ctx, principal, keyID)
}

func (l *listening) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.offered
	l.offered = nil
	return out
}

func withKeys(k lineage.KeySource) func(*lineage.VerifierConfig) {
	return func(c *lineage.VerifierConfig) { c.Keys = k }
}

func sending(bindings ...string) propagate.Config {
	return propagate.Config{Bindings: func(lineage.Passport) []string { return bindings }}
}

// memberOf is kest.binding with the bindings.
func memberOf(bindings ...string) string {
	var texts []string
	for _, b := range bindings {
		texts = append(texts, base64.RawURLEncoding.EncodeToString([]byte(b)))
	}
	return propagate.KeyBinding + "=" + strings.Join(texts, ".")
}

// TestOffersOnTheWire is the form in which bindings travel, with a request and with an answer.
func TestOffersOnTheWire(t *testing.T) {
	const golden = "eyJhIjoxfQ.w6Q_"
	p := propagator(t, sending(`{"a":1}`, "ä?"))
	sent := chain(t, 2)
	if got, _ := valueOf(headerOf(t, p, sent), propagate.KeyBinding); got != golden {
		t.Errorf("request: %q", got)
	}
	value, err := p.Return(t.Context(), sent, grow(t, sent, 5, pay), propagate.Beginning)
	if got, _ := valueOf(value, propagate.KeyBinding); got != golden || err != nil {
		t.Errorf("answer: %q, %v", value, err)
	}
	for name, header := range map[string]string{
		"no lineage": headerOf(t, p, lineage.Passport{}), "none configured": headerOf(t, propagator(t, propagate.Config{}), sent),
		"none known": headerOf(t, propagator(t, sending()), sent), "empty": headerOf(t, propagator(t, sending("")), sent),
	} {
		if _, ok := valueOf(header, propagate.KeyBinding); ok {
			t.Errorf("%s: %q", name, header)
		}
	}
}

// TestOffersReachTheKeySource: they are there while this message is verified and its hop proof is checked, and nowhere
// else: not in the context of the handler, not with the next message, not for whoever may not have lineage.
func TestOffersReachTheKeySource(t *testing.T) {
	want := []string{"one", "two"}
	p, keys := propagator(t, sending(want...)), &listening{KeySource: keys(t)}
	sent := chain(t, 2)
	v := verifier(t, withKeys(keys))
	hops := &offerHops{}
	c := propagate.IngressConfig{Propagator: p, Verifier: v, Proofs: propagate.ProofRequire, Hops: hops, Authorities: []string{"a"}}
	r := propagate.Request{Hop: &propagate.HopRequest{Authority: "a", Fields: map[string][]string{"signature-input": {"x"}}}}
	for name, carrier := range map[string]propagation.TextMapCarrier{"map": propagation.MapCarrier{}, "header": carry("x=1", "y=2")} {
		if err := p.Attach(t.Context(), carrier, sent); err != nil {
			t.Fatal(err)
		}
		r.Carrier = carrier
		ctx, admission := admitted(t, c, t.Context(), r)
		if got := keys.take(); !slices.Equal(got, want) || !slices.Equal(hops.offered, want) {
			t.Errorf("%s: the key source sees %q, the hop proof %q", name, got, hops.offered)
		}
		if got := lineage.Offered(ctx); len(got) != 0 {
			t.Errorf("%s: the handler sees %q", name, got)
		}
		if _, err := ingress(t, propagate.IngressConfig{Propagator: p, Verifier: v}).Passport(t.Context(), carrier); err != nil || !slices.Equal(keys.take(), want) {
			t.Errorf("%s: Passport: %v", name, err)
		}
		e := egress(t, propagate.EgressConfig{Propagator: p, Verifier: v, StrictReturn: true})
		session := propagate.WithSession(t.Context(), propagate.NewSession(sent, trace, ""))
		if entry, err := call(t, ctx); err != nil || entry == nil {
			t.Fatal(err)
		}
		value := ingress(t, c).Return(ctx, admission, propagate.Whole)
		if _, err := e.Learn(session, sent, []string{value}); err != nil || !slices.Equal(keys.take(), want) {
			t.Errorf("%s: answer: %v", name, err)
		}
		if propagate.Strip(carrier); strings.Contains(carrier.Get("baggage"), "kest.") {
			t.Errorf("%s: stripped: %q", name, carrier.Get("baggage"))
		}
	}
	plain := propagator(t, propagate.Config{})
	r.Carrier = carry(headerOf(t, plain, sent))
	outer := lineage.WithOffered(t.Context(), []string{"of an earlier message"})
	if admitted(t, c, outer, r); len(keys.take()) != 0 {
		t.Error("offers of another message count")
	}
}

type offerHops struct{ offered []string }

func (h *offerHops) VerifyHop(ctx context.Context, _ string, _ propagate.HopRequest) error {
	h.offered = lineage.Offered(ctx)
	return nil
}

// TestOfferBounds: what there is no room for is left out, however much there is, and never in the way of lineage.
func TestOfferBounds(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	for name, c := range map[string]struct{ offer, want []string }{
		"eight of nine":     {strings.Split("a b c d e f g h i", " "), strings.Split("a b c d e f g h", " ")},
		"one that is large": {[]string{"own", long, "other"}, []string{"own", "other"}},
		"nothing fits":      {[]string{long}, nil},
	} {
		header := headerOf(t, propagator(t, sending(c.offer...)), chain(t, 1))
		want := ""
		if c.want != nil {
			want = strings.TrimPrefix(memberOf(c.want...), propagate.KeyBinding+"=")
		}
		if got, _ := valueOf(header, propagate.KeyBinding); got != want {
			t.Errorf("%s: %.80q", name, got)
		}
	}
	sent := chain(t, 1)
	bare := len(headerOf(t, propagator(t, propagate.Config{}), sent))
	filled := 0
	for n := range 12 { // around the last byte
		room := propagate.MaxHeader - bare - len(","+propagate.KeyBinding+"=")
		header := headerOf(t, propagator(t, sending(strings.Repeat("b", room*3/4-6+n))), sent)
		if filled = max(filled, len(header)); len(header) > propagate.MaxHeader {
			t.Errorf("%d bytes", len(header))
		}
		if _, _, err := ingress(t, propagate.IngressConfig{}).Admit(t.Context(), propagate.Request{Carrier: carry(header)}); err != nil {
			t.Error(err)
		}
	}
	if filled < propagate.MaxHeader-2 {
		t.Errorf("the longest header has %d bytes: not at the boundary", filled)
	}
	others := strings.TrimSuffix(strings.Repeat("a=1,", propagate.MaxMembers-2), ",")
	carrier := carry(others)
	if err := propagator(t, sending("own")).Attach(t.Context(), carrier, sent); err != nil || strings.Contains(carrier.Get("baggage"), propagate.KeyBinding) {
		t.Errorf("%d members of others: %v", propagate.MaxMembers-2, err)
	}
}

// TestOffersInAnswers: an answer has room for lineage first, and one whose offers cannot be read still says whether there
// is more to come.
func TestOffersInAnswers(t *testing.T) {
	sent := chain(t, 1)
	now := grow(t, sent, 5, pay)
	bare, err := propagator(t, propagate.Config{}).Return(t.Context(), sent, now, propagate.Beginning)
	if err != nil {
		t.Fatal(err)
	}
	filled := 0
	for n := range 12 { // around the last byte
		room := propagate.MaxHeader - len(bare) - len(","+propagate.KeyBinding+"=")
		value, err := propagator(t, sending(strings.Repeat("b", room*3/4-6+n))).Return(t.Context(), sent, now, propagate.Beginning)
		if filled = max(filled, len(value)); err != nil || len(value) > propagate.MaxHeader {
			t.Errorf("%d bytes, %v", len(value), err)
		}
	}
	if filled < propagate.MaxHeader-2 {
		t.Errorf("the longest value has %d bytes: not at the boundary", filled)
	}
	e := egress(t, propagate.EgressConfig{Verifier: verifier(t), Logger: new(logs).logger()})
	for name, member := range map[string]string{"malformed": propagate.KeyBinding + "=YR", "too many": memberOf(strings.Split("a b c d e f g h i", " ")...)} {
		session := propagate.NewSession(sent, trace, "")
		more, err := e.Learn(propagate.WithSession(t.Context(), session), sent, []string{bare + "," + member})
		if !more || err != nil || session.Passport().Len() != 1 {
			t.Errorf("%s: more %t, %v, %d entries", name, more, err, session.Passport().Len())
		}
	}
}

// FuzzOffers: whatever the member says, the request is refused as malformed or too large, or the key source sees at most
// eight offers, which are written in the same way again.
func FuzzOffers(f *testing.F) {
	c := newCloud(f)
	for _, seed := range []string{"", ".", "YQ", "YR", "YQ.YQ", "a.b.c.d.e.f.g.h.i", "Y%0AQ", "%41%41", "YQ%3D", "YQ,a=b", "YQ;p"} {
		f.Add(seed)
	}
	f.Add(strings.TrimPrefix(memberOf(c.workload(web).Binding("").Text()), propagate.KeyBinding+"="))
	heard := &listening{KeySource: keys(f)}
	in := ingress(f, propagate.IngressConfig{Verifier: verifier(f, withKeys(heard)), Logger: slog.New(slog.DiscardHandler)})
	sent := chain(f, 1)
	header := headerOf(f, propagator(f, propagate.Config{}), sent)
	f.Fuzz(func(t *testing.T, value string) {
		heard.take()
		_, _, err := in.Admit(t.Context(), propagate.Request{Carrier: carry(header + "," + propagate.KeyBinding + "=" + value)})
		if err != nil {
			if class := propagate.ClassOf(err); class != propagate.Malformed && class != propagate.TooLarge {
				t.Fatal(err)
			}
			return
		}
		got := heard.take()
		if len(got) > 8 || len(got) == 0 {
			t.Fatalf("%d offers", len(got))
		}
		again, _ := valueOf(headerOf(t, propagator(t, sending(got...)), sent), propagate.KeyBinding)
		first, _ := valueOf(memberOf(got...), propagate.KeyBinding)
		if again != first {
			t.Fatalf("%q is written as %q", value, again)
		}
	})
}
