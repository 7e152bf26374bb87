package cli

import (
	"strings"

	"github.com/kest-go/kest/internal/report"
	"github.com/kest-go/kest/policy"
)

// shownRules bounds the rules that are written for a person; JSON has more.
const shownRules = 10

// explain writes the rules that made a decision, each with file and line, and the conditions that they came down to.
func explain(p *report.Page, x *policy.Explanation) {
	rules := x.Reasons()
	for i := range rules[:min(len(rules), shownRules)] {
		explainRule(p, &rules[i], "  ")
	}
	if more := len(rules) - shownRules; more > 0 || x.Omitted > 0 {
		p.Line("  and %s", report.Count(max(more, 0)+x.Omitted, "more rule", "more rules"))
	}
}

func explainRule(p *report.Page, r *policy.Rule, indent string) {
	p.Wrap(indent, headline(r))
	for i := range r.Conditions {
		explainCondition(p, &r.Conditions[i], indent+"  ")
	}
}

// headline says what a rule came to.
func headline(r *policy.Rule) string {
	what := "does not match"
	switch {
	case r.Matched && r.Default:
		what = "is the default"
	case r.Matched:
		what = "matches"
	case len(r.Conditions) == 0:
		what = "was not reached"
	}
	return strings.TrimSpace(string(r.Effect)+" "+r.ID) + " " + what + " (" + place(r.File, r.Line) + ")"
}

func explainCondition(p *report.Page, c *policy.Condition, indent string) {
	line := c.Text + " is " + string(c.Result) + " (" + place(c.File, c.Line) + ")"
	if c.Detail != "" {
		line += ": " + c.Detail
	}
	p.Wrap(indent, line)
	for _, read := range c.Reads {
		if read.Value == "" {
			p.Wrap(indent+"  ", read.Path+" is not there")
			continue
		}
		p.Wrap(indent+"  ", read.Path+" = "+read.Value)
	}
	for i := range c.Rules {
		explainRule(p, &c.Rules[i], indent+"  ")
	}
}
