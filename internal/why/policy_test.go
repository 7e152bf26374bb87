package why_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/internal/why"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
)

// engine decides by a function.
type engine func(name string, in *policy.Input) (bool, error)

func (e engine) Evaluate(_ context.Context, name string, in *policy.Input) (policy.Decision, error) {
	allow, err := e(name, in)
	return policy.Decision{Allow: allow, Reason: "because"}, err
}

func atLeast(score int) engine {
	return func(_ string, in *policy.Input) (bool, error) { return in.TrustScore >= score, nil }
}

func sets(w *why.Without) string {
	if w == nil {
		return "nil"
	}
	all := make([]string, len(w.Sets))
	for i, set := range w.Sets {
		all[i] = operations(set)
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// TestInput: policies are asked about what they were shown in the call, as far as records say it.
func TestInput(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 12))
	for range 20 {
		l := randomLab(t, random, 10)
		e := l.entry("denied", call{from: "user_input", add: []string{"x"}, parents: "e9", labels: map[string]string{
			"app": "1", lineage.LabelResourceID: "order", lineage.LabelIdentity: `{"user":"alice"}`}})
		want := kest.InputOf(e, l.passport(), policy.Function)
		var got policy.Input
		c := why.OfDenial(lineage.Denial{Entry: e, Policy: "p", Tier: "function"}, l.records, why.Rules{})
		c.Verdicts(t.Context(), engine(func(_ string, in *policy.Input) (bool, error) { got = *in; return true, nil }))
		if a, b := text(t, got), text(t, want); a != b {
			t.Fatalf("got\n%s\nwant\n%s", a, b)
		}
	}
}

