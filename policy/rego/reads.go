package rego

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

// fields is a set of top-level members of the input.
type fields uint8

const (
	fSubject fields = 1 << iota
	fObject
	fEnvironment
	fIdentity
	fTrustScore
	fLineage
	fLabels
	fAttributes
	every fields = 1<<iota - 1
)

var topLevel = map[string]fields{
	"subject": fSubject, "object": fObject, "environment": fEnvironment, "identity": fIdentity,
	"trust_score": fTrustScore, "lineage": fLineage, "labels": fLabels, "attributes": fAttributes,
}

// reads is what a policy can read of the input. Only that is built: a policy that reads the trust score alone should
// not pay for the history of the call.
type reads struct {
	some    fields                 // members by name
	whole   fields                 // of those, the ones that are used as values
	members map[fields][]ast.Value // of the others, what is read in them; attributes and labels are built whole
}

// allFields are those of an input that is built whole.
var allFields = reads{some: every, whole: every}

// readsOf finds what the rules can read of the input, with all rules that they lead to. OPA knows those for its own
// test that no rule leads to itself, without which an evaluation might not end.
func readsOf(rules []*ast.Rule, graph *ast.Graph) reads {
	var r reads
	seen := map[*ast.Rule]bool{}
	for len(rules) > 0 {
		rule := rules[len(rules)-1]
		rules = rules[:len(rules)-1]
		if rule == nil || seen[rule] {
			continue
		}
		seen[rule] = true
		r.add(rule)
		r.add(rule.Head.Ref()) // which walking the rule leaves out
		rules = append(rules, rule.Else)
		for next := range graph.Dependencies(util.T(rule)) {
			if next, ok := next.(*ast.Rule); ok {
				rules = append(rules, next)
			}
		}
	}
	return r
}

// add notes what x reads. Compiled modules reach the input only by references that begin with the variable input: one
// that goes on with a constant reads that member, and everything else that mentions the variable may read all.
func (r *reads) add(x any) { ast.WalkTerms(x, r.visit) }

// visit notes what one term reads, and reports whether the terms inside it are thereby accounted for.
func (r *reads) visit(t *ast.Term) (done bool) {
	switch v := t.Value.(type) {
	case ast.Var:
		if v.Equal(ast.InputRootDocument.Value) {
			r.some, r.whole = every, every
		}
	case ast.Ref:
		if len(v) < 2 || !v[0].Equal(ast.InputRootDocument) {
			return false
		}
		if name, ok := v[1].Value.(ast.String); ok {
			r.member(topLevel[string(name)], v[2:])
		} else {
			r.some, r.whole = every, every
		}
		for _, inner := range v[1:] { // input.a[input.b]
			r.add(inner)
		}
		return true
	}
	return false
}

func (r *reads) member(f fields, rest ast.Ref) {
	r.some |= f
	if len(rest) == 0 {
		r.whole |= f
		return
	}
	name, ok := rest[0].Value.(ast.String)
	switch {
	case f == 0:
	case !ok:
		r.whole |= f
	case !slices.Contains(r.members[f], ast.Value(name)):
		if r.members == nil {
			r.members = map[fields][]ast.Value{}
		}
		r.members[f] = append(r.members[f], name)
	}
}
