package rego_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/rego"
)

// flat writes an explanation as one line for each rule, condition and read, indented by what it belongs to.
func flat(rules []policy.Rule) string {
	var b strings.Builder
	var write func([]policy.Rule, string)
	write = func(rules []policy.Rule, indent string) {
		for _, r := range rules {
			fmt.Fprintf(&b, "%s%s %s %s:%d %t\n", indent, r.ID, r.Effect, r.File, r.Line, r.Matched)
			for _, c := range r.Conditions {
				fmt.Fprintf(&b, "%s . %s | %s %d", indent, c.Text, c.Result, c.Line)
				for _, read := range c.Reads {
					fmt.Fprintf(&b, " %s=%s", read.Path, read.Value)
				}
				b.WriteString(strings.TrimSuffix(" "+c.Detail, " ") + "\n")
				write(c.Rules, indent+"   ")
			}
		}
	}
	write(rules, "")
	return b.String()
}

// TestExplain: each rule shows the first expression that never held, where it stands, and what it read.
func TestExplain(t *testing.T) {
	for _, c := range []struct{ name, rules, want string }{
		{"comparison", "default allow := false\nallow if input.trust_score >= 40",
			"data.p.allow forbid p.rego:2 true\n" +
				"data.p.allow permit p.rego:3 false\n . input.trust_score >= 40 | false 3 input.trust_score=30\n"},
		{"the second of three", "allow if {\n\tinput.trust_score > 1\n\tinput.subject.user == \"bob\"\n\tinput.trust_score > 2\n}",
			"data.p.allow permit p.rego:2 false\n . input.subject.user == \"bob\" | false 4 input.subject.user=\"ada\"\n"},
		{"matched", "allow if {\n\tinput.trust_score > 1\n\tinput.subject.user == \"ada\"\n}",
			"data.p.allow permit p.rego:2 true\n . input.trust_score > 1 | true 3 input.trust_score=30\n" +
				" . input.subject.user == \"ada\" | true 4 input.subject.user=\"ada\"\n"},
		{"not there", "allow if input.attributes.amount < 3",
			"data.p.allow permit p.rego:2 false\n . input.attributes.amount < 3 | undefined 2 input.attributes.amount=\n"},
		{"skipped by the index", "allow if input.subject.user == \"eve\"\nallow if input.subject.user == \"ada\"",
			"data.p.allow permit p.rego:2 false\n . input.subject.user == \"eve\" | false 2 input.subject.user=\"ada\"\n" +
				"data.p.allow permit p.rego:3 true\n . input.subject.user == \"ada\" | true 3 input.subject.user=\"ada\"\n"},
		{"helper", "allow if trusted\ntrusted if input.trust_score >= 40",
			"data.p.allow permit p.rego:2 false\n . trusted | false 2\n" +
				"   data.p.trusted  p.rego:3 false\n    . input.trust_score >= 40 | false 3 input.trust_score=30\n"},
		{"negated helper", "allow if not bad\nbad if \"pii\" in input.subject.taints\nbad if input.trust_score > 90",
			"data.p.allow permit p.rego:2 false\n . not bad | false 2\n" +
				"   data.p.bad  p.rego:3 true\n    . \"pii\" in input.subject.taints | true 3 input.subject.taints=[\"pii\", \"web\"]\n"},
		{"a set of reasons", "allow if count(deny) == 0\ndeny contains \"low\" if input.trust_score < 40",
			"data.p.allow permit p.rego:2 false\n . count(deny) == 0 | false 2\n" +
				"   data.p.deny  p.rego:3 true\n    . input.trust_score < 40 | true 3 input.trust_score=30\n"},
		{"variable", "allow if {\n\tscore := input.trust_score + 1\n\tscore > 90\n}",
			"data.p.allow permit p.rego:2 false\n . score > 90 | false 4 input.trust_score=30\n"},
		{"some", "allow if {\n\tsome taint in input.subject.taints\n\ttaint == \"x\"\n}",
			"data.p.allow permit p.rego:2 false\n . taint == \"x\" | false 4 input.subject.taints=[\"pii\", \"web\"]\n"},
		{"function", "allow if f(input.trust_score)\nf(n) if n > 90",
			"data.p.allow permit p.rego:2 false\n . f(input.trust_score) | false 2 input.trust_score=30\n" +
				"   data.p.f  p.rego:3 false\n    . n > 90 | false 3\n"},
		{"else", "allow if {\n\tinput.trust_score > 90\n} else := false if {\n\tinput.trust_score > 20\n}",
			"data.p.allow permit p.rego:2 false\n . input.trust_score > 90 | false 3 input.trust_score=30\n" +
				"data.p.allow forbid p.rego:4 true\n . input.trust_score > 20 | true 5 input.trust_score=30\n"},
		{"data", "allow if input.trust_score >= data.limit",
			"data.p.allow permit p.rego:2 false\n . input.trust_score >= data.limit | false 2 input.trust_score=30 data.limit=40\n"},
		{"computed", "allow := {\"allow\": input.trust_score > 90}",
			"data.p.allow compute p.rego:2 true\n . input.trust_score > 90 | computed 2 input.trust_score=30\n"},
		{"computed from nothing", "allow := input.attributes.x > 3",
			"data.p.allow compute p.rego:2 false\n . input.attributes.x > 3 | undefined 2 input.attributes.x=\n"},
		{"fault", "allow if {\n\tinput.trust_score > 1\n\tto_number(input.subject.user) > 1\n}",
			"data.p.allow permit p.rego:2 false\n . to_number(input.subject.user) > 1 | error 4 input.subject.user=\"ada\" " +
				"p.rego:4: built-in to_number reported an error\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			engine := load(t, rego.Config{}, tree{"p.rego": "package p\n" + c.rules, "data.json": `{"limit": 40}`})
			x, err := engine.Explain(t.Context(), "p", call(30))
			if got := flat(x.Rules); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
			decision, other := engine.Evaluate(t.Context(), "p", call(30))
			if x.Decision != decision || fmt.Sprint(err) != fmt.Sprint(other) || x.Policy != "p" {
				t.Errorf("explained %+v, %v; evaluated %+v, %v", x.Decision, err, decision, other)
			}
		})
	}
}