func text(t *testing.T, in policy.Input) string {
	t.Helper()
	out, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestWithout: the smallest sets of ancestors without which the policy allows.
func TestWithout(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.sign("web", call{from: "internet"})
	l.sign("takes", call{parents: "web"})
	l.sign("other", call{from: "user_input", parents: "takes"})
	got := l.denied("pay", "p", call{parents: "takes"}).Verdicts(t.Context(), atLeast(40))[0]
	if got.Allow || sets(got.Without) != "web" || !got.Without.Alone || got.Without.GaveUp != "" || got.Without.Ancestors != 2 || got.Reason != "because" {
		t.Errorf("%+v %+v", got, got.Without)
	}
	// 10 × 40 / 100 = 4; without web it is 40, without other it is 10.
	got = l.denied("pay", "p", call{parents: "other"}).Verdicts(t.Context(), atLeast(40))[0]
	if sets(got.Without) != "web" {
		t.Errorf("%s", sets(got.Without))
	}
	got = l.denied("pay", "p", call{parents: "other"}).Verdicts(t.Context(), atLeast(100))[0]
	if sets(got.Without) != "other web" {
		t.Errorf("%s", sets(got.Without))
	}
	// Two roots of the internet: neither alone is enough.
	l = newLab(t)
	l.sign("left", call{from: "internet"})
	l.sign("right", call{from: "internet"})
	got = l.denied("pay", "p", call{parents: "left right"}).Verdicts(t.Context(), atLeast(40))[0]
	if sets(got.Without) != "left right" && sets(got.Without) != "right left" || got.Without.Evaluations != 4 {
		t.Errorf("%+v", got.Without)
	}
	// A taint, on a way around the call that removes it.
	l = newLab(t)
	l.sign("model", call{add: []string{"llm"}})
	l.sign("check", call{remove: []string{"llm"}, sanitizer: "s", parents: "model"})
	l.sign("leak", call{parents: "model"})
	clean := engine(func(_ string, in *policy.Input) (bool, error) { return !slices.Contains(in.Subject.Taints, "llm"), nil })
	got = l.denied("pay", "p", call{parents: "check leak"}).Verdicts(t.Context(), clean)[0]
	if sets(got.Without) != "model" { // leak is absent, but then its parent is the parent of the call
		t.Errorf("%s", sets(got.Without))
	}
	// An override holds for descendants whatever comes before it.
	l.sign("web", call{from: "internet"})
	l.sign("set", call{override: "20", parents: "web"})
	got = l.denied("pay", "p", call{parents: "set"}).Verdicts(t.Context(), atLeast(40))[0]
	if sets(got.Without) != "set web" {
		t.Errorf("%s", sets(got.Without))
	}
	// Nothing helps, because it is not about ancestors.
	got = l.denied("pay", "p", call{parents: "check"}).Verdicts(t.Context(), engine(func(string, *policy.Input) (bool, error) { return false, nil }))[0]
	if len(got.Without.Sets) != 0 || got.Without.Alone || got.Without.GaveUp != "" {
		t.Errorf("%+v", got.Without)
	}
	// A root that is denied has no ancestors that could be absent.
	if got = l.denied("pay", "p", call{from: "internet"}).Verdicts(t.Context(), atLeast(40))[0]; got.Without != nil {
		t.Errorf("%+v", got.Without)
	}
}

// TestAbsent: what the input says when an ancestor is absent is what it says of a lineage that never had it.
func TestAbsent(t *testing.T) {
	t.Parallel()
	build := func(middle bool) (*lab, string) {
		l, parents := newLab(t), "root side"
		l.sign("root", call{from: "verified_rag", add: []string{"a"}})
		l.sign("side", call{from: "third_party_api", principal: "spiffe://td/side"})
		if middle {
			l.sign("middle", call{from: "llm", add: []string{"b"}, principal: "spiffe://td/model", parents: parents})
			parents = "middle"
		}
		l.sign("child", call{from: "user_input", parents: parents})
		return l, "child"
	}
	input := func(l *lab, parent string, absent string) policy.Input {
		var inputs []policy.Input
		l.denied("pay", "p", call{parents: parent}).Verdicts(t.Context(), engine(func(_ string, in *policy.Input) (bool, error) {
			inputs = append(inputs, *in)
			return false, nil
		}))
		for _, in := range inputs {
			if absent == "" || !slices.Contains(in.Lineage.History.Past().Operations, absent) && in.Lineage.Length == 3 {
				return in
			}
		}
		t.Fatalf("%s was never absent", absent)
		return policy.Input{}
	}
	with, parent := build(true)
	without, _ := build(false)
	got, want := input(with, parent, "middle"), input(without, parent, "")
	if got.TrustScore != 24 || want.TrustScore != 24 {
		t.Errorf("trust %d, want %d", got.TrustScore, want.TrustScore)
	}
	for _, in := range []*policy.Input{&got, &want} { // ids and hashes differ
		in.Environment.EntryID, in.Environment.ParentHashes = "", nil
	}
	if a, b := text(t, got), text(t, want); a != b {
		t.Errorf("got\n%s\nwant\n%s", a, b)
	}
}

// TestBounds: the search is bounded, and says what it did not try.
func TestBounds(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var parents []string
	for i := range 100 {
		from := "internal"
		if i < 10 {
			from = "internet"
		}
		parents = append(parents, fmt.Sprintf("e%d", i))
		l.sign(parents[i], call{from: from})
	}
	denied := l.denied("pay", "p", call{parents: strings.Join(parents, " ")})
	got := denied.Verdicts(t.Context(), atLeast(40))[0].Without
	if got.Candidates != why.MaxCandidates || got.Ancestors != 100 || got.GaveUp == "" || len(got.Sets) != 0 || !got.Alone || got.Evaluations > why.MaxEvaluations {
		t.Errorf("%+v", got)
	}
	if got.Evaluations != why.MaxEvaluations { // 1 + 64 + 64·63/2 = 2081
		t.Errorf("%d evaluations", got.Evaluations)
	}

	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	got = denied.Verdicts(ctx, engine(func(string, *policy.Input) (bool, error) {
		if n++; n == 5 {
			cancel()
		}
		return false, ctx.Err()
	}))[0].Without
	if n != 5 || !strings.Contains(got.GaveUp, "too long") {
		t.Errorf("%d questions, %+v", n, got)
	}

	// Those that brought something are tried first.
	l = newLab(t)
	l.sign("bad", call{from: "internet"})
	l.sign("e0", call{parents: "bad"})
	for i := 1; i < 200; i++ {
		l.sign(fmt.Sprintf("e%d", i), call{parents: fmt.Sprintf("e%d", i-1)})
	}
	got = l.denied("pay", "p", call{parents: "e199"}).Verdicts(t.Context(), atLeast(40))[0].Without
	if sets(got) != "bad" || got.Evaluations != 65 {
		t.Errorf("%+v", got)
	}
}

// TestVerdicts: of an entry that was signed, all its policies are asked; deviations and errors are told apart.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.sign("e", call{policies: []string{"good", "lifted", "broken", "unknown"},
		deviations: []lineage.Deviation{{Policy: "lifted", Tier: "function"}}})
	got := l.of("e").Verdicts(t.Context(), engine(func(name string, in *policy.Input) (bool, error) {
		switch name {
		case "broken":
			return true, fmt.Errorf("%w: of a fault", policy.ErrIndefinite)
		case "unknown":
			return true, fmt.Errorf("%q: %w", name, policy.ErrUnknownPolicy)
		}
		return name == "good" && len(in.Environment.PolicyNames) == 4, nil
	}))
	if len(got) != 4 || !got[0].Allow || !got[1].Lifted || got[1].Allow || got[2].Allow || got[2].Error == "" || !got[3].Unknown || got[3].Allow {
		t.Errorf("%+v", got)
	}
}

