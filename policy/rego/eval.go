package rego

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/kest-go/kest/policy"
)

// noMetrics is shared: it keeps nothing.
var noMetrics = metrics.NoOp()

// A watch is OPA's cancellation flag. OPA reads it before every expression and inside its long built-ins, on the
// goroutine that evaluates, so it can look at the clock itself and needs neither a timer nor a goroutine.
type watch struct {
	ctx   context.Context
	start time.Time
	limit time.Duration
	err   error
}

// Cancel is part of OPA's interface; nothing calls it.
func (w *watch) Cancel() { w.err = context.Canceled }

// Cancelled reports whether the evaluation has to stop.
func (w *watch) Cancelled() bool {
	if w.err == nil {
		w.err = w.ctx.Err()
	}
	if w.err == nil && time.Since(w.start) > w.limit {
		w.err = context.DeadlineExceeded
	}
	return w.err != nil
}

// decide asks one policy of one set.
func (e *Engine) decide(ctx context.Context, s *set, p *prepared, in *policy.Input) (value ast.Value, err error) {
	defer func() {
		if r := recover(); r != nil { // a fault of the library must not take the caller's process with it
			value, err = nil, fmt.Errorf("panic of type %T", r)
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	input, err := inputTerm(in, p.reads)
	if err != nil {
		return nil, &inputError{err}
	}
	w := &watch{ctx: ctx, start: time.Now(), limit: e.timeout}
	if e.insecure { // http.send sees the deadline through the context only
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, e.timeout)
		defer stop()
	}
	value, err = s.query(ctx, p, input, w)
	if w.err != nil || err != nil && w.Cancelled() {
		return nil, w.err // whatever OPA made of it
	}
	return value, err
}

// query returns the value of the rule, or nil when it has none.
func (s *set) query(ctx context.Context, p *prepared, input *ast.Term, w *watch) (ast.Value, error) {
	txn, err := s.store.NewTransaction(ctx)
	if err != nil {
		return nil, err
	}
	defer s.store.Abort(ctx, txn)
	var value ast.Value
	err = topdown.NewQuery(p.body).WithQueryCompiler(p.compiler).WithCompiler(s.compiler).
		WithStore(s.store).WithTransaction(txn).WithInput(input).WithCancel(w).WithMetrics(noMetrics).
		WithStrictBuiltinErrors(true). // otherwise a failed built-in is only undefined, and "not" makes it true
		Iter(ctx, func(r topdown.QueryResult) error {
			if value != nil {
				return errors.New("more than one answer")
			}
			if t := r[answer]; t != nil {
				value = t.Value
			}
			return nil
		})
	return value, err
}

// definite reads the two forms of an answer: a boolean, and {"allow": boolean} (SPEC §7).
func definite(v ast.Value) (allow, ok bool) {
	if o, is := v.(ast.Object); is && o.Len() == 1 {
		if t := o.Get(kAllow); t != nil {
			v = t.Value
		}
	}
	b, ok := v.(ast.Boolean)
	return bool(b) && ok, ok
}

var kAllow = key("allow")

// An inputError is the caller's fault, not the policy's. Its text may be shown: it names types and keys only.
type inputError struct{ error }

func (e *inputError) Unwrap() error { return e.error }
