package cedar_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedar"
)

// flat writes an explanation as one line for each statement and condition.
func flat(rules []policy.Rule) string {
	var b strings.Builder
	for _, r := range rules {
		fmt.Fprintf(&b, "%s %s %s:%d %t\n", r.Effect, r.ID, r.File, r.Line, r.Matched)
		for _, c := range r.Conditions {
			fmt.Fprintf(&b, " . %s | %s", c.Text, c.Result)
			for _, read := range c.Reads {
				fmt.Fprintf(&b, " %s=%s", read.Path, read.Value)
			}
			b.WriteString(strings.TrimSuffix(" "+c.Detail, " ") + "\n")
		}
	}
	return b.String()
}

// TestExplain: each statement shows its first condition that was not met, and what that looked at.
func TestExplain(t *testing.T) {
	const permit = "permit (principal, action, resource)"
	for _, c := range []struct{ name, text, want string }{
		{"no condition", permit + ";", "permit policy0 p.cedar:1 true\n"},
		{"when", permit + "\nwhen { context.trust_score >= 40 };",
			"permit policy0 p.cedar:1 false\n . context.trust_score >= 40 | false context.trust_score=30\n"},
		{"the second of a conjunction", permit + ` when { context.trust_score > 1 && context.subject.user == "bob" };`,
			"permit policy0 p.cedar:1 false\n . context.subject.user == \"bob\" | false context.subject.user=\"ada\"\n"},
		{"unless", permit + ` unless { context.trust_score > 90 || context.subject.taints.contains("web") };`,
			"permit policy0 p.cedar:1 false\n . !context.subject.taints.contains(\"web\") | false context.subject.taints=[\"web\", \"pii\"]\n"},
		{"principal", `permit (principal == Workload::"x", action, resource);`,
			"permit policy0 p.cedar:1 false\n . principal == Workload::\"x\" | false principal=Workload::\"spiffe://example.org/payments\"\n"},
		{"action", `permit (principal, action == Action::"x", resource);`,
			"permit policy0 p.cedar:1 false\n . action == Action::\"x\" | false\n"},
		{"resource", `permit (principal, action, resource is Group);`,
			"permit policy0 p.cedar:1 false\n . resource is Group | false resource=Resource::\"invoice/7\"\n"},
		{"matched", permit + ` when { context.trust_score > 1 } unless { context has labels && false };`,
			"permit policy0 p.cedar:1 true\n . context.trust_score > 1 | true context.trust_score=30\n" +
				" . !(context has labels && false) | true context.labels={\"a.b\":\"\", \"level\":\"secret\"}\n"},
		{"dotted path", permit + ` when { context["subject.user"] == "bob" };`,
			"permit policy0 p.cedar:1 false\n . context[\"subject.user\"] == \"bob\" | false context[\"subject.user\"]=\"ada\"\n"},
		{"missing attribute", permit + ` when { context.attributes.amount > 3 };`,
			"permit policy0 p.cedar:1 false\n . context.attributes.amount > 3 | error context.attributes.amount= " +
				"record does not have the attribute `amount`; ask with \"has\" first\n"},
		{"forbid beside permit", "@id(\"all\")\n" + permit + ";\n@id(\"tainted\") forbid (principal, action, resource) when { context.subject.taints.contains(\"web\") };",
			"permit all p.cedar:1 true\nforbid tainted p.cedar:3 true\n" +
				" . context.subject.taints.contains(\"web\") | true context.subject.taints=[\"web\", \"pii\"]\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			engine := one(t, c.text)
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

// TestExplainAgrees: an explanation names what Cedar itself names.
func TestExplainAgrees(t *testing.T) {
	engine := one(t, `permit (principal, action, resource) when { context.trust_score > 10 };
permit (principal, action, resource) when { context.trust_score > 50 };
forbid (principal, action, resource) when { context.trust_score > 70 && context.trust_score < 90 };`)
	for trust := range 101 {
		x, err := engine.Explain(t.Context(), "p", call(trust))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range x.Reasons() {
			if r.Matched && !strings.Contains(x.Decision.Reason, fmt.Sprintf("%q (%s:%d)", r.ID, r.File, r.Line)) {
				t.Errorf("trust %d: %+v is not in the reason %q", trust, r, x.Decision.Reason)
			}
		}
		if want := trust > 10 && (trust <= 70 || trust >= 90); x.Decision.Allow != want || len(x.Reasons()) == 0 {
			t.Errorf("trust %d: %+v", trust, x)
		}
	}
}

// TestExplainBounds: an explanation stays small, and ends with its context.
func TestExplainBounds(t *testing.T) {
	var text strings.Builder
	for i := range 2 * policy.MaxRules {
		fmt.Fprintf(&text, "permit (principal, action, resource) when { context.attributes.long == \"%d\" };\n", i)
	}
	text.WriteString("permit (principal, action, resource) when { context.trust_score == 30 };\n")
	engine := one(t, text.String())
	in := call(30)
	in.Attributes = map[string]any{"long": strings.Repeat("é", 10_000)}
	x, err := engine.Explain(t.Context(), "p", in)
	if err != nil || len(x.Rules) != policy.MaxRules || x.Omitted != policy.MaxRules+1 {
		t.Fatalf("%d rules and %d omitted, %v", len(x.Rules), x.Omitted, err)
	}
	if reasons := x.Reasons(); len(reasons) != 1 || reasons[0].Line != 2*policy.MaxRules+1 {
		t.Errorf("the statement that matched is not shown: %+v", reasons)
	}
	if value := x.Rules[0].Conditions[0].Reads[0].Value; len(value) > policy.MaxText || !strings.HasSuffix(value, "…") {
		t.Errorf("a value of %d bytes", len(value))
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if x, err := engine.Explain(ended, "p", in); !errors.Is(err, policy.ErrUnavailable) || len(x.Rules) != 0 {
		t.Errorf("after the end: %d rules, %v", len(x.Rules), err)
	}
	if x, err := engine.Explain(t.Context(), "nope", in); !errors.Is(err, policy.ErrUnknownPolicy) || len(x.Rules) != 0 {
		t.Errorf("unknown: %+v, %v", x, err)
	}
	if x, err := engine.Explain(t.Context(), "p", nil); err == nil || len(x.Rules) != 0 {
		t.Errorf("nil input: %+v, %v", x, err)
	}
}

// TestStatements: all are listed, and those that apply are marked.
func TestStatements(t *testing.T) {
	engine := load(t, cedar.Config{}, tree{"p.cedar": "@id(\"a\") permit (principal, action, resource) when { context.trust_score > 10 };\n" +
		"forbid (principal, action, resource) when { context.trust_score > 50 };"})
	for want, in := range map[string]*policy.Input{
		"permit a p.cedar:1 false\nforbid policy1 p.cedar:2 false\n": nil,
		"permit a p.cedar:1 true\nforbid policy1 p.cedar:2 false\n":  call(30),
		"permit a p.cedar:1 true\nforbid policy1 p.cedar:2 true\n":   call(60),
	} {
		all := engine.Statements(t.Context(), "p", in)
		for i := range all {
			all[i].Conditions = nil
		}
		if got := flat(all); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
	if all := engine.Statements(t.Context(), "q", nil); all != nil {
		t.Errorf("%+v", all)
	}
}