// TestRevision: it is told when the policies that are asked are not those that decided.
func TestRevision(t *testing.T) {
	t.Parallel()
	for signed, other := range map[string]bool{"": false, "r1": true, "r1,r2": false, "r2": false, "r22": true} {
		l := newLab(t)
		l.sign("e", call{policies: []string{"p"}, labels: map[string]string{lineage.LabelPolicyRevision: signed}})
		if got := l.of("e").Verdicts(t.Context(), revised("r2"))[0]; got.Revision != "r2" || got.OtherRevision != other {
			t.Errorf("%q: %+v", signed, got)
		}
	}
	l := newLab(t)
	l.sign("e", call{policies: []string{"p"}, labels: map[string]string{lineage.LabelPolicyRevision: "r1"}})
	if got := l.of("e").Verdicts(t.Context(), atLeast(0))[0]; got.OtherRevision {
		t.Errorf("%+v", got)
	}
	// A guard signs the first 40 bytes of what engines in process say, which is longer.
	long := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	for signed, other := range map[string]bool{long[:40]: false, "r1," + long[:40]: false, long[:39]: true, long[:39] + "x": true} {
		l := newLab(t)
		l.sign("e", call{policies: []string{"p"}, labels: map[string]string{lineage.LabelPolicyRevision: signed}})
		if got := l.of("e").Verdicts(t.Context(), revised(long))[0]; got.OtherRevision != other {
			t.Errorf("%q: %+v", signed, got)
		}
	}
}

// revised allows, under policies of this revision.
type revised string

func (r revised) Evaluate(context.Context, string, *policy.Input) (policy.Decision, error) {
	return policy.Decision{Allow: true, Revision: string(r)}, nil
}

// explainer is an engine that gives reasons.
type explainer struct{ engine }

func (e explainer) Explain(ctx context.Context, name string, in *policy.Input) (policy.Explanation, error) {
	d, err := e.Evaluate(ctx, name, in)
	return policy.Explanation{Policy: name, Decision: d, Rules: []policy.Rule{{ID: "allow", File: "p.rego", Line: 7}}}, err
}

func TestExplanation(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.sign("web", call{from: "internet"})
	c := l.denied("pay", "p", call{parents: "web", unknownParents: 1})
	e := c.Explain(t.Context(), explainer{atLeast(40)})
	if e.Denied.Policy != "p" || e.Ancestors != 1 || len(e.Missing) != 1 || e.Trust.Complete || e.Policies[0].Explanation.Rules[0].Line != 7 || e.Policies[0].Without != nil {
		t.Errorf("%+v", e)
	}
	out, err := json.Marshal(e)
	if err != nil || strings.Contains(string(out), "null") || strings.Contains(string(out), `"entry":{"entry_id":"01900000-0000-7000-8000-000000000001","hash"`) {
		t.Errorf("%v, %s", err, out)
	}
	// A call whose parents were not found is no root.
	orphan := l.denied("pay", "p", call{unknownParents: 1})
	orphan.Verdicts(t.Context(), engine(func(_ string, in *policy.Input) (bool, error) {
		if in.Environment.IsRoot || len(in.Environment.ParentHashes) != 1 {
			t.Errorf("%+v", in.Environment)
		}
		return true, nil
	}))
	if e := c.Explain(t.Context(), nil); e.Policies == nil || len(e.Policies) != 0 {
		t.Errorf("%+v", e.Policies)
	}
}

