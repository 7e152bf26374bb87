package policies_test

import (
	"errors"
	"testing"

	"github.com/kest-go/kest"
)

// A row is a call under an enterprise policy, after a past that nothing restrained.
type row struct {
	name    string
	past    []call
	call    call
	allow   bool
	without string // a member of the data that is left out, its path with "|" between
	set     string // a member of the data that is another one: its path, "=" and JSON
}

// decide runs the rows through the guard, with both engines, and then asks whether every rule of the policy was the only
// reason of a denial at least once: a rule that could be deleted unnoticed is not tested.
func decide(t *testing.T, name string, rows []row) {
	t.Helper()
	if len(rows) < 8 {
		t.Fatalf("%d rows", len(rows))
	}
	whole := newPair(t, deployment(t), name)
	whole.alone = map[string]bool{}
	past := allowAll(t)
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			p := whole
			if r.without != "" || r.set != "" {
				p = newPair(t, deployment(t, r.without, r.set), name)
				p.alone = whole.alone
			}
			p.t = t
			asked := p.asked
			ctx, _ := kest.StartSession(t.Context())
			for _, c := range r.past {
				c.happen(t, ctx, past)
			}
			err := r.call.run(t, ctx, newGuard(t, p, name), past)
			var denied *kest.DeniedError
			switch {
			case err == nil && !r.allow:
				t.Error("allowed")
			case err != nil && (r.allow || !errors.As(err, &denied) || denied.Policy != name):
				t.Error(err)
			}
			if p.asked == asked {
				t.Error("nobody was asked")
			}
		})
	}
	whole.t = t
	if left := whole.uncovered(name); len(left) > 0 && !t.Failed() {
		t.Errorf("no row is denied by these alone: %q", left)
	}
}

// claims is what a caller would like to be believed.
var claims = map[string]any{
	"trust_score": 100, "level": 9, "clearance": map[string]any{"level": 9, "categories": []any{"audit", "finance"}},
	"classification": map[string]any{"level": 0, "categories": []any{}}, "integrity": 100, "domain": "vault",
	"approved": true, "workload": desk, "user": "bob", "agent": "helper", "operation": "text.review", "conflict_class": "none",
	"sanitizers": []any{"*"}, "allow": true, "fraud.check": "ok",
}

var claimed = map[string]string{
	"clearance": "9", "integrity": "100", "domain": "vault", "approved": "yes", "fraud.check": "ok", "sanitized": "yes",
	"min": "0", "user": "bob",
}

func TestTrustThreshold(t *testing.T) {
	decide(t, "kest/trust_threshold", []row{
		{name: "root", call: call{by: gateway, op: "a"}, allow: true},
		{name: "at the threshold", call: call{by: gateway, op: "a", source: "third_party_api"}, allow: true},
		{name: "below", call: call{by: gateway, op: "a", source: "user_input"}},
		{name: "from a low ancestor", past: []call{{by: gateway, op: "read", source: "internet"}}, call: call{by: payments, op: "a"}},
		{name: "from a low ancestor elsewhere", past: []call{{by: gateway, op: "read", source: "internet", remote: true}}, call: call{by: payments, op: "a"}},
		{name: "sets its own score", call: call{by: gateway, op: "a", source: "internet", override: 100}},
		{name: "sets its own score without need", call: call{by: gateway, op: "a", override: 100}},
		{name: "may set its own score", call: call{by: desk, op: "a", source: "internet", override: 100}, allow: true},
		{name: "may set its own score, too low", call: call{by: desk, op: "a", override: 59}},
		{name: "claims", call: call{by: gateway, op: "a", source: "internet", claims: claims, labels: claimed}},
		{name: "threshold that is text", set: `trust_threshold|min="10"`, call: call{by: gateway, op: "a"}},
		{name: "no threshold", without: "trust_threshold|min", call: call{by: gateway, op: "a"}},
		{name: "no list", without: "trust_threshold|may_override", call: call{by: gateway, op: "a"}},
		{name: "no data", without: "trust_threshold", call: call{by: gateway, op: "a"}},
	})
}