// TestExplainBounds: an explanation stays small whatever the policy and the input are.
func TestExplainBounds(t *testing.T) {
	var rules strings.Builder
	for i := range 3 * policy.MaxRules {
		fmt.Fprintf(&rules, "allow if input.attributes.long == \"%d\"\n", i)
	}
	rules.WriteString("allow if input.trust_score == 30\n")
	in := call(30)
	in.Attributes = map[string]any{"long": strings.Repeat("é", 10_000)}
	x, err := one(t, rules.String()).Explain(t.Context(), "p", in)
	if err != nil || !x.Decision.Allow || len(x.Rules) != policy.MaxRules || x.Omitted != 2*policy.MaxRules+1 {
		t.Fatalf("%d rules and %d omitted, %+v, %v", len(x.Rules), x.Omitted, x.Decision, err)
	}
	if reasons := x.Reasons(); len(reasons) != 1 || reasons[0].Line != 3*policy.MaxRules+2 {
		t.Errorf("the rule that matched is not shown: %+v", reasons)
	}
	if value := x.Rules[0].Conditions[0].Reads[0].Value; len(value) > policy.MaxText || !strings.HasSuffix(value, "…") {
		t.Errorf("a value of %d bytes", len(value))
	}
	// Sixty-four levels of helpers: the explanation ends before.
	var deep strings.Builder
	deep.WriteString("allow if r0\n")
	for i := range 64 {
		fmt.Fprintf(&deep, "r%d if r%d\n", i, i+1)
	}
	deep.WriteString("r64 if input.trust_score > 90\n")
	if x, err = one(t, deep.String()).Explain(t.Context(), "p", call(30)); err == nil || strings.Count(flat(x.Rules), "data.p.r") > 8 {
		t.Errorf("%v\n%s", err, flat(x.Rules))
	}
}

