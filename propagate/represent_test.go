package propagate_test

import (
	"errors"
	"fmt"
	"math/rand"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/baggage"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/store"
)

// restored reads a header back and verifies what it says.
func restored(t testing.TB, p *propagate.Propagator, lines ...string) lineage.Passport {
	t.Helper()
	a, err := p.Restore(t.Context(), carry(lines...))
	if err != nil || !a.Present {
		t.Fatalf("restore: %v", err)
	}
	verified, report, err := verifier(t).Verify(t.Context(), a.Lineage)
	if err != nil || !report.TipsCompared {
		t.Fatalf("verify: %v", err)
	}
	return verified
}

// memberLength is the length of the passport's member in a header.
func memberLength(header, key string) int {
	value, _ := valueOf(header, key)
	return len(key) + 1 + len(value)
}

// TestOneRepresentation (F-CP-01, F-CP-02, F-CP-03): passports of every length travel in exactly one form with their
// tips, within the threshold and the limits of a header, and arrive as they were.
func TestOneRepresentation(t *testing.T) {
	s := newShelf()
	p := propagator(t, propagate.Config{Store: s})
	seen := map[string]int{}
	for n := 1; n <= 16; n++ {
		passport := chain(t, n)
		header := headerOf(t, p, passport)
		forms := form(header)
		if len(forms) != 1 || len(header) > propagate.MaxHeader {
			t.Fatalf("%d entries: %q in %d bytes", n, forms, len(header))
		}
		if length := memberLength(header, forms[0]); length > 4096 {
			t.Errorf("%d entries: member of %d bytes", n, length)
		}
		if tips, _ := valueOf(header, propagate.KeyChainTip); tips != passport.Tips()[0].String() {
			t.Errorf("tips %q", tips)
		}
		if got := restored(t, p, header); textOf(t, got) != textOf(t, passport) {
			t.Errorf("%d entries: arrived as %d", n, got.Len())
		}
		seen[forms[0]]++
	}
	if len(seen) != 3 {
		t.Errorf("not every form was used: %v", seen)
	}
}

// TestThreshold: the boundary is the encoded member, to the byte, for either form; what fits in neither goes to the
// store.
func TestThreshold(t *testing.T) {
	passport := chain(t, 3)
	wide := headerOf(t, propagator(t, propagate.Config{Threshold: propagate.MaxHeader}), passport)
	plain := memberLength(wide, propagate.KeyPassport)
	raw := len(propagate.KeyPassport) + 1 + passport.Size()
	packed := memberLength(headerOf(t, propagator(t, propagate.Config{CompressFirst: true}), passport), propagate.KeyPassportZ)
	if plain <= raw || packed >= raw {
		t.Fatalf("plain %d, before encoding %d, compressed %d", plain, raw, packed)
	}
	for _, c := range []struct {
		threshold int
		first     bool
		want      string
	}{
		{plain, false, propagate.KeyPassport}, {plain - 1, false, propagate.KeyPassportZ}, {raw, false, propagate.KeyPassportZ},
		{packed, false, propagate.KeyPassportZ}, {packed - 1, false, propagate.KeyClaimCheck}, {1, false, propagate.KeyClaimCheck},
		{-1, false, propagate.KeyClaimCheck}, {-1, true, propagate.KeyClaimCheck},
		{plain, true, propagate.KeyPassportZ}, {packed - 1, true, propagate.KeyClaimCheck},
	} {
		p := propagator(t, propagate.Config{Threshold: c.threshold, CompressFirst: c.first, Store: newShelf()})
		if got := form(headerOf(t, p, passport)); !slices.Equal(got, []string{c.want}) {
			t.Errorf("threshold %d, compress first %t: %q, want %s", c.threshold, c.first, got, c.want)
		}
	}
}