func TestTaintBlock(t *testing.T) {
	dirty := call{by: gateway, op: "read", taints: []string{"unreviewed"}}
	review := call{by: desk, op: "text.review", sanitizer: "review", removes: []string{"unreviewed"}}
	decide(t, "kest/taint_block", []row{
		{name: "clean", call: call{by: payments, op: "mail.send"}, allow: true},
		{name: "dirty, not protected", past: []call{dirty}, call: call{by: payments, op: "mail.draft"}, allow: true},
		{name: "dirty", past: []call{dirty}, call: call{by: payments, op: "mail.send"}},
		{name: "dirty by its own", call: call{by: payments, op: "mail.send", taints: []string{"contains_data"}}},
		{name: "another taint", past: []call{{by: gateway, op: "read", taints: []string{"pii"}}}, call: call{by: payments, op: "mail.send"}, allow: true},
		{name: "reviewed", past: []call{dirty, review}, call: call{by: payments, op: "mail.send"}, allow: true},
		{name: "dirty again", past: []call{dirty, review, dirty}, call: call{by: payments, op: "mail.send"}},
		{name: "sanitizer that removes nothing", past: []call{dirty, {by: desk, op: "text.review", sanitizer: "review"}}, call: call{by: payments, op: "mail.send"}},
		{name: "cleans its own input", past: []call{dirty}, call: call{by: payments, op: "mail.send", sanitizer: "review", removes: []string{"unreviewed"}}},
		{name: "reviewing", past: []call{dirty}, call: review, allow: true},
		{name: "reviewing by another workload", past: []call{dirty}, call: call{by: payments, op: "text.review", sanitizer: "review", removes: []string{"unreviewed"}}},
		{name: "another operation of the reviewer", past: []call{dirty}, call: call{by: desk, op: "mail.draft", override: 90, removes: []string{"unreviewed"}}},
		{name: "removes a taint that is not blocked", call: call{by: payments, op: "a", sanitizer: "x", removes: []string{"pii"}}, allow: true},
		{name: "claims", past: []call{dirty}, call: call{by: payments, op: "mail.send", claims: claims, labels: claimed}},
		{name: "everything is protected", set: `taint_block|operations=["*"]`, past: []call{dirty}, call: call{by: payments, op: "a"}},
		{name: "everything is protected, clean", set: `taint_block|operations=["*"]`, call: call{by: payments, op: "a"}, allow: true},
		{name: "no taints, not protected", without: "taint_block|taints", call: call{by: payments, op: "a"}},
		{name: "no taints", without: "taint_block|taints", call: call{by: payments, op: "mail.send"}},
		{name: "no operations", without: "taint_block|operations", call: call{by: payments, op: "a"}},
		{name: "no sanitizers", without: "taint_block|sanitizers", call: call{by: payments, op: "a"}},
	})
}

