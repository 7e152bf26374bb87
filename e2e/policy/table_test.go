package policy_test

import (
	"fmt"
	"math"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
)

// A row is one decision: a policy in both languages, what happened before the call, and what must come of it.
type row struct {
	name        string
	rego, cedar string // the condition under which the policy allows; or the policy, where it begins with a line end
	past        []did  // guarded calls before, in the same session
	with        []kest.Option
	config      func(*kest.Config)
	unchecked   bool // the engine cannot say beforehand which policies it has

	want    string // "allow", or how the denial is classed: "denied", "unknown", "unavailable", "indefinite"
	by      string // tier and policy of the denial; "" for the row's own
	differs map[string]string
}

// did is a call before the one in question.
type did struct {
	operation string
	with      []kest.Option
	fails     bool
}

func with(options ...kest.Option) []kest.Option { return options }

func attributes(name string, value any) []kest.Option {
	return with(kest.Attributes(map[string]any{name: value}))
}

// Policies that rows use in other tiers. any allows, no denies, and broken has no definite answer.
const anyPolicy, noPolicy, brokenPolicy = "shared/any", "shared/no", "shared/broken"

var shared = map[string]source{
	anyPolicy:    {rego: "package shared.any\nallow := true\n", cedar: permit(anyPolicy, "true")},
	noPolicy:     {rego: "package shared.no\nallow := false\n", cedar: forbid(noPolicy, "true")},
	brokenPolicy: {rego: "package shared.broken\nallow := true\nallow := false if input.trust_score >= 0\n", cedar: permit(brokenPolicy, "true") + forbid(brokenPolicy, "context.nothing == 1")},
}

func permit(action, condition string) string { return rule("permit", action, condition) }
func forbid(action, condition string) string { return rule("forbid", action, condition) }

func rule(effect, action, condition string) string {
	return fmt.Sprintf("%s(principal, action == Action::%q, resource) when { %s };\n", effect, action, condition)
}

func lifting(scope string) func(*kest.Config) {
	return func(c *kest.Config) {
		c.Platform = []string{noPolicy}
		c.Deviations = []policy.Deviation{{Policy: noPolicy, Tier: policy.Platform, Scope: scope, Reason: "CHG-1", Approver: "ciso"}}
	}
}

func enterprise(names ...string) func(*kest.Config) {
	return func(c *kest.Config) { c.Enterprise = names }
}

var (
	fromInternet = did{operation: "fetch", with: with(kest.SourceType(lineage.SourceInternet))}
	checked      = did{operation: "fraud.check"}
	tainted      = did{operation: "read", with: with(kest.AddTaints("pii"))}
	scrubbed     = did{operation: "scrub", with: with(kest.RemoveTaints("pii"), kest.Sanitizer("scrub/v1"))}
)

// Differences that are the languages' own, or the wire's. Whatever they are, they deny.
var (
	noSuchNumber = map[string]string{ // a number of Cedar has four digits after the point at most
		"rego": "allow", "opa": "allow",
	}
	sendsAll = map[string]string{ // a server is sent the whole input, so what Cedar cannot hold is refused unread, too
		"agent": "indefinite", "avp": "indefinite",
	}
	typedNumbers = map[string]string{ // Rego asks for the type; Cedar cannot, and comparing a text with a number fails
		"rego": "denied", "opa": "denied",
	}
	oneSet = map[string]string{ // OPA says {} both for what it does not have and for what is undefined; to a Cedar server
		// a policy that nobody wrote is an action that nothing permits
		"opa": "indefinite", "agent": "denied", "avp": "denied",
	}
)

const steps = `some s in input.lineage.steps; s.operation == "fraud.check"; s.outcome == "ok"; s.principal == input.subject.workload`
const cedarSteps = `context.lineage.steps.contains({operation: "fraud.check", outcome: "ok", principal: context.subject.workload})`

const acts = `{"operation": "fraud.check", "outcome": "ok", "principal": input.subject.workload, "resource": input.object.id} in input.lineage.acts`
const cedarActs = `context.lineage.acts.contains({operation: "fraud.check", outcome: "ok", principal: context.subject.workload, resource: context.object.id})`

// quoted is what somebody could call himself.
const quoted = `al"ice' \ || true || "` + "\n\t\u2028"

