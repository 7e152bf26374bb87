package binding_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/store"
)

// TestHostileOffers: what comes along may be anything. None of it counts for w, none is remembered, and none is in the
// way of the good one after it.
func TestHostileOffers(t *testing.T) {
	c := newCA(t)
	w := c.workload(shop)
	good := w.binding.Text()
	proofs := func(of, in string) string { // swaps one proof for another
		cut := func(s string) (string, string) {
			before, after, _ := strings.Cut(s, `"proof":"`)
			return before, after
		}
		before, _ := cut(in)
		_, after := cut(of)
		return before + `"proof":"` + after
	}
	for name, text := range map[string]string{
		"nothing":              "",
		"garbage":              strings.Repeat("\xff", 1000),
		"another key":          c.workload(shop).binding.Text(),
		"another principal":    c.certify(pay, w.public, now(), now().Add(time.Hour)).Text(),
		"no root":              newCA(t).certify(shop, w.public, now(), now().Add(time.Hour)).Text(),
		"ended":                c.certify(shop, w.public, now().Add(-2*time.Hour), now().Add(-time.Hour)).Text(),
		"proof of another key": proofs(c.workload(shop).binding.Text(), good),
		"proof of another":     proofs(c.certify(pay, w.public, now(), now().Add(time.Hour)).Text(), good),
		"cut":                  good[:len(good)-10],
		"not canonical":        strings.Replace(good, `,"schema"`, ` ,"schema"`, 1),
		"two in one":           good + good,
		"one that is too long": good + strings.Repeat(" ", binding.MaxOfferedBytes-len(good)+1),
	} {
		t.Run(name, func(t *testing.T) {
			s := source(t, binding.Config{Roots: c.roots()})
			wantKey(t, s, lineage.WithOffered(t.Context(), []string{text}), w, false)
			wantKey(t, s, lineage.WithOffered(t.Context(), []string{text, good}), w, true)
			wantKey(t, s, lineage.WithOffered(t.Context(), []string{text}), w, true)
		})
	}
	s := source(t, binding.Config{Roots: c.roots()})
	if keys, err := s.Keys(offering(t, w.binding), "\xff", w.id()); len(keys) > 0 || err != nil {
		t.Errorf("a principal that is no text: %d keys, %v", len(keys), err)
	}
}

// TestOfferBounds: so many, and so many bytes, and no more.
func TestOfferBounds(t *testing.T) {
	c := newCA(t)
	w := c.workload(shop)
	good := w.binding.Text()
	many := make([]string, binding.MaxOffered)
	for i := range many {
		many[i] = "x"
	}
	filler := func(n int) string { return strings.Repeat("x", n) }
	for name, step := range map[string]struct {
		offers []string
		want   bool
	}{
		"eighth":           {append(many[:7:7], good), true},
		"ninth":            {append(many[:8:8], good), false},
		"last byte":        {[]string{filler(binding.MaxOfferedBytes - len(good)), good}, true},
		"one byte more":    {[]string{filler(binding.MaxOfferedBytes - len(good) + 1), good}, false},
		"after a long one": {[]string{filler(1 << 20), good}, true},
	} {
		s := source(t, binding.Config{Roots: c.roots()})
		t.Run(name, func(t *testing.T) { wantKey(t, s, lineage.WithOffered(t.Context(), step.offers), w, step.want) })
	}
}

// TestOffersAreCheckedOnce: whoever sends a lineage of many entries with bindings that are expensive to refuse has them
// refused once, and not for every entry. Afterwards they may be good.
func TestOffersAreCheckedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCA(t)
		w := c.workload(shop)
		roots := follow(&lineage.Roots{})
		s := source(t, binding.Config{Roots: roots, NegativeTTL: time.Minute})
		ctx := offering(t, w.binding, c.certify(shop, w.public, now(), now().Add(time.Hour)))
		for range 100 {
			wantKey(t, s, ctx, w, false)
		}
		if n := roots.asked.Load(); n != 2 {
			t.Errorf("2 offers were checked %d times", n)
		}
		time.Sleep(time.Minute)
		wantKey(t, s, ctx, w, false)
		if n := roots.asked.Load(); n != 4 {
			t.Errorf("a minute later: %d checks in all; want 4", n)
		}
		roots.roots.Store(c.roots())
		wantKey(t, s, ctx, w, true)
	})
}

// TestOwnBindingIsCheckedOnce: a provider whose own roots do not hold its binding is not checked for every entry either.
func TestOwnBindingIsCheckedOnce(t *testing.T) {
	w := newCA(t).workload(shop)
	roots := follow(&lineage.Roots{})
	s := source(t, binding.Config{Roots: roots, Own: w.provider(t)})
	for range 20 {
		wantKey(t, s, t.Context(), w, false)
	}
	if n := roots.asked.Load(); n != 1 {
		t.Errorf("%d checks", n)
	}
}

// lyingProvider returns one binding for whatever key it is asked.
type lyingProvider struct {
	identity.Provider
	binding *lineage.KeyBinding
}

func (p lyingProvider) Binding(string) *lineage.KeyBinding { return p.binding }

