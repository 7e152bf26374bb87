package propagate_test

import (
	"compress/zlib"
	"encoding/base64"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/baggage"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// seeds are real headers in every form, and some that are refused.
func seeds(f *testing.F, s *shelf) []string {
	tips := ",kest.chain_tip=" + strings.Repeat("0", 64)
	return []string{
		"", "a=1;p=%20 , b = 2\na=3,kest.user=%C3%A4,kest.task=t", "a=1,,\n\n=,a", "Kest.Passport=x,kest.=", "a=1,\vkest.passport=%5B%5D", "kest.passport=%5B%5D,kest.chain_tip=",
		headerOf(f, propagator(f, propagate.Config{}), chain(f, 1)), "x=1\n" + headerOf(f, propagator(f, propagate.Config{}), fork(f, 2, pay)),
		headerOf(f, propagator(f, propagate.Config{CompressFirst: true}), chain(f, 3)), headerOf(f, propagator(f, propagate.Config{Store: s, Threshold: -1}), chain(f, 3)),
		"kest.claim_check=" + someID + tips, "kest.passport_z=AAAA" + tips,
	}
}

// FuzzRestore: no header panics; what is accepted means to OpenTelemetry what we say it means, and what is passed on is
// the same again, lineage and foreign members alike.
func FuzzRestore(f *testing.F) {
	s := newShelf()
	for _, seed := range seeds(f, s) {
		f.Add(seed)
	}
	p := propagator(f, propagate.Config{Store: s})
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Split(text, "\n")
		ctx := p.Extract(t.Context(), carry(lines...))
		a := propagate.ArrivalFrom(ctx)
		if (a == nil) != (propagate.Refusal(ctx) != nil) {
			t.Fatal("neither arrived nor refused")
		}
		bag := baggage.FromContext(ctx)
		for _, m := range bag.Members() {
			if len(m.Key()) >= 5 && strings.EqualFold(m.Key()[:5], "kest.") {
				t.Fatalf("%s is in the baggage of the context", m.Key())
			}
		}
		if a == nil {
			return
		}
		if a.Present != propagate.CarriesUnverified(ctx) {
			t.Fatal("lineage that nobody would notice")
		}
		want, _ := baggage.Parse(printable(lines))
		for _, m := range want.Members() {
			if len(m.Key()) >= 5 && strings.EqualFold(m.Key()[:5], "kest.") {
				want = want.DeleteMember(m.Key())
			}
		}
		if !sameBaggage(bag, want) {
			t.Fatalf("baggage %q, OpenTelemetry has %q", bag, want)
		}
		out := carry()
		if err := p.Attach(ctx, out, lineage.Passport{}); err != nil {
			t.Fatal(err)
		}
		first := out.Get("baggage")
		again := carry()
		if err := p.Attach(p.Extract(t.Context(), carry(first)), again, lineage.Passport{}); err != nil || again.Get("baggage") != first {
			t.Fatalf("passed on as %q, then as %q: %v", first, again.Get("baggage"), err)
		}
		if !sameBaggage(baggage.FromContext(p.Extract(t.Context(), carry(first))), bag) {
			t.Fatal("the next hop reads other members")
		}
	})
}

// printable joins the lines without the members that have bytes that are not for a header, of which OpenTelemetry trims
// some, and without the white space around members, of which it keeps some behind a property.
func printable(lines []string) string {
	var out []string
	for m := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		if !strings.ContainsFunc(m, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') }) {
			out = append(out, strings.Trim(m, " \t"))
		}
	}
	return strings.Join(out, ",")
}

// FuzzInflate: nothing in kest.passport_z panics or grows beyond the limits, and zlib agrees about what is accepted.
func FuzzInflate(f *testing.F) {
	for _, text := range []string{"[]", "", "[ ]", textOf(f, chain(f, 3)), strings.Repeat(" ", 60_000), noise(5000)} {
		f.Add(deflated(f, text, zlib.BestSpeed))
		f.Add(deflated(f, text, zlib.BestCompression))
	}
	f.Add([]byte("\x78\x9c"))
	p := propagator(f, propagate.Config{})
	f.Fuzz(func(t *testing.T, packed []byte) {
		z := base64.RawURLEncoding.EncodeToString(packed)
		a, err := p.Restore(t.Context(), carry("kest.passport_z="+z))
		if err != nil {
			if class := propagate.ClassOf(err); class != propagate.Malformed && class != propagate.TooLarge {
				t.Fatal(err)
			}
			return
		}
		size := 0
		for _, e := range a.Lineage.Entries {
			size += len(e)
		}
		if !a.Present || size > 100*len(packed) {
			t.Fatalf("%d bytes from %d", size, len(packed))
		}
		if b, err := p.Restore(t.Context(), carry("kest.passport_z="+base64.URLEncoding.EncodeToString(packed))); err != nil || len(b.Lineage.Entries) != len(a.Lineage.Entries) {
			t.Fatalf("with padding: %v", err)
		}
	})
}

// FuzzReturn: no answer panics, and the caller's session learns from those alone that its verifier accepts.
func FuzzReturn(f *testing.F) {
	s := newShelf()
	for _, seed := range seeds(f, s) {
		f.Add(seed)
	}
	sent := chain(f, 1)
	for _, c := range []propagate.Config{{}, {CompressFirst: true}, {Store: s, Threshold: -1}} {
		for _, at := range []propagate.Slot{propagate.Whole, propagate.Beginning, propagate.Trailer} {
			value, err := propagator(f, c).Return(f.Context(), sent, chain(f, 3), at)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(value)
		}
	}
	var l logs
	e := egress(f, propagate.EgressConfig{
		Propagator: propagator(f, propagate.Config{Store: s}), Verifier: verifier(f), StrictReturn: true, Logger: l.logger(),
	})
	known := map[lineage.Hash]bool{}
	for _, h := range chain(f, 3).All() {
		known[h.Hash()] = true
	}
	f.Fuzz(func(t *testing.T, text string) {
		session := propagate.NewSession(sent, trace, "")
		_, err := e.Learn(propagate.WithSession(t.Context(), session), sent, strings.Split(text, "\n"))
		if err != nil && session.Passport().Len() != 1 {
			t.Fatal("learned from an answer that is refused")
		}
		for _, entry := range session.Passport().All() {
			if !known[entry.Hash()] {
				t.Fatalf("learned an entry that nobody signed: %s", entry.JWS())
			}
		}
		l.lines(t)
	})
}
