package config_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/policy"
)

var quiet = slog.New(slog.DiscardHandler)

// parse reads a text as kest.yaml.
func parse(text string, environ ...string) (*config.Deployment, error) {
	return config.Parse([]byte(text), config.Options{File: "kest.yaml", Environ: environ, Logger: quiet})
}

func must(t *testing.T, text string, environ ...string) *config.Deployment {
	t.Helper()
	d, err := parse(text, environ...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// lines are the problems of an error.
func lines(t *testing.T, err error) []string {
	t.Helper()
	var bad *config.Error
	if !errors.As(err, &bad) {
		t.Fatalf("got %T %v, want a *config.Error", err, err)
	}
	var out []string
	for _, p := range bad.Problems {
		out = append(out, p.String())
	}
	return out
}

// bad are texts that are refused, and why.
func bad() []struct{ name, text, want string } {
	const tiers = "policies:\n  enterprise: [base]\n"
	return []struct{ name, text, want string }{
		// Text that is no tree of plain data.
		{"empty", "", "kest.yaml: the file is empty; write {} for a deployment without settings"},
		{"comment only", "# nothing\n", "kest.yaml: the file is empty; write {} for a deployment without settings"},
		{"null", "~\n", "kest.yaml:1:1: the file holds nothing, not settings; begin with a section, such as policies:"},
		{"nothing behind a mark", "---", "kest.yaml:1:1: the file holds nothing, not settings; begin with a section, such as policies:"},
		{"list", "- policies\n", "kest.yaml:1:1: the file holds a list, not settings; begin with a section, such as policies:"},
		{"tab", "policies:\n\tenterprise: [base]\n", "kest.yaml:2:1: a tab indents the line; use spaces"},
		{"tab after spaces", "policies:\n  platform: [a]\n  \tenterprise: [base]\n", "kest.yaml:3:3: a tab indents the line; use spaces"},
		{"not UTF-8", "policies:\n  enterprise: [b\xe4se]\n", "kest.yaml:2:17: the text is not UTF-8; save the file as UTF-8"},
		{"UTF-16", "\xff\xfep\x00o\x00", "kest.yaml:1:1: the text is not UTF-8; save the file as UTF-8"},
		{"NUL", "policies:\n  enterprise: [a\x00]\n", "kest.yaml:1:1: not YAML: control characters are not allowed; check the indentation of the line, its quotes and its brackets"},
		{"two documents", "policies: {}\n---\npolicies: {}\n", "kest.yaml:2:1: the file has a second document; keep one, and take out the line ---"},
		{"bad second document", "policies: {}\n---\n[\n", "kest.yaml:4:1: not YAML: did not find expected node content; check the indentation, the quotes and the brackets of this line and of those that belong to it"},
		{"bracket", "policies:\n  enterprise: [a, b\nengine: {}\n", "kest.yaml:2:3: not YAML: did not find expected ',' or ']'; check the indentation, the quotes and the brackets of this line and of those that belong to it"},
		{"indentation", "policies:\n  enterprise: [a]\n   platform: [b]\n", "kest.yaml:2:3: not YAML: did not find expected key; check the indentation, the quotes and the brackets of this line and of those that belong to it"},
		{"colon in text", "policies:\n  timeout: a: b\n", `kest.yaml:2:3: not YAML: mapping values are not allowed in this context; check the indentation of the line, and put text with ": " into quotes`},
		{"outdented item", "deviations:\n  - policy: a\n - policy: b\n", "kest.yaml:3:2: not YAML: did not find expected key; check the indentation, the quotes and the brackets of this line and of those that belong to it"},
		{"colon", "policies: {}\negress\norigins: {}\n", "kest.yaml:2:1: not YAML: could not find expected ':'; check the indentation of the line, its quotes and its brackets"},
		{"first line", "policies: 'a'b\n", "kest.yaml:1:1: not YAML: did not find expected key; check the indentation, the quotes and the brackets of this line and of those that belong to it"},
		{"anchor", "policies:\n  enterprise: &all [base]\n", "kest.yaml:2:15: policies.enterprise: anchors are not allowed; take out &all"},
		{"alias", "policies:\n  platform: *all\n", "kest.yaml:2:13: aliases are not allowed; write the value out"},
		{"anchor and alias", "origins: {a: &x 1, b: *x, c: *x}\n", "kest.yaml:1:14: origins.a: anchors are not allowed; take out &x\nkest.yaml:1:23: origins.b: aliases are not allowed; write the value out\nkest.yaml:1:30: origins.c: aliases are not allowed; write the value out"},
		{"bomb", bomb(), bombWant()},
		{"tag", "policies:\n  enterprise: !!set {base: }\n", "kest.yaml:2:15: policies.enterprise: tags are not allowed; take out \"!!set\""},
		{"tag with a line break", "policies: !a%0Ab x\n", "kest.yaml:1:11: policies: tags are not allowed; take out \"!a\\nb\""},
		{"custom tag", "policies: !secret x\n", "kest.yaml:1:11: policies: tags are not allowed; take out \"!secret\""},
		{"merge key", "policies:\n  <<: {enterprise: [base]}\n", "kest.yaml:2:3: policies: merge keys are not allowed; write the settings out"},
		{"key that is a list", "? [policies]\n: {}\n", "kest.yaml:1:3: a key is a list, not text; put it into quotes"},
		{"key that is a number", "origins:\n  7: 70\n", "kest.yaml:2:3: origins: a key is a number, not text; put it into quotes"},
		{"duplicate key", "policies:\n  enterprise: [base]\n  platform: [a]\n  enterprise: []\n", "kest.yaml:4:3: policies.enterprise: the key stands twice; the first is on line 2; keep one"},
		{"duplicate key in JSON", `{"policies": {"enterprise": ["base"], "\u0065nterprise": []}}`, "kest.yaml:1:39: policies.enterprise: the key stands twice; the first is on line 1; keep one"},
		{"duplicate section", "egress: {}\negress: {}\n", "kest.yaml:2:1: egress: the key stands twice; the first is on line 1; keep one"},
		{"escape of JSON", `{"trust_bundle": "a\/b"}`, "kest.yaml:1:1: not YAML: found unknown escape character; write the character itself"},
		{"depth", strings.Repeat("[", 40) + strings.Repeat("]", 40), "kest.yaml:1:33: " + strings.Repeat("[0]", 32) + ": more than 32 levels"},
		{"depth bomb", strings.Repeat("[", 100_000), "kest.yaml:1:1: not YAML: exceeded max depth of 10000; check the indentation of the line, its quotes and its brackets"},
		{"many policies", "policies: {platform: [" + strings.Repeat("a,", 300) + "]}", "kest.yaml:1:22: policies.platform: 300 items; use at most 256"},
		{"many values", "policies: {platform: [" + strings.Repeat("a,", 200_000) + "]}", "kest.yaml:1:200013: more than 100000 values; split off what is no configuration"},
		{"size", "#" + strings.Repeat("x", config.MaxBytes), "kest.yaml: the file has more than 1048576 bytes; split off what is no configuration"},

		// Keys.
		{"unknown section", "polices: {}\n", `kest.yaml:1:1: polices: the key is not known; did you mean "policies"?`},
		{"another case", "Policies: {}\n", `kest.yaml:1:1: Policies: the key is not known; did you mean "policies"?`},
		{"unknown key", "policies:\n  entreprise: [base]\n", `kest.yaml:2:3: policies.entreprise: the key is not known; did you mean "enterprise"?`},
		{"far from everything", "policies:\n  xyz: [base]\n", "kest.yaml:2:3: policies.xyz: the key is not known; use enterprise, platform, application, shadow or timeout"},
		{"deep unknown key", "deviations:\n  - {policy: base, tier: application, scope: x, aprover: me}\n", `kest.yaml:2:49: deviations[0].aprover: the key is not known; did you mean "approver"?`},
		{"key with a line break", "\"a\\nb\": 1\n", `kest.yaml:1:1: ["a\nb"]: the key is not known; use $schema, policies, deviations, approvers, origins, classifications, authority, trust, engine, decision_log, decision_cache, identity, store, verifier, ingress, egress, propagation, telemetry, limits or trust_bundle`},
		{"missing keys", "deviations:\n  - reason: because\n", "kest.yaml:2:5: deviations[0]: policy is missing; add it\nkest.yaml:2:5: deviations[0]: tier is missing; add it\nkest.yaml:2:5: deviations[0]: scope is missing; add it"},

		// Types.
		{"section without value", "policies:\n", "kest.yaml:1:10: policies: it is empty; write {} for the defaults, or take the key out"},
		{"list without value", "policies:\n  enterprise:\n", "kest.yaml:2:14: policies.enterprise: it is empty; write [] for none, or take the key out"},
		{"text for a list", "policies:\n  enterprise: base\n", "kest.yaml:2:15: policies.enterprise: want a list, got text"},
		{"list for a mapping", "policies: [base]\n", "kest.yaml:1:11: policies: want a mapping, got a list"},
		{"number for text", "policies:\n  enterprise: [base, 7]\n", "kest.yaml:2:22: policies.enterprise[1]: want text, got a number; put it into quotes"},
		{"truth for text", "policies:\n  enterprise: [true]\n", "kest.yaml:2:16: policies.enterprise[0]: want text, got true or false; put it into quotes"},
		{"empty text", "policies:\n  enterprise: [\"\"]\n", "kest.yaml:2:16: policies.enterprise[0]: it is empty; give it a value or take the key out"},
		{"line break in text", "egress: {allow: [\"a\\nb\"]}\n", "kest.yaml:1:18: egress.allow[0]: it has a line break or another control character; write it in one line"},
		{"yes", "egress: {strict_return: yes}\n", "kest.yaml:1:25: egress.strict_return: want true or false, got text; write true or false, without quotes"},
		{"quoted truth", "egress: {strict_return: 'true'}\n", "kest.yaml:1:25: egress.strict_return: want true or false, got text; write true or false, without quotes"},
		{"fraction", "origins: {feed: 70.5}\n", "kest.yaml:1:17: origins.feed: want a whole number, got a number; write decimal digits, without quotes"},
		{"octal", "origins: {feed: 070}\n", "kest.yaml:1:17: origins.feed: want a whole number, got a number; write decimal digits, without quotes"},
		{"range", "origins: {feed: 101}\n", "kest.yaml:1:17: origins.feed: 101 is out of range; use 0 to 100"},
		{"huge", "limits: {depth: 99999999999999999999}\n", "kest.yaml:1:17: limits.depth: want a whole number, got a number; write decimal digits, without quotes"},
		{"duration without unit", "policies: {timeout: 5}\n", "kest.yaml:1:21: policies.timeout: want a duration, got a number; write a number with a unit, as in 500ms, 5s or 1m30s"},
		{"negative duration", "policies: {timeout: -5s}\n", "kest.yaml:1:21: policies.timeout: it is no duration; write a number with a unit, as in 500ms, 5s or 1m30s"},
		{"long duration", "policies: {timeout: 2h}\n", "kest.yaml:1:21: policies.timeout: 2h is out of range; use 1ms to 1m"},
		{"date for a time", tiers + "deviations:\n  - {policy: base, tier: enterprise, scope: x, not_after: 2027-01-31}\n", "kest.yaml:4:59: deviations[0].not_after: it is no time; write it as in 2027-01-31T00:00:00Z"},
		{"value of an enumeration", "ingress: {listener: internl}\n", `kest.yaml:1:21: ingress.listener: "internl" is not one of the values; did you mean "internal"?`},

		// Policies and deviations.
		{"policy name", "policies:\n  platform: [../up]\n", `kest.yaml:2:14: policies.platform[0]: policy name "../up" has an empty or relative segment`},
		{"policy name with quotes", "policies:\n  platform: ['a\"b']\n", `kest.yaml:2:14: policies.platform[0]: policy name "a\"b": only letters, digits, '_', '.', '-' and '/' are allowed`},
		{"policy twice", "policies:\n  platform: [a, b, a]\n", `kest.yaml:2:20: policies.platform[2]: policy "a" stands twice; keep one`},
		{"function tier", tiers + "deviations:\n  - policy: base\n    tier: function\n    scope: x\n", "kest.yaml:5:11: deviations[0].tier: function policies cannot be deviated; take the policy out of the call instead"},
		{"unknown tier", tiers + "deviations:\n  - policy: base\n    tier: enterprises\n    scope: x\n", `kest.yaml:5:11: deviations[0].tier: "enterprises" is not a tier; did you mean "enterprise"?`},
		{"no such policy", tiers + "deviations:\n  - policy: bsae\n    tier: enterprise\n    scope: x\n", `kest.yaml:4:13: deviations[0].policy: no enterprise policy is called "bsae"; did you mean "base"?`},
		{"policy of another tier", tiers + "deviations: [{policy: base, tier: platform, scope: x}]\n", `kest.yaml:3:23: deviations[0].policy: no platform policy is called "base"`},
		{"empty scope", tiers + "deviations: [{policy: base, tier: enterprise, scope: ''}]\n", "kest.yaml:3:54: deviations[0].scope: it is empty; give it a value or take the key out"},

		// Policies under trial.
		{"enforced and on trial", "policies:\n  enterprise: [base]\n  shadow:\n    enterprise: [base]\n", `kest.yaml:4:18: policies.shadow.enterprise[0]: policy "base" is enforced, too; take it out of one of policies.enterprise and policies.shadow.enterprise`},
		{"function policies on trial", "policies: {shadow: {function: [a]}}\n", "kest.yaml:1:21: policies.shadow.function: the key is not known; use enterprise, platform or application"},
		{"trial name", "policies: {shadow: {platform: [a//b]}}\n", `kest.yaml:1:32: policies.shadow.platform[0]: policy name "a//b" has an empty or relative segment`},
		{"trial twice", "policies: {shadow: {platform: [a, a]}}\n", `kest.yaml:1:35: policies.shadow.platform[1]: policy "a" stands twice; keep one`},
		{"many trials", "policies: {shadow: {platform: [a,b,c,d,e,f,g,h,i], application: [a,b,c,d,e,f,g,h]}}\n", "kest.yaml:1:20: policies.shadow: 17 policies are under trial; try at most 16 at once"},
		{"deviation of a trial", "policies: {shadow: {platform: [a]}}\ndeviations: [{policy: a, tier: platform, scope: x}]\n", `kest.yaml:2:23: deviations[0].policy: "a" is under trial and stops nothing; take the deviation out`},

		// Decisions.
		{"log without an engine", "decision_log: {}\n", "kest.yaml:1:15: decision_log: it is about the engine of this file, and there is none; add the section engine, or take this one out"},
		{"mask", "engine: {rego: {dir: p}}\ndecision_log:\n  input: true\n  masks: [{path: attributes.ssn}, {path: subject.usr}]\n", `kest.yaml:4:42: decision_log.masks[1].path: mask "subject.usr": a logged input has no such member`},
		{"mask without a path", "engine: {rego: {dir: p}}\ndecision_log: {input: true, masks: [{with: x}]}\n", "kest.yaml:2:37: decision_log.masks[0]: path is missing; add it"},
		{"output", "engine: {rego: {dir: p}}\ndecision_log: {output: stdout}\n", `kest.yaml:2:24: decision_log.output: "stdout" is not one of the values; use logger or stderr`},
		{"sampling of nothing", "engine: {rego: {dir: p}}\ndecision_log: {sample_allows: 0}\n", "kest.yaml:2:31: decision_log.sample_allows: 0 is out of range; use 1 to 1000000000"},
		{"cache of an engine without revisions", "engine: {opa: {host: localhost}}\ndecision_cache: {ignore: [environment.entry_id]}\n", "kest.yaml:2:17: decision_cache: engine.opa does not say which policies it would answer by, so a change of policy would go unnoticed; take the section out"},
		{"ignoring who acts", "engine: {rego: {dir: p}}\ndecision_cache: {ignore: [subject.user]}\n", `kest.yaml:2:27: decision_cache.ignore[0]: `},

		// Names of trust.
		{"two evaluators", "trust: {attenuate: {}, weighted: {history: 1}}\n", `kest.yaml:1:24: trust.weighted: it stands beside "attenuate", and there can be one only; keep one of them`},
		{"weight", "trust: {weighted: {history: 101}}\n", "kest.yaml:1:29: trust.weighted.history: 101 is out of range; use 0 to 100"},
		{"weight of nothing", "trust: {weighted: {}}\n", "kest.yaml:1:19: trust.weighted: history is missing; add it"},
		{"empty name to refuse", "authority: {grants: [], refuse_observed: ['']}\n", "kest.yaml:1:43: authority.refuse_observed[0]: it is empty; give it a value or take the key out"},
		{"fixed origin", "origins: {internet: 90}\n", `kest.yaml:1:21: origins.internet: origin "internet" is fixed; choose another name`},
		{"empty taint", "classifications: {pii: ['']}\n", "kest.yaml:1:25: classifications.pii[0]: it is empty; give it a value or take the key out"},
		{"principal", "authority:\n  grants:\n    - {principal: 'spiffe://*', root_trust: 5}\n", `kest.yaml:3:19: authority.grants[0].principal: "spiffe://*" can match nothing; use an exact id or a prefix that ends in "/*"`},
		{"grants", "authority: {}\n", "kest.yaml:1:12: authority: grants is missing; add it"},

		// Kinds.
		{"no kind", "engine: {}\n", "kest.yaml:1:9: engine: it names no kind; use avp, cedar, cedaragent, opa or rego"},
		{"two kinds", "engine:\n  rego: {dir: policies}\n  opa: {host: localhost}\n", `kest.yaml:3:3: engine.opa: it stands beside "rego", and there can be one only; keep one of them`},
		{"unknown kind", "engine:\n  regos: {dir: policies}\n", `kest.yaml:2:3: engine.regos: the kind is not known; did you mean "rego"?`},
		{"kind without settings", "identity:\n  auto:\n", "kest.yaml:2:8: identity.auto: it is empty; write {} for the defaults, or take the key out"},
		{"what the engine says", "engine:\n  opa: {host: opa.example.org, url: https://opa, decision_path: a..b}\n", "kest.yaml:2:8: engine.opa: host is set beside URL or Socket; keep one of them\n" +
			`kest.yaml:2:8: engine.opa: DecisionPath "a..b" has an empty name; write member names joined by dots, such as "result.allow"`},
		{"no address", "engine: {opa: {}}\n", "kest.yaml:1:15: engine.opa: no address; set URL, Host (with Port) or Socket"},
		{"what the agent says", "engine: {cedaragent: {}}\n", "kest.yaml:1:22: engine.cedaragent: no address; set URL or Socket"},
		{"what the store says", "store: {memory: {max_bytes: 5}}\n", "kest.yaml:1:17: store.memory: MaxBytes of 5, but one value may take 4194752; raise it, or lower MaxValue"},
		{"hasty reload", "engine: {rego: {dir: p, reload: 1ms}}\n", "kest.yaml:1:16: engine.rego: reload: 1ms is too often; use 0s for never, or at least 100ms"},
		{"policy store", "engine: {avp: {namespace: Kest}}\n", "kest.yaml:1:15: engine.avp: policy_store is missing; add it"},
		{"client secret", "identity: {device: {issuer: https://id.example.org, client_id: cli, client_secret: hunter2}}\n", "kest.yaml:1:84: identity.device.client_secret: a secret must not stand in the configuration; write {file: PATH} or {env: NAME}"},
		{"plain NATS", "store: {nats: {bucket: kest, addresses: ['localhost:4222', 'nats.example.org:4222', nats, 'nats://u:hunter2@a:1']}}\n", "kest.yaml:1:15: store.nats: address 1 is of another machine and there is no tls, so others could read and answer; add tls: {}\n" +
			"kest.yaml:1:15: store.nats: address 2 is not host:port\nkest.yaml:1:15: store.nats: address 3 is not host:port"},
		{"half a pair", "engine: {opa: {host: localhost, tls: {key: k.pem}}}\n", "kest.yaml:1:38: engine.opa.tls: certificate and key go together; set both or neither"},

		// Secrets.
		{"literal secret", "engine: {opa: {host: localhost, token: hunter2}}\n", "kest.yaml:1:40: engine.opa.token: a secret must not stand in the configuration; write {file: PATH} or {env: NAME}"},
		{"literal secret that is a number", "store: {redis: {addresses: [a:1], password: 123456}}\n", "kest.yaml:1:45: store.redis.password: a secret must not stand in the configuration; write {file: PATH} or {env: NAME}"},
		{"two secrets", "engine: {opa: {host: localhost, token: {file: a, env: B}}}\n", "kest.yaml:1:40: engine.opa.token: want exactly one of file and env; write {file: PATH} or {env: NAME}"},
		{"no secret", "engine: {opa: {host: localhost, token: {}}}\n", "kest.yaml:1:40: engine.opa.token: want exactly one of file and env; write {file: PATH} or {env: NAME}"},
		{"secret by another name", "engine: {opa: {host: localhost, token: {value: hunter2}}}\n", "kest.yaml:1:41: engine.opa.token.value: the key is not known; use file or env"},

		// Borders.
		{"listener", "ingress: {}\n", "kest.yaml:1:10: ingress: listener is missing; add it"},
		{"optional at an edge", "ingress: {listener: edge, lineage_optional: true}\n", "kest.yaml:1:45: ingress.lineage_optional: it is for an internal listener; an edge never demands lineage; take it out"},
		{"proofs", "ingress: {listener: edge, proofs: accept}\n", "kest.yaml:1:35: ingress.proofs: proofs need authorities, so that one made for another service does not count; name the hosts under which clients address this service"},
		{"destination", "egress: {allow: [ledger, '*.mesh']}\n", `kest.yaml:1:26: egress.allow[1]: "*.mesh" is no destination; use a host such as ledger or ledger:8443, or a suffix such as .mesh.internal`},
		{"claim prefix", "propagation: {claim_prefix: a b}\n", "kest.yaml:1:29: propagation.claim_prefix: the prefix is too long or has other characters than . _ - : letters and digits"},
		{"no store", "propagation: {threshold: -1}\n", "kest.yaml:1:26: propagation.threshold: it sends every passport to the store, and there is none; add the section store"},

		// Everything at once, in the order of the file.
		{"several", "limits: {depht: 3}\npolicies:\n  enterprise: [a//b, 7]\n  timeout: soon\norigins: {x: -1}\n", "kest.yaml:1:10: limits.depht: the key is not known; did you mean \"depth\"?\n" +
			"kest.yaml:3:16: policies.enterprise[0]: policy name \"a//b\" has an empty or relative segment\n" +
			"kest.yaml:3:22: policies.enterprise[1]: want text, got a number; put it into quotes\n" +
			"kest.yaml:4:12: policies.timeout: it is no duration; write a number with a unit, as in 500ms, 5s or 1m30s\n" +
			"kest.yaml:5:14: origins.x: -1 is out of range; use 0 to 100"},
	}
}

// TestBad: whatever is wrong is an error that says where, and what to do.
func TestBad(t *testing.T) {
	t.Parallel()
	for _, test := range bad() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d, err := parse(test.text)
			if d != nil || err == nil {
				t.Fatalf("%q was taken", test.text)
			}
			got := strings.Join(lines(t, err), "\n")
			if got != test.want && (!foreign(test.name) || !strings.HasPrefix(got, test.want)) || err.Error() != got {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "123456") {
				t.Error("the error repeats a secret")
			}
		})
	}
}

