package lineage_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest/lineage"
)

// TC-01: the parent "0" of a root is not looked up as a hash. F-PA-01: the empty passport is valid.
func TestTC01RootIsNotCheckedAsHash(t *testing.T) {
	v := newVerifier(t, lineage.VerifierConfig{})
	one := chain(t, 1)[0]
	if !strings.Contains(payloadOf(t, one.JWS()), `"parent_ids":["0"]`) {
		t.Fatal("a root has other parents than \"0\"")
	}
	p, _ := accepted(t, v, lineage.Unverified{Entries: jwsOf(one)})
	if e := p.Last().Entry(); !e.IsRoot() || e.Parents != nil {
		t.Errorf("root with parents %v", e.Parents)
	}
	accepted(t, v, lineage.Unverified{})
	accepted(t, v, lineage.Unverified{Tips: []lineage.Hash{}})
}

// TC-02: an altered payload in a 3-entry passport fails, although all else is right.
func TestTC02AlteredPayload(t *testing.T) {
	good := jwsOf(chain(t, 3)...)
	v := newVerifier(t, lineage.VerifierConfig{})
	for i := range good {
		parts := strings.Split(good[i], ".")
		parts[1] = b64([]byte(replaced(t, payloadOf(t, good[i]), `"operation":"step.`, `"operation":"stop.`)))
		bad := slices.Clone(good)
		bad[i] = strings.Join(parts, ".")
		if i < 2 { // the child names the hash of what was there
			_, report, _ := v.Verify(t.Context(), lineage.Unverified{Entries: bad})
			if report.Failure == nil || report.Failure.Index != i || report.Failure.Reason != lineage.BadSignature {
				t.Errorf("entry %d altered: %v", i, report.Failure)
			}
			continue
		}
		refused(t, v, lineage.Unverified{Entries: bad}, lineage.BadSignature, i)
	}
}

// TC-03: an altered signature fails.
func TestTC03AlteredSignature(t *testing.T) {
	good := jwsOf(chain(t, 3)...)
	v := newVerifier(t, lineage.VerifierConfig{})
	for i := range good {
		bad := slices.Clone(good)
		dot := strings.LastIndexByte(bad[i], '.')
		c := byte('A')
		if bad[i][dot+1] == c {
			c = 'B'
		}
		bad[i] = bad[i][:dot+1] + string(c) + bad[i][dot+2:]
		refused(t, v, lineage.Unverified{Entries: bad}, lineage.BadSignature, i)
	}
}

// F-PA-03, F-PA-05, F-PA-06: order, presence and uniqueness of entries.
func TestLinkAttacks(t *testing.T) {
	c := chain(t, 5)
	twin := sign(t, call{n: 2, by: pay, op: "other"}, c[1]) // the id of entry 2 with other content
	ghost := sign(t, call{n: 50})                           // a root that is in no passport
	orphan := sign(t, call{n: 51, by: pay}, ghost)
	second := sign(t, call{n: 52, by: pay})
	other := sign(t, call{n: 53, by: web}, second)
	join := sign(t, call{n: 54, by: web}, c[1], other)
	self := lineage.HashJWS("self")
	cyclic := sign(t, call{n: 55, by: web, edit: func(e *lineage.Entry) { e.Parents = []lineage.Hash{self} }})
	list := jwsOf
	for _, a := range []struct {
		name    string
		entries []string
		reason  lineage.Reason
		index   int
	}{
		{"root dropped", list(c[1:]...), lineage.BrokenLink, 0},
		{"middle dropped", list(c[0], c[1], c[3], c[4]), lineage.BrokenLink, 2},
		{"swapped", list(c[0], c[2], c[1], c[3], c[4]), lineage.BrokenLink, 1},
		{"reversed", list(c[4], c[3], c[2], c[1], c[0]), lineage.BrokenLink, 0},
		{"root last", list(c[1], c[2], c[0]), lineage.BrokenLink, 0},
		{"duplicated next", list(c[0], c[1], c[1], c[2]), lineage.Duplicate, 2},
		{"duplicated last", list(c[0], c[1], c[2], c[0]), lineage.Duplicate, 3},
		{"same id, other content", list(c[0], c[1], c[2], twin), lineage.Duplicate, 3},
		{"re-parented on an unknown entry", list(c[0], c[1], orphan), lineage.BrokenLink, 2},
		{"parent of itself, or later", list(c[0], cyclic), lineage.BrokenLink, 1},
		{"second root", list(c[0], c[1], second), lineage.BrokenLink, 2},
		{"second root in the middle", list(c[0], second, c[1], other), lineage.BrokenLink, 1},
		{"second root with a child", list(c[0], c[1], second, other), lineage.BrokenLink, 2},
		{"first root alone", list(second, c[0], c[1]), lineage.BrokenLink, 1},
		{"three roots, two joined", list(c[0], c[1], second, ghost, other, join), lineage.BrokenLink, 3},
	} {
		t.Run(a.name, func(t *testing.T) {
			refused(t, newVerifier(t, lineage.VerifierConfig{}), lineage.Unverified{Entries: a.entries}, a.reason, a.index)
			// With every good prefix of it in the cache, the answer is the same.
			v := newVerifier(t, lineage.VerifierConfig{})
			for n := range a.entries {
				_, _, _ = v.Verify(t.Context(), lineage.Unverified{Entries: a.entries[:n]})
				refused(t, v, lineage.Unverified{Entries: a.entries}, a.reason, a.index)
			}
			// And with good relatives in the cache.
			accepted(t, v, lineage.Unverified{Entries: list(c...)})
			accepted(t, v, lineage.Unverified{Entries: list(c[0], c[1], second, other, join)})
			refused(t, v, lineage.Unverified{Entries: a.entries}, a.reason, a.index)
		})
	}
}

