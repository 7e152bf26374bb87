package decisioncache_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/decisioncache"
	"github.com/kest-go/kest/policy/policytest"
)

// batcher notes which policies were asked about at once.
type batcher struct {
	*rules
	asked [][]string
	short bool // leave the last answer out
}

func (b *batcher) EvaluateAll(ctx context.Context, names []string, in *policy.Input) []policy.Answer {
	b.asked = append(b.asked, names)
	var answers []policy.Answer
	for _, name := range names {
		d, err := b.Evaluate(ctx, name, in)
		answers = append(answers, policy.Answer{Decision: d, Err: err})
	}
	if b.short {
		return answers[1:]
	}
	return answers
}

// TestBatch: the engine is asked at once about what is not known, and errors and old answers are not.
func TestBatch(t *testing.T) {
	b := &batcher{rules: newRules("r1")}
	e, ok := open(t, decisioncache.Config{Engine: b, Ignore: perCall}).(policy.Batcher)
	if !ok {
		t.Fatal("the cache around a batcher is none")
	}
	in := policytest.Input(40)
	all := func(want []string, names ...string) {
		t.Helper()
		b.asked = nil
		for i, a := range e.EvaluateAll(t.Context(), names, in) {
			d, err := b.Evaluate(t.Context(), names[i], in)
			if a.Decision != d || !errors.Is(a.Err, err) {
				t.Errorf("%s: %+v; want %+v, %v", names[i], a, d, err)
			}
		}
		if len(want) == 0 && len(b.asked) > 0 || len(want) > 0 && (len(b.asked) != 1 || !slices.Equal(b.asked[0], want)) {
			t.Errorf("asked about %q; want %q", b.asked, want)
		}
	}
	all([]string{"a", policytest.Missing, "b"}, "a", policytest.Missing, "b")
	all([]string{policytest.Missing, "c"}, "b", policytest.Missing, "c", "a")
	all(nil, "c", "b", "a")
	ask(t, e, b.rules, "a", in)
	b.load("r2")
	all([]string{"a", "b"}, "a", "b")
	b.short = true
	for _, a := range e.EvaluateAll(t.Context(), []string{"a", "x", "y"}, in)[1:] {
		if !errors.Is(a.Err, policy.ErrIndefinite) || a.Allow {
			t.Errorf("one answer to two questions: %+v", a)
		}
	}
}

// TestOptional: the cache is a checker or a batcher when the engine is, and not otherwise.
func TestOptional(t *testing.T) {
	f, b := &full{Engine: policytest.Allow()}, &batcher{rules: newRules("r1")}
	for _, test := range []struct {
		engine          policy.Engine
		checks, batches bool
	}{
		{b.rules, false, false}, {f, true, false}, {b, false, true}, {struct {
			*batcher
			policy.Checker
		}{b, f}, true, true},
	} {
		e := open(t, decisioncache.Config{Engine: test.engine})
		_, checks := e.(policy.Checker)
		_, batches := e.(policy.Batcher)
		if checks != test.checks || batches != test.batches {
			t.Errorf("%T: checker %t, batcher %t", test.engine, checks, batches)
		}
	}
}
