package propagate_test

import (
	"context"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// foreigners makes list-members that others could write, all of them valid for OpenTelemetry.
func foreigners(r *rand.Rand, n int) []string {
	pick := func(alphabet string, most int) string {
		var b strings.Builder
		for range 1 + r.Intn(most) {
			b.WriteByte(alphabet[r.Intn(len(alphabet))])
		}
		return b.String()
	}
	values := func() string {
		switch r.Intn(4) {
		case 0:
			return ""
		case 1:
			return "%" + pick("0123456789abcdefABCDEF", 1) + "a%c3%A4%2C%22" // decodes, not always to UTF-8
		}
		return pick("abcXYZ019!#$&'()*+-./:<=>?@[]^_`{|}~", 12)
	}
	ows := func() string { return strings.Repeat(" ", r.Intn(2)) + strings.Repeat("\t", r.Intn(2)) }
	var out []string
	for range n {
		m := pick("abcKest.-_!#$%&'*+^`|~", 3) + ows() + "=" + ows() + values()
		for range r.Intn(3) {
			m += ows() + ";" + ows() + pick("pqr", 3)
			if r.Intn(2) == 0 {
				m += ows() + "=" + ows() + values()
			}
		}
		out = append(out, strings.Trim(m, " \t"))
	}
	return out
}

// spread puts members on several lines, with white space around them.
func spread(r *rand.Rand, members []string) []string {
	lines := []string{""}
	for i, m := range members {
		if i > 0 && r.Intn(4) == 0 {
			lines = append(lines, "")
		} else if i > 0 {
			lines[len(lines)-1] += ","
		}
		lines[len(lines)-1] += strings.Repeat(" ", r.Intn(2)) + m + strings.Repeat("\t", r.Intn(2))
	}
	return lines
}

// sameBaggage compares what OpenTelemetry understands.
func sameBaggage(a, b baggage.Baggage) bool {
	texts := func(bag baggage.Baggage) (out []string) {
		for _, m := range bag.Members() {
			out = append(out, m.String())
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(texts(a), texts(b))
}

// TestForeignMembers (F-CP-07): what belongs to others passes byte for byte and in order, with its properties,
// whatever lines it came on, and means in the context what OpenTelemetry says it means.
func TestForeignMembers(t *testing.T) {
	p := propagator(t, propagate.Config{})
	lost := headerOf(t, p, chain(t, 1))
	for seed := range int64(300) {
		r := rand.New(rand.NewSource(seed))
		members := foreigners(r, 1+r.Intn(20))
		all := slices.Clone(members)
		for m := range strings.SplitSeq(lost, ",") { // ours in between
			all = slices.Insert(all, r.Intn(len(all)+1), m)
		}
		ctx := p.Extract(t.Context(), carry(spread(r, all)...))
		if err := propagate.Refusal(ctx); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		want, err := baggage.Parse(strings.Join(members, ","))
		if err != nil {
			t.Fatalf("seed %d: the oracle refuses %q: %v", seed, members, err)
		}
		if got := baggage.FromContext(ctx); !sameBaggage(got, want) {
			t.Fatalf("seed %d: baggage %q, want %q", seed, got, want)
		}
		for _, passport := range []lineage.Passport{{}, chain(t, 1)} {
			out := carry()
			if err := p.Attach(ctx, out, passport); err != nil {
				t.Fatal(err)
			}
			text := out.Get("baggage")
			if passport.Len() > 0 {
				text, _, _ = strings.Cut(text, ",kest.")
			}
			if got := grouped(members); text != strings.Join(got, ",") {
				t.Fatalf("seed %d: wrote\n%q, want\n%q", seed, text, got)
			}
		}
	}
}

// grouped is members with those of one name together, at the place of the first: what comes twice stays twice.
func grouped(members []string) (out []string) {
	name := func(m string) string { return strings.TrimRight(m[:strings.IndexByte(m, '=')], " \t") }
	seen := map[string]bool{}
	for _, m := range members {
		if seen[name(m)] {
			continue
		}
		seen[name(m)] = true
		for _, other := range members {
			if name(other) == name(m) {
				out = append(out, other)
			}
		}
	}
	return out
}

// TestForeignMalformed: what OpenTelemetry skips is skipped, and nothing else is.
func TestForeignMalformed(t *testing.T) {
	p := propagator(t, propagate.Config{})
	for _, bad := range []string{
		"a", "=b", "a b=c", "a=b c", `a="b"`, "a=%", "a=%2", "a=%zz", "a=b;%=%", "a=b;=c", "ä=b", "a=ä", "a=b\\", "a=\x00", "a=\x7f", "é\xff=1",
		"a\r\nX: y", "\r\na=b", "a=b\n", "\va=b", "\u00a0a=b", "\u2028a=b", "", " ", "a=1;p=\r\n",
	} {
		ctx := p.Extract(t.Context(), carry("x=1,"+bad+",y=2;q"))
		out := carry()
		if err := p.Attach(ctx, out, lineage.Passport{}); err != nil || propagate.Refusal(ctx) != nil || out.Get("baggage") != "x=1,y=2;q" {
			t.Errorf("%q: %q, %v, %v", bad, out.Get("baggage"), err, propagate.Refusal(ctx))
		}
	}
}

// TestHeaderLimits: 8192 bytes and 64 members are read, in one line or in several; one more is refused, although
// OpenTelemetry would drop a part.
func TestHeaderLimits(t *testing.T) {
	p := propagator(t, propagate.Config{})
	many := make([]string, 64)
	for i := range many {
		many[i] = fmt.Sprintf("k%d=v", i)
	}
	full := "a=" + strings.Repeat("x", 8190)
	half := "a=" + strings.Repeat("x", 4094)
	for name, c := range map[string]struct {
		lines []string
		ok    bool
	}{
		"64 members":          {[]string{strings.Join(many, ",")}, true},
		"64 members in lines": {many, true},
		"65 members":          {[]string{strings.Join(append(slices.Clone(many), "k64=v"), ",")}, false},
		"65 members in lines": {append(slices.Clone(many), "k64=v"), false},
		"65 of which 1 empty": {[]string{strings.Join(many, ",") + ","}, false},
		"8192 bytes":          {[]string{full}, true},
		"8193 bytes":          {[]string{full + "x"}, false},
		"8192 in two lines":   {[]string{half, "b" + half[1:len(half)-1]}, true},
		"8193 in two lines":   {[]string{half, "b" + half[1:]}, false}, // with the comma
	} {
		ctx := p.Extract(t.Context(), carry(c.lines...))
		out := carry()
		switch err := propagate.Refusal(ctx); {
		case c.ok:
			if err := p.Attach(ctx, out, lineage.Passport{}); err != nil || out.Get("baggage") != strings.Join(c.lines, ",") {
				t.Errorf("%s: %v, %v", name, err, propagate.Refusal(ctx))
			}
		default:
			wantClass(t, err, propagate.TooLarge)
			stopped(t, ctx)
			if err := p.Attach(t.Context(), carry(c.lines...), lineage.Passport{}); propagate.ClassOf(err) != propagate.TooLarge {
				t.Errorf("%s: written into: %v", name, err)
			}
		}
	}
}

// set is a context whose application has set more baggage.
func set(t *testing.T, ctx context.Context, key, value string, properties ...baggage.Property) context.Context {
	t.Helper()
	m, err := baggage.NewMemberRaw(key, value, properties...)
	if err != nil {
		t.Fatal(err)
	}
	bag, err := baggage.FromContext(ctx).SetMember(m)
	if err != nil {
		t.Fatal(err)
	}
	return baggage.ContextWithBaggage(ctx, bag)
}

// TestApplicationBaggage: after arrival the application may change, delete and add members, and the carrier may have
// some already.
func TestApplicationBaggage(t *testing.T) {
	p := propagator(t, propagate.Config{})
	arrived := p.Extract(t.Context(), carry("b = 1;p , a=%41,a=%42, c=3"))
	property, _ := baggage.NewKeyProperty("p")
	deleted := baggage.ContextWithBaggage(arrived, baggage.FromContext(arrived).DeleteMember("a"))
	for name, c := range map[string]struct {
		ctx      context.Context
		standing []string
		want     string
	}{
		"unchanged":               {arrived, nil, "b = 1;p,a=%41,a=%42,c=3"},
		"set to the same":         {set(t, arrived, "a", "B"), nil, "b = 1;p,a=%41,a=%42,c=3"},
		"set to the first":        {set(t, arrived, "a", "A"), nil, "b = 1;p,a=A,c=3"},
		"property removed":        {set(t, arrived, "b", "1"), nil, "b=1,a=%41,a=%42,c=3"},
		"property added":          {set(t, arrived, "c", "3", property), nil, "b = 1;p,a=%41,a=%42,c=3;p"},
		"deleted":                 {deleted, nil, "b = 1;p,c=3"},
		"added":                   {set(t, set(t, arrived, "z", "ü"), "d", ","), nil, "b = 1;p,a=%41,a=%42,c=3,d=%2C,z=%C3%BC"},
		"ours added by hand":      {set(t, set(t, arrived, "kest.passport", "[]"), "Kest.user", "m"), nil, "b = 1;p,a=%41,a=%42,c=3"},
		"standing":                {t.Context(), []string{"x=1;p , y=2", "x=3"}, "x=1;p,y=2,x=3"},
		"standing and arrived":    {arrived, []string{"x=1,c=4"}, "x=1,c=4,b = 1;p,a=%41,a=%42"},
		"standing as OTel has it": {arrived, []string{"a=B,b=1;p,c=3"}, "a=%41,a=%42,b = 1;p,c=3"},
		"standing as it arrived":  {arrived, []string{"b = 1;p , a=%41,a=%42, c=3"}, "b = 1;p,a=%41,a=%42,c=3"},
		"standing ours":           {t.Context(), []string{"kest.user=m,x=1", "kest.passport=%5B%5D"}, "x=1"},
	} {
		out := carry(c.standing...)
		if err := p.Attach(c.ctx, out, lineage.Passport{}); err != nil || strings.Join(out.Values("baggage"), "|") != c.want {
			t.Errorf("%s: %q, %v, want %q", name, out.Values("baggage"), err, c.want)
		}
	}
	unwritable := set(t, arrived, "schlüssel", "1")
	out := carry("x=1")
	wantClass(t, p.Attach(unwritable, out, chain(t, 1)), propagate.Malformed) // OpenTelemetry would leave it out
	if out.Get("baggage") != "x=1" {
		t.Errorf("%q", out.Get("baggage"))
	}
}

// TestCarrierIsReplaced: a carrier whose only members are ours is emptied, also when they are not on its first line.
func TestCarrierIsReplaced(t *testing.T) {
	p := propagator(t, propagate.Config{})
	for _, lines := range [][]string{{"kest.passport=%5B%5D"}, {"", "kest.passport=%5B%5D"}} {
		out := carry(lines...)
		if err := p.Attach(t.Context(), out, lineage.Passport{}); err != nil || strings.Join(out.Values("baggage"), "") != "" {
			t.Errorf("%q, %v", out.Values("baggage"), err)
		}
	}
	single := propagation.MapCarrier{}
	if err := p.Attach(t.Context(), single, lineage.Passport{}); err != nil || len(single) != 0 {
		t.Errorf("an empty field was written: %v", single)
	}
	if fields := p.Fields(); !slices.Equal(fields, []string{"baggage"}) {
		t.Errorf("%q", fields)
	}
}
