package policy_test

import (
	"slices"
	"testing"

	"github.com/kest-go/kest/policy"
)

// TestReasons: whom a person has to ask, for each kind of answer.
func TestReasons(t *testing.T) {
	t.Parallel()
	rule := func(id string, effect policy.Effect, matched bool) policy.Rule {
		return policy.Rule{ID: id, Effect: effect, Matched: matched}
	}
	faulty := rule("faulty", policy.Permits, false)
	faulty.Conditions = []policy.Condition{{Result: policy.Faults}}
	fallback := rule("default", policy.Forbids, true)
	fallback.Default = true
	for name, c := range map[string]struct {
		allow bool
		rules []policy.Rule
		want  []string
	}{
		"allow": {true, []policy.Rule{rule("a", policy.Permits, true), rule("b", policy.Permits, false), rule("c", policy.Forbids, false),
			rule("d", policy.Computes, true)}, []string{"a", "d"}},
		"forbidden":      {false, []policy.Rule{rule("a", policy.Permits, true), rule("b", policy.Forbids, true), fallback}, []string{"b"}},
		"not permitted":  {false, []policy.Rule{fallback, rule("a", policy.Permits, false), rule("b", policy.Forbids, false)}, []string{"a"}},
		"computed false": {false, []policy.Rule{rule("a", policy.Computes, true), rule("b", policy.Computes, false)}, []string{"a", "b"}},
		"fault":          {false, []policy.Rule{rule("a", policy.Forbids, true), faulty}, []string{"faulty"}},
		"fault beside allow": {true, []policy.Rule{rule("a", policy.Permits, true), faulty},
			[]string{"faulty"}},
		"nothing": {false, nil, nil},
	} {
		x := policy.Explanation{Decision: policy.Decision{Allow: c.allow}, Rules: c.rules}
		var got []string
		for _, r := range x.Reasons() {
			got = append(got, r.ID)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestKnownHistory: what was read from a document is not computed again.
func TestKnownHistory(t *testing.T) {
	t.Parallel()
	past := policy.Past{Operations: []string{"a"}, Omitted: 3}
	if got := policy.KnownHistory(past).Past(); got.Omitted != 3 || !slices.Equal(got.Operations, past.Operations) {
		t.Errorf("%+v", got)
	}
}