func TestRequireAncestor(t *testing.T) {
	mfa := call{by: gateway, op: "mfa.check"}
	request := call{by: desk, op: "key.request"}
	use := call{by: vault, op: "key.use"}
	review := call{by: desk, op: "text.review", on: "report/q3"}
	publish := call{by: ledger, op: "report.publish", on: "report/q3"}
	open := call{by: vault, op: "a", on: "vault/seed"}
	step := func(member, value string) string { return "require_ancestor|on_object|" + member + "=" + value }
	decide(t, "kest/require_ancestor", []row{
		{name: "another operation", call: call{by: vault, op: "a"}, allow: true},
		{name: "nothing before", call: use},
		{name: "after the step", past: []call{mfa}, call: use, allow: true},
		{name: "after the step and others", past: []call{mfa, {by: desk, op: "a"}}, call: use, allow: true},
		{name: "the step failed", past: []call{{by: gateway, op: "mfa.check", fails: true}}, call: use},
		{name: "the step runs", past: []call{{by: gateway, op: "a"}}, call: call{by: gateway, op: "mfa.check", inside: []call{{by: vault, op: "key.use"}}}, allow: true},
		{name: "by another workload", past: []call{{by: assistant, op: "mfa.check"}}, call: use},
		{name: "elsewhere, how it ended is not known", past: []call{{by: gateway, op: "mfa.check", remote: true}}, call: use},
		{name: "label instead of a step", past: []call{{by: gateway, op: "a", labels: map[string]string{"mfa.check": "ok"}}}, call: call{by: vault, op: "key.use", claims: claims}},
		{name: "object, nothing before", call: call{by: vault, op: "a", on: "vault/key"}},
		{name: "object, one step of two", past: []call{mfa}, call: call{by: vault, op: "a", on: "vault/key"}},
		{name: "object, both steps", past: []call{request, mfa}, call: call{by: vault, op: "key.use", on: "vault/key"}, allow: true},
		{name: "object without requirements", call: call{by: vault, op: "a", on: "wiki"}, allow: true},
		{name: "unknown object", call: call{by: vault, op: "a", on: "vault/key2"}, allow: true},
		{name: "object with requirements that are no list", set: `resources|vault/key|requires={}`, past: []call{mfa, request}, call: call{by: vault, op: "a", on: "vault/key"}},
		{name: "object with requirements that are false", set: `resources|vault/key|requires=false`, past: []call{mfa, request}, call: call{by: vault, op: "a", on: "vault/key"}},

		{name: "on the object", past: []call{review}, call: publish, allow: true},
		{name: "on the object, long ago", past: append([]call{review}, many(140)...), call: publish, allow: true},
		{name: "on the object, nothing before", call: publish},
		{name: "on another object", past: []call{{by: desk, op: "text.review", on: "report/q2"}}, call: publish},
		{name: "on another object, and something else on this one", past: []call{{by: desk, op: "text.review", on: "report/q2"}, {by: desk, op: "a", on: "report/q3"}}, call: publish},
		{name: "on this object, of another one", past: []call{review}, call: call{by: ledger, op: "report.publish", on: "report/q2"}},
		{name: "on no object", past: []call{{by: desk, op: "text.review"}}, call: publish},
		{name: "of no object", past: []call{review, {by: desk, op: "text.review"}}, call: call{by: ledger, op: "report.publish"}},
		{name: "on the object, by another workload", past: []call{{by: ledger, op: "text.review", on: "report/q3"}}, call: publish},
		{name: "on the object, failed", past: []call{{by: desk, op: "text.review", on: "report/q3", fails: true}}, call: publish},
		{name: "on the object, elsewhere", past: []call{{by: desk, op: "text.review", on: "report/q3", remote: true}}, call: publish},
		{name: "on the object, elsewhere, which is enough", set: step("step|outcome", `"unknown"`), past: []call{{by: desk, op: "text.review", on: "report/q3", remote: true}}, call: publish, allow: true},
		{name: "on the object, claims", past: []call{{by: desk, op: "a", on: "report/q3", labels: claimed}}, call: call{by: ledger, op: "report.publish", on: "report/q3", claims: claims, labels: claimed}},
		{name: "nothing on the object is asked for", without: "require_ancestor|on_object", call: publish, allow: true},
		{name: "on_object that is false", set: `require_ancestor|on_object=false`, past: []call{review}, call: publish},
		{name: "on_object without operations", without: "require_ancestor|on_object|operations", past: []call{review}, call: publish},
		{name: "on_object without operations, another operation", without: "require_ancestor|on_object|operations", call: call{by: vault, op: "a"}},
		{name: "on_object with operations that are no list", set: step("operations", `{"x": "b"}`), call: call{by: vault, op: "a"}},
		{name: "on_object without a step", without: "require_ancestor|on_object|step", past: []call{review}, call: publish},
		{name: "on_object without an outcome", without: "require_ancestor|on_object|step|outcome", past: []call{review}, call: publish},

		{name: "object, act", past: []call{{by: desk, op: "key.request", on: "vault/seed"}}, call: open, allow: true},
		{name: "object, nothing before its acts", call: open},
		{name: "object, act on another one", past: []call{{by: desk, op: "key.request", on: "vault/key"}}, call: open},
		{name: "object, act on none", past: []call{request}, call: open},
		{name: "object, act by another workload", past: []call{{by: assistant, op: "key.request", on: "vault/seed"}}, call: open},
		{name: "object, one act of two", set: `resources|vault/seed|requires_acts=[{"operation": "key.request", "principal": "` + desk + `", "outcome": "ok", "resource": "vault/seed"},
			{"operation": "a", "principal": "` + desk + `", "outcome": "ok", "resource": "wiki"}]`, past: []call{{by: desk, op: "key.request", on: "vault/seed"}}, call: open},
		{name: "object with acts that are false", set: `resources|vault/seed|requires_acts=false`, past: []call{{by: desk, op: "key.request", on: "vault/seed"}}, call: open},
		{name: "object with acts that are no list", set: `resources|vault/seed|requires_acts={}`, call: open},
		{name: "steps that are no list", set: `require_ancestor|steps={}`, past: []call{mfa}, call: use},
		{name: "no steps", without: "require_ancestor|steps", past: []call{mfa}, call: use},
		{name: "no steps, another operation", without: "require_ancestor|steps", call: call{by: vault, op: "a"}},
		{name: "no operations", without: "require_ancestor|operations", call: call{by: vault, op: "a"}},
	})
}

