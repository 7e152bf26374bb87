package cedar

import (
	"bytes"
	"context"
	"slices"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	pubast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"

	"github.com/kest-go/kest/policy"
)

var _ policy.Explainer = (*Engine)(nil)

// maxParts bounds the conditions of one statement. A statement has at most 64 KiB, so many parts would be small ones.
const maxParts = 128

// Explain is [Engine.Evaluate], and which condition of each statement was not met. The conditions of a statement are its
// scope and what "&&" joins in its when and "||" in its unless, in the order in which Cedar looks at them.
func (e *Engine) Explain(ctx context.Context, name string, in *policy.Input) (x policy.Explanation, err error) {
	var s *set
	x.Policy = name
	for range 3 { // a reload between the two evaluations would explain another policy
		s = e.current.Load()
		if x.Decision, err = e.Evaluate(ctx, name, in); s == e.current.Load() {
			break
		}
	}
	defer func() { _ = recover() }() // a fault of the library, or of what makes the input: the answer is there already
	p := s.policies[name]
	if p == nil || in == nil {
		return x, err
	}
	if w := s.witness(p, in); w != nil {
		x.Rules, x.Omitted = w.explain(ctx, p)
	}
	return x, err
}

// Statements lists all statements of a policy, without conditions, for those who count which ones their tests reach.
// Matched says which ones apply to in; none does to nil. There are none of an unknown policy.
func (e *Engine) Statements(ctx context.Context, name string, in *policy.Input) []policy.Rule {
	s := e.current.Load()
	p := s.policies[name]
	if p == nil {
		return nil
	}
	var w *witness
	if in != nil {
		w = s.witness(p, in)
	}
	rules := make([]policy.Rule, len(p.statements))
	for i := range p.statements {
		rules[i] = outline(&p.statements[i])
		if w != nil && ctx.Err() == nil {
			rules[i].Matched = w.rule(&p.statements[i]).Matched
		}
	}
	return rules
}

// A witness evaluates the parts of statements for one request.
type witness struct{ env eval.Env }

// witness returns nil when Cedar cannot hold the input.
func (s *set) witness(p *named, in *policy.Input) *witness {
	request, err := p.request(in)
	if err != nil {
		return nil
	}
	return &witness{eval.Env{Entities: s.entities, Principal: request.Principal, Action: request.Action,
		Resource: request.Resource, Context: request.Context}}
}

// explain lists the statements: matched ones first if there are too many.
func (w *witness) explain(ctx context.Context, p *named) (rules []policy.Rule, omitted int) {
	for i := range p.statements {
		if ctx.Err() != nil {
			return rules, omitted
		}
		rule := w.rule(&p.statements[i])
		if len(rules) < policy.MaxRules {
			rules = append(rules, rule)
			continue
		}
		omitted++
		last := func(r policy.Rule) bool { return !r.Matched }
		if at := slices.IndexFunc(rules, last); rule.Matched && at >= 0 {
			rules = append(slices.Delete(rules, at, at+1), rule)
		}
	}
	return rules, omitted
}

// outline is a statement without what it came to.
func outline(s *statement) policy.Rule {
	at := s.policy.Position()
	rule := policy.Rule{ID: oneLine(string(s.id)), Effect: policy.Forbids, File: at.Filename, Line: at.Line}
	if s.policy.Effect() == types.Permit {
		rule.Effect = policy.Permits
	}
	return rule
}

// rule evaluates the conditions of a statement up to the first that does not hold. A fault of the library is one, too.
func (w *witness) rule(s *statement) (rule policy.Rule) {
	rule = outline(s)
	defer func() {
		if recover() != nil {
			rule.Matched = false
		}
	}()
	rule.Matched = true
	all := parts(eval.PolicyToNode((*ast.Policy)(s.policy.AST())).AsIsNode(), nil)
	for _, part := range all {
		c := w.condition(part)
		c.File, c.Line = rule.File, rule.Line
		if c.Result != policy.Holds { // the later ones are not looked at
			rule.Matched, rule.Conditions = false, []policy.Condition{c}
			return rule
		}
		if !always(part) {
			rule.Conditions = append(rule.Conditions, c)
		}
	}
	return rule
}

// parts takes a conjunction apart, in the order of its evaluation: a && b, and !(a || b), which is !a && !b.
func parts(n ast.IsNode, all []ast.IsNode) []ast.IsNode {
	if len(all) >= maxParts-1 {
		return append(all, n)
	}
	switch n := n.(type) {
	case ast.NodeTypeAnd:
		return parts(n.Right, parts(n.Left, all))
	case ast.NodeTypeNot:
		if or, ok := n.Arg.(ast.NodeTypeOr); ok {
			return parts(not(or.Right), parts(not(or.Left), all))
		}
	}
	return append(all, n)
}

func not(n ast.IsNode) ast.IsNode { return ast.Not(ast.NewNode(n)).AsIsNode() }

// always reports whether n is the "true" of a statement without a scope.
func always(n ast.IsNode) bool {
	v, ok := n.(ast.NodeValue)
	return ok && v.Value == types.True
}

func (w *witness) condition(n ast.IsNode) policy.Condition {
	c := policy.Condition{Text: written(n), Reads: w.reads(n)}
	switch v, err := eval.Eval(n, w.env); {
	case err != nil:
		c.Result, c.Detail = policy.Faults, harmless(err.Error())
	case v == types.True:
		c.Result = policy.Holds
	case v == types.False:
		c.Result = policy.Fails
	default:
		c.Result, c.Detail = policy.Faults, "not a boolean"
	}
	return c
}

// reads are the attributes and entities that n looks at.
func (w *witness) reads(n ast.IsNode) (all []policy.Read) {
	ast.Inspect(ast.NewNode(n), func(n ast.IsNode) bool {
		at := n
		if has, ok := n.(ast.NodeTypeHas); ok {
			at = ast.NodeTypeAccess(has)
		}
		if !isPath(at) || at == ast.IsNode(ast.NewActionNode()) {
			return true
		}
		read := policy.Read{Path: written(at)}
		if v, err := eval.Eval(at, w.env); err == nil {
			read.Value = clip(string(v.MarshalCedar()))
		}
		known := slices.ContainsFunc(all, func(r policy.Read) bool { return r.Path == read.Path })
		if !known && len(all) < policy.MaxReads {
			all = append(all, read)
		}
		return false
	})
	return all
}

// isPath reports whether n is principal, resource, or a chain of attributes that begins with a variable.
func isPath(n ast.IsNode) bool {
	switch n := n.(type) {
	case ast.NodeTypeVariable:
		return n.Name != "context" // which is everything
	case ast.NodeTypeAccess:
		v, ok := n.Arg.(ast.NodeTypeVariable)
		return ok && v.Name == "context" || isPath(n.Arg)
	}
	return false
}

// written is n in Cedar, by way of a statement, since cedar-go writes nothing smaller.
func written(n ast.IsNode) string {
	p := (*pubast.Policy)(ast.Permit().When(ast.NewNode(n)))
	_, text, _ := bytes.Cut(cedar.NewPolicyFromAST(p).MarshalCedar(), []byte("when {"))
	body := strings.TrimSuffix(strings.TrimSpace(string(text)), ";")
	return clip(strings.TrimSpace(strings.TrimSuffix(body, "}")))
}

// clip bounds a text of Cedar, in which texts have no line breaks of their own, to [policy.MaxText] bytes.
func clip(s string) string {
	if len(s) > policy.MaxText {
		s = strings.ToValidUTF8(s[:policy.MaxText-len("…")], "") + "…"
	}
	return s
}
