package policies_test

import (
	"encoding/json"
	"testing"
	"testing/fstest"

	"github.com/kest-go/kest/policies"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/rego"
)

// TestResourcesOfNoSense: data about objects that are not what a policy reads protect nothing, so they must deny. Entities
// refuses them; in Rego there is nobody before the policy.
func TestResourcesOfNoSense(t *testing.T) {
	acted := func(ids ...string) (all []policy.Ancestor) {
		for _, id := range ids {
			all = append(all, policy.Ancestor{Operation: "account.open", Principal: ledger, User: "ada", Resource: id, SourceType: "internal", Outcome: "ok"})
		}
		return all
	}
	for name, c := range map[string]struct {
		policy, op, on string
		past           []policy.Ancestor
		changes        []string // each alone makes the call allowed without a check
	}{
		"clark_wilson": {"kest/clark_wilson", "account.read", "accounts", nil, []string{
			`resources=[{"id": "accounts", "triples": []}]`, `resources=null`, `resources="accounts"`, `resources|accounts=[]`, `resources|accounts=null`,
			`resources|accounts|triples=false`}},
		"separation": {"kest/clark_wilson", "account.post", "accounts", acted("accounts"), []string{
			`resources|accounts|separate_from=["account.open"]`, `resources|accounts|separate_from=null`, `resources|accounts|separate_from=false`}},
		"require_ancestor": {"kest/require_ancestor", "key.read", "vault/key", nil, []string{
			`resources=[]`, `resources=false`, `resources|vault/key="mfa"`, `resources|vault/key=false`, `resources|vault/key=null`}},
		"brewer_nash": {"kest/brewer_nash", "doc.read", "bank-b/file", acted("bank-a/file"), []string{
			`resources=[]`, `resources=true`, `resources|bank-a/file|conflict_class=null`, `resources|bank-a/file|conflict_class=["banks"]`,
			`resources|bank-a/file|conflict_class`}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, change := range append(c.changes, "") {
				text, err := json.Marshal(deployment(t, change))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := policies.Entities(text); err == nil && change != "" && change != `resources|accounts|triples=false` {
					t.Errorf("%s: Cedar would take it", change)
				}
				e, err := rego.FS(policies.Overlay(policies.Rego(), fstest.MapFS{"kest/deployment/data.json": {Data: text}}))
				if err != nil {
					t.Fatal(err)
				}
				in := &policy.Input{
					Subject: policy.Subject{Workload: ledger, User: "ada", TrustScore: 100}, TrustScore: 100,
					Object:      policy.Object{ID: c.on},
					Environment: policy.Environment{Operation: c.op, SourceType: "internal"},
					Lineage: policy.Lineage{Length: len(c.past), MinTrust: 100, Principals: []string{ledger},
						History: policy.NewHistory(func() []policy.Ancestor { return c.past })},
				}
				if d, err := e.Evaluate(t.Context(), c.policy, in); err == nil && d.Allow {
					t.Errorf("%q: allowed", change)
				}
			}
		})
	}
}
