package rego_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	oparego "github.com/open-policy-agent/opa/v1/rego"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/rego"
)

// benchmarks are policies that allow a call at the end of a line of depth calls.
var benchmarks = []struct {
	name, rules string
	depth       int
}{
	{"guide", "allow if input.trust_score >= 40", 1},
	{"nested", `allow if { input.subject.trust_score >= 40; input.subject.user == "ada" }`, 1},
	{"several", `allow if {
		input.subject.trust_score >= 40
		input.subject.user == "ada"
		input.environment.operation == "pay"
		not "internet" in input.lineage.source_types
	}`, 1},
	{"steps", stepsRule, 1},
	{"steps", stepsRule, 10},
	{"steps", stepsRule, 100},
	{"whole", "allow if { input.trust_score >= 40; count(input) == 8 }", 1},
}

// stepsRule finds the first call of the line.
const stepsRule = `allow if {"operation": "op0", "principal": "spiffe://example.org/gateway", "outcome": "ok"} in input.lineage.steps`

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

// BenchmarkEvaluateRego makes the input and evaluates, as the guard has it done. What is made of a history is made for
// the first policy of the call; BenchmarkHistory is the cost of that.
func BenchmarkEvaluateRego(b *testing.B) {
	for _, test := range benchmarks {
		b.Run(fmt.Sprintf("%s/%d", test.name, test.depth), func(b *testing.B) {
			engine, err := rego.FS(tree{"kest/x.rego": "package kest.x\n\ndefault allow := false\n\n" + test.rules}.fs())
			if err != nil {
				b.Fatal(err)
			}
			in, ctx := line(test.depth), context.Background()
			b.ReportAllocs()
			for b.Loop() {
				if d, err := engine.Evaluate(ctx, "kest/x", in); err != nil || !d.Allow {
					b.Fatal(d, err)
				}
			}
		})
	}
}

// BenchmarkBareRego is OPA's prepared query with an input that was made once: the floor of its own interface.
func BenchmarkBareRego(b *testing.B) {
	for _, test := range benchmarks {
		b.Run(fmt.Sprintf("%s/%d", test.name, test.depth), func(b *testing.B) {
			ctx := context.Background()
			query, err := oparego.New(oparego.Query("data.kest.x.allow"),
				oparego.Module("x.rego", "package kest.x\n\ndefault allow := false\n\n"+test.rules)).PrepareForEval(ctx)
			if err != nil {
				b.Fatal(err)
			}
			input, err := ast.InterfaceToValue(line(test.depth).Document())
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if r, err := query.Eval(ctx, oparego.EvalParsedInput(input)); err != nil || !r.Allowed() {
					b.Fatal(r, err)
				}
			}
		})
	}
}

// BenchmarkHistory is the first policy of a call that reads its steps.
func BenchmarkHistory(b *testing.B) {
	engine, ctx := one(b, stepsRule), context.Background()
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
