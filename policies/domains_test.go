package policies_test

import "testing"

func TestPayments(t *testing.T) {
	form := call{by: gateway, op: "form.read", source: "user_input", taints: []string{"raw"}}
	validate := call{by: gateway, op: "form.validate", sanitizer: "schema", removes: []string{"raw"}}
	order := call{by: gateway, op: "order.read", on: "order/1"}
	check := call{by: payments, op: "fraud.check", on: "order/1"}
	other, customer := check, check
	other.on, customer.on = "order/2", "customer/7"
	pay := call{by: payments, op: "payment.send", on: "order/1"}
	with := func(change func(*call)) call { c := pay; change(&c); return c }
	decide(t, "kest/payments", []row{
		{name: "checked", past: []call{check}, call: pay, allow: true},
		{name: "checked input that was validated", past: []call{form, validate, check}, call: pay, allow: true},
		{name: "not checked", past: []call{order}, call: pay},
		{name: "check failed", past: []call{{by: payments, op: "fraud.check", on: "order/1", fails: true}}, call: pay},
		{name: "checked by another workload", past: []call{{by: ledger, op: "fraud.check", on: "order/1"}}, call: pay},
		{name: "checked elsewhere, how it ended is not known", past: []call{{by: payments, op: "fraud.check", on: "order/1", remote: true}}, call: pay},
		{name: "checked inside of another call", past: []call{{by: gateway, op: "a", inside: []call{check}}}, call: pay, allow: true},
		{name: "raw input", past: []call{form, check}, call: pay},
		{name: "raw input after the check", past: []call{check, form}, call: pay},
		{name: "raw input beside the validated one", past: []call{form, validate, {by: gateway, op: "web.read", source: "internet", remote: true}, check}, call: pay},
		{name: "sanitizer that removes nothing", past: []call{form, {by: gateway, op: "form.validate", sanitizer: "schema"}, check}, call: pay},
		{name: "input of its own", past: []call{check}, call: with(func(c *call) { c.source = "llm" })},
		{name: "sanitizes itself", past: []call{form, check}, call: with(func(c *call) { c.sanitizer, c.removes = "x", []string{"raw"} })},
		{name: "sets its own trust", past: []call{check}, call: with(func(c *call) { c.override = 100 })},
		{name: "another payer", past: []call{order, {by: ledger, op: "fraud.check", on: "order/1"}}, call: with(func(c *call) { c.by = ledger })},
		{name: "another order", past: []call{check}, call: with(func(c *call) { c.on = "order/2" })},
		{name: "another order was checked", past: []call{order, other}, call: pay},
		{name: "both orders were checked", past: []call{check, other}, call: pay, allow: true},
		{name: "another order passed the check", past: []call{{by: payments, op: "fraud.check", on: "order/1", fails: true}, other}, call: pay},
		{name: "this payer checked another order", past: []call{{by: ledger, op: "fraud.check", on: "order/1"}, other}, call: pay},
		{name: "a check of nothing", past: []call{order, {by: payments, op: "fraud.check"}}, call: pay},
		{name: "another operation on the order", past: []call{{by: payments, op: "order.read", on: "order/1"}, other}, call: pay},
		{name: "checked long ago", past: append([]call{check}, many(140)...), call: pay, allow: true},
		{name: "another order was checked, nothing is said", without: "payments|check_any_object", past: []call{order, other}, call: pay},
		{name: "checked, nothing is said", without: "payments|check_any_object", past: []call{check}, call: pay, allow: true},
		{name: "another order was checked, said in a text", set: `payments|check_any_object="true"`, past: []call{order, other}, call: pay},
		{name: "checked, said in a text", set: `payments|check_any_object="true"`, past: []call{check}, call: pay, allow: true},
		{name: "any object, checked", set: `payments|check_any_object=true`, past: []call{order, customer}, call: pay, allow: true},
		{name: "any object, not checked", set: `payments|check_any_object=true`, past: []call{order}, call: pay},
		{name: "any object, check failed", set: `payments|check_any_object=true`, past: []call{order, {by: payments, op: "fraud.check", on: "customer/7", fails: true}}, call: pay},
		{name: "any object, checked by another workload", set: `payments|check_any_object=true`, past: []call{order, {by: ledger, op: "fraud.check", on: "customer/7"}}, call: pay},
		{name: "any object, another order", set: `payments|check_any_object=true`, past: []call{check}, call: with(func(c *call) { c.on = "order/2" })},
		{name: "any object, no order", set: `payments|check_any_object=true`, past: []call{check}, call: with(func(c *call) { c.on = "" })},
		{name: "no order", past: []call{check}, call: with(func(c *call) { c.on = "" })},
		{name: "claims", past: []call{order}, call: with(func(c *call) { c.claims, c.labels = claims, claimed })},
		{name: "label of the checker", past: []call{{by: payments, op: "a", on: "order/1", labels: claimed}}, call: pay},
		{name: "validates", past: []call{form}, call: validate, allow: true},
		{name: "validates without a certificate", past: []call{form}, call: call{by: assistant, op: "form.validate", sanitizer: "schema", removes: []string{"raw"}}},
		{name: "another operation", past: []call{form}, call: call{by: assistant, op: "a", source: "internet"}, allow: true},
		{name: "sanitizes itself, certified", set: `payments|sanitizers=[{"operation": "payment.send", "workload": "spiffe://example.org/payments"}]`, past: []call{check}, call: with(func(c *call) { c.sanitizer, c.removes = "x", []string{"raw"} })},
		{name: "no check, no payment", without: "payments|check", call: call{by: payments, op: "a"}},
		{name: "no payers, no payment", without: "payments|payers", call: call{by: payments, op: "a"}},
		{name: "no sources, no payment", without: "payments|untrusted", call: call{by: payments, op: "a"}},
		{name: "no sanitizers, no payment", without: "payments|sanitizers", call: call{by: payments, op: "a"}},
		{name: "no operations", without: "payments|operations", call: call{by: payments, op: "a"}},
		{name: "no check", without: "payments|check", past: []call{check}, call: pay},
		{name: "no payers", without: "payments|payers", past: []call{check}, call: pay},
		{name: "no sources", without: "payments|untrusted", past: []call{check}, call: pay},
		{name: "no sanitizers", without: "payments|sanitizers", past: []call{check}, call: pay},
		{name: "no data", without: "payments", call: call{by: payments, op: "a"}},
	})
}

