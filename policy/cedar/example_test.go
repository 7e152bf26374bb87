package cedar_test

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedar"
)

func ExampleDir() {
	engine, err := cedar.Dir("testdata/guide") // kest/allow_trusted.cedar
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(engine.Policies())
	for _, trust := range []int{80, 10} {
		in := &policy.Input{TrustScore: trust}
		decision, err := engine.Evaluate(context.Background(), "kest/allow_trusted", in)
		fmt.Println(trust, decision.Allow, err)
	}
	// Output:
	// [kest/allow_trusted]
	// 80 true <nil>
	// 10 false <nil>
}

//go:embed testdata/example
var embedded embed.FS

// A tree with groups of workloads in entities.json and a schema that the policy is checked against.
func ExampleFS() {
	policies, err := fs.Sub(embedded, "testdata/example")
	if err != nil {
		log.Fatal(err)
	}
	engine, err := cedar.FS(policies)
	if err != nil {
		log.Fatal(err)
	}
	ask := func(workload string, cents any, sources ...string) {
		decision, err := engine.Evaluate(context.Background(), "shop/refund", &policy.Input{
			Subject:    policy.Subject{Workload: workload},
			Lineage:    policy.Lineage{SourceTypes: sources},
			Attributes: map[string]any{"cents": cents},
		})
		fmt.Println(decision.Allow, decision.Reason, err)
	}
	ask("spiffe://example.org/desk", 1999)
	ask("spiffe://example.org/cart", 1999)
	ask("spiffe://example.org/desk", 1999, "internet")
	ask("spiffe://example.org/desk", "1999")
	// Output:
	// true permit "staff-refund" (shop/refund.cedar:3) <nil>
	// false no permit of shop/refund.cedar applies <nil>
	// false forbid "no-internet" (shop/refund.cedar:7) <nil>
	// false  policy "shop/refund": policy gave no definite answer: permit "staff-refund" (shop/refund.cedar:3): type error: expected comparable value, got string
}
