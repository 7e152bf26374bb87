package policy

import (
	"context"
	"slices"
)

// An Explainer is an [Engine] that can show how a policy came to its answer. It is for people who look into one call:
// it costs many times what Evaluate does, and it repeats values of the input, which a log may not be meant to hold.
//
// The error is the one that Evaluate returns for the same input, and so is Explanation.Decision. An Explanation with
// rules may stand beside an error that matches [ErrIndefinite] or [ErrUnavailable]. Explain is as bounded as Evaluate.
type Explainer interface {
	Engine
	Explain(ctx context.Context, name string, in *Input) (Explanation, error)
}

// An Explanation is how one policy came to its answer about one input.
type Explanation struct {
	Policy   string   `json:"policy"`
	Decision Decision `json:"-"`
	// Rules are those that can decide: the rules named allow of a Rego package, the statements of a Cedar file; in the
	// order of the files. At most [MaxRules] are listed, those that matched first of all; Omitted counts the others.
	Rules   []Rule `json:"rules"`
	Omitted int    `json:"omitted,omitempty"`
}

// Reasons returns the rules that a person has to look at: those that could not be evaluated, because that denies
// whatever the others say; or else, after an allow, the rules that matched and do not forbid; after a denial those that
// matched and forbid, or if there are none, those that would have had to match.
func (e *Explanation) Reasons() []Rule {
	if faulty := e.which(func(r *Rule) bool { return r.faulty() }); len(faulty) > 0 {
		return faulty
	}
	if e.Decision.Allow {
		return e.which(func(r *Rule) bool { return r.Matched && r.Effect != Forbids })
	}
	if forbids := e.which(func(r *Rule) bool { return r.Matched && r.Effect == Forbids && !r.Default }); len(forbids) > 0 {
		return forbids
	}
	return e.which(func(r *Rule) bool { return r.Effect == Computes || r.Effect != Forbids && !r.Matched })
}

func (e *Explanation) which(want func(*Rule) bool) []Rule {
	var rules []Rule
	for i := range e.Rules {
		if want(&e.Rules[i]) {
			rules = append(rules, e.Rules[i])
		}
	}
	return rules
}

func (r *Rule) faulty() bool {
	return slices.ContainsFunc(r.Conditions, func(c Condition) bool { return c.Result == Faults })
}

// Bounds of an [Explanation].
const (
	MaxRules = 64  // rules in one list
	MaxReads = 16  // reads of one condition
	MaxText  = 256 // bytes of one text of a policy and of one value of the input; longer ones end with …
)

// An Effect is what a rule does when it matches.
type Effect string

// The effects of rules.
const (
	Permits  Effect = "permit"
	Forbids  Effect = "forbid"
	Computes Effect = "compute" // the rule's value depends on the input
)

// A Rule is one rule that can decide, or one that such a rule asks.
type Rule struct {
	ID      string `json:"id"`               // Rego: package and name, data.kest.allow_trusted.allow; Cedar: @id, or policy0, policy1, …
	Effect  Effect `json:"effect,omitempty"` // empty for a rule that another one asks
	File    string `json:"file"`
	Line    int    `json:"line"`    // from 1, where the rule begins
	Matched bool   `json:"matched"` // all of its conditions hold; for a default, that no other rule matched
	Default bool   `json:"default,omitempty"`
	// Conditions are the first one that does not hold, for a rule that did not match, or all, for one that did. A rule
	// without conditions that did not match was not reached.
	Conditions []Condition `json:"conditions,omitempty"`
}

// A Result is what a condition came to.
type Result string

// The results of conditions.
const (
	Holds     Result = "true"
	Fails     Result = "false"
	Undefined Result = "undefined" // it reads something that is not there; Rego only
	Faults    Result = "error"     // it could not be evaluated
	Computed  Result = "computed"  // it is no condition, but what the value of the rule is made of; Rego only
)

// A Condition is one expression of a rule.
type Condition struct {
	Text   string `json:"text"` // as written, or nearly so; one line, at most [MaxText] bytes
	File   string `json:"file"`
	Line   int    `json:"line"` // Cedar: of the statement
	Result Result `json:"result"`
	Detail string `json:"detail,omitempty"` // of a fault
	Reads  []Read `json:"reads,omitempty"`  // at most [MaxReads]
	Rules  []Rule `json:"rules,omitempty"`  // Rego: those that the expression asks and that made it fail
}

// A Read is a value that a condition depends on: of the input, or of data beside the policies.
type Read struct {
	Path  string `json:"path"`            // in the language of the policy: input.trust_score, context.trust_score
	Value string `json:"value,omitempty"` // JSON or Cedar, at most [MaxText] bytes; empty when there is no such value
}
