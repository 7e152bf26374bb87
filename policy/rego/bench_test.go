package rego_test

import (
	"context"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	oparego "github.com/open-policy-agent/opa/v1/rego"

	"github.com/kest-go/kest/policy/rego"
)

// BenchmarkEvaluateRego is the guide's policy as the guard asks it: input made and evaluated.
func BenchmarkEvaluateRego(b *testing.B) {
	engine, err := rego.FS(tree{"kest/allow_trusted.rego": guideV1}.fs())
	if err != nil {
		b.Fatal(err)
	}
	in, ctx := call(80), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if d, err := engine.Evaluate(ctx, "kest/allow_trusted", in); err != nil || !d.Allow {
			b.Fatal(d, err)
		}
	}
}

// BenchmarkEvaluateRegoAll reads the whole input, so all of it has to be made.
func BenchmarkEvaluateRegoAll(b *testing.B) {
	engine, err := rego.FS(tree{"kest/allow_trusted.rego": guideV1 + "\nunused if count(input) > 90\n"}.fs())
	if err != nil {
		b.Fatal(err)
	}
	in, ctx := call(80), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if d, err := engine.Evaluate(ctx, "kest/allow_trusted", in); err != nil || !d.Allow {
			b.Fatal(d, err)
		}
	}
}

// BenchmarkBareOPA is OPA's prepared query with an input that was made once: the floor of its own interface.
func BenchmarkBareOPA(b *testing.B) {
	ctx := context.Background()
	query, err := oparego.New(oparego.Query("data.kest.allow_trusted.allow"),
		oparego.Module("allow_trusted.rego", guideV1)).PrepareForEval(ctx)
	if err != nil {
		b.Fatal(err)
	}
	input, err := ast.InterfaceToValue(call(80).Document())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if r, err := query.Eval(ctx, oparego.EvalParsedInput(input)); err != nil || !r.Allowed() {
			b.Fatal(r, err)
		}
	}
}
