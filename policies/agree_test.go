package policies_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/policy"
)

// TestEnginesAgree makes random lineages under random data, and asks both engines about all policies.
func TestEnginesAgree(t *testing.T) {
	judges := map[string]*judge{}
	past := allowAll(t)
	rapid.Check(t, func(rt *rapid.T) {
		change := rapid.SampledFrom(changes).Draw(rt, "data")
		j := judges[change]
		if j == nil {
			j = &judge{pair: newPair(t, deployment(t, change)), decisions: map[string][2]int{}}
			judges[change] = j
		}
		j.t = rt
		ctx, _ := kest.StartSession(context.Background())
		for _, c := range rapid.SliceOfN(rapid.Custom(drawPast), 0, 5).Draw(rt, "past") {
			c.happen(rt, ctx, past)
		}
		c := rapid.Custom(drawCall).Draw(rt, "call")
		if err := c.run(rt, ctx, newGuard(rt, j, everyPolicy), past); err != nil {
			rt.Fatal(err)
		}
	})
	total := map[string][2]int{}
	for _, j := range judges {
		for name, n := range j.decisions {
			total[name] = [2]int{total[name][0] + n[0], total[name][1] + n[1]}
		}
	}
	if len(total) != 11 {
		t.Errorf("%d policies decided", len(total))
	}
	denied, allowed := 0, 0
	for _, name := range slices.Sorted(maps.Keys(total)) {
		t.Logf("%s: %d denied, %d allowed", name, total[name][0], total[name][1])
		denied, allowed = denied+total[name][0], allowed+total[name][1]
	}
	if denied < 100 || allowed < 100 { // of one policy, chance might leave out either; the tables do not
		t.Errorf("%d denied, %d allowed: the lineages are no test", denied, allowed)
	}
}

const everyPolicy = "test/every"

// A judge asks about every policy, and lets the call pass.
type judge struct {
	*pair
	count     sync.Mutex
	decisions map[string][2]int // denied and allowed
}

func (j *judge) Evaluate(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	if name == everyPolicy {
		for _, name := range j.rego.Policies() {
			d, _ := j.pair.Evaluate(ctx, name, in)
			j.count.Lock()
			n := j.decisions[name]
			if d.Allow {
				n[1]++
			} else {
				n[0]++
			}
			j.decisions[name] = n
			j.count.Unlock()
		}
	}
	return policy.Decision{Allow: true}, nil
}

// changes are what may be amiss with the data. The first, nothing, is the most frequent.
var changes = []string{
	"", "", "", "", "", "",
	"trust_threshold=" + `{"min": 10, "may_override": []}`,
	"taint_block|operations=" + `["*"]`,
	"taint_block", "require_ancestor|steps=[]", "require_ancestor|operations=" + `["a", "doc.read"]`,
	"require_ancestor|on_object", "require_ancestor|on_object|operations=" + `["a", "doc.read", "report.publish"]`,
	"require_ancestor|on_object|step|principal=" + `"` + payments + `"`, "payments|check_any_object=true", "payments|check_any_object",
	"separation_of_duties|duties=" + `{"initiate": "a", "approve": "doc.read", "execute": "doc.append", "review": "a"}`,
	"workloads|" + gateway, "workloads|" + desk + "|clearance", "workloads|" + desk + "|domain", "workloads|" + ledger + "|integrity",
	"resources|report/q3", "resources|wiki|classification", "resources|report/q3|integrity",
	"bell_lapadula|append=[]", "biba|read=[]", "brewer_nash|write=[]", "brewer_nash|classes=[]",
	"clark_wilson|procedures=[]", "clark_wilson|certifiers=[]", "non_interference|flows=" + `{"edge": ["core", "vault"], "vault": []}`,
	"payments|untrusted=[]", "payments|operations=" + `["a", "doc.read"]`, "agent_tools|grants=[]", "agent_tools|read_only",
	"agent_tools|side_effects=" + `["web.read"]`,
}

var (
	workloads  = []string{gateway, assistant, desk, payments, ledger, vault, stranger}
	operations = []string{
		"a", "mail.send", "report.publish", "text.review", "key.use", "mfa.check", "key.request", "invoice.enter", "invoice.approve", "invoice.pay",
		"doc.read", "doc.append", "doc.edit", "account.open", "account.post", "form.validate", "payment.send", "fraud.check",
		"web.read", "file.delete", "human.approve",
	}
	objects = []string{
		"", "", "wiki", "report/q3", "board/minutes", "audit/log", "bank-a/file", "bank-a/notes", "bank-b/file", "oil-x/file", "accounts",
		"vault/key", "vault/seed", "order/1", "*", "no \"such\" object",
	}
	sources = []string{"", "", "", "internet", "user_input", "llm", "third_party_api"}
	taints  = []string{"unreviewed", "contains_data", "raw", "web"}

	// related are calls that the example's data bring together, which chance alone hardly does.
	related = []call{
		{by: payments, op: "fraud.check", on: "order/1"}, {by: payments, op: "payment.send", on: "order/1"},
		{by: desk, op: "text.review", on: "report/q3"}, {by: ledger, op: "report.publish", on: "report/q3"},
		{by: desk, op: "key.request", on: "vault/seed"}, {by: vault, op: "a", on: "vault/seed"},
		{by: gateway, op: "mfa.check"}, {by: vault, op: "key.use"},
	}
)

func drawCall(t *rapid.T) call {
	pick := func(from []string, label string) string { return rapid.SampledFrom(from).Draw(t, label) }
	some := func(label string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(taints), 1, 2, rapid.ID).Draw(t, label)
	}
	one := func(of int, label string) bool { return rapid.IntRange(1, of).Draw(t, label) == of }
	c := call{
		by: pick(workloads, "by"), op: pick(operations, "op"), on: pick(objects, "on"), source: pick(sources, "source"),
		user: pick([]string{"", "ada", "bob", "eve"}, "user"), agent: pick([]string{"", "", "helper", "reader"}, "agent"),
	}
	if one(3, "related") {
		r := rapid.SampledFrom(related).Draw(t, "which")
		c.by, c.op, c.on = r.by, r.op, r.on
	}
	if one(4, "taints") {
		c.taints = some("taint")
	}
	if one(4, "sanitizer") {
		c.sanitizer = "s"
		if one(2, "removes") {
			c.removes = some("removed")
		}
	}
	if one(6, "override") {
		c.override = rapid.IntRange(1, 100).Draw(t, "score")
	}
	return c
}

func drawPast(t *rapid.T) call {
	c := drawCall(t)
	c.fails = rapid.IntRange(1, 5).Draw(t, "fails") == 1
	c.remote = rapid.IntRange(1, 5).Draw(t, "remote") == 1
	for range rapid.IntRange(0, 2).Draw(t, "inside") {
		c.inside = append(c.inside, drawCall(t))
	}
	return c
}
