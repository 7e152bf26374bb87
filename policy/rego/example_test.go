package rego_test

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/rego"
)

func ExampleDir() {
	engine, err := rego.Dir("../../examples/policies") // kest/allow_trusted.rego, …
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
	// [kest/allow_trusted payments/checked payments/limit]
	// 80 true <nil>
	// 10 false <nil>
}

//go:embed testdata/example
var embedded embed.FS

func ExampleFS() {
	policies, err := fs.Sub(embedded, "testdata/example")
	if err != nil {
		log.Fatal(err)
	}
	engine, err := rego.FS(policies)
	if err != nil {
		log.Fatal(err)
	}
	in := &policy.Input{Subject: policy.Subject{Workload: "spiffe://example.org/cart"}}
	decision, err := engine.Evaluate(context.Background(), "shop/known", in)
	fmt.Println(decision.Allow, err)
	// Output: true <nil>
}
