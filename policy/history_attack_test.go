package policy_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest/policy"
)

// reaches follows every path from an ancestor to the call, one by one, and reports whether there is one on which no
// sanitizer removed a taint that it got there.
func reaches(all []policy.Ancestor, from int) bool {
	leaf := true
	for i := range all {
		if !slices.Contains(all[i].Parents, from) {
			continue
		}
		leaf = false
		removes := func(taint string) bool { return slices.Contains(all[from].Taints, taint) }
		if (all[i].Sanitizer == "" || !slices.ContainsFunc(all[i].RemovedTaints, removes)) && reaches(all, i) {
			return true
		}
	}
	return leaf // the call itself takes what has no child as its parent
}

// TestUnsanitizedOnAnyGraph holds the one pass over the ancestors to a walk over all paths. Each ancestor has a source
// type of its own, so that none hides another.
func TestUnsanitizedOnAnyGraph(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		all := make([]policy.Ancestor, random.IntN(10))
		var want []string
		for i := range all {
			a := &all[i]
			a.SourceType = fmt.Sprintf("s%d", i)
			for p := range i {
				if random.IntN(3) == 0 {
					a.Parents = append(a.Parents, p)
				}
			}
			switch random.IntN(4) {
			case 0:
				a.Sanitizer, a.RemovedTaints = "strip", []string{"web"}
			case 1:
				a.Sanitizer = "strip"
			case 2:
				a.RemovedTaints = []string{"web"} // by an override
			}
			if random.IntN(2) == 0 {
				a.Taints = []string{"pii", "web"} // a sanitizer removes nothing of a parent that has none
			}
		}
		for i := range all {
			if reaches(all, i) {
				want = append(want, all[i].SourceType)
			}
		}
		got := policy.NewHistory(func() []policy.Ancestor { return slices.Clone(all) }).Past().Unsanitized
		if !slices.Equal(got, want) {
			t.Fatalf("%+v\n got %q\nwant %q", all, got, want)
		}
	}
}

// TestUnsanitizedBeyondTheList: what the list of ancestors leaves out still counts.
func TestUnsanitizedBeyondTheList(t *testing.T) {
	all := make([]policy.Ancestor, 8*policy.MaxAncestors)
	for i := range all {
		all[i].SourceType = "internal"
		if i > 0 {
			all[i].Parents = []int{i - 1}
		}
	}
	all[0] = policy.Ancestor{SourceType: "internet", Operation: "fetch", User: "mallory", Resource: "page", Taints: []string{"web"}}
	in := policy.Input{Lineage: policy.Lineage{History: policy.NewHistory(func() []policy.Ancestor { return all })}}
	got := in.Document()["lineage"].(map[string]any)
	for name, want := range map[string]string{
		"unsanitized_sources": "internet", "operations": "fetch", "users": "mallory", "resources": "page", "taints": "web",
		"steps": "fetch", "ancestors_omitted": fmt.Sprint(len(all) - policy.MaxAncestors),
	} {
		if !strings.Contains(fmt.Sprint(got[name]), want) {
			t.Errorf("%s is %v, without %s", name, got[name], want)
		}
	}
	if n := len(got["ancestors"].([]any)); n != policy.MaxAncestors {
		t.Errorf("%d ancestors", n)
	}
}

// TestKnownHistoryAsGiven: what somebody read from a document is given as it is, nothing is computed anew.
func TestKnownHistoryAsGiven(t *testing.T) {
	past := policy.Past{Unsanitized: []string{"llm"}, Omitted: 7, Taints: []string{"web"}, Ancestors: ancestors("internet")}
	h := policy.KnownHistory(past)
	if got := h.Past(); !reflect.DeepEqual(*got, past) || got != h.Past() {
		t.Errorf("got %+v", got)
	}
}