// TestDefaultThreshold: 4096 bytes.
func TestDefaultThreshold(t *testing.T) {
	wide := propagator(t, propagate.Config{Threshold: propagate.MaxHeader})
	p := propagator(t, propagate.Config{})
	padded := func(n int) lineage.Passport {
		return grow(t, chain(t, 2), 3, web, func(e *lineage.Entry) { e.Operation = "o" + strings.Repeat("o", n) })
	}
	least := (4096 - memberLength(headerOf(t, wide, padded(0)), propagate.KeyPassport)) * 3 / 4 // base64url
	seen := map[string]int{}
	for pad := range 20 {
		passport := padded(least + pad - 10)
		length := memberLength(headerOf(t, wide, passport), propagate.KeyPassport)
		want := propagate.KeyPassport
		if length > 4096 {
			want = propagate.KeyPassportZ
		}
		if got := form(headerOf(t, p, passport)); !slices.Equal(got, []string{want}) {
			t.Errorf("member of %d bytes: %q, want %s", length, got, want)
		}
		seen[want]++
	}
	if len(seen) != 2 {
		t.Errorf("not both sides of the boundary: %v", seen)
	}
}

// TestRemainingRoom: members of others take room; ours changes its form, and never goes beyond the limits of a header.
func TestRemainingRoom(t *testing.T) {
	passport := chain(t, 2)
	p := propagator(t, propagate.Config{Store: newShelf(), Threshold: propagate.MaxHeader})
	tips := len(propagate.KeyChainTip) + 1 + 64
	claim := len(propagate.KeyClaimCheck) + 1 + 36
	alone := headerOf(t, p, passport)
	plain := memberLength(alone, propagate.KeyPassport)
	packed := memberLength(headerOf(t, propagator(t, propagate.Config{CompressFirst: true}), passport), propagate.KeyPassportZ)
	for _, c := range []struct {
		left int // bytes besides the foreign member
		want string
	}{
		{1 + tips + 1 + plain, propagate.KeyPassport}, {tips + 1 + plain, propagate.KeyPassportZ},
		{1 + tips + 1 + packed, propagate.KeyPassportZ}, {tips + 1 + packed, propagate.KeyClaimCheck},
		{1 + tips + 1 + claim, propagate.KeyClaimCheck}, {tips + 1 + claim, ""}, {1, ""}, {0, ""},
	} {
		foreign := "f=" + strings.Repeat("x", propagate.MaxHeader-c.left-2)
		out := carry(foreign)
		err := p.Attach(t.Context(), out, passport)
		if c.want == "" {
			wantClass(t, err, propagate.TooLarge)
			if out.Get("baggage") != foreign {
				t.Errorf("%d bytes left: %.40q", c.left, out.Get("baggage"))
			}
			continue
		}
		text := out.Get("baggage")
		if err != nil || !slices.Equal(form(text), []string{c.want}) || len(text) > propagate.MaxHeader || !strings.HasPrefix(text, foreign+",") {
			t.Errorf("%d bytes left: %v, %q, %d bytes; want %s", c.left, err, form(text), len(text), c.want)
		}
		if strings.HasPrefix(c.want, "kest.passport") && c.left != propagate.MaxHeader-len(foreign) {
			t.Error("the test does not leave what it says")
		}
	}
}

