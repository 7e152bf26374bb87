package cedar_test

import (
	"context"
	"testing"

	cedargo "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/kest-go/kest/policy/cedar"
)

// BenchmarkEvaluateCedar is the guide's policy as the guard asks it: context made and evaluated.
func BenchmarkEvaluateCedar(b *testing.B) { evaluate(b, guide) }

// BenchmarkEvaluateCedarSubject reads members of the subject, nested and dotted.
func BenchmarkEvaluateCedarSubject(b *testing.B) {
	evaluate(b, `permit(principal, action, resource) when { context.subject.trust_score >= 40 && context["subject.user"] == "ada" };`)
}

// BenchmarkEvaluateCedarAll takes the context as a whole, so all of it has to be made, nested and dotted.
func BenchmarkEvaluateCedarAll(b *testing.B) {
	evaluate(b, `permit(principal, action, resource) when { context.trust_score >= 40 && context != {} };`)
}

func evaluate(b *testing.B, text string) {
	engine, err := cedar.FS(tree{"kest/allow_trusted.cedar": text}.fs())
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

// BenchmarkBareCedar is cedar-go with a request that was made once: the floor of its own interface.
func BenchmarkBareCedar(b *testing.B) {
	policies, err := cedargo.NewPolicySetFromBytes("allow_trusted.cedar", []byte(guide))
	if err != nil {
		b.Fatal(err)
	}
	request := cedargo.Request{
		Principal: types.NewEntityUID("Workload", "spiffe://example.org/payments"),
		Action:    types.NewEntityUID("Action", "kest/allow_trusted"),
		Resource:  types.NewEntityUID("Resource", "invoice/7"),
		Context:   types.NewRecord(types.RecordMap{"trust_score": types.Long(80)}),
	}
	b.ReportAllocs()
	for b.Loop() {
		if d, diag := cedargo.Authorize(policies, nil, request); d != cedargo.Allow || len(diag.Errors) > 0 {
			b.Fatal(d, diag)
		}
	}
}
