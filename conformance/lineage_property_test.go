package conformance_test

import (
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/lineage"
	"pgregory.net/rapid"
)

func payloadText(t *rapid.T, jws string) string {
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(jws, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// SPEC §2: the hand-written encoder of entries gives what the general one gives, whatever the text in them.
func TestPropertyEntryEncoder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := anyEntry().Draw(t, "entry")
		s, err := lineage.Sign(t.Context(), workloadSigner(t, e.Principal()), e, lineage.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		payload := payloadText(t, s.JWS())
		if want := general(t, e); payload != want {
			t.Fatalf("got  %s\nwant %s", payload, want)
		}
		if again, err := jcs.Canonicalize(nil, []byte(payload), jcs.Options{}); err != nil || string(again) != payload {
			t.Fatalf("%s becomes %s, %v", payload, again, err)
		}
	})
}

// What Sign accepts, every verifier with the same limits can read: it never fails on form.
func TestPropertySignedIsReadable(t *testing.T) {
	keys := workloadKeys(t)
	rapid.Check(t, func(t *rapid.T) {
		e := anyEntry().Draw(t, "entry")
		l := lineage.Limits{
			EntryBytes: rapid.IntRange(700, 4000).Draw(t, "entry bytes"), Labels: rapid.IntRange(3, 8).Draw(t, "labels"), LabelBytes: rapid.IntRange(32, 64).Draw(t, "label bytes"),
			Taints: rapid.IntRange(1, 4).Draw(t, "taints"), PolicyNameBytes: rapid.IntRange(1, 20).Draw(t, "policy"), Depth: rapid.IntRange(4, 6).Draw(t, "depth"),
			PassportEntries: rapid.IntRange(1, 4).Draw(t, "entries"),
		}
		// Bytes that no encoder writes must stop Sign, not come out of it.
		switch rapid.IntRange(0, 6).Draw(t, "spoil") {
		case 0:
			e.Environment = lineage.Object(rapid.SampledFrom([]string{"{}", "[]", `{"b":1,"a":1}`, `{"a":1e2}`, `{} `, `{"a":{"a":{"a":{"a":{"a":{}}}}}}`, `{"a":9007199254740992}`, "\xff"}).Draw(t, "environment"))
		case 1:
			e.Operation = "\xed\xa0\x80"
		case 2:
			e.Parents = append(e.Parents, e.Parents...)
		}
		s, err := lineage.Sign(t.Context(), workloadSigner(t, e.Principal()), e, l)
		if err != nil {
			if s != nil {
				t.Fatal("an entry comes with an error")
			}
			return
		}
		if _, _, err := lineage.InsecureInspect(s.JWS(), l); err != nil {
			t.Fatalf("signed but not readable: %v\n%s", err, payloadText(t, s.JWS()))
		}
		v, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keys, Limits: l})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = v.Verify(t.Context(), lineage.Unverified{Entries: []string{s.JWS()}})
		var f *lineage.VerifyError
		if errors.As(err, &f) && slices.Contains([]lineage.Reason{lineage.Malformed, lineage.Algorithm, lineage.Limit, lineage.UnknownKey, lineage.BadSignature}, f.Reason) {
			t.Fatalf("signed but refused: %v\n%s", err, payloadText(t, s.JWS()))
		}
	})
}

// Sign → Append → MarshalText → ParsePassport → Verify, for any honest lineage in any order, cold and remembered.
func TestPropertyRoundTrip(t *testing.T) {
	keys := workloadKeys(t)
	shared, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keys, CacheBytes: 256 << 10}) // its generations rotate
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		entries := dag(t, 10)
		for range 3 {
			entries = shuffled(t, entries)
			var p lineage.Passport
			for _, s := range entries {
				if p, err = p.Append(s); err != nil {
					t.Fatal(err)
				}
			}
			text, err := p.MarshalText()
			if err != nil || len(text) != p.Size() {
				t.Fatalf("%d bytes, size %d, %v", len(text), p.Size(), err)
			}
			u, err := lineage.ParsePassport(text, lineage.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			u.Tips = p.Tips()
			got, report, err := shared.Verify(t.Context(), u)
			if err != nil || !report.Valid() {
				t.Fatalf("%v\n%s", err, text)
			}
			if !slices.Equal(got.Entries(), p.Entries()) || !slices.Equal(got.Tips(), p.Tips()) {
				t.Fatal("another passport comes out")
			}
			for i, s := range got.All() {
				if general(t, s.Entry()) != payloadText(t, entries[i].JWS()) {
					t.Fatalf("entry %d changed on the way", i)
				}
			}
		}
	})
}