func TestAgentTools(t *testing.T) {
	tool := func(op string) call { return call{by: assistant, op: op, agent: "helper"} }
	web := call{by: assistant, op: "web.read", agent: "helper", source: "internet", taints: []string{"web"}}
	approve := call{by: desk, op: "human.approve", user: "ada", sanitizer: "human", removes: []string{"web", "unreviewed"}}
	draft := call{by: assistant, op: "llm.draft", agent: "helper", taints: []string{"unreviewed"}}
	decide(t, "kest/agent_tools", []row{
		{name: "reads", call: web, allow: true},
		{name: "reads after reading", past: []call{web}, call: web, allow: true},
		{name: "sends", call: tool("mail.send"), allow: true},
		{name: "sends what it read", past: []call{web}, call: tool("mail.send")},
		{name: "sends what is from the web itself", call: call{by: assistant, op: "mail.send", agent: "helper", source: "internet"}},
		{name: "sends what was read elsewhere", past: []call{{by: gateway, op: "a", source: "user_input", remote: true}}, call: tool("mail.send")},
		{name: "sends a draft", past: []call{draft}, call: tool("mail.send")},
		{name: "sends what was approved", past: []call{web, draft, approve}, call: tool("mail.send"), allow: true},
		{name: "reads on after the approval", past: []call{web, approve, web}, call: tool("mail.send")},
		{name: "approval of nothing", past: []call{web, {by: desk, op: "human.approve", sanitizer: "human"}}, call: tool("mail.send")},
		{name: "approves itself", past: []call{web}, call: call{by: assistant, op: "mail.send", agent: "helper", sanitizer: "human", removes: []string{"web"}}},
		{name: "approving", past: []call{web}, call: approve, allow: true},
		{name: "approving by the agent's workload", past: []call{web}, call: call{by: assistant, op: "human.approve", sanitizer: "human", removes: []string{"web"}}},
		{name: "reads with a draft", past: []call{draft}, call: tool("web.read"), allow: true},
		{name: "reads and has effects", set: `agent_tools|side_effects=["web.read"]`, past: []call{draft}, call: tool("web.read")},
		{name: "reads the web and has effects", set: `agent_tools|side_effects=["web.read"]`, past: []call{web}, call: tool("web.read")},
		{name: "reads with an approval", set: `agent_tools|approved_only=["web.read"]`, past: []call{approve}, call: tool("web.read"), allow: true},
		{name: "reads a draft after the approval", set: `agent_tools|approved_only=["web.read"]`, past: []call{approve, draft}, call: tool("web.read")},
		{name: "reads the web after the approval", set: `agent_tools|approved_only=["web.read"]`, past: []call{approve, web}, call: tool("web.read")},
		{name: "tool that is in no list, clean", call: tool("note.add"), allow: true},
		{name: "tool that is in no list", past: []call{web}, call: tool("note.add")},
		{name: "deletes", call: tool("file.delete")},
		{name: "deletes what was approved", past: []call{approve}, call: tool("file.delete"), allow: true},
		{name: "deletes, approval by another workload", past: []call{{by: assistant, op: "human.approve"}}, call: tool("file.delete")},
		{name: "deletes, approval failed", past: []call{{by: desk, op: "human.approve", fails: true}}, call: tool("file.delete")},
		{name: "not granted", call: tool("file.write")},
		{name: "another agent", call: call{by: assistant, op: "mail.send", agent: "reader"}},
		{name: "the agent's name by another workload", call: call{by: gateway, op: "mail.send", agent: "helper"}},
		{name: "tool without an agent", call: call{by: assistant, op: "mail.send"}},
		{name: "reading tool without an agent", call: call{by: assistant, op: "web.read"}},
		{name: "approved tool without an agent", past: []call{approve}, call: call{by: assistant, op: "file.delete"}},
		{name: "sets its own trust", call: call{by: assistant, op: "web.read", agent: "helper", override: 100}},
		{name: "claims", past: []call{web}, call: call{by: assistant, op: "mail.send", agent: "helper", claims: claims, labels: claimed}},
		{name: "no tool and no agent", past: []call{web}, call: call{by: payments, op: "a"}, allow: true},
		{name: "no tool and no agent, after a draft", past: []call{draft}, call: call{by: payments, op: "a"}, allow: true},
		{name: "no tool and no agent, with its own trust", call: call{by: payments, op: "a", override: 90}, allow: true},
		{name: "no read_only", without: "agent_tools|read_only", call: call{by: payments, op: "a"}},
		{name: "no side_effects", without: "agent_tools|side_effects", call: call{by: payments, op: "a"}},
		{name: "no grants", without: "agent_tools|grants", call: call{by: payments, op: "a"}},
		{name: "no sources", without: "agent_tools|untrusted", call: call{by: payments, op: "a"}},
		{name: "no taints", without: "agent_tools|taints", call: call{by: payments, op: "a"}},
		{name: "no sanitizers", without: "agent_tools|sanitizers", call: call{by: payments, op: "a"}},
		{name: "no approved_only", without: "agent_tools|approved_only", call: call{by: payments, op: "a"}},
		{name: "no approvals", without: "agent_tools|approvals", call: call{by: payments, op: "a"}},
	})
}
