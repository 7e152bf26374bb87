package policytest_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

func Example() {
	engine := policytest.Func(func(_ context.Context, name string, in *policy.Input) (policy.Decision, error) {
		return policy.Decision{Allow: in.TrustScore >= 40}, nil
	})
	for _, trust := range []int{100, 10} {
		decision, err := engine.Evaluate(context.Background(), "kest/allow_trusted", policytest.Input(trust))
		fmt.Println(decision.Allow, err)
	}
	for _, call := range engine.Calls() {
		fmt.Println(call.Name, call.Input.TrustScore)
	}
	// Output:
	// true <nil>
	// false <nil>
	// kest/allow_trusted 100
	// kest/allow_trusted 10
}

func TestMockConstants(t *testing.T) {
	ctx := context.Background()
	for name, test := range map[string]struct {
		engine *policytest.Mock
		allow  bool
	}{"allow": {policytest.Allow(), true}, "deny": {policytest.Deny(), false}, "zero": {&policytest.Mock{}, false}} {
		d, err := test.engine.Evaluate(ctx, "kest/x", policytest.Input(10))
		if err != nil || d.Allow != test.allow {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

func TestMockRefusesWhatProductionRefuses(t *testing.T) {
	m := policytest.Allow()
	for _, name := range policytest.HostileNames() {
		if d, err := m.Evaluate(context.Background(), name, policytest.Input(1)); err == nil || d.Allow {
			t.Errorf("name %.60q: %+v, %v", name, d, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if d, err := m.Evaluate(ctx, "kest/x", policytest.Input(1)); !errors.Is(err, context.Canceled) || d.Allow {
		t.Errorf("cancelled: %+v, %v", d, err)
	}
}

func TestMockRecordsDeepCopies(t *testing.T) {
	input := func() *policy.Input {
		in := policytest.Input(55)
		in.Attributes["roles"] = []string{"a"}
		in.Attributes["map"] = map[string]string{"k": "v"}
		in.Attributes["deep"] = []any{map[string]any{"k": []any{"v"}}}
		return in
	}
	m, in, want := policytest.Deny(), input(), input()
	want.Lineage.History = in.Lineage.History // nobody changes it, so it is shared
	score := 7
	in.Environment.TrustOverride, in.Environment.RemovedTaints = &score, []string{"t"}
	want.Environment.TrustOverride, want.Environment.RemovedTaints = new(int), []string{"t"}
	*want.Environment.TrustOverride = 7
	if _, err := m.Evaluate(context.Background(), "kest/x", in); err != nil {
		t.Fatal(err)
	}
	in.TrustScore, in.Subject.Taints[0] = 1, "x"
	score, in.Environment.RemovedTaints[0], in.Labels["level"] = 8, "x", "x"
	in.Environment.ParentHashes[0], in.Environment.PolicyNames[0] = "x", "x"
	in.Environment.ActiveDeviations[0].Reason = "x"
	in.Lineage.Principals[0], in.Lineage.SourceTypes[0] = "x", "x"
	in.Object.Attributes["tags"].([]any)[0] = "x"
	in.Attributes["nested"].(map[string]any)["list"] = "x"
	in.Attributes["deep"].([]any)[0].(map[string]any)["k"].([]any)[0] = "x"
	in.Attributes["roles"].([]string)[0] = "x"
	in.Attributes["map"].(map[string]string)["k"] = "x"
	if got := m.Calls()[0].Input; !reflect.DeepEqual(got, want) {
		t.Errorf("the record changed with the caller's input:\n got %+v\nwant %+v", got, want)
	}
	if policytest.Copy(nil) != nil {
		t.Error("a copy of no input is an input")
	}
}

func TestMockKeepsTheLatest(t *testing.T) {
	m := policytest.Allow().Keep(2)
	for _, name := range []string{"a", "b", "c"} {
		m.Evaluate(context.Background(), name, policytest.Input(1))
	}
	if got := m.Names(); !slices.Equal(got, []string{"b", "c"}) || m.Count() != 3 {
		t.Errorf("kept %q of %d", got, m.Count())
	}
	if m.Keep(0); len(m.Calls()) != 0 {
		t.Error("Keep(0) kept calls")
	}
	if m.Reset(); m.Count() != 0 {
		t.Error("Reset kept the count")
	}
}

func TestMockConcurrently(t *testing.T) {
	m := policytest.Allow()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				m.Evaluate(context.Background(), "kest/x", policytest.Input(1))
				m.Calls()
			}
		})
	}
	wg.Wait()
	if m.Count() != 400 || len(m.Names()) != 400 {
		t.Errorf("counted %d, kept %d of 400", m.Count(), len(m.Names()))
	}
}