func TestSeparationOfDuties(t *testing.T) {
	enter := func(user string) call { return call{by: desk, op: "invoice.enter", user: user} }
	approve := func(user string) call { return call{by: desk, op: "invoice.approve", user: user} }
	pay := func(user string) call { return call{by: ledger, op: "invoice.pay", user: user} }
	decide(t, "kest/separation_of_duties", []row{
		{name: "first duty", call: enter("ada"), allow: true},
		{name: "two persons", past: []call{enter("ada")}, call: approve("bob"), allow: true},
		{name: "three persons", past: []call{enter("ada"), approve("bob")}, call: pay("cy"), allow: true},
		{name: "enters and approves", past: []call{enter("ada")}, call: approve("ada")},
		{name: "enters and pays", past: []call{enter("ada"), approve("bob")}, call: pay("ada")},
		{name: "approves and pays", past: []call{enter("ada"), approve("bob")}, call: pay("bob")},
		{name: "approves and enters", past: []call{approve("ada")}, call: enter("ada")},
		{name: "pays and approves", past: []call{pay("ada")}, call: approve("ada")},
		{name: "repeats", past: []call{enter("ada")}, call: enter("ada"), allow: true},
		{name: "in another process", past: []call{{by: desk, op: "invoice.enter", user: "ada", remote: true}}, call: approve("ada")},
		{name: "by another workload", past: []call{{by: assistant, op: "invoice.enter", user: "ada"}}, call: approve("ada")},
		{name: "long ago", past: append([]call{enter("ada")}, many(140)...), call: approve("ada")},
		{name: "nobody", call: approve("")},
		{name: "workload without a word", call: call{by: assistant, op: "invoice.approve", user: "bob"}},
		{name: "claims another user", past: []call{enter("ada")}, call: call{by: desk, op: "invoice.approve", user: "ada", claims: claims, labels: claimed}},
		{name: "no duty", past: []call{enter("ada")}, call: call{by: assistant, op: "invoice.read", user: "ada"}, allow: true},
		{name: "no duty, nobody", call: call{by: assistant, op: "a"}, allow: true},
		{name: "four duties", set: `separation_of_duties|duties|review="invoice.audit"`, past: []call{enter("ada"), approve("bob")}, call: call{by: desk, op: "invoice.audit", user: "cy"}, allow: true},
		{name: "audits and pays", set: `separation_of_duties|duties|review="invoice.audit"`, past: []call{{by: desk, op: "invoice.audit", user: "ada"}}, call: pay("ada")},
		{name: "duty of two names", set: `separation_of_duties|duties|review="invoice.pay"`, past: []call{pay("ada")}, call: pay("ada"), allow: true},
		{name: "no first duty", without: "separation_of_duties|duties|initiate", call: call{by: desk, op: "a"}},
		{name: "no second duty", without: "separation_of_duties|duties|approve", call: call{by: desk, op: "a"}},
		{name: "no third duty", without: "separation_of_duties|duties|execute", call: call{by: desk, op: "a"}},
		{name: "no duties", without: "separation_of_duties|duties", call: call{by: desk, op: "a"}},
		{name: "a duty is missing", without: "separation_of_duties|duties|review", call: call{by: desk, op: "a"}},
		{name: "no workloads", without: "separation_of_duties|workloads", call: call{by: desk, op: "a"}},
	})
}