// One lie in one entry, signed with the right key, is found at that entry.
func TestPropertyOneLie(t *testing.T) {
	keys := workloadKeys(t)
	v, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		entries := dag(t, 8)
		last := len(entries) - 1
		e := entries[last].Entry()
		var want lineage.Reason
		switch rapid.IntRange(0, 4).Draw(t, "lie") {
		case 0:
			e.TrustScore = (e.TrustScore + rapid.IntRange(1, 100).Draw(t, "by")) % 101
			want = lineage.TrustMismatch
		case 1:
			e.Taints = slices.Sorted(slices.Values(append(slices.Clone(e.Taints), "zzz")))
			want = lineage.TaintMismatch
		case 2:
			if len(e.Taints) == 0 {
				return
			}
			e.Taints = e.Taints[1:]
			want = lineage.TaintMismatch
		case 3:
			e.Parents = append(slices.Clone(e.Parents), lineage.HashJWS("nobody"))
			want = lineage.BrokenLink
		case 4:
			e.Labels = maps.Clone(e.Labels)
			delete(e.Labels, lineage.LabelJoined)
			e.Labels[lineage.LabelTraceID] = "ffffffffffffffffffffffffffffffff"
			want = lineage.TraceMismatch
		}
		lie, err := lineage.Sign(t.Context(), workloadSigner(t, e.Principal()), e, lineage.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		_, report, err := v.Verify(t.Context(), lineage.Unverified{Entries: append(compactForms(entries[:last]), lie.JWS())})
		if !errors.Is(err, lineage.ErrUnverified) || report.Failure.Reason != want || report.Failure.Index != last {
			t.Fatalf("got %v, want %q at %d", err, want, last)
		}
	})
}

// F-PA-01…07: Append and Merge against naive answers.
func TestPropertyPassportLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := dag(t, 12)
		grow := func(p lineage.Passport, more []*lineage.Signed) lineage.Passport {
			for _, s := range more {
				var err error
				if p, err = p.Append(s); err != nil {
					t.Fatal(err)
				}
			}
			return p
		}
		common := rapid.IntRange(0, len(entries)).Draw(t, "common")
		base := grow(lineage.Passport{}, entries[:common])
		// Three parts, each closed under parents, that share base.
		part := func(label string) lineage.Passport {
			p, have := base, map[lineage.Hash]bool{}
			for _, s := range entries[:common] {
				have[s.Hash()] = true
			}
			for _, s := range entries[common:] {
				if rapid.Bool().Draw(t, label) && !slices.ContainsFunc(s.Entry().Parents, func(h lineage.Hash) bool { return !have[h] }) {
					p, have[s.Hash()] = grow(p, []*lineage.Signed{s}), true
				}
			}
			if rapid.IntRange(0, 3).Draw(t, label+" copied") == 0 { // the same without shared links
				var all []*lineage.Signed
				for _, s := range p.All() {
					all = append(all, s)
				}
				p = grow(lineage.Passport{}, shuffled(t, all))
			}
			return p
		}
		a, b, c := part("a"), part("b"), part("c")
		before := [][]string{a.Entries(), b.Entries(), c.Entries()}
		merge := func(p, q lineage.Passport) lineage.Passport {
			m, err := lineage.Merge(p, q)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		left, right := merge(merge(a, b), c), merge(a, merge(b, c))
		set := func(p lineage.Passport) []string { return slices.Sorted(slices.Values(p.Entries())) }
		if !slices.Equal(set(left), set(right)) || !slices.Equal(set(merge(a, b)), set(merge(b, a))) || !slices.Equal(set(merge(a, a)), set(a)) {
			t.Fatal("merge is not associative, commutative and idempotent in content")
		}
		if !slices.Equal(left.Entries()[:a.Len()], a.Entries()) {
			t.Fatal("the entries of the first do not come first")
		}
		if !slices.Equal(before[0], a.Entries()) || !slices.Equal(before[1], b.Entries()) || !slices.Equal(before[2], c.Entries()) {
			t.Fatal("merge changed its arguments")
		}
		for _, p := range []lineage.Passport{base, a, b, c, left, right} {
			checkNaive(t, p)
		}
	})
}

