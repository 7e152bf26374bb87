package rego

import (
	"context"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// A tracer notes how far each rule got. It keeps a few numbers for each rule whatever the number of events, because an
// evaluation can have millions.
type tracer struct {
	set    *set
	input  *ast.Term
	rules  map[*ast.Rule]*progress
	places map[*ast.Expr]place
	last   *ast.Expr // that was begun
	err    error     // that ended the evaluation
}

// progress is how far a rule got. An expression is evaluated when all before it hold, so the last one that was
// evaluated is the first one that never held, unless the rule matched.
type progress struct {
	reached int // expressions of the body that were evaluated
	matched bool
}

type place struct {
	rule  *ast.Rule
	index int
}

// Enabled, Config and TraceEvent make it a [topdown.QueryTracer].
func (*tracer) Enabled() bool { return true }

// Config asks for no copies of variables.
func (*tracer) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

// TraceEvent notes one event.
func (t *tracer) TraceEvent(event topdown.Event) {
	switch node := event.Node.(type) {
	case *ast.Expr:
		if at, ok := t.places[node]; ok && event.Op == topdown.EvalOp {
			p := t.rules[at.rule]
			p.reached, t.last = max(p.reached, at.index+1), node
		}
	case *ast.Rule:
		if p := t.rules[node]; p != nil && event.Op == topdown.ExitOp {
			p.matched = true
		}
	}
}

func (t *tracer) run(ctx context.Context, p *prepared, limit time.Duration) {
	for _, m := range t.set.compiler.Modules {
		for _, r := range m.Rules {
			for ; r != nil; r = r.Else {
				t.rules[r] = &progress{}
				for i, expr := range r.Body {
					t.places[expr] = place{r, i}
				}
			}
		}
	}
	t.err = t.set.trace(ctx, p, t.input, limit, t, false) // every rule shows how far it gets
}