// many is a chain that is longer than the list of ancestors.
func many(n int) []call {
	calls := make([]call, n)
	for i := range calls {
		calls[i] = call{by: desk, op: "a"}
	}
	return calls
}

func TestBellLaPadula(t *testing.T) {
	decide(t, "kest/bell_lapadula", []row{
		{name: "reads its level", call: call{by: payments, op: "doc.read", on: "report/q3"}, allow: true},
		{name: "reads down", call: call{by: payments, op: "doc.read", on: "wiki"}, allow: true},
		{name: "reads up", call: call{by: payments, op: "doc.read", on: "board/minutes"}},
		{name: "reads what needs another category", call: call{by: payments, op: "doc.read", on: "audit/log"}},
		{name: "appends up", call: call{by: payments, op: "doc.append", on: "board/minutes"}, allow: true},
		{name: "appends to more categories", call: call{by: payments, op: "doc.append", on: "audit/log"}, allow: true},
		{name: "appends down", call: call{by: payments, op: "doc.append", on: "wiki"}},
		{name: "appends to fewer categories", call: call{by: ledger, op: "doc.append", on: "report/q3"}},
		{name: "edits its level", call: call{by: payments, op: "doc.edit", on: "report/q3"}, allow: true},
		{name: "edits up", call: call{by: payments, op: "doc.edit", on: "board/minutes"}},
		{name: "edits down", call: call{by: payments, op: "doc.edit", on: "wiki"}},
		{name: "appends, and names no object", call: call{by: payments, op: "doc.append"}},
		{name: "unknown operation at its level", call: call{by: payments, op: "doc.stamp", on: "report/q3"}, allow: true},
		{name: "unknown operation reads up", call: call{by: payments, op: "doc.stamp", on: "board/minutes"}},
		{name: "unknown operation appends down", call: call{by: payments, op: "doc.stamp", on: "wiki"}},
		{name: "names no object", call: call{by: payments, op: "doc.read"}},
		{name: "object named like none", call: call{by: payments, op: "doc.read", on: "*"}},
		{name: "unknown object", call: call{by: payments, op: "doc.read", on: "report/q4"}},
		{name: "unknown workload", call: call{by: stranger, op: "a"}},
		{name: "no object", call: call{by: payments, op: "a"}, allow: true},
		{name: "hears a lower workload", past: []call{{by: gateway, op: "a"}}, call: call{by: payments, op: "a"}, allow: true},
		{name: "hears a higher workload", past: []call{{by: payments, op: "a"}}, call: call{by: gateway, op: "a"}},
		{name: "hears another category", past: []call{{by: ledger, op: "a", remote: true}}, call: call{by: payments, op: "a"}},
		{name: "hears an unknown workload", past: []call{{by: stranger, op: "a"}}, call: call{by: vault, op: "a"}},
		{name: "claims", call: call{by: payments, op: "doc.read", on: "board/minutes", claims: claims, labels: claimed}},
		{name: "label of a higher workload", past: []call{{by: gateway, op: "a", labels: claimed}}, call: call{by: payments, op: "doc.read", on: "board/minutes"}},
		{name: "no read list", without: "bell_lapadula|read", call: call{by: payments, op: "a"}},
		{name: "no append list", without: "bell_lapadula|append", call: call{by: payments, op: "a"}},
		{name: "no clearance", without: "workloads|" + payments + "|clearance", call: call{by: payments, op: "a"}},
		{name: "no classification", without: "resources|wiki|classification", call: call{by: payments, op: "doc.read", on: "wiki"}},
	})
}

