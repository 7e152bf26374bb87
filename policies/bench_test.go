package policies_test

import (
	"context"
	"testing"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/policy"
)

// BenchmarkPolicies decides about the payment of a short lineage, in both languages.
func BenchmarkPolicies(b *testing.B) {
	p := newPair(b, deployment(b))
	k := &keeper{}
	past := allowAll(b)
	ctx, _ := kest.StartSession(b.Context())
	for _, c := range []call{{by: gateway, op: "form.read", source: "user_input"}, {by: payments, op: "fraud.check", on: "order/1"}} {
		c.happen(b, ctx, past)
	}
	if err := (call{by: payments, op: "payment.send", on: "order/1", user: "ada"}).run(b, ctx, newGuard(b, k, everyPolicy), past); err != nil {
		b.Fatal(err)
	}
	for _, name := range p.rego.Policies() {
		for language, engine := range map[string]policy.Engine{"rego": p.rego, "cedar": p.cedar} {
			b.Run(name[len("kest/"):]+"/"+language, func(b *testing.B) {
				for b.Loop() {
					if _, err := engine.Evaluate(b.Context(), name, &k.in); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// A keeper keeps what it is asked about.
type keeper struct{ in policy.Input }

func (k *keeper) Evaluate(_ context.Context, name string, in *policy.Input) (policy.Decision, error) {
	if name == everyPolicy {
		k.in = *in
	}
	return policy.Decision{Allow: true}, nil
}
