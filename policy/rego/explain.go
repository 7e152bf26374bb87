package rego

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"

	"github.com/kest-go/kest/policy"
)

var _ policy.Explainer = (*Engine)(nil)

// Bounds of what an explanation follows below the rules that decide.
const (
	maxHelpers = 8 // rules that one expression asks
	maxBelow   = 4 // levels of rules that ask rules
)

// Explain is [Engine.Evaluate], and how each rule allow of the policy took part. It evaluates twice, the second time
// with OPA's tracer and without OPA's shortcuts; each has the whole timeout. When only the second one exceeds it, the
// rules that it did not come to have no conditions.
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
	if input, bad := inputTerm(in, p.reads); bad == nil {
		t := &tracer{set: s, input: input, rules: map[*ast.Rule]*progress{}, places: map[*ast.Expr]place{}}
		t.run(ctx, p, e.timeout)
		x.Rules, x.Omitted = t.explain(name)
	}
	return x, err
}

// explain lists the rules that can decide: matched ones first if there are too many.
func (t *tracer) explain(name string) (rules []policy.Rule, omitted int) {
	var all []*ast.Rule
	for _, m := range t.set.compiler.Modules {
		if of, ok := policyName(t.set.prefix, m.Package.Path); ok && of == name {
			for _, r := range m.Rules {
				if isAllow(r) {
					all = append(all, r)
				}
			}
		}
	}
	return t.list(all, policy.MaxRules, 0)
}

// list explains rules and what stands in their else, in the order of the files.
func (t *tracer) list(heads []*ast.Rule, most, depth int) (rules []policy.Rule, omitted int) {
	var all []*ast.Rule
	for _, r := range heads {
		for ; r != nil; r = r.Else {
			all = append(all, r)
		}
	}
	matched := func(r *ast.Rule) bool { return t.rules[r].matched }
	byPlace := func(a, b *ast.Rule) int { return a.Location.Compare(b.Location) }
	slices.SortFunc(all, byPlace)
	if omitted = max(0, len(all)-most); omitted > 0 {
		slices.SortStableFunc(all, func(a, b *ast.Rule) int { return -compareBool(matched(a), matched(b)) })
		all = all[:most]
		slices.SortFunc(all, byPlace)
	}
	other := slices.ContainsFunc(all, func(r *ast.Rule) bool { return !r.Default && matched(r) })
	for _, r := range all {
		out := policy.Rule{
			ID: oneLine(r.Ref().GroundPrefix().String()), Default: r.Default,
			File: r.Location.File, Line: r.Location.Row, Matched: matched(r),
		}
		if depth == 0 {
			out.Effect = effect(r)
		}
		if r.Default {
			out.Matched = !other && t.err == nil
		} else {
			out.Conditions = t.conditions(r, depth)
		}
		rules = append(rules, out)
	}
	return rules, omitted
}

func compareBool(a, b bool) int {
	number := map[bool]int{true: 1}
	return cmp.Compare(number[a], number[b])
}

// effect is what the value of a rule means, where it is written out.
func effect(r *ast.Rule) policy.Effect {
	value := r.Head.Value
	if value == nil || !value.IsGround() {
		return policy.Computes
	}
	switch allow, ok := definite(value.Value); {
	case !ok:
		return policy.Computes
	case allow:
		return policy.Permits
	}
	return policy.Forbids
}

// conditions are those of a rule that matched, or the one at which it ended.
func (t *tracer) conditions(r *ast.Rule, depth int) (all []policy.Condition) {
	p := t.rules[r]
	first := 0
	if !p.matched {
		first = p.reached - 1
	}
	for i := max(first, 0); i < p.reached; i++ {
		if r.Body[i].Location == nil || trivial(r.Body[i]) {
			continue
		}
		c := t.condition(r, i, depth)
		if n := len(all); n > 0 && all[n-1].Text == c.Text && all[n-1].Line == c.Line { // more of the same expression
			all[n-1] = c
			continue
		}
		all = append(all, c)
	}
	return all
}

// written is the place of the whole expression that the i-th one was made from: the compiler takes a calculation
// apart, and gives each step the place of its own part of the text. A step of the rule's value has no such expression.
func written(body ast.Body, i int) (whole *ast.Location, isValue bool) {
	whole, isValue = body[i].Location, body[i].Generated
	for _, expr := range body {
		if at := expr.Location; at != nil && at.File == whole.File && at.Offset <= whole.Offset &&
			at.Offset+len(at.Text) >= whole.Offset+len(whole.Text) {
			whole, isValue = at, isValue && expr.Generated
		}
	}
	return whole, isValue
}