func TestBiba(t *testing.T) {
	decide(t, "kest/biba", []row{
		{name: "reads its level", call: call{by: payments, op: "doc.read", on: "report/q3"}, allow: true},
		{name: "reads up", call: call{by: payments, op: "doc.read", on: "board/minutes"}, allow: true},
		{name: "reads down", call: call{by: payments, op: "doc.read", on: "wiki"}},
		{name: "writes its level", call: call{by: payments, op: "doc.append", on: "report/q3"}, allow: true},
		{name: "writes down", call: call{by: payments, op: "doc.append", on: "wiki"}, allow: true},
		{name: "writes up", call: call{by: payments, op: "doc.append", on: "board/minutes"}},
		{name: "edits up", call: call{by: payments, op: "doc.edit", on: "board/minutes"}},
		{name: "unknown operation writes up", call: call{by: payments, op: "doc.stamp", on: "board/minutes"}},
		{name: "edits down", call: call{by: payments, op: "doc.edit", on: "wiki"}},
		{name: "reads, and names no object", call: call{by: payments, op: "doc.read"}},
		{name: "unknown operation reads down", call: call{by: payments, op: "doc.stamp", on: "wiki"}},
		{name: "writes what strangers shaped", past: []call{{by: payments, op: "a", source: "user_input"}}, call: call{by: payments, op: "doc.append", on: "report/q3"}},
		{name: "writes at its trust", set: `resources|report/q3|integrity=60`, call: call{by: payments, op: "doc.append", on: "report/q3", source: "third_party_api"}, allow: true},
		{name: "writes above its trust", set: `resources|report/q3|integrity=61`, call: call{by: payments, op: "doc.append", on: "report/q3", source: "third_party_api"}},
		{name: "writes at the trust of its past", set: `resources|report/q3|integrity=60`, past: []call{{by: payments, op: "a", source: "third_party_api"}}, call: call{by: payments, op: "doc.append", on: "report/q3"}, allow: true},
		{name: "writes its own low data", call: call{by: payments, op: "doc.append", on: "report/q3", source: "internet"}},
		{name: "trust is restored before", past: []call{{by: payments, op: "a", source: "internet"}, {by: payments, op: "a", override: 100}}, call: call{by: payments, op: "doc.append", on: "report/q3"}},
		{name: "sets its own trust", call: call{by: payments, op: "doc.append", on: "report/q3", source: "internet", override: 100}},
		{name: "reads what strangers shaped", past: []call{{by: payments, op: "a", source: "internet"}}, call: call{by: payments, op: "doc.read", on: "report/q3"}, allow: true},
		{name: "invoked by a lower workload", past: []call{{by: gateway, op: "a"}}, call: call{by: payments, op: "a"}},
		{name: "invoked by a higher workload", past: []call{{by: vault, op: "a"}}, call: call{by: payments, op: "a"}, allow: true},
		{name: "invoked by an unknown workload", past: []call{{by: stranger, op: "a", remote: true}}, call: call{by: assistant, op: "a"}},
		{name: "names no object", call: call{by: payments, op: "doc.append"}},
		{name: "unknown object", call: call{by: payments, op: "doc.read", on: "report/q4"}},
		{name: "unknown workload", call: call{by: stranger, op: "a"}},
		{name: "no object", call: call{by: payments, op: "a"}, allow: true},
		{name: "claims", call: call{by: payments, op: "doc.append", on: "board/minutes", claims: claims, labels: claimed}},
		{name: "no read list", without: "biba|read", call: call{by: payments, op: "a"}},
		{name: "no write list", without: "biba|write", call: call{by: payments, op: "a"}},
		{name: "no integrity", without: "workloads|" + payments + "|integrity", call: call{by: payments, op: "a"}},
		{name: "no integrity of the object", without: "resources|wiki|integrity", call: call{by: payments, op: "doc.append", on: "wiki"}},
	})
}