func TestOwnProviderThatIsWrong(t *testing.T) {
	c := newCA(t)
	w, other := c.workload(shop), c.workload(shop)
	s := source(t, binding.Config{Roots: c.roots(), Own: lyingProvider{binding: other.binding}})
	wantKey(t, s, t.Context(), w, false)
	wantKey(t, s, t.Context(), workload{pay, other.public, other.signer, nil}, false)
	wantKey(t, s, offering(t, w.binding), w, true)
}

// TestGarbageTakesNoPlace: refused offers push out nothing that was verified, and cause no look-ups of their own.
func TestGarbageTakesNoPlace(t *testing.T) {
	c, other := newCA(t), newCA(t)
	good := []workload{c.workload(shop), c.workload(pay)}
	st := answers("", store.ErrNotFound)
	s := source(t, binding.Config{Roots: c.roots(), MaxKeys: 4, Store: st, FetchRate: 1000})
	for _, w := range good {
		wantKey(t, s, offering(t, w.binding), w, true)
	}
	for range 20 {
		w := other.workload(shop)
		for range 3 {
			wantKey(t, s, offering(t, w.binding), w, false)
		}
	}
	if n := st.asked.Load(); n > 20 {
		t.Errorf("20 unknown keys cause %d look-ups", n)
	}
	for _, w := range good {
		wantKey(t, s, t.Context(), w, true)
	}
}

// TestMissBlocksNoOffer: that the store does not have a key says nothing about what comes along.
func TestMissBlocksNoOffer(t *testing.T) {
	c := newCA(t)
	w := c.workload(shop)
	s := source(t, binding.Config{Roots: c.roots(), Store: answers("", store.ErrNotFound)})
	wantKey(t, s, t.Context(), w, false)
	wantKey(t, s, offering(t, w.binding), w, true)
}

// TestTooManyKeys: whoever has an identity can fill the memory with keys of their own. Others come back, from the store
// and along with the next request.
func TestTooManyKeys(t *testing.T) {
	for _, most := range []int{1, 3, 16} {
		c := newCA(t)
		good, st := c.workload(shop), memoryStore(t)
		if err := binding.Publish(t.Context(), st, good.binding); err != nil {
			t.Fatal(err)
		}
		s := source(t, binding.Config{Roots: c.roots(), MaxKeys: most, Store: st, FetchRate: 1000})
		wantKey(t, s, t.Context(), good, true)
		all := []workload{good}
		for range 2 * most {
			w := c.workload(pay)
			all = append(all, w)
			wantKey(t, s, offering(t, w.binding), w, true)
			wantKey(t, s, t.Context(), good, true)
		}
		remembered := 0
		for _, w := range all[1:] { // which the store does not have
			if keys, err := s.Keys(t.Context(), pay, w.id()); err == nil && len(keys) > 0 {
				remembered++
			}
		}
		if remembered > most-1 || most > 1 && remembered == 0 {
			t.Errorf("MaxKeys %d: %d others are remembered", most, remembered)
		}
	}
}

// TestBytesOfKeys: bindings that are large take more of the room, and give it back.
func TestBytesOfKeys(t *testing.T) {
	c := newCA(t)
	const most = 16
	roots := follow(c.roots())
	s := source(t, binding.Config{Roots: roots, MaxKeys: most})
	fill := func(principal string, n int) (remembered, size int) {
		var all []workload
		for range n {
			w := c.workload(principal)
			wantKey(t, s, offering(t, w.binding), w, true)
			all = append(all, w)
		}
		for _, w := range all {
			if keys, _ := s.Keys(t.Context(), principal, w.id()); len(keys) > 0 {
				remembered, size = remembered+1, size+len(w.binding.Text())
			}
		}
		return remembered, size
	}
	if n, size := fill("spiffe://example.org/"+strings.Repeat("x", 2000), 20); size > most*4<<10 || n < 2 {
		t.Errorf("%d large bindings are remembered, of %d bytes", n, size)
	}
	small := func(when string) {
		t.Helper()
		if n, _ := fill(shop, 40); n > most || n < most/2 {
			t.Errorf("%d small bindings are remembered %s", n, when)
		}
	}
	small("after large ones")
	w := c.workload(shop)
	for range 100 { // the same again takes no more
		roots.roots.Store(c.roots())
		wantKey(t, s, offering(t, w.binding), w, true)
	}
	small("after one that was verified many times")
}

// TestEndedKeysGoFirst when room is needed.
func TestEndedKeysGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCA(t)
		s := source(t, binding.Config{Roots: c.roots(), MaxKeys: 8})
		for range 6 {
			var good []workload
			end := now().Add(time.Hour)
			for i := range 8 {
				w := c.workloadFor(shop, now(), end)
				if i >= 5 {
					w = c.workloadFor(shop, now(), end.Add(time.Hour))
					good = append(good, w)
				}
				wantKey(t, s, offering(t, w.binding), w, true)
			}
			time.Sleep(time.Hour + time.Minute)
			last := c.workload(shop)
			for _, w := range append(good, last) {
				wantKey(t, s, offering(t, last.binding, w.binding), last, true)
				wantKey(t, s, t.Context(), w, true)
			}
			time.Sleep(3 * time.Hour)
		}
	})
}

