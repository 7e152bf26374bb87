package kest_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// batcher answers several policies at once, and notes which it was asked together.
type batcher struct {
	*policytest.Mock
	asked  []string // "tier: names"
	answer func(ctx context.Context, name string, in *policy.Input) policy.Answer
	change func([]policy.Answer) []policy.Answer
}

func newBatcher(answer func(context.Context, string, *policy.Input) policy.Answer) *batcher {
	return &batcher{answer: answer, Mock: policytest.Func(func(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
		a := answer(ctx, name, in)
		return a.Decision, a.Err
	})}
}

func (b *batcher) EvaluateAll(ctx context.Context, names []string, in *policy.Input) []policy.Answer {
	b.asked = append(b.asked, fmt.Sprintf("%s: %s of %s", in.Environment.PolicyTier, strings.Join(names, " "), strings.Join(in.Environment.PolicyNames, " ")))
	answers := make([]policy.Answer, len(names))
	for i, name := range names {
		answers[i] = b.answer(ctx, name, in)
	}
	if b.change != nil {
		return b.change(answers)
	}
	return answers
}

// allowBut allows all but the policies named, whose answers are given.
func allowBut(others map[string]policy.Answer) func(context.Context, string, *policy.Input) policy.Answer {
	return func(_ context.Context, name string, _ *policy.Input) policy.Answer {
		if a, ok := others[name]; ok {
			return a
		}
		return policy.Answer{Decision: policy.Decision{Allow: true}}
	}
}

func inTiers(c *kest.Config) {
	c.Enterprise, c.Platform, c.Application = []string{"e1", "e2"}, []string{"p1"}, []string{"a1", "a2", "a3"}
}

// TestBatchByTier: one question for each tier with several policies, which sees its own tier, without what a deviation
// lifts.
func TestBatchByTier(t *testing.T) {
	b := newBatcher(allowBut(nil))
	r := newRig(t, inTiers, func(c *kest.Config) {
		c.Engine = b
		c.Deviations = []policy.Deviation{{Policy: "a2", Tier: policy.Application, Scope: "*"}, {Policy: "e1", Tier: policy.Enterprise, Scope: "*"}}
	})
	if err := r.call(t.Context(), kest.Policy("f1")); err != nil { // beside the rig's own
		t.Fatal(err)
	}
	want := []string{"application: a1 a3 of a1 a2 a3", "function: kest/allow_trusted f1 of kest/allow_trusted f1"}
	if !slices.Equal(b.asked, want) || !slices.Equal(b.Names(), []string{"e2", "p1"}) { // the one that is left needs no batch
		t.Errorf("asked at once %q, alone %q", b.asked, b.Names())
	}
}

// TestBatchDecidesAsOneByOne: whatever each policy answers, the call ends as it would without batches: the first in
// order that does not allow is the one that is reported, with its class.
func TestBatchDecidesAsOneByOne(t *testing.T) {
	deny, unknown := policy.Answer{Decision: policy.Decision{Reason: "no"}}, policy.Answer{Err: policy.ErrUnknownPolicy}
	contradiction := policy.Answer{Decision: policy.Decision{Allow: true}, Err: policy.ErrIndefinite}
	for name, answers := range map[string]map[string]policy.Answer{
		"all allow": nil, "first": {"e1": deny}, "second": {"e2": unknown}, "first of two": {"e1": unknown, "e2": deny}, "single": {"p1": deny, "a1": deny},
		"last of a tier": {"a3": deny, "f1": deny}, "function": {"f1": contradiction}, "unavailable": {"a2": {Err: policy.ErrUnavailable}}, "no class": {"a2": {Err: errors.New("x")}},
	} {
		end := func(e policy.Engine) error {
			r := newRig(t, inTiers, func(c *kest.Config) { c.Engine = e })
			return r.call(t.Context(), kest.Policy("f1"))
		}
		b := newBatcher(allowBut(answers))
		got, want := end(b), end(b.Mock)
		if len(answers) == 0 {
			if got != nil || want != nil {
				t.Errorf("%s: %v, %v", name, got, want)
			}
			continue
		}
		g, w := wantDenied(t, got), wantDenied(t, want)
		if g.Policy != w.Policy || g.Tier != w.Tier || g.Reason != w.Reason || g.Err != w.Err {
			t.Errorf("%s: %v; one by one %v", name, got, want)
		}
	}
}

// TestBatchAnswersMustFit: nobody knows which answer is whose when there are more or fewer than policies.
func TestBatchAnswersMustFit(t *testing.T) {
	for name, change := range map[string]func([]policy.Answer) []policy.Answer{
		"none":  func([]policy.Answer) []policy.Answer { return nil },
		"fewer": func(a []policy.Answer) []policy.Answer { return a[:1] },
		"more":  func(a []policy.Answer) []policy.Answer { return append(a, a[0]) },
	} {
		b := newBatcher(allowBut(nil))
		b.change = change
		r := newRig(t, inTiers, func(c *kest.Config) { c.Engine = b })
		if d := wantDenied(t, r.call(t.Context())); d.Policy != "e1" || !errors.Is(d, policy.ErrIndefinite) {
			t.Errorf("%s: %v", name, d)
		}
	}
}

// TestBatchDeadline: a batch has the time of one policy. An allow that comes later is none, a refusal is one.
func TestBatchDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, answers := range map[string]map[string]policy.Answer{"allow": nil, "denial": {"e2": {}}} {
			late := newBatcher(func(ctx context.Context, name string, in *policy.Input) policy.Answer {
				time.Sleep(600 * time.Millisecond)
				return allowBut(answers)(ctx, name, in)
			})
			r := newRig(t, inTiers, func(c *kest.Config) { c.Engine, c.PolicyTimeout = late, 0 })
			if d := wantDenied(t, r.call(t.Context())); d.Policy != "e1" || !errors.Is(d, policy.ErrUnavailable) {
				t.Errorf("%s: %v", name, d)
			}
		}
		late := newBatcher(func(context.Context, string, *policy.Input) policy.Answer {
			time.Sleep(time.Minute)
			return policy.Answer{}
		})
		r := newRig(t, inTiers, func(c *kest.Config) { c.Engine, c.PolicyTimeout = late, 0 })
		denied := wantDenied(t, r.call(t.Context()))
		if denied.Err != nil {
			t.Errorf("a late refusal is %v", denied)
		}
	})
}

// TestBatchOwnEngine: a function's own engine is asked about its tiers, the guard's about the others.
func TestBatchOwnEngine(t *testing.T) {
	theirs, own := newBatcher(allowBut(nil)), newBatcher(allowBut(nil))
	r := newRig(t, inTiers, func(c *kest.Config) { c.Engine = theirs })
	if err := r.call(t.Context(), kest.WithEngine(own)); err != nil {
		t.Fatal(err)
	}
	if want := []string{"enterprise: e1 e2 of e1 e2"}; !reflect.DeepEqual(theirs.asked, want) {
		t.Errorf("the guard's engine: %q", theirs.asked)
	}
	if want := []string{"application: a1 a2 a3 of a1 a2 a3"}; !reflect.DeepEqual(own.asked, want) {
		t.Errorf("the function's engine: %q", own.asked)
	}
}