func TestBrewerNash(t *testing.T) {
	reads := func(id string) call { return call{by: desk, op: "doc.read", on: id} }
	writes := func(id string) call { return call{by: desk, op: "doc.append", on: id} }
	decide(t, "kest/brewer_nash", []row{
		{name: "first company", call: reads("bank-a/file"), allow: true},
		{name: "same company", past: []call{reads("bank-a/file")}, call: reads("bank-a/notes"), allow: true},
		{name: "competitor", past: []call{reads("bank-a/file")}, call: reads("bank-b/file")},
		{name: "competitor, by another workload", past: []call{{by: payments, op: "a", on: "bank-a/file"}}, call: reads("bank-b/file")},
		{name: "competitor, elsewhere", past: []call{{by: desk, op: "a", on: "bank-a/file", remote: true}}, call: reads("bank-b/file")},
		{name: "competitor, long ago", past: append([]call{reads("bank-a/file")}, many(140)...), call: reads("bank-b/file")},
		{name: "another class", past: []call{reads("bank-a/file")}, call: reads("oil-x/file"), allow: true},
		{name: "writes to its company", past: []call{reads("bank-a/file")}, call: writes("bank-a/notes"), allow: true},
		{name: "writes to another class", past: []call{reads("bank-a/file")}, call: writes("oil-x/file")},
		{name: "writes outside of the walls", past: []call{reads("bank-a/file")}, call: writes("wiki")},
		{name: "writes nowhere", past: []call{reads("bank-a/file")}, call: writes("")},
		{name: "writes to an unknown object", past: []call{reads("bank-a/file")}, call: writes("bank-a/file2")},
		{name: "writes outside of the walls, from outside", past: []call{reads("wiki")}, call: writes("wiki"), allow: true},
		{name: "reads outside of the walls", past: []call{reads("bank-a/file")}, call: reads("wiki"), allow: true},
		{name: "no object", past: []call{reads("bank-a/file")}, call: call{by: desk, op: "a"}, allow: true},
		{name: "claims", past: []call{reads("bank-a/file")}, call: call{by: desk, op: "doc.read", on: "bank-b/file", claims: claims, labels: claimed}},
		{name: "unknown class", set: `brewer_nash|classes=["oil"]`, call: reads("bank-a/file")},
		{name: "unknown operation on another class", past: []call{reads("bank-a/file")}, call: call{by: desk, op: "doc.stamp", on: "oil-x/file"}},
		{name: "unknown operation outside of the walls", past: []call{reads("bank-a/file")}, call: call{by: desk, op: "doc.stamp", on: "wiki"}},
		{name: "edits outside of the walls", past: []call{reads("bank-a/file")}, call: call{by: desk, op: "doc.edit", on: "wiki"}},
		{name: "no read list", without: "brewer_nash|read", call: reads("wiki")},
		{name: "no classes", without: "brewer_nash|classes", call: reads("wiki")},
		{name: "no write list", without: "brewer_nash|write", call: reads("wiki")},
	})
}