// foreign names texts whose fault another package puts into words, which are its own affair.
func foreign(name string) bool { return name == "mask" || name == "ignoring who acts" }

// bomb would be 9^9 items if aliases were followed, and bombWant is what is said about it.
func bomb() (text string) {
	text = "a: &a [x, x]\n"
	for c := 'b'; c < 'k'; c++ {
		text += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", c-1), 9), ", "))
	}
	return text
}

func bombWant() string {
	var want []string
	for c := 'a'; c < 'k'; c++ {
		want = append(want, fmt.Sprintf("kest.yaml:%d:4: %c: anchors are not allowed; take out &%c", c-'a'+1, c, c))
	}
	return strings.Join(want, "\n")
}

// TestManyProblems: nobody reads the ten thousandth, and making it costs.
func TestManyProblems(t *testing.T) {
	t.Parallel()
	_, err := parse("egress:\n  allow: [" + strings.Repeat("7,", 10_000) + "7]\n")
	if n := len(lines(t, err)); n != 100 || !strings.HasSuffix(err.Error(), "\nand more") {
		t.Errorf("%d problems, ending in %q", n, err.Error()[max(0, len(err.Error())-40):])
	}
}

// TestWarnings: what is allowed and probably not meant.
func TestWarnings(t *testing.T) {
	t.Parallel()
	const tiers = "policies:\n  enterprise: [base]\n"
	deviation := func(rest string) string {
		return tiers + "deviations:\n  - {policy: base, tier: enterprise, " + rest + "}\n"
	}
	for _, test := range []struct {
		name, text string
		operations []string
		want       string
	}{
		{"nothing", deviation("scope: 'reports.*'"), nil, ""},
		{"expired", deviation("scope: x, not_after: 2001-01-31T00:00:00Z"), nil, "kest.yaml:4:59: deviations[0].not_after: the deviation of \"base\" has expired and lifts nothing; take it out, or have it approved anew"},
		{"space", deviation("scope: 'reports.Run '"), nil, "kest.yaml:4:45: deviations[0].scope: the scope begins or ends with white space, so it matches no operation; take it out"},
		{"regular expression", deviation("scope: '^reports\\..*$'"), nil, "kest.yaml:4:45: deviations[0].scope: the scope has signs of other pattern languages, so it probably matches no operation; only * is special here"},
		{"import path", deviation("scope: github.com/acme/reports.Run"), nil, `kest.yaml:4:45: deviations[0].scope: the scope looks like an import path, so it probably matches no operation; names are derived as package.Function, as in "reports.Run"`},
		{"known operations", deviation("scope: 'report.*'"), []string{"reports.Run", "pay.Charge"}, "kest.yaml:4:45: deviations[0].scope: the scope matches no operation of the program; use reports.Run or pay.Charge"},
		{"one of the known operations", deviation("scope: 'reports.*'"), []string{"reports.Run", "pay.Charge"}, ""},
		{"no operation at all", deviation("scope: '*'"), []string{}, "kest.yaml:4:45: deviations[0].scope: the scope matches no operation of the program"},
		{"source type", "authority:\n  grants:\n    - {principal: a, originate: [internet, usr_input, '*']}\n", nil, `kest.yaml:3:44: authority.grants[0].originate[1]: the source type "usr_input" is not known; did you mean "user_input"?`},
		{"masks of nothing", "engine: {rego: {dir: p}}\ndecision_log: {masks: [{path: attributes.ssn}]}\n", nil, "kest.yaml:2:23: decision_log.masks: there is no input in the log, so they hide nothing; add input: true, or take them out"},
		{"cache that finds nothing", "engine: {rego: {dir: p}}\ndecision_cache: {}\n", nil, "kest.yaml:2:17: decision_cache: without ignore no answer is found again, because every call has an id of its own; add ignore, with environment.entry_id among it"},
		{"registered source type", "origins: {feed: 5}\ningress: {listener: edge, origin: feed}\n", nil, ""},
		{"idle grant", "authority: {grants: [{principal: a}]}\n", nil, "kest.yaml:1:22: authority.grants[0]: the grant grants nothing; give it originate, root_trust, override_trust or remove_taints"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d, err := config.Parse([]byte(test.text), config.Options{File: "kest.yaml", Operations: test.operations})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range d.Warnings() {
				got = append(got, w.String())
			}
			if strings.Join(got, "\n") != test.want {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), test.want)
			}
		})
	}
}

