package policy_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kest-go/kest/policy"
)

// ancestors builds a lineage from words such as "llm<0,1 !": the source type, the positions of its parents, and ! for an
// entry in which a sanitizer removes taints (? for one that only names a sanitizer).
func ancestors(words ...string) []policy.Ancestor {
	out := make([]policy.Ancestor, len(words))
	for i, word := range words {
		word, mark, _ := strings.Cut(word, " ")
		source, parents, _ := strings.Cut(word, "<")
		out[i] = policy.Ancestor{Operation: fmt.Sprint("op", i), Principal: "p", SourceType: source, Outcome: "ok", Taints: []string{"web"}}
		for p := range strings.SplitSeq(parents, ",") {
			var n int
			if _, err := fmt.Sscan(p, &n); err == nil {
				out[i].Parents = append(out[i].Parents, n)
			}
		}
		if mark != "" {
			out[i].Sanitizer = "redact"
		}
		if mark == "!" {
			out[i].RemovedTaints = []string{"web"}
		}
	}
	return out
}

// TestUnsanitized: a source counts as long as one path from it to the call has no sanitizer on it (SPEC §7 lineage).
func TestUnsanitized(t *testing.T) {
	for name, test := range map[string]struct {
		words []string
		want  []string
	}{
		"root":                   {nil, nil},
		"chain":                  {[]string{"internet", "internal<0"}, []string{"internal", "internet"}},
		"sanitized":              {[]string{"internet", "internal<0 !", "system<1"}, []string{"internal", "system"}},
		"named only":             {[]string{"internet", "internal<0 ?", "system<1"}, []string{"internal", "internet", "system"}},
		"the sanitizer itself":   {[]string{"llm !"}, []string{"llm"}},
		"around the sanitizer":   {[]string{"internet", "internal<0 !", "system<0", "a<1,2"}, []string{"a", "internal", "internet", "system"}},
		"every path":             {[]string{"internet", "internal<0 !", "system<0 !", "a<1,2"}, []string{"a", "internal", "system"}},
		"two leaves, one clean":  {[]string{"internet", "internal<0 !", "system<0"}, []string{"internal", "internet", "system"}},
		"dirty after the filter": {[]string{"a", "b<0 !", "internet<1"}, []string{"b", "internet"}},
		"two roots":              {[]string{"internet", "llm", "a<0,1 !", "b<2"}, []string{"a", "b"}},
	} {
		got := policy.NewHistory(func() []policy.Ancestor { return ancestors(test.words...) }).Past().Unsanitized
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// TestPast: lists are sorted and unique, and about all ancestors; the ancestors themselves are the youngest.
func TestPast(t *testing.T) {
	const n = policy.MaxAncestors + 10
	h := policy.NewHistory(func() []policy.Ancestor {
		all := make([]policy.Ancestor, n)
		for i := range all {
			all[i] = policy.Ancestor{
				Operation: fmt.Sprintf("op%03d", n-i), Principal: "p", Outcome: "ok", SourceType: "internal",
				User: "u", Resource: fmt.Sprint("r", i%2), Taints: []string{fmt.Sprint("t", i%3)}, Labels: map[string]string{"level": fmt.Sprint(i % 2)},
			}
			if i > 0 {
				all[i].Parents = []int{i - 1}
			}
		}
		return all
	})
	p := h.Past()
	if len(p.Operations) != n || p.Operations[0] != "op001" || len(p.Steps) != n || len(p.Users) != n {
		t.Errorf("%d operations from %q, %d steps, %d users", len(p.Operations), p.Operations[0], len(p.Steps), len(p.Users))
	}
	if !slices.Equal(p.Resources, []string{"r0", "r1"}) || !slices.Equal(p.Taints, []string{"t0", "t1", "t2"}) ||
		!slices.Equal(p.Labels, []policy.Label{{Name: "level", Value: "0"}, {Name: "level", Value: "1"}}) {
		t.Errorf("resources %q, taints %q, labels %v", p.Resources, p.Taints, p.Labels)
	}
	first, last := p.Ancestors[0], p.Ancestors[len(p.Ancestors)-1]
	if len(p.Ancestors) != policy.MaxAncestors || p.Omitted != 10 || last.Operation != "op001" || first.Operation != "op128" {
		t.Errorf("%d ancestors, %d omitted, %s to %s", len(p.Ancestors), p.Omitted, first.Operation, last.Operation)
	}
	if first.Parents != nil || !slices.Equal(p.Ancestors[1].Parents, []int{0}) {
		t.Errorf("parents %v and %v; positions must be those in the list", first.Parents, p.Ancestors[1].Parents)
	}
}

// TestHistoryIsReadOnce: by whichever policy asks first, and not at all when none asks.
func TestHistoryIsReadOnce(t *testing.T) {
	var reads int
	h := policy.NewHistory(func() []policy.Ancestor { reads++; return ancestors("internet") })
	if reads != 0 {
		t.Error("read before anybody asked")
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if len(h.Past().Ancestors) != 1 {
				t.Error("another past")
			}
		})
	}
	wg.Wait()
	if reads != 1 {
		t.Errorf("read %d times", reads)
	}
	var none *policy.History
	if p := none.Past(); !reflect.DeepEqual(p, new(policy.Past)) {
		t.Errorf("a root has the past %+v", p)
	}
}

