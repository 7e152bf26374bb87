package rego_test

import (
	"strings"
	"testing"

	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/policy/rego"
)

// With CheckInput, what the input does not have is found when the policy is loaded, and what it has passes.
func TestCheckInput(t *testing.T) {
	for rules, want := range map[string]string{
		"allow if input.subjct.user == \"ada\"":                                            "undefined ref: input.subjct.user",
		"allow if input.lineage.operatoins[_] == \"x\"":                                    "undefined ref: input.lineage.operatoins",
		"allow if not input.subject.suspended":                                             "undefined ref: input.subject.suspended",
		"allow if { s := input.lineage.steps[_]; s.princpal == \"x\" }":                    "undefined ref: ",
		"allow if { some a in input.lineage.acts; a.object == \"x\" }":                     "undefined ref: ",
		"allow if { some a in input.lineage.ancestors; a.labels.level > 3; a.taint == 1 }": "undefined ref: ",
		"allow if input.trust_score == \"80\"":                                             "match error",
		"allow if startswith(input.trust_score, \"8\")":                                    "invalid argument",
	} {
		_, err := rego.Config{CheckInput: true}.FS(tree{"p.rego": "package p\n" + rules}.fs())
		if err == nil || !strings.Contains(err.Error(), "p.rego:2: policy p: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", rules, err, want)
		}
		load(t, rego.Config{}, tree{"p.rego": strings.Replace("package p\n"+rules, `startswith(input.trust_score, "8")`, "true", 1)})
	}
	for _, rules := range []string{
		`allow if { input.subject.user == null; input.object.id == "x" }`, `allow if startswith(input.subject.user, "a")`,
		`allow if { input.environment.trust_override == null; input.trust_score >= 40; input.environment.trust_override > 3 }`,
		`allow if { input.attributes.a.b[3].c == 1; input.labels.level == "x"; input.object.attributes[input.subject.user] }`,
		`allow if { some s in input.lineage.steps; s == {"operation": "a", "principal": "b", "outcome": "ok"} }`,
		`allow if { some a in input.lineage.acts; a == {"operation": "a", "principal": "b", "outcome": "ok", "resource": "c"} }`,
		`allow if { {"name": "level", "value": "x"} in input.lineage.labels; count(input) == 8; input.lineage.ancestors[0].labels.x == "y" }`,
		`allow if { some i, a in input.lineage.ancestors; some p in a.parents; p < i; a.user == null; input.lineage.ancestors_omitted == 0 }`,
		`allow if { object.get(input, ["lineage", "operations"], []) == []; some k, v in input; is_object(v); k == "x" }`,
		`allow if { some k; input.subject[k] == "x" }`, `allow if { walk(input, [p, v]); p == ["subject", "user"]; v == "x" }`,
		`allow if { input.environment.active_deviations[_].approver_key == "k" }`, "allow if f(input)\nf(x) if x.subject.user",
		`allow if input.environment.is_root`, `allow if json.marshal(input) == ""`,
	} {
		e := load(t, rego.Config{CheckInput: true}, tree{"p.rego": "package p\ndefault allow := false\n" + rules})
		if _, err := e.Evaluate(t.Context(), "p", policytest.Input(80)); err != nil {
			t.Errorf("%s: %v", rules, err)
		}
	}
	load(t, rego.Config{CheckInput: true}, tree{"p.rego": "package p\nallow { input.trust_score >= 40 }"}) // v0
	if _, err := (rego.Config{CheckInput: true}).FS(tree{"p.rego": "package p\nallow { input.trst_score >= 40 }"}.fs()); err == nil {
		t.Error("v0 is not checked")
	}
}

func BenchmarkLoad(b *testing.B) {
	for name, check := range map[string]bool{"plain": false, "checked": true} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := (rego.Config{CheckInput: check}).FS(tree{"kest/allow_trusted.rego": guideV1}.fs()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
