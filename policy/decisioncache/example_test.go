package decisioncache_test

import (
	"context"
	"fmt"
	"log"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/decisioncache"
	"github.com/kest-go/kest/policy/policytest"
)

// slow stands for an OPA server or a large Rego policy, whose revision is known.
type slow struct{}

func (slow) Revision() string { return "2026-11-25" }

func (slow) Evaluate(_ context.Context, _ string, in *policy.Input) (policy.Decision, error) {
	fmt.Println("asked")
	return policy.Decision{Allow: in.TrustScore >= 40, Revision: "2026-11-25"}, nil
}

func Example() {
	engine, err := decisioncache.New(decisioncache.Config{
		Engine: slow{},
		Ignore: []string{"environment.entry_id", "environment.trace_id", "environment.parent_hashes"},
	})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		decision, err := engine.Evaluate(context.Background(), "kest/allow_trusted", policytest.Input(40))
		fmt.Println(decision.Allow, err)
	}
	// Output:
	// asked
	// true <nil>
	// true <nil>
}
