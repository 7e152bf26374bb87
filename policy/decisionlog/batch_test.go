package decisionlog_test

import (
	"context"
	"slices"
	"testing"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/decisionlog"
	"github.com/kest-go/kest/policy/policytest"
)

// batcher is an engine that answers several policies at once, from a function.
type batcher struct {
	policy.Engine
	all func(names []string) []policy.Answer
}

func (b batcher) EvaluateAll(_ context.Context, names []string, _ *policy.Input) []policy.Answer {
	return b.all(names)
}

// TestBatch: one record for each policy, also when the answers do not fit or the engine panics.
func TestBatch(t *testing.T) {
	names := []string{policytest.AllowTrusted, policytest.DenyAll, policytest.Missing}
	fit := []policy.Answer{{Decision: policy.Decision{Allow: true}}, {}, {Err: policy.ErrUnknownPolicy}}
	for name, test := range map[string]struct {
		all  func([]string) []policy.Answer
		want []string
	}{
		"fit":   {func([]string) []policy.Answer { return slices.Clone(fit) }, []string{"allow", "deny", "error"}},
		"fewer": {func([]string) []policy.Answer { return fit[:1] }, []string{"error", "error", "error"}},
		"panic": {func([]string) []policy.Answer { panic("engine") }, []string{"error", "error", "error"}},
	} {
		e, o := open(t, decisionlog.Config{Engine: batcher{policytest.Func(answer), test.all}})
		var answers []policy.Answer
		func() {
			defer func() {
				if recovered := recover() != nil; recovered != (name == "panic") {
					t.Errorf("%s: panic %t", name, recovered)
				}
			}()
			answers = e.(policy.Batcher).EvaluateAll(t.Context(), names, policytest.Input(40))
		}()
		if name == "fit" && !slices.Equal(answers, fit) {
			t.Errorf("the answers became %+v", answers)
		}
		var got []string
		for i, r := range o.records(t) {
			got = append(got, r["result"].(string))
			if r["policy"] != names[i] || r["tier"] != "function" || r["duration"] == nil {
				t.Errorf("%s: record %v", name, r)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: results %q", name, got)
		}
	}
}

// TestOptional: the log is a checker or a batcher when the engine is, and not otherwise.
func TestOptional(t *testing.T) {
	plain := policytest.Func(answer)
	for _, test := range []struct {
		engine          policy.Engine
		checks, batches bool
	}{
		{plain, false, false}, {knows{plain}, true, false}, {batcher{Engine: plain}, false, true}, {struct {
			batcher
			policy.Checker
		}{batcher{Engine: plain}, knows{plain}}, true, true},
	} {
		e, _ := open(t, decisionlog.Config{Engine: test.engine})
		_, checks := e.(policy.Checker)
		_, batches := e.(policy.Batcher)
		if checks != test.checks || batches != test.batches {
			t.Errorf("%T: checker %t, batcher %t", test.engine, checks, batches)
		}
	}
}

// knows is a checker of all names.
type knows struct{ policy.Engine }

func (knows) Check(string) error { return nil }