// SPEC §4 step 2: a joined passport that is cut before the entry that joins it is not connected, although every
// entry of it was verified and the cache knows each position.
func TestUnconnectedPrefixOfJoinedPassport(t *testing.T) {
	a, b := sign(t, call{n: 0}), sign(t, call{n: 1, by: pay})
	c := sign(t, call{n: 2, by: agent}, a)
	join := sign(t, call{n: 3}, b, c)
	after := sign(t, call{n: 4}, join)
	all := jwsOf(a, b, c, join, after)
	v := newVerifier(t, lineage.VerifierConfig{})
	accepted(t, v, lineage.Unverified{Entries: all})
	for range 2 {
		_, report := accepted(t, v, lineage.Unverified{Entries: all[:4]})
		if report.Reused != 4 {
			t.Errorf("%d entries reused, want 4", report.Reused)
		}
		accepted(t, v, lineage.Unverified{Entries: all[:1]})
		refused(t, v, lineage.Unverified{Entries: all[:2]}, lineage.BrokenLink, 1)
		refused(t, v, lineage.Unverified{Entries: all[:3]}, lineage.BrokenLink, 1)
		late := sign(t, call{n: 9}, c) // extends one side only
		refused(t, v, lineage.Unverified{Entries: append(all[:3:3], late.JWS())}, lineage.BrokenLink, 1)
		refused(t, v, lineage.Unverified{Entries: append(all[:3:3], "x")}, lineage.Malformed, 3)
	}
}

// F-PA-04: the flat rule, as a strict option.
func TestLinear(t *testing.T) {
	c := chain(t, 4)
	fork := sign(t, call{n: 9}, c[1])
	join := sign(t, call{n: 10}, c[2], fork)
	jump := sign(t, call{n: 11}, c[0], c[3])
	second := sign(t, call{n: 12})
	v := newVerifier(t, lineage.VerifierConfig{Linear: true})
	for range 2 {
		accepted(t, v, lineage.Unverified{Entries: jwsOf(c...)})
		refused(t, v, lineage.Unverified{Entries: jwsOf(c[0], c[1], c[2], fork)}, lineage.BrokenLink, 3)
		refused(t, v, lineage.Unverified{Entries: jwsOf(c[0], c[1], c[2], fork, join)}, lineage.BrokenLink, 3)
		refused(t, v, lineage.Unverified{Entries: jwsOf(c[0], c[1], c[2], c[3], jump)}, lineage.BrokenLink, 4)
		refused(t, v, lineage.Unverified{Entries: jwsOf(c[0], second)}, lineage.BrokenLink, 1)
		refused(t, v, lineage.Unverified{Entries: jwsOf(c[1])}, lineage.BrokenLink, 0)
	}
}

// F-PA-07, SPEC §4 step 6: the leaves are what was announced. NF-SEC-05: time stamps decide nothing.
func TestTips(t *testing.T) {
	root := sign(t, call{n: 0})
	left, right := sign(t, call{n: 1, by: pay}, root), sign(t, call{n: 2, by: agent}, root)
	all := jwsOf(root, left, right)
	tips := []lineage.Hash{left.Hash(), right.Hash()}
	v := newVerifier(t, lineage.VerifierConfig{})
	for range 2 { // cold, then from the cache
		for _, good := range [][]lineage.Hash{tips, {tips[1], tips[0]}, nil} {
			_, report := accepted(t, v, lineage.Unverified{Entries: all, Tips: good})
			if report.TipsCompared != (good != nil) {
				t.Errorf("report says that tips were compared: %v", report.TipsCompared)
			}
		}
		added := append(slices.Clone(all), sign(t, call{n: 3}, left).JWS())
		for name, u := range map[string]lineage.Unverified{
			"tail cut":             {Entries: all[:2], Tips: tips},
			"all but root cut":     {Entries: all[:1], Tips: tips},
			"everything cut":       {Tips: tips},
			"empty list of none":   {Entries: []string{}, Tips: tips[:1]},
			"tail added":           {Entries: added, Tips: tips},
			"one announced of two": {Entries: all, Tips: tips[:1]},
			"one too many":         {Entries: all, Tips: append(slices.Clone(tips), root.Hash())},
			"named twice":          {Entries: all, Tips: []lineage.Hash{tips[0], tips[1], tips[1]}},
			"none announced":       {Entries: all, Tips: []lineage.Hash{}},
			"an inner entry":       {Entries: all, Tips: []lineage.Hash{root.Hash()}},
			"zero":                 {Entries: all, Tips: make([]lineage.Hash, 2)},
			"a thousand":           {Entries: all, Tips: make([]lineage.Hash, 1000)},
		} {
			t.Run(name, func(t *testing.T) { refused(t, v, u, lineage.TipMismatch, -1) })
		}
	}
	old := sign(t, call{n: 4, edit: func(e *lineage.Entry) { e.TimestampMS = 0 }}, left)
	accepted(t, v, lineage.Unverified{Entries: append(slices.Clone(all), old.JWS())})
}
