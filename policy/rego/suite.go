package rego

import (
	"context"
	"errors"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/kest-go/kest/policy"
)

// A Suite is a folder of policies together with its *_test.rego, which no [Engine] loads, in the form that OPA's test
// runner takes. It decides nothing: in it, policies could find rules of tests.
type Suite struct {
	Modules  map[string]*ast.Module // by file, as errors show it
	Tests    map[string]bool        // the files among them that are tests
	Store    storage.Store          // the data
	Compiler *ast.Compiler          // has compiled nothing yet; refuses what [Refused] lists
}

// Suite loads a folder with its tests. Its policies must compile without the tests too. Errors are those of
// [Config.Dir], and as bounded.
func (c Config) Suite(ctx context.Context, path string) (*Suite, error) {
	e, err := c.Dir(path)
	if err != nil {
		return nil, err
	}
	t, err := e.keeper.Read(func(name string) bool { return wanted(name) || isTest(name) })
	if err != nil {
		return nil, err
	}
	l, err := e.loader(t.Left)
	if err != nil {
		return nil, err
	}
	s := &Suite{Tests: map[string]bool{}}
	if err := l.load(ctx, t.Files); err != nil {
		return nil, e.keeper.Named(err)
	}
	if _, err := l.compile(ctx, ""); err != nil { // for the faults, with files and lines; the runner compiles its own
		return nil, e.keeper.Named(err)
	}
	for _, f := range t.Files {
		if isTest(f.Path) {
			s.Tests[l.source.Display(f.Path)] = true
		}
	}
	s.Modules = l.modules
	s.Store = inmem.NewFromObjectWithOpts(l.data, inmem.OptRoundTripOnWrite(false), inmem.OptReturnASTValuesOnRead(true))
	s.Compiler = ast.NewCompiler().WithCapabilities(l.v1).WithEnablePrintStatements(true)
	return s, nil
}

// Trace is [Engine.Evaluate] with one of OPA's tracers, for example one that notes which lines were reached. An error
// of the evaluation is returned as OPA gives it; the decision has the class.
func (e *Engine) Trace(ctx context.Context, name string, in *policy.Input, tracer topdown.QueryTracer) error {
	s := e.current.Load()
	p := s.policies[name]
	if p == nil {
		return s.unknown(name)
	}
	if in == nil {
		return errors.New("nil input")
	}
	input, err := inputTerm(in, p.reads)
	if err != nil {
		return err
	}
	return s.trace(ctx, p, input, e.timeout, tracer, true)
}

// trace evaluates for a tracer. Without the shortcuts, rules are entered that cannot change the answer.
func (s *set) trace(ctx context.Context, p *prepared, input *ast.Term, limit time.Duration, tracer topdown.QueryTracer,
	shortcuts bool) (err error) {
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	defer func() {
		if recover() != nil { // as in decide
			err = errors.New("evaluation panicked")
		}
	}()
	txn, err := s.store.NewTransaction(ctx)
	if err != nil {
		return err
	}
	defer s.store.Abort(ctx, txn)
	w := &watch{ctx: ctx, start: time.Now(), limit: limit}
	err = topdown.NewQuery(p.body).WithQueryCompiler(p.compiler).WithCompiler(s.compiler).
		WithStore(s.store).WithTransaction(txn).WithInput(input).WithMetrics(noMetrics).
		WithCancel(w).WithStrictBuiltinErrors(true).
		WithQueryTracer(tracer).WithIndexing(shortcuts).WithEarlyExit(shortcuts).
		Iter(ctx, func(topdown.QueryResult) error { return nil })
	if w.err != nil {
		return w.err // whatever OPA made of it
	}
	return err
}