// TestLineages: what has to be verified, part by part, and what of it verifies.
func TestLineages(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.sign("a", call{})
	l.sign("b", call{parents: "a"})
	l.sign("unrelated", call{})
	l.sign("c", call{})
	l.sign("d", call{parents: "b"})
	parts := l.denied("pay", "p", call{parents: "b c"}).Lineages()
	if len(parts) != 2 || len(parts[0].Entries) != 2 || len(parts[1].Entries) != 1 || len(parts[0].Tips) != 1 || parts[0].Tips[0] != l.entries["b"].Hash {
		t.Errorf("%+v", parts)
	}
	if parts = l.of("d").Lineages(); len(parts) != 1 || len(parts[0].Entries) != 3 || parts[0].Entries[2] != l.entries["d"].JWS {
		t.Errorf("%+v", parts)
	}
	if parts = l.denied("pay", "p", call{}).Lineages(); len(parts) != 0 {
		t.Errorf("%+v", parts)
	}
}

// TestAdd: records are read once, and only those that are entries.
func TestAdd(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	r := l.sign("a", call{})
	if again, err := l.records.Add(r.JWS, lineage.Limits{}); err != nil || again != r || len(l.records) != 1 {
		t.Errorf("%v, %d records", err, len(l.records))
	}
	for _, bad := range []string{"", "a.b.c", r.JWS + "A", strings.Replace(r.JWS, ".", "..", 1)} {
		if _, err := l.records.Add(bad, lineage.Limits{}); err == nil || errors.Is(err, lineage.ErrUnverified) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

// TestOrder: ancestors that were found out of order are put into one in which parents come first.
func TestOrder(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.sign("a", call{from: "internet"})
	l.sign("b", call{parents: "a"})
	shuffled := why.Records{}
	for _, name := range []string{"b", "a"} {
		if _, err := shuffled.Add(l.entries[name].JWS, lineage.Limits{}); err != nil {
			t.Fatal(err)
		}
	}
	e := l.entry("c", call{parents: "b"})
	c := why.OfDenial(lineage.Denial{Entry: e, Policy: "p", Tier: "function"}, shuffled, why.Rules{})
	var got []string
	c.Verdicts(t.Context(), engine(func(_ string, in *policy.Input) (bool, error) {
		for _, a := range in.Lineage.History.Past().Ancestors {
			got = append(got, a.Operation)
		}
		return true, nil
	}))
	if !slices.Equal(got, []string{"a", "b"}) || operations(c.Trust().Causes) != "a" {
		t.Errorf("%q", got)
	}
}

// TestLarge: ten thousand entries cost what ten thousand entries cost.
func TestLarge(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.fake = true
	l.sign("e0", call{from: "internet", add: []string{"a", "b"}})
	for i := 1; i < 10_000; i++ {
		l.sign(fmt.Sprintf("e%d", i), call{parents: fmt.Sprintf("e%d", i-1)})
	}
	start := time.Now()
	e := l.of("e9999").Explain(t.Context(), nil)
	if e.Ancestors != 9999 || operations(e.Trust.Causes) != "e0" || len(e.Trust.Steps) != 257 || e.Trust.Omitted != 9743 || e.Taints[1].Sources[0].Between != 9984 {
		t.Errorf("%d ancestors, causes %s, %d steps and %d", e.Ancestors, operations(e.Trust.Causes), len(e.Trust.Steps), e.Trust.Omitted)
	}
	if took := time.Since(start); took > time.Minute { // the machine may be busy
		t.Errorf("took %v", took)
	}
}