// TestExplainHostile: what never ends, ends at the deadline; what does not exist has no rules.
func TestExplainHostile(t *testing.T) {
	engine := load(t, rego.Config{Timeout: 200 * time.Millisecond}, tree{
		"slow.rego": "package slow\nallow if {\n\tr := numbers.range(1, 100000)\n\tcount([1 | some a in r; some b in r; a == b]) > 0\n}\n",
		"big.rego": "package big\nallow if {\n\ts := concat(\"\", [\"x\" | some i in numbers.range(1, 1000000)])\n" +
			"\tinput.trust_score > count(s)\n}\n",
	})
	within(t, 20*time.Second, func() {
		x, err := engine.Explain(t.Context(), "slow", call(30))
		if !errors.Is(err, policy.ErrUnavailable) || x.Decision.Allow {
			t.Errorf("%+v, %v", x.Decision, err)
		}
		if len(x.Rules) != 1 || len(x.Rules[0].Conditions) != 1 || x.Rules[0].Conditions[0].Result != policy.Faults {
			t.Errorf("the endless expression is not shown:\n%s", flat(x.Rules))
		}
		x, err = engine.Explain(t.Context(), "big", call(30))
		if text, bad := json.Marshal(x); bad != nil || len(text) > 4096 || x.Decision.Allow {
			t.Errorf("%d bytes, %v, %v", len(text), bad, err)
		}
	})
	for _, name := range []string{"nope", "../slow", "slow\n", "data", ""} {
		if x, err := engine.Explain(t.Context(), name, call(30)); !errors.Is(err, policy.ErrUnknownPolicy) || len(x.Rules) != 0 {
			t.Errorf("%q: %+v, %v", name, x, err)
		}
	}
	if x, err := engine.Explain(t.Context(), "slow", nil); err == nil || len(x.Rules) != 0 {
		t.Errorf("nil input: %+v, %v", x, err)
	}
}

// TestSuite: tests are not policies, and policies may not need them.
func TestSuite(t *testing.T) {
	files := map[string]string{
		"p.rego":          "package p\nallow if input.trust_score > 1\n",
		"p_test.rego":     "package p\ntest_a if allow with input as {\"trust_score\": 2}\nhelper := true\n",
		"sub/q_test.rego": "package q\nallow := true\n",
	}
	dir := t.TempDir()
	for name, text := range files {
		put(t, dir, name, text)
	}
	suite, err := rego.Config{}.Suite(t.Context(), dir)
	if err != nil || len(suite.Modules) != 3 || len(suite.Tests) != 2 {
		t.Fatalf("%+v, %v", suite, err)
	}
	engine, err := rego.Dir(dir)
	if err != nil || fmt.Sprint(engine.Policies()) != "[p]" {
		t.Fatalf("%v, %v", engine.Policies(), err)
	}
	for name, bad := range map[string]string{
		"p_test.rego":  "package p\ntest_a if http.send({\"method\": \"get\", \"url\": \"http://127.0.0.1\"})\n",
		"p2.rego":      "package p2\nallow if data.p.helper == nosuch(1)\n",
		"p3_test.rego": "package p\ntest_b if }\n",
	} {
		dir := t.TempDir()
		for name, text := range files {
			put(t, dir, name, text)
		}
		put(t, dir, name, bad)
		var fault *rego.SourceError
		if _, err := (rego.Config{}).Suite(t.Context(), dir); !errors.As(err, &fault) || !strings.HasSuffix(fault.File, name) || fault.Line != 2 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestExplainPanic: an input that cannot be made denies, and takes nobody with it.
func TestExplainPanic(t *testing.T) {
	in := call(30)
	in.Lineage.History = policy.NewHistory(func() []policy.Ancestor { panic("no store") })
	x, err := one(t, "allow if count(input.lineage.steps) == 0").Explain(t.Context(), "p", in)
	if !errors.Is(err, policy.ErrUnavailable) || x.Decision.Allow || len(x.Rules) != 0 {
		t.Errorf("%+v, %v", x, err)
	}
}