// TestMemberCount: ours count, too; the identity takes members of its own.
func TestMemberCount(t *testing.T) {
	p := propagator(t, propagate.Config{})
	ctx := propagate.WithIdentity(t.Context(), propagate.Identity{User: "ä, b", Agent: "=", Task: "t t"})
	for foreign, ok := range map[int]bool{59: true, 60: false, 64: false} {
		var members []string
		for i := range foreign {
			members = append(members, fmt.Sprintf("k%d=", i))
		}
		out := carry(strings.Join(members, ","))
		err := p.Attach(ctx, out, chain(t, 1))
		if got := out.Get("baggage"); !ok {
			wantClass(t, err, propagate.TooLarge)
			if got != strings.Join(members, ",") {
				t.Errorf("%d: %q", foreign, got)
			}
		} else if err != nil || strings.Count(got, ",") != 63 || !strings.Contains(got, ",kest.user=%C3%A4%2C%20b,kest.agent==,kest.task=t%20t,") {
			t.Errorf("%d: %v, %q", foreign, err, got)
		}
	}
	out := carry() // the application has set more than fits
	var bag baggage.Baggage
	for i := range 65 {
		m, _ := baggage.NewMember(fmt.Sprintf("k%d", i), "")
		bag, _ = bag.SetMember(m)
	}
	wantClass(t, p.Attach(baggage.ContextWithBaggage(ctx, bag), out, lineage.Passport{}), propagate.TooLarge)
	wantClass(t, p.Attach(set(t, t.Context(), "k", strings.Repeat("x", 8191)), out, lineage.Passport{}), propagate.TooLarge)
	if out.Get("baggage") != "" {
		t.Errorf("%q", out.Get("baggage"))
	}
	wantClass(t, p.Attach(propagate.WithIdentity(t.Context(), propagate.Identity{User: "\xff"}), out, chain(t, 1)), propagate.Malformed)
	wantClass(t, p.Attach(propagate.WithIdentity(t.Context(), propagate.Identity{User: strings.Repeat("u", 9000)}), out, chain(t, 1)), propagate.TooLarge)
}

// TestTipCount: 64 leaves are announced; with more the lineage must be sealed first.
func TestTipCount(t *testing.T) {
	p := propagator(t, propagate.Config{Store: newShelf()})
	if got := restored(t, p, headerOf(t, p, fork(t, 64, pay))); len(got.Tips()) != 64 {
		t.Errorf("%d tips", len(got.Tips()))
	}
	wantClass(t, p.Attach(t.Context(), carry(), fork(t, 65, pay)), propagate.TooLarge)
}

// TestTC11ClaimCheck (TC-11, F-CP-03): a passport that is too large for a header goes through the store, under a fresh
// UUID v4 and the prefix, for the configured time, and comes back whole.
func TestTC11ClaimCheck(t *testing.T) {
	passport := chain(t, 40)
	for _, c := range []struct {
		config propagate.Config
		prefix string
		ttl    time.Duration
	}{
		{propagate.Config{}, "kest.claim.", 300 * time.Second},
		{propagate.Config{ClaimPrefix: "tenant-a:", ClaimTTL: time.Minute}, "tenant-a:", time.Minute},
	} {
		s := newShelf()
		c.config.Store = s
		p := propagator(t, c.config)
		ids := map[string]bool{}
		for range 3 {
			header := headerOf(t, p, passport)
			id, _ := valueOf(header, propagate.KeyClaimCheck)
			if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) || ids[id] {
				t.Errorf("claim id %q", id)
			}
			ids[id] = true
			if text := s.values[c.prefix+id]; string(text) != textOf(t, passport) || s.ttl != c.ttl {
				t.Errorf("%d bytes under the key for %s", len(text), s.ttl)
			}
			if got := restored(t, p, header); textOf(t, got) != textOf(t, passport) {
				t.Error("another passport came back")
			}
		}
		if len(s.keys()) != 3 {
			t.Errorf("%d keys", len(s.keys()))
		}
	}
}

// TestClaimCheckNotKept: without a store, or with one that fails, the message must not go out, and is not changed.
func TestClaimCheckNotKept(t *testing.T) {
	cause := errors.New("connection refused")
	for name, c := range map[string]struct {
		store store.Store
		want  propagate.Class
	}{
		"none": {nil, propagate.TooLarge}, "down": {&shelf{fail: cause}, propagate.Unavailable}, "refuses": {&shelf{fail: store.ErrRefused}, propagate.Unavailable},
	} {
		p := propagator(t, propagate.Config{Store: c.store})
		out := carry("a=1")
		err := p.Attach(t.Context(), out, chain(t, 40))
		wantClass(t, err, c.want)
		if out.Get("baggage") != "a=1" {
			t.Errorf("%s: wrote %q", name, out.Get("baggage"))
		}
		if name == "down" && !errors.Is(err, cause) {
			t.Errorf("the cause is lost: %v", err)
		}
	}
}

