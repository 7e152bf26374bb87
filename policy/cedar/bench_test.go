package cedar_test

import (
	"context"
	"fmt"
	"testing"

	cedargo "github.com/cedar-policy/cedar-go"

	"github.com/kest-go/kest/policy"
)

// benchmarks are policies that allow a call at the end of a line of depth calls.
var benchmarks = []struct {
	name, condition string
	depth           int
}{
	{"guide", "context.trust_score >= 40", 1},
	{"nested", `context.subject.trust_score >= 40 && context["subject.user"] == "ada"`, 1},
	{"several", `context.subject.trust_score >= 40 && context["subject.user"] == "ada" && context.environment.operation == "pay" &&
		!context["lineage.source_types"].contains("internet")`, 1},
	{"steps", stepsRule, 1},
	{"steps", stepsRule, 10},
	{"steps", stepsRule, 100},
	{"whole", "context.trust_score >= 40 && context != {}", 1},
}

// stepsRule finds the first call of the line.
const stepsRule = `context.lineage.steps.contains({"operation": "op0", "principal": "spiffe://example.org/gateway", "outcome": "ok"})`

// line is a call at the end of a line of n.
func line(n int) *policy.Input {
	in := call(80)
	in.Lineage.Length = n
	in.Lineage.History = policy.NewHistory(func() []policy.Ancestor {
		all := make([]policy.Ancestor, n)
		for i := range all {
			all[i] = policy.Ancestor{
				Operation: fmt.Sprint("op", i), Classification: "system", SourceType: "internal",
				Principal: "spiffe://example.org/gateway", TrustScore: 80, Outcome: "ok",
			}
			if i > 0 {
				all[i].Parents = []int{i - 1}
			}
		}
		return all
	})
	return in
}

// BenchmarkEvaluateCedar makes the context and evaluates, as the guard has it done. What is made of a history is made
// for the first policy of the call; BenchmarkHistory is the cost of that.
func BenchmarkEvaluateCedar(b *testing.B) {
	for _, test := range benchmarks {
		b.Run(fmt.Sprintf("%s/%d", test.name, test.depth), func(b *testing.B) {
			engine, in, ctx := when(b, test.condition), line(test.depth), context.Background()
			b.ReportAllocs()
			for b.Loop() {
				if d, err := engine.Evaluate(ctx, "p", in); err != nil || !d.Allow {
					b.Fatal(d, err)
				}
			}
		})
	}
}

// BenchmarkBareCedar is cedar-go with a request that was made once: the floor of its own interface.
func BenchmarkBareCedar(b *testing.B) {
	for _, test := range benchmarks {
		b.Run(fmt.Sprintf("%s/%d", test.name, test.depth), func(b *testing.B) {
			text := "permit(principal, action, resource) when { " + test.condition + " };"
			policies, err := cedargo.NewPolicySetFromBytes("p.cedar", []byte(text))
			if err != nil {
				b.Fatal(err)
			}
			request, err := one(b, text).Request("p", line(test.depth))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if d, diag := cedargo.Authorize(policies, nil, request); d != cedargo.Allow || len(diag.Errors) > 0 {
					b.Fatal(d, diag)
				}
			}
		})
	}
}

// BenchmarkInput makes what a policy with several members reads, which costs the same however long the line is, since nobody asks
// for its history.
func BenchmarkInput(b *testing.B) {
	engine := when(b, benchmarks[2].condition)
	for _, depth := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(depth), func(b *testing.B) {
			in := line(depth)
			in.Lineage.History = policy.NewHistory(func() []policy.Ancestor { b.Fatal("the history was read"); return nil })
			b.ReportAllocs()
			for b.Loop() {
				if _, err := engine.Request("p", in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHistory is the first policy of a call that reads its steps.
func BenchmarkHistory(b *testing.B) {
	engine, ctx := when(b, stepsRule), context.Background()
	for _, depth := range []int{1, 10, 100} {
		b.Run(fmt.Sprint(depth), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d, err := engine.Evaluate(ctx, "p", line(depth)); err != nil || !d.Allow {
					b.Fatal(d, err)
				}
			}
		})
	}
}