// TestMemoryOfMisses is bounded: what was missed before the last MaxKeys may be looked for again.
func TestMemoryOfMisses(t *testing.T) {
	c := newCA(t)
	st := answers("", store.ErrNotFound)
	s := source(t, binding.Config{Roots: c.roots(), MaxKeys: 2, Store: st})
	first := c.workload(shop)
	for _, w := range []workload{first, first, c.workload(shop), c.workload(shop), first} {
		wantKey(t, s, t.Context(), w, false)
	}
	if n := st.asked.Load(); n != 4 {
		t.Errorf("%d look-ups", n)
	}
}

// TestOffersOfSeveralKeys: one that is about another key is no answer about its own.
func TestOffersOfSeveralKeys(t *testing.T) {
	c := newCA(t)
	all := []workload{c.workload(shop), c.workload(shop), c.workload(pay)}
	all = append(all, workload{pay, all[0].public, all[0].signer, c.certify(pay, all[0].public, now(), now().Add(time.Hour))})
	var bindings []*lineage.KeyBinding
	for _, w := range all {
		bindings = append(bindings, w.binding)
	}
	s := source(t, binding.Config{Roots: c.roots()})
	for i := range all {
		wantKey(t, s, offering(t, bindings...), all[len(all)-1-i], true)
	}
}

// TestMalformedOffersAreReadOnce, although they claim to be about the key that is asked for.
func TestMalformedOffersAreReadOnce(t *testing.T) {
	c := newCA(t)
	w := c.workload(shop)
	_, proof, _ := strings.Cut(c.workload(shop).binding.Text(), `"proof":"`)
	before, _, _ := strings.Cut(w.binding.Text(), `"proof":"`)
	s := source(t, binding.Config{Roots: c.roots()})
	for name, text := range map[string]string{"this key": before + `"proof":"` + proof, "another": c.workload(shop).binding.Text()} {
		ctx := lineage.WithOffered(t.Context(), []string{text})
		wantKey(t, s, ctx, w, false)
		if n := testing.AllocsPerRun(50, func() { s.Keys(ctx, shop, w.id()) }); n > 20 { // to read one takes hundreds
			t.Errorf("%s: %.0f allocations", name, n)
		}
	}
}

// TestBindingsToSend: the own one first, then those of the signers, the latest first, within the bounds of the receiver.
func TestBindingsToSend(t *testing.T) {
	for name, principal := range map[string]string{"small": shop, "large": shop + strings.Repeat("x", 700)} {
		t.Run(name, func(t *testing.T) { bindingsToSend(t, principal) })
	}
}

func bindingsToSend(t *testing.T, principal string) {
	t.Helper()
	c := newCA(t)
	own := c.workload(pay)
	s := source(t, binding.Config{Roots: c.roots(), Own: own.provider(t)})
	if got := s.Bindings(lineage.Passport{}); len(got) != 1 || got[0] != own.binding.Text() {
		t.Errorf("without lineage: %d", len(got))
	}
	if got := source(t, binding.Config{Roots: c.roots()}).Bindings(lineage.Passport{}); got != nil {
		t.Errorf("nothing known: %q", got)
	}
	var p lineage.Passport
	var texts []string
	for i := range 10 {
		w := c.workload(principal)
		if i == 5 {
			w = own
		}
		texts = append([]string{w.binding.Text()}, texts...)
		p = grow(t, s, p, w)
	}
	got := s.Bindings(p)
	want := append([]string{own.binding.Text()}, append(texts[:4:4], texts[5:]...)...)
	size := 0
	for i, text := range got {
		size += len(text)
		if text != want[i] {
			t.Errorf("binding %d is another", i)
		}
	}
	if len(got) > binding.MaxOffered || size > binding.MaxOfferedBytes || len(got) < binding.MaxOffered && size < binding.MaxOfferedBytes-len(texts[0]) {
		t.Errorf("%d bindings of %d bytes", len(got), size)
	}
	fresh := source(t, binding.Config{Roots: c.roots()})
	ctx := lineage.WithOffered(context.Background(), got)
	for _, text := range got {
		b := must(lineage.ParseBinding(text))(t)
		if keys, err := fresh.Keys(ctx, b.Principal(), b.KeyID()); len(keys) != 1 || err != nil {
			t.Errorf("what is sent is not taken: %d keys, %v", len(keys), errors.Join(err))
		}
	}
}

// grow appends an entry by w and verifies all.
func grow(t *testing.T, s *binding.Source, p lineage.Passport, w workload) lineage.Passport {
	t.Helper()
	u := lineage.Unverified{}
	var parents []lineage.Hash
	for _, signed := range p.All() {
		u.Entries = append(u.Entries, signed.JWS())
		parents = []lineage.Hash{signed.Hash()}
	}
	u.Entries = append(u.Entries, w.child(t, time.Now(), parents))
	p, _, err := verifier(t, s).Verify(offering(t, w.binding), u)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