var table = []row{
	// trust
	{name: "trust at the threshold", rego: `input.trust_score >= 40`, cedar: `context.trust_score >= 40`, with: with(kest.TrustOverride(40)), want: "allow"},
	{name: "trust below it", rego: `input.trust_score >= 40`, cedar: `context.trust_score >= 40`, with: with(kest.TrustOverride(39)), want: "denied"},
	{name: "no trust at all", rego: `input.trust_score == 0`, cedar: `context.trust_score == 0`, with: with(kest.TrustOverride(0)), want: "allow"},
	{name: "a root from the internet", rego: `input.subject.trust_score >= 40`, cedar: `context.subject.trust_score >= 40`, with: with(kest.SourceType("internet")), want: "denied"},
	{name: "a call after the internet", rego: `input.trust_score >= 40`, cedar: `context["subject.trust_score"] >= 40`, past: []did{fromInternet}, want: "denied"},
	{name: "the least trusted ancestor", rego: `input.lineage.min_trust >= 40`, cedar: `context.lineage.min_trust >= 40`, past: []did{fromInternet}, with: with(kest.TrustOverride(100)), want: "denied"},
	{name: "an override is shown", rego: `input.environment.trust_override == 90`, cedar: `context.environment.trust_override == 90`, with: with(kest.TrustOverride(90)), want: "allow"},
	{name: "no override is null", rego: `input.environment.trust_override == null`, cedar: `!(context.environment has trust_override)`, want: "allow"},

	// nested members
	{name: "the workload", rego: `input.subject.workload == "` + payments + `"`, cedar: `context.subject.workload == "` + payments + `" && principal == Workload::"` + payments + `"`, want: "allow"},
	{name: "another workload", rego: `input.subject.workload == "spiffe://example.org/other"`, cedar: `principal == Workload::"spiffe://example.org/other"`, want: "denied"},
	{name: "agent and task", rego: `input.identity.agent == "agent-7"; input.subject.task == "pay"`, cedar: `context.identity.agent == "agent-7" && context["subject.task"] == "pay"`, with: with(kest.Agent("agent-7"), kest.Task("pay")), want: "allow"},
	{name: "the object", rego: `input.object.id == "order/ORD-123"`, cedar: `resource == Resource::"order/ORD-123" && context.object.id == "order/ORD-123"`, with: with(kest.Resource("order/ORD-123")), want: "allow"},
	{name: "no object", rego: `input.object.id == null`, cedar: `resource == Resource::"*" && !(context.object has id)`, want: "allow"},
	{name: "attributes of the object", rego: `input.object.attributes.level == "secret"`, cedar: `context.object.attributes.level == "secret"`, with: with(kest.ResourceAttributes(map[string]any{"level": "public"})), want: "denied"},
	{name: "operation and classification", rego: `input.environment.operation == "pay"; input.environment.classification == "critic"`, cedar: `context.environment.operation == "pay" && context["environment.classification"] == "critic"`, with: with(kest.Classification("critic")), want: "allow"},
	{name: "a root", rego: `input.environment.is_root; input.environment.parent_hash == "0"; count(input.environment.parent_hashes) == 0`, cedar: `context.environment.is_root && context.environment.parent_hash == "0" && context.environment.parent_hashes.isEmpty()`, want: "allow"},
	{name: "no root", rego: `not input.environment.is_root; input.lineage.length == 2`, cedar: `!context.environment.is_root && context["lineage.length"] == 2`, past: []did{checked, checked}, want: "allow"},
	{name: "the tier and its policies", rego: `input.environment.policy_tier == "function"; "shared/any" in input.environment.policy_names; count(input.environment.policy_names) == 2`,
		cedar: `context.environment.policy_tier == "function" && context.environment.policy_names.contains("shared/any")`, with: with(kest.Policy(anyPolicy)), config: enterprise(anyPolicy), want: "allow"},

	// nobody, and nothing
	{name: "no user is null", rego: `input.subject.user == null; input.identity.user == null`, cedar: `!(context.subject has user) && !(context has "subject.user") && !(context.identity has user)`, want: "allow"},
	{name: "no user is not alice", rego: `input.subject.user == "alice"`, cedar: `context.subject has user && context.subject.user == "alice"`, want: "denied"},
	{name: "what is not there decides nothing", rego: "\nallow if input.subject.nothing == 1\n", cedar: `context.subject.nothing == 1`, want: "indefinite"},
	{name: "a null attribute", rego: `input.attributes.x == null`, cedar: `!(context.attributes has x)`, with: attributes("x", nil), want: "allow"},
	{name: "an empty text is one", rego: `input.attributes.x == ""`, cedar: `context.attributes.x == ""`, with: attributes("x", ""), want: "allow"},

	// text
	{name: "quotes and line ends", rego: `input.subject.user == input.attributes.expected; contains(input.subject.user, "\"ice' \\ ||")`, cedar: `context.subject.user == context.attributes.expected && context.subject.user like "*\"ice' \\ ||*\n\t*"`,
		with: with(kest.User(quoted), kest.Attributes(map[string]any{"expected": quoted})), want: "allow"},
	{name: "a name that is an expression", rego: `input.subject.user == "alice"`, cedar: `context.subject.user == "alice"`, with: with(kest.User(`alice" || true || "`)), want: "denied"},
	{name: "a resource that is a policy", rego: `input.object.id == "a\"; permit(principal, action, resource);"`, cedar: `resource == Resource::"a\"; permit(principal, action, resource);"`, with: with(kest.Resource(`a"; permit(principal, action, resource);`)), want: "allow"},
	{name: "a resource that ends another", rego: `input.object.id == "order/1"`, cedar: `resource == Resource::"order/1"`, with: with(kest.Resource(`order/1", "x`)), want: "denied"},
	{name: "letters of all kinds", rego: `input.subject.user == "zoë 日本 😀"`, cedar: `context.subject.user == "zoë 日本 😀"`, with: with(kest.User("zoë 日本 😀")), want: "allow"},
	{name: "a letter that looks like another", rego: `input.subject.user == "alice"`, cedar: `context.subject.user == "alice"`, with: with(kest.User("\u0430lice")), want: "denied"},
	{name: "no normal form", rego: `input.subject.user == "zo\u00eb"`, cedar: `context.subject.user == "zo\u{eb}"`, with: with(kest.User("zoe\u0308")), want: "denied"},

	// taints
	{name: "a taint of an ancestor", rego: `not "pii" in input.subject.taints`, cedar: `!context.subject.taints.contains("pii")`, past: []did{tainted}, want: "denied"},
	{name: "a taint of the call", rego: `"pii" in input.subject.taints`, cedar: `context["subject.taints"].contains("pii")`, with: with(kest.AddTaints("pii", "x")), want: "allow"},
	{name: "no taints", rego: `count(input.subject.taints) == 0`, cedar: `context.subject.taints.isEmpty()`, want: "allow"},
	{name: "a taint that was removed", rego: `not "pii" in input.subject.taints`, cedar: `!context.subject.taints.contains("pii")`, past: []did{tainted, scrubbed}, want: "allow"},
	{name: "that it once was there", rego: `not "pii" in input.lineage.taints`, cedar: `!context.lineage.taints.contains("pii")`, past: []did{tainted, scrubbed}, want: "denied"},
	{name: "who removes it, and by what", rego: `input.environment.removed_taints == ["pii"]; input.environment.sanitizer == "scrub/v1"`, cedar: `context.environment.removed_taints == ["pii"] && context.environment.sanitizer == "scrub/v1"`, past: []did{tainted}, with: scrubbed.with, want: "allow"},

	// attributes
	{name: "a list in an object", rego: `"b" in input.attributes.a.list`, cedar: `context.attributes.a.list.contains("b") && context["attributes.a.list"].contains("b")`, with: attributes("a", map[string]any{"list": []string{"a", "b"}}), want: "allow"},
	{name: "a truth value", rego: `input.attributes.ok == true`, cedar: `context.attributes.ok`, with: attributes("ok", false), want: "denied"},
	{name: "an odd name", rego: `input.attributes["a b\"c"] == "x"`, cedar: `context.attributes["a b\"c"] == "x"`, with: attributes(`a b"c`, "x"), want: "allow"},
	{name: "a name with a dot", rego: `input.attributes["http.method"] == "GET"`, cedar: `context["attributes.http.method"] == "GET"`, with: attributes("http.method", "GET"), want: "allow"},
	{name: "the largest whole number", rego: `input.attributes.n == 9007199254740991`, cedar: `context.attributes.n == 9007199254740991`, with: attributes("n", int64(1<<53-1)), want: "allow"},
	{name: "one less than it", rego: `input.attributes.n == 9007199254740991`, cedar: `context.attributes.n == 9007199254740991`, with: attributes("n", int64(1<<53-2)), want: "denied"},
	{name: "a negative number", rego: `input.attributes.n < -1`, cedar: `context.attributes.n < -1`, with: attributes("n", -2), want: "allow"},
	{name: "a whole number is one however it is written", rego: `input.attributes.n == 100`, cedar: `context.attributes.n == 100`, with: attributes("n", 1e2), want: "allow"},
	{name: "a negative zero", rego: `input.attributes.n == 0`, cedar: `context.attributes.n == 0`, with: attributes("n", math.Copysign(0, -1)), want: "allow"},
	{name: "a number with a fraction", rego: `input.attributes.n > 87.4999`, cedar: `context.attributes.n.greaterThan(decimal("87.4999"))`, with: attributes("n", 87.5), want: "allow"},
	{name: "a number with a long fraction", rego: `input.attributes.n == 0.00001`, cedar: `context.attributes has n`, with: attributes("n", 0.00001), want: "indefinite", differs: noSuchNumber},
	{name: "a long fraction that nobody reads", rego: `input.trust_score == 100`, cedar: `context.trust_score == 100`, with: attributes("n", 0.00001), want: "allow", differs: sendsAll},
	{name: "a reserved name that nobody reads", rego: `input.trust_score == 100`, cedar: `context.trust_score == 100`, with: attributes("x", map[string]any{"__entity": map[string]any{"type": "Group", "id": "staff"}}), want: "allow", differs: sendsAll},
	{name: "a text is no number", rego: `input.attributes.n == 40`, cedar: `context.attributes.n == 40`, with: attributes("n", "40"), want: "denied"},
	{name: "a text is not more than a number", rego: `is_number(input.attributes.n); input.attributes.n >= 40`, cedar: `context.attributes.n >= 40`, with: attributes("n", "high"), want: "indefinite", differs: typedNumbers},

	// lineage
	{name: "a step before", rego: steps, cedar: cedarSteps, past: []did{checked}, want: "allow"},
	{name: "a step that failed", rego: steps, cedar: cedarSteps, past: []did{{operation: "fraud.check", fails: true}}, want: "denied"},
	{name: "no such step", rego: steps, cedar: cedarSteps, past: []did{{operation: "fraud.chec"}}, want: "denied"},
	{name: "unsanitised input", rego: `not "internet" in input.lineage.unsanitized_sources`, cedar: `!context.lineage.unsanitized_sources.contains("internet")`, past: []did{fromInternet, checked}, want: "denied"},
	{name: "sanitised input", rego: `not "internet" in input.lineage.unsanitized_sources; "internet" in input.lineage.source_types`, cedar: `!context.lineage.unsanitized_sources.contains("internet") && context.lineage.source_types.contains("internet")`,
		past: []did{{operation: "fetch", with: with(kest.SourceType("internet"), kest.AddTaints("pii"))}, scrubbed}, want: "allow"},
	{name: "a sanitizer that removed nothing", rego: `not "internet" in input.lineage.unsanitized_sources`, cedar: `!context.lineage.unsanitized_sources.contains("internet")`, past: []did{fromInternet, {operation: "scrub", with: with(kest.Sanitizer("scrub/v1"))}}, want: "denied"},
	{name: "separation of duties", rego: `not {"operation": "request", "user": input.subject.user} in input.lineage.users`, cedar: `!context.lineage.users.contains({operation: "request", user: context.subject.user})`,
		past: []did{{operation: "request", with: with(kest.User("alice"))}}, with: with(kest.User("alice")), want: "denied"},
	{name: "another person", rego: `not {"operation": "request", "user": input.subject.user} in input.lineage.users`, cedar: `!context.lineage.users.contains({operation: "request", user: context.subject.user})`,
		past: []did{{operation: "request", with: with(kest.User("bob"))}}, with: with(kest.User("alice")), want: "allow"},
	{name: "labels of the call", rego: `input.labels.level == "secret"`, cedar: `context.labels.level == "secret" && context["labels.level"] == "secret"`, with: with(kest.Label("level", "secret")), want: "allow"},
	{name: "labels of ancestors", rego: `{"name": "level", "value": "secret"} in input.lineage.labels; not input.labels.level`, cedar: `context.lineage.labels.contains({name: "level", value: "secret"}) && !(context.labels has level)`, past: []did{{operation: "read", with: with(kest.Label("level", "secret"))}}, want: "allow"},
	{name: "a label that is not a claim", rego: `input.labels.level == "secret"`, cedar: `context.labels has level && context.labels.level == "secret"`, past: []did{{operation: "read", with: with(kest.Label("level", "secret"))}}, want: "denied"},
	{name: "what ancestors acted on", rego: `input.lineage.resources == ["account/1", "account/2"]; input.lineage.operations == ["read"]`, cedar: `context.lineage.resources == ["account/1", "account/2"] && context.lineage.operations == ["read"]`,
		past: []did{{operation: "read", with: with(kest.Resource("account/2"))}, {operation: "read", with: with(kest.Resource("account/1"))}}, want: "allow"},
	{name: "a step on the object", rego: acts, cedar: cedarActs, past: []did{{operation: "fraud.check", with: with(kest.Resource("order/1"))}}, with: with(kest.Resource("order/1")), want: "allow"},
	{name: "a step on another object", rego: acts, cedar: cedarActs, past: []did{{operation: "fraud.check", with: with(kest.Resource("order/2"))}, {operation: "read", with: with(kest.Resource("order/1"))}}, with: with(kest.Resource("order/1")), want: "denied"},
	{name: "one ancestor, whole", rego: `some a in input.lineage.ancestors; a == {"operation": "read", "classification": "system", "source_type": "internal", "principal": input.subject.workload, "user": "alice", "agent": null, "task": null, "resource": null,
			"trust_score": 55, "overridden": true, "taints": ["pii"], "removed_taints": [], "sanitizer": null, "labels": {"level": "secret"}, "outcome": "ok", "parents": []}; input.lineage.ancestors_omitted == 0`,
		cedar: `context.lineage.ancestors.contains({operation: "read", classification: "system", source_type: "internal", principal: context.subject.workload, user: "alice",
			trust_score: 55, overridden: true, taints: ["pii"], removed_taints: [], labels: {level: "secret"}, outcome: "ok", parents: []}) && context.lineage.ancestors_omitted == 0`,
		past: []did{{operation: "read", with: with(kest.User("alice"), kest.TrustOverride(55), kest.AddTaints("pii"), kest.Label("level", "secret"))}}, want: "allow"},

	// tiers and deviations
	{name: "a deviation is shown", rego: `some d in input.environment.active_deviations; d.policy == "shared/no"; d.approver == "ciso"; d.approver_key == null`, cedar: `context.environment.active_deviations.contains({policy: "shared/no", tier: "platform", reason: "CHG-1", approver: "ciso"})`, config: lifting("p*"), want: "allow"},
	{name: "a deviation for another operation", rego: `true`, cedar: `true`, config: lifting("x*"), want: "denied", by: "platform " + noPolicy},
	{name: "enterprise comes first", rego: `false`, cedar: `false`, config: enterprise(noPolicy), want: "denied", by: "enterprise " + noPolicy},
	{name: "the first of two", rego: `true`, cedar: `true`, config: enterprise(noPolicy, anyPolicy), want: "denied", by: "enterprise " + noPolicy},
	{name: "the second of two", rego: `true`, cedar: `true`, config: enterprise(anyPolicy, noPolicy), want: "denied", by: "enterprise " + noPolicy},
	{name: "a denial before an error", rego: `true`, cedar: `true`, config: enterprise(anyPolicy, noPolicy, brokenPolicy), want: "denied", by: "enterprise " + noPolicy},
	{name: "an error before a denial", rego: `true`, cedar: `true`, config: enterprise(brokenPolicy, noPolicy), want: "indefinite", by: "enterprise " + brokenPolicy},
	{name: "an error after an allow", rego: `true`, cedar: `true`, with: with(kest.Policy(brokenPolicy)), want: "indefinite", by: "function " + brokenPolicy},
	{name: "all tiers allow", rego: `true`, cedar: `true`, with: with(kest.Policy(anyPolicy)), want: "allow",
		config: func(c *kest.Config) {
			c.Enterprise, c.Platform, c.Application = []string{anyPolicy}, []string{anyPolicy}, []string{anyPolicy}
		}},

	// errors
	{name: "no such policy", rego: `true`, cedar: `true`, with: with(kest.Policy("shared/missing")), unchecked: true, want: "unknown", by: "function shared/missing", differs: oneSet},
	{name: "values in conflict", rego: "\nallow := true\nallow := false if input.trust_score >= 0\n", cedar: "\n" + permit("ROW", "true") + forbid("ROW", "context.nothing == 1"), want: "indefinite"},
	{name: "a function that fails", rego: `to_number(input.subject.user) > 3`, cedar: "\n" + permit("ROW", "true") + forbid("ROW", "context.trust_score * 9223372036854775807 > 0"), with: with(kest.User("alice")), want: "indefinite"},
	{name: "a text is no answer", rego: "\nallow := \"true\"\n", cedar: "\n" + permit("ROW", "true") + forbid("ROW", "context.subject.workload"), want: "indefinite"},
	{name: "a number is no answer", rego: "\nallow := 1\n", cedar: `context.trust_score`, want: "indefinite"},
	{name: "no time", rego: `true`, cedar: `true`, config: func(c *kest.Config) { c.PolicyTimeout = 1 }, want: "unavailable"},
}
