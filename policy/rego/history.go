package rego

import (
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/kest-go/kest/policy"
)

// ofHistory are the members of lineage that come from [policy.History]. It is read when one of them is, and what is
// made of it serves all policies of the call: OPA shares terms between evaluations.
var ofHistory = []struct {
	key   *ast.Term
	build func(*policy.Past) *ast.Term
}{
	{kOperations, func(p *policy.Past) *ast.Term { return each(p.Operations, text) }},
	{kTaints, func(p *policy.Past) *ast.Term { return each(p.Taints, text) }},
	{kResources, func(p *policy.Past) *ast.Term { return each(p.Resources, text) }},
	{kUnsanitized, func(p *policy.Past) *ast.Term { return each(p.Unsanitized, text) }},
	{kSteps, func(p *policy.Past) *ast.Term { return each(p.Steps, step) }},
	{kActs, func(p *policy.Past) *ast.Term { return each(p.Acts, act) }},
	{kUsers, func(p *policy.Past) *ast.Term { return each(p.Users, performer) }},
	{kLabels, func(p *policy.Past) *ast.Term { return each(p.Labels, label) }},
	{kAncestors, func(p *policy.Past) *ast.Term { return each(p.Ancestors, ancestor) }},
	{kOmitted, func(p *policy.Past) *ast.Term { return number(p.Omitted) }},
}

func (g *group) lineage(in *policy.Input) {
	l := &in.Lineage
	g.put(kLength, number(l.Length))
	g.list(kPrincipals, l.Principals)
	g.put(kMinTrust, number(l.MinTrust))
	g.list(kSourceTypes, l.SourceTypes)
	for i := range ofHistory {
		if m := &ofHistory[i]; g.wants(m.key) {
			term, _ := l.History.Form(m, func(p *policy.Past) any { return m.build(p) }).(*ast.Term)
			g.put(m.key, term)
		}
	}
}

func step(s policy.Step) *ast.Term {
	return object(
		[2]*ast.Term{kOperation, text(s.Operation)},
		[2]*ast.Term{kPrincipal, text(s.Principal)},
		[2]*ast.Term{kOutcome, outcome(s.Outcome)},
	)
}

func act(a policy.Act) *ast.Term {
	return object(
		[2]*ast.Term{kOperation, text(a.Operation)},
		[2]*ast.Term{kPrincipal, text(a.Principal)},
		[2]*ast.Term{kOutcome, outcome(a.Outcome)},
		[2]*ast.Term{kResource, text(a.Resource)},
	)
}

func performer(p policy.Performer) *ast.Term {
	return object([2]*ast.Term{kOperation, text(p.Operation)}, [2]*ast.Term{kUser, text(p.User)})
}

func label(l policy.Label) *ast.Term {
	return object([2]*ast.Term{kName, text(l.Name)}, [2]*ast.Term{kValue, text(l.Value)})
}

func ancestor(a policy.Ancestor) *ast.Term {
	return object(
		[2]*ast.Term{kOperation, text(a.Operation)},
		[2]*ast.Term{kClassification, text(a.Classification)},
		[2]*ast.Term{kSourceType, text(a.SourceType)},
		[2]*ast.Term{kPrincipal, text(a.Principal)},
		[2]*ast.Term{kUser, orNull(a.User)},
		[2]*ast.Term{kAgent, orNull(a.Agent)},
		[2]*ast.Term{kTask, orNull(a.Task)},
		[2]*ast.Term{kResource, orNull(a.Resource)},
		[2]*ast.Term{kTrustScore, number(a.TrustScore)},
		[2]*ast.Term{kOverridden, ast.InternedTerm(a.Overridden)},
		[2]*ast.Term{kTaints, each(a.Taints, text)},
		[2]*ast.Term{kRemoved, each(a.RemovedTaints, text)},
		[2]*ast.Term{kSanitizer, orNull(a.Sanitizer)},
		[2]*ast.Term{kLabels, texts(a.Labels)},
		[2]*ast.Term{kOutcome, outcome(a.Outcome)},
		[2]*ast.Term{kParents, each(a.Parents, number)},
	)
}

// outcome saves most steps an allocation: what happened in other processes is unknown.
func outcome(s string) *ast.Term {
	if s == policy.OutcomeUnknown {
		return unknown
	}
	return text(s)
}
