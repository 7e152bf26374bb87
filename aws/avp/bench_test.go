package avp_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions"
	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions/types"

	"github.com/kest-go/kest/aws/avp"
	"github.com/kest-go/kest/policy/policytest"
)

// BenchmarkEvaluateAVP is the engine and, in the same run, what it is held against: the SDK's bare call with the same
// question to the same server, and the conversion of the input alone.
func BenchmarkEvaluateAVP(b *testing.B) {
	s, e := start(b, always(allow))
	in := policytest.Input(100)
	b.Run("kest", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if d, err := e.Evaluate(b.Context(), policytest.AllowTrusted, in); err != nil || !d.Allow {
				b.Fatalf("%+v, %v", d, err)
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		context, err := avp.ContextOf(in)
		if err != nil {
			b.Fatal(err)
		}
		store, action, name, workload, resource, object := newStore(s, always(allow)), "Action", policytest.AllowTrusted, "Workload", "Resource", in.Object.ID
		client := verifiedpermissions.NewFromConfig(*sdk(s))
		b.ReportAllocs()
		for b.Loop() {
			out, err := client.IsAuthorized(b.Context(), &verifiedpermissions.IsAuthorizedInput{
				PolicyStoreId: &store, Action: &types.ActionIdentifier{ActionType: &action, ActionId: &name},
				Principal: &types.EntityIdentifier{EntityType: &workload, EntityId: &in.Subject.Workload},
				Resource:  &types.EntityIdentifier{EntityType: &resource, EntityId: &object},
				Context:   &types.ContextDefinitionMemberContextMap{Value: context},
			})
			if err != nil || out.Decision != types.DecisionAllow {
				b.Fatalf("%+v, %v", out, err)
			}
		}
	})
	b.Run("context", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := avp.ContextOf(in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("batch of 4", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, a := range e.EvaluateAll(b.Context(), []string{"a", "b", "c", "d"}, in) {
				if a.Err != nil || !a.Allow {
					b.Fatalf("%+v", a)
				}
			}
		}
	})
}
