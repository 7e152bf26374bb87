package cedar_test

import (
	"fmt"
	"testing"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedar"
	"github.com/kest-go/kest/policy/cedaragent"
	"github.com/kest-go/kest/policy/policytest"
)

// inProcess is policy/cedar with the same files as the agent.
func inProcess(t *testing.T, dir string) policy.Engine {
	t.Helper()
	e, err := cedar.Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// The Go engine in process and the Rust engine behind REST say the same, about the table and about generated inputs.
func TestDifferential(t *testing.T) {
	policies := rows()
	dir := write(t, policies)
	rust, ours := engine(t, cedaragent.Config{URL: start(t, dir).URL}), inProcess(t, dir)
	seen := map[string]int{}
	compare := func(name string, in *policy.Input) {
		t.Helper()
		want, got := ask(t, rust, name, in), ask(t, ours, name, in)
		if seen[want]++; got != want {
			t.Errorf("%s: Go says %s, Rust says %s: %s about %+v", name, got, want, policies[name], in)
		}
	}
	kinds := []string{"permit", "forbid", "both"}
	for i, r := range table {
		for _, kind := range kinds {
			in := policytest.Input(100)
			r.change(in)
			compare(fmt.Sprintf("%s/r%d", kind, i), in)
		}
	}
	g := newGenerator()
	g.sendable = true // policy/cedar does not look at attributes that the policy does not read
	for range 500 {
		compare(fmt.Sprintf("%s/r%d", pick(g, kinds...), g.IntN(len(table))), g.input())
	}
	for _, outcome := range []string{"allow", "deny", "error"} {
		if seen[outcome] < 20 {
			t.Errorf("the inputs show little: %v", seen)
		}
	}
	t.Log(seen)
}

// policy/cedar takes hostile ids for the same entities as the Rust engine does in TestHostileIDs.
func TestDifferentialIDs(t *testing.T) {
	all, policies := ids(), map[string]string{}
	for i, id := range all {
		name := fmt.Sprintf("id/n%d", i)
		policies[name] = permit(name, "principal == Workload::"+quoted(id))
	}
	ours := inProcess(t, write(t, policies))
	for i, id := range all {
		in := policytest.Input(100)
		in.Subject.Workload = id
		if got := ask(t, ours, fmt.Sprintf("id/n%d", i), in); got != "allow" {
			t.Errorf("%.80q: %s as itself", id, got)
		}
	}
}