func TestClarkWilson(t *testing.T) {
	post := func(user string) call { return call{by: ledger, op: "account.post", on: "accounts", user: user} }
	open := call{by: ledger, op: "account.open", on: "accounts", user: "ada"}
	form := call{by: gateway, op: "form.read", source: "user_input", taints: []string{"raw"}}
	validate := call{by: gateway, op: "form.validate", sanitizer: "schema", removes: []string{"raw"}}
	decide(t, "kest/clark_wilson", []row{
		{name: "certified triple", call: post("bob"), allow: true},
		{name: "another user", call: post("cy")},
		{name: "nobody", call: post("")},
		{name: "another workload", call: call{by: payments, op: "account.post", on: "accounts", user: "bob"}},
		{name: "another procedure", call: call{by: ledger, op: "account.read", on: "accounts", user: "bob"}},
		{name: "certifier", call: post("eve")},
		{name: "opens", call: open, allow: true},
		{name: "opens and posts", past: []call{open}, call: post("ada")},
		{name: "opens, another posts", past: []call{open}, call: post("bob"), allow: true},
		{name: "opens twice", past: []call{open}, call: open, allow: true},
		{name: "unconstrained data", past: []call{form}, call: post("bob")},
		{name: "unconstrained data of its own", call: call{by: ledger, op: "account.post", on: "accounts", user: "bob", source: "internet"}},
		{name: "transformed", past: []call{form, validate}, call: post("bob"), allow: true},
		{name: "transformed and read again", past: []call{form, validate, form}, call: post("bob")},
		{name: "sanitizer that removes nothing", past: []call{form, {by: gateway, op: "form.validate", sanitizer: "schema"}}, call: post("bob")},
		{name: "transforms", past: []call{form}, call: validate, allow: true},
		{name: "transforms without a certificate", past: []call{form}, call: call{by: desk, op: "form.validate", sanitizer: "schema", removes: []string{"raw"}}},
		{name: "procedure without an item", call: call{by: ledger, op: "account.post", user: "bob"}},
		{name: "procedure on something else", call: call{by: ledger, op: "account.post", on: "wiki", user: "bob"}},
		{name: "another object", past: []call{form}, call: call{by: assistant, op: "a", on: "wiki"}, allow: true},
		{name: "no object", call: call{by: assistant, op: "a"}, allow: true},
		{name: "claims", call: call{by: ledger, op: "account.post", on: "accounts", user: "cy", claims: claims, labels: claimed}},
		{name: "certifier on another object", call: call{by: ledger, op: "a", on: "wiki", user: "eve"}, allow: true},
		{name: "separate procedure of another object", set: `resources|wiki={"separate_from": "account.open"}`, past: []call{open}, call: call{by: ledger, op: "a", on: "wiki", user: "ada"}, allow: true},
		{name: "triples that are no list", set: `resources|accounts|triples={"x": {"user": "bob", "operation": "account.post", "workload": "spiffe://example.org/ledger"}}`, call: post("bob")},
		{name: "no procedures", without: "clark_wilson|procedures", call: call{by: ledger, op: "a"}},
		{name: "no certifiers", without: "clark_wilson|certifiers", call: call{by: ledger, op: "a"}},
		{name: "no sources", without: "clark_wilson|unconstrained", call: call{by: ledger, op: "a"}},
		{name: "no sanitizers", without: "clark_wilson|sanitizers", call: call{by: ledger, op: "a"}},
		{name: "no triples", without: "resources|accounts|triples", call: post("bob")},
	})
}

func TestNonInterference(t *testing.T) {
	by := func(workload string) call { return call{by: workload, op: "a"} }
	decide(t, "kest/non_interference", []row{
		{name: "alone", call: by(gateway), allow: true},
		{name: "own domain", past: []call{by(assistant)}, call: by(gateway), allow: true},
		{name: "may interfere", past: []call{by(gateway)}, call: by(payments), allow: true},
		{name: "must not interfere", past: []call{by(payments)}, call: by(gateway)},
		{name: "must not, elsewhere", past: []call{{by: payments, op: "a", remote: true}}, call: by(gateway)},
		{name: "flows are not transitive", past: []call{by(gateway), by(payments)}, call: by(vault)},
		{name: "through a sanitizer", past: []call{by(gateway), {by: desk, op: "a", sanitizer: "x", removes: []string{"y"}}}, call: by(vault)},
		{name: "neighbour", past: []call{by(payments)}, call: by(vault), allow: true},
		{name: "long ago", past: append([]call{by(gateway)}, many(140)...), call: by(vault)},
		{name: "unknown workload", call: by(stranger)},
		{name: "unknown ancestor", past: []call{by(stranger)}, call: by(payments)},
		{name: "claims", past: []call{by(gateway)}, call: call{by: vault, op: "a", claims: claims, labels: claimed}},
		{name: "label of its domain", past: []call{{by: gateway, op: "a", labels: claimed}}, call: by(vault)},
		{name: "no flows", without: "non_interference|flows", call: by(gateway)},
		{name: "no flows into the domain", without: "non_interference|flows|core", past: []call{by(gateway)}, call: by(payments)},
		{name: "no domain", without: "workloads|" + gateway + "|domain", call: by(gateway)},
		{name: "ancestor without a domain", without: "workloads|" + gateway + "|domain", past: []call{by(gateway)}, call: by(payments)},
	})
}