// TestPastDocument: what engines see of ancestors, names and nulls included.
func TestPastDocument(t *testing.T) {
	in := policy.Input{Lineage: policy.Lineage{History: policy.NewHistory(func() []policy.Ancestor {
		all := ancestors("internet", "internal<0 !")
		all[0].User, all[0].Resource, all[0].Labels = "alice", "order/1", map[string]string{"level": ""}
		all[0].Outcome = policy.OutcomeUnknown
		return all
	})}}
	got := in.Document()["lineage"].(map[string]any)
	first, second := got["ancestors"].([]any)[0].(map[string]any), got["ancestors"].([]any)[1].(map[string]any)
	if first["user"] != "alice" || second["user"] != nil || first["resource"] != "order/1" || second["sanitizer"] != "redact" ||
		first["outcome"] != "unknown" || fmt.Sprint(second["parents"]) != "[0]" || fmt.Sprint(first["labels"]) != "map[level:]" {
		t.Errorf("ancestors %v", got["ancestors"])
	}
	for name, want := range map[string]string{
		"operations": "[op0 op1]", "users": "[map[operation:op0 user:alice]]", "resources": "[order/1]", "acts": "[map[operation:op0 outcome:unknown principal:p resource:order/1]]", "unsanitized_sources": "[internal]",
		"labels": "[map[name:level value:]]", "ancestors_omitted": "0",
		"steps": "[map[operation:op0 outcome:unknown principal:p] map[operation:op1 outcome:ok principal:p]]",
	} {
		if fmt.Sprint(got[name]) != want {
			t.Errorf("%s: %v, want %s", name, got[name], want)
		}
	}
}

// TestForm: an engine's form of the past is made once for each key, and again for a root, which keeps nothing.
func TestForm(t *testing.T) {
	type key string
	h := policy.NewHistory(func() []policy.Ancestor { return ancestors("internet") })
	made := 0
	form := func(h *policy.History, k any) any {
		return h.Form(k, func(p *policy.Past) any { made++; return len(p.Operations) + made })
	}
	for i, k := range []any{key("a"), key("a"), "a", key("b"), "a"} {
		if got, want := form(h, k), []int{2, 2, 3, 4, 3}[i]; got != want {
			t.Errorf("form %d of %v is %v, want %d", i, k, got, want)
		}
	}
	for i := range 2 {
		if got := form(nil, key("a")); got != 4+i {
			t.Errorf("form %v of a root, want %d", got, 4+i)
		}
	}
	var wg sync.WaitGroup
	got := make([]any, 8)
	for i := range got {
		wg.Go(func() { got[i] = h.Form(key("c"), func(*policy.Past) any { return new(int) }) })
	}
	wg.Wait()
	for _, g := range got {
		if g != got[0] {
			t.Error("two forms of one key")
		}
	}
}

// TestHistoryThatCannotBeRead: whoever recovers from the panic of one reading does not get an empty past from the next.
func TestHistoryThatCannotBeRead(t *testing.T) {
	h := policy.NewHistory(func() []policy.Ancestor { panic("gone") })
	for range 2 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("an empty past was returned")
				}
			}()
			h.Past()
		}()
	}
}