// TestProblem: the parts are there for programs, not only in the text.
func TestProblem(t *testing.T) {
	t.Parallel()
	_, err := parse("policies:\n  entreprise: []\n")
	var bad *config.Error
	if !errors.As(err, &bad) || len(bad.Problems) != 1 {
		t.Fatal(err)
	}
	want := config.Problem{File: "kest.yaml", Line: 2, Column: 3, Path: "policies.entreprise", Message: "the key is not known", Hint: `did you mean "enterprise"?`}
	if *bad.Problems[0] != want {
		t.Errorf("got %+v, want %+v", *bad.Problems[0], want)
	}
}

// TestBuilders: a program's mistakes with builders are found although nothing is made.
func TestBuilders(t *testing.T) {
	t.Parallel()
	type own struct {
		Level int `config:"level" min:"1" max:"3" must:"true"`
	}
	never := func(context.Context, own) (policy.Engine, error) { return nil, errors.New("no licence") }
	options := config.Options{File: "kest.yaml", Engines: map[string]config.Builder[policy.Engine]{"acme": config.Build(never)}}
	d, err := config.Parse([]byte("engine: {acme: {level: 2}}"), options)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Engine(t.Context()); err == nil || err.Error() != "kest.yaml:1:16: engine.acme: it cannot be made: no licence" {
		t.Error(err)
	}
	_, err = config.Parse([]byte("engine: {acme: {level: 4}}"), options)
	if got := lines(t, err); got[0] != "kest.yaml:1:24: engine.acme.level: 4 is out of range; use 1 to 3" {
		t.Error(got)
	}
	d, err = config.Parse([]byte("engine: {rego: {dir: x}}"), options)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = d.Engine(t.Context()); lines(t, err)[0] != `kest.yaml:1:16: engine.rego: this program cannot make a "rego"; it needs a builder in Options.Engines` {
		t.Error(err)
	}
	type float struct {
		Ratio float64 `config:"ratio"`
	}
	type loop struct {
		Next *loop `config:"next"`
	}
	options.Engines = map[string]config.Builder[policy.Engine]{
		"opa": config.Build(never), "cedar": {}, "a b": config.Build(never),
		"float": config.Build(func(context.Context, float) (policy.Engine, error) { return nil, nil }),
		"loop":  config.Build(func(context.Context, loop) (policy.Engine, error) { return nil, nil }),
		"text":  config.Build(func(context.Context, string) (policy.Engine, error) { return nil, nil }),
	}
	_, err = config.Parse([]byte("{}"), options)
	want := []string{
		`Options.Engines["a b"] has a name that is no key; use letters, digits, - and _`,
		`Options.Engines["cedar"] is empty; make it with config.Build`,
		`Options.Engines["float"] takes a config_test.float; its settings must be a struct of the types that Build lists`,
		`Options.Engines["loop"] takes a config_test.loop; its settings must be a struct of the types that Build lists`,
		`Options.Engines["opa"] takes a config_test.own; the settings of this kind are a config.OPA`,
		`Options.Engines["text"] takes a string; its settings must be a struct of the types that Build lists`,
	}
	if got := lines(t, err); !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestMain(m *testing.M) {
	slog.SetDefault(quiet)
	os.Exit(m.Run())
}