// TestReadingOrder: claim check, then compressed, then plain. The newest counts, also when it cannot be read.
func TestReadingOrder(t *testing.T) {
	s := newShelf()
	passport := chain(t, 2)
	plain := headerOf(t, propagator(t, propagate.Config{}), chain(t, 1))
	packed := headerOf(t, propagator(t, propagate.Config{CompressFirst: true}), passport)
	p := propagator(t, propagate.Config{Store: s, Threshold: -1})
	claimed := headerOf(t, p, passport)
	take := func(header, key string) string {
		value, ok := valueOf(header, key)
		if !ok {
			t.Fatalf("no %s in %q", key, header)
		}
		return key + "=" + value
	}
	tips := take(packed, propagate.KeyChainTip)
	all := []string{tips, take(plain, propagate.KeyPassport), take(packed, propagate.KeyPassportZ), take(claimed, propagate.KeyClaimCheck)}
	r := rand.New(rand.NewSource(1))
	for range 10 {
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if got := restored(t, p, strings.Join(all, ",")); got.Len() != 2 {
			t.Errorf("%d entries of %q", got.Len(), all)
		}
	}
	older := take(plain, propagate.KeyPassport) + "," + tips
	if got := restored(t, p, older+","+take(packed, propagate.KeyPassportZ)); got.Len() != 2 {
		t.Error("plain before compressed")
	}
	for newest, class := range map[string]propagate.Class{
		propagate.KeyPassportZ + "=AAAA":                                  propagate.Malformed,
		propagate.KeyPassportZ + "=":                                      propagate.Malformed,
		propagate.KeyClaimCheck + "=":                                     propagate.Malformed,
		propagate.KeyClaimCheck + "=stolen":                               propagate.Malformed,
		propagate.KeyClaimCheck + "=00000000-0000-4000-8000-000000000000": propagate.Forbidden,
	} {
		ctx := p.Extract(t.Context(), carry(older+","+newest))
		wantClass(t, propagate.Refusal(ctx), class)
		stopped(t, ctx)
	}
	if n := baggage.FromContext(p.Extract(t.Context(), carry(claimed))).Len(); n != 0 {
		t.Errorf("%d members in the baggage of the context", n) // decision 0009
	}
}

// TestConfig: everything that is wrong is said at once.
func TestConfig(t *testing.T) {
	_, err := propagate.New(propagate.Config{
		ClaimTTL: time.Millisecond, ClaimPrefix: "a b", Threshold: propagate.MaxHeader + 1,
		Limits: lineage.Limits{PassportBytes: store.MaxValue + 1}, Store: newShelf(),
	})
	for _, field := range []string{"ClaimTTL", "ClaimPrefix", "Threshold", "PassportBytes"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	for name, c := range map[string]propagate.Config{
		"ttl": {ClaimTTL: store.MaxTTL + 1}, "negative ttl": {ClaimTTL: -1}, "threshold without store": {Threshold: -1},
		"long prefix": {ClaimPrefix: strings.Repeat("p", 129)}, "slash": {ClaimPrefix: "a/b"}, "line": {ClaimPrefix: "a\n"},
	} {
		if _, err := propagate.New(c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	for name, c := range map[string]propagate.Config{
		"edges": {ClaimTTL: store.MaxTTL, ClaimPrefix: strings.Repeat("p", 128), Threshold: propagate.MaxHeader}, "least": {ClaimTTL: time.Second, ClaimPrefix: "p"},
		"large without store": {Limits: lineage.Limits{PassportBytes: store.MaxValue + 1}},
	} {
		if _, err := propagate.New(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