// checkNaive compares what a passport accumulated with what its entries say.
func checkNaive(t *rapid.T, p lineage.Passport) {
	var all []*lineage.Signed
	principals, sources, lowest := map[string]bool{}, map[string]bool{}, 100
	seen := map[lineage.Hash]bool{}
	for i, s := range p.All() {
		e := s.Entry()
		if i != len(all) || seen[s.Hash()] {
			t.Fatalf("entry %d stands twice or out of place", i)
		}
		for _, parent := range e.Parents {
			if !seen[parent] {
				t.Fatalf("entry %d comes before its parent", i)
			}
		}
		all, seen[s.Hash()] = append(all, s), true
		principals[e.Principal()], sources[e.SourceType()], lowest = true, true, min(lowest, e.TrustScore)
	}
	sum := p.Summary()
	if p.Len() != len(all) || sum.Length != len(all) || sum.MinTrust != lowest ||
		!slices.Equal(sum.Principals, slices.Sorted(maps.Keys(principals))) || !slices.Equal(sum.SourceTypes, slices.Sorted(maps.Keys(sources))) {
		t.Fatalf("summary %+v of %d entries", sum, len(all))
	}
	if !slices.Equal(p.Leaves(), naiveLeaves(all)) {
		t.Fatalf("%d leaves, want %d", len(p.Leaves()), len(naiveLeaves(all)))
	}
	text, err := p.MarshalText()
	if err != nil || len(text) != p.Size() {
		t.Fatalf("%d bytes, size %d, %v", len(text), p.Size(), err)
	}
}

// SPEC §4: many goroutines extend one passport; none sees what another appended.
func TestPropertySharedPrefixIsImmutable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := dag(t, 10)
		common := rapid.IntRange(0, len(entries)-1).Draw(t, "common")
		var base lineage.Passport
		for _, s := range entries[:common] {
			base, _ = base.Append(s)
		}
		want := base.Entries()
		results := make([]lineage.Passport, 4)
		var wg sync.WaitGroup
		for i := range results {
			wg.Go(func() {
				p := base
				for _, s := range entries[common : len(entries)-i%2] {
					p, _ = p.Append(s)
				}
				results[i] = p
			})
		}
		wg.Wait()
		if !slices.Equal(base.Entries(), want) {
			t.Fatal("the shared passport changed")
		}
		for i, p := range results {
			if !slices.Equal(p.Entries(), compactForms(entries[:len(entries)-i%2])) {
				t.Fatalf("goroutine %d has other entries", i)
			}
			checkNaive(t, p)
		}
	})
}

// F-TT-01…06: MergeTaints is the rule of SPEC §6 on sets, and its result is sorted and unique.
func TestPropertyMergeTaints(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "é", "\U0001f600", "\uffff"}), 0, 5)
		parents := rapid.SliceOfN(list, 0, 4).Draw(t, "parents")
		added, removed := list.Draw(t, "added"), list.Draw(t, "removed")
		saved := slices.Concat(slices.Concat(parents...), added, removed)
		want := map[string]bool{}
		for _, x := range slices.Concat(slices.Concat(parents...), added) {
			want[x] = true
		}
		for _, x := range removed {
			delete(want, x)
		}
		got := lineage.MergeTaints(parents, added, removed)
		if !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
			t.Fatalf("%q + %q − %q = %q", parents, added, removed, got)
		}
		if !slices.Equal(saved, slices.Concat(slices.Concat(parents...), added, removed)) {
			t.Fatal("an argument changed")
		}
	})
}

// F-TS-03…06: neither evaluator raises trust above the weakest parent; both stay in range and grow with their inputs.
func TestPropertyTrust(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		score := rapid.IntRange(0, 100)
		self, parents := score.Draw(t, "self"), rapid.SliceOfN(score, 0, 5).Draw(t, "parents")
		for _, ev := range []lineage.TrustEvaluator{lineage.Attenuate{}, lineage.Weighted{}, lineage.Weighted{History: rapid.IntRange(-50, 150).Draw(t, "history")}} {
			got := ev.Trust(self, parents)
			if len(parents) == 0 {
				if got != self {
					t.Fatalf("%T: a root of %d has %d", ev, self, got)
				}
				continue
			}
			weakest := slices.Min(parents)
			if got < 0 || got > weakest {
				t.Fatalf("%T: %d under %v gives %d", ev, self, parents, got)
			}
			if _, ok := ev.(lineage.Attenuate); ok && (got > self || got != weakest*self/100) {
				t.Fatalf("%d under %v gives %d", self, parents, got)
			}
			if self < 100 && ev.Trust(self+1, parents) < got {
				t.Fatalf("%T: more trust in the source gives less", ev)
			}
			reversed := slices.Clone(parents)
			slices.Reverse(reversed)
			if ev.Trust(self, reversed) != got {
				t.Fatalf("%T: the order of parents matters", ev)
			}
		}
	})
}