// trivial reports whether an expression is the "true" that stands for a missing body.
func trivial(expr *ast.Expr) bool {
	term, ok := expr.Terms.(*ast.Term)
	return ok && term.Equal(ast.BooleanTerm(true))
}

func (t *tracer) condition(r *ast.Rule, index, depth int) policy.Condition {
	expr, p := r.Body[index], t.rules[r]
	at, isValue := written(r.Body, index)
	c := policy.Condition{
		Text: clip(strings.Join(strings.Fields(string(at.Text)), " ")), File: at.File, Line: at.Row, Result: policy.Holds,
	}
	var asked []*ast.Rule
	complete := true
	for _, ref := range sources(r.Body, index) {
		rules := t.set.compiler.GetRules(ref.ConstantPrefix())
		if len(rules) > 0 {
			asked = append(asked, rules...)
			continue
		}
		if read, ok := t.read(ref); ok && len(c.Reads) < policy.MaxReads {
			complete = complete && read.Value != ""
			c.Reads = append(c.Reads, read)
		}
	}
	if p.matched {
		if isValue {
			c.Result = policy.Computed
		}
		return c
	}
	c.Result = policy.Fails
	if !complete {
		c.Result = policy.Undefined
	}
	if depth < maxBelow {
		c.Rules, _ = t.list(t.culprits(asked, expr.Negated), maxHelpers, depth+1)
	}
	t.fault(expr, &c)
	return c
}

// fault marks the expression that ended the evaluation, and those that asked it.
func (t *tracer) fault(expr *ast.Expr, c *policy.Condition) {
	if t.err == nil {
		return
	}
	if expr == t.last {
		c.Result = policy.Faults
		if e, ok := failure("", t.err).(*evalError); ok { //nolint:errorlint // failure wraps nothing
			c.Detail = e.text // tells no value of the input
		}
		return
	}
	for i := range c.Rules {
		for j := range c.Rules[i].Conditions {
			if c.Rules[i].Conditions[j].Result == policy.Faults {
				c.Result = policy.Faults
			}
		}
	}
}

// culprits are the rules that were evaluated and whose end explains why an expression did not hold: those that
// matched where it says not, or else those that did not. What is in a set or an object matters either way.
func (t *tracer) culprits(asked []*ast.Rule, negated bool) (rules []*ast.Rule) {
	for _, r := range asked {
		p := t.rules[r]
		partial := r.Head.RuleKind() == ast.MultiValue || len(r.Head.Ref()) > 1
		if p != nil && p.reached > 0 && !r.Default && (partial || p.matched == negated) && !slices.Contains(rules, r) {
			rules = append(rules, r)
		}
	}
	return rules
}

// sources are the references that an expression depends on: its own, and those of earlier expressions that share a
// variable with it, as "x := input.a" does with "x > 3".
func sources(body ast.Body, index int) (refs []ast.Ref) {
	vars := ast.NewVarSet()
	for i := index; i >= 0; i-- {
		found := body[i].Vars(ast.VarVisitorParams{SkipRefHead: true, SkipRefCallHead: true})
		if i < index && vars.Intersect(found).Equal(ast.NewVarSet()) {
			continue
		}
		vars.Update(found)
		var own []ast.Ref
		ast.WalkRefs(body[i], func(ref ast.Ref) bool {
			if head := ref[0].Value; head.Compare(ast.InputRootDocument.Value) == 0 || head.Compare(ast.DefaultRootDocument.Value) == 0 {
				own = append(own, ref)
			}
			return false
		})
		refs = append(own, refs...)
	}
	return refs
}

// read looks a reference up as far as its path is written out.
func (t *tracer) read(ref ast.Ref) (policy.Read, bool) {
	path := ref.ConstantPrefix()
	if len(path) < 2 {
		return policy.Read{}, false
	}
	read := policy.Read{Path: clip(path.String())}
	if path.HasPrefix(ast.InputRootRef) {
		if value, err := t.input.Value.Find(path[1:]); err == nil {
			read.Value = clip(value.String())
		}
	} else if at, err := storage.NewPathForRef(path); err == nil {
		if value, err := storage.ReadOne(context.Background(), t.set.store, at); err == nil { // in memory
			read.Value = clip(fmt.Sprint(value))
		}
	}
	return read, true
}

// clip bounds a text of Rego, in which texts have no line breaks of their own, to [policy.MaxText] bytes.
func clip(s string) string {
	if len(s) > policy.MaxText {
		s = strings.ToValidUTF8(s[:policy.MaxText-len("…")], "") + "…"
	}
	return s
}
