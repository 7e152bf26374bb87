package rego

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"github.com/kest-go/kest/policy"
)

// A set is everything that one load made. It does not change, so evaluations share it and a reload replaces it whole.
type set struct {
	revision string
	compiler *ast.Compiler
	store    storage.Store
	reads    fields
	policies map[string]*prepared
	without  map[string]string // packages without an allow rule: name to one file
}

// prepared is the query of one policy, compiled once for each load.
type prepared struct {
	body     ast.Body
	compiler ast.QueryCompiler
	denied   string // reason of a denial
}

// answer is the variable that the query binds.
const answer = ast.Var("answer")

func (l *loader) compile(ctx context.Context, revision string) (*set, error) {
	s := &set{revision: revision, policies: map[string]*prepared{}, without: map[string]string{}}
	s.store = inmem.NewFromObjectWithOpts(l.data, inmem.OptRoundTripOnWrite(false), inmem.OptReturnASTValuesOnRead(true))
	txn, err := s.store.NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("policy data: %w", err)
	}
	defer s.store.Abort(ctx, txn)
	// A document in data must not stand where a rule stands: OPA would answer with one of them.
	s.compiler = ast.NewCompiler().WithCapabilities(l.v1).WithPathConflictsCheck(storage.NonEmpty(ctx, s.store, txn))
	s.compiler.Compile(l.modules)
	if s.compiler.Failed() {
		return nil, l.sourceErrors("", s.compiler.Errors)
	}
	s.reads = inputFields(s.compiler.Modules)
	for _, shown := range slices.Sorted(maps.Keys(s.compiler.Modules)) {
		if err := s.prepare(shown, s.compiler.Modules[shown]); err != nil {
			return nil, l.sourceErrors(shown, err)
		}
	}
	return s, nil
}

// prepare compiles the query of the policy in m, if m has one that no other file has prepared.
func (s *set) prepare(shown string, m *ast.Module) error {
	name, ok := policyName(m.Package.Path)
	if !ok || s.policies[name] != nil {
		return nil
	}
	if !slices.ContainsFunc(m.Rules, isAllow) {
		s.without[name] = shown
		return nil
	}
	delete(s.without, name)
	// The query is built from terms, so no name is ever parsed as Rego.
	rule := append(slices.Clone(m.Package.Path), ast.StringTerm("allow"))
	query := ast.NewBody(ast.Equality.Expr(ast.NewTerm(answer), ast.NewTerm(rule)))
	qc := s.compiler.QueryCompiler()
	body, err := qc.Compile(query)
	if err != nil {
		return err
	}
	s.policies[name] = &prepared{body, qc, fmt.Sprintf("rule allow in %s is not true", shown)}
	return nil
}

// isAllow reports whether a rule gives allow a value. A function does not.
func isAllow(r *ast.Rule) bool {
	ref := r.Head.Ref()
	head, ok := ref[0].Value.(ast.Var)
	return ok && head == "allow" && len(r.Head.Args) == 0
}

// policyName joins the segments of a package after "data". A package that no policy name can reach has none.
func policyName(pkg ast.Ref) (string, bool) {
	var segments []string
	for _, t := range pkg[1:] {
		s, ok := t.Value.(ast.String)
		if !ok || strings.Contains(string(s), "/") {
			return "", false // a["b/c"] is not a.b.c
		}
		segments = append(segments, string(s))
	}
	name := strings.Join(segments, "/")
	return name, policy.ValidateName(name) == nil
}

// inputFields finds which members of the input the modules read. Compiled modules reach the input only by
// references that begin with the variable input: one that goes on with a constant reads that member, and
// everything else that mentions the variable may read all.
func inputFields(modules map[string]*ast.Module) fields {
	var read fields
	for _, m := range modules {
		for _, r := range m.Rules {
			for ; r != nil; r = r.Else {
				read |= readsIn(r) | readsIn(r.Head.Ref())
			}
		}
	}
	return read
}

func readsIn(x any) fields {
	var read fields
	ast.WalkTerms(x, func(t *ast.Term) bool {
		f, done := reads(t)
		read |= f
		return done
	})
	return read
}

// reads returns what one term reads of the input, and whether the terms inside it are thereby accounted for.
func reads(t *ast.Term) (fields, bool) {
	switch v := t.Value.(type) {
	case ast.Var:
		if v.Equal(ast.InputRootDocument.Value) {
			return allFields, true
		}
	case ast.Ref:
		if len(v) < 2 || !v[0].Equal(ast.InputRootDocument) {
			return 0, false
		}
		name, ok := v[1].Value.(ast.String)
		if !ok {
			return allFields, true
		}
		return topLevel[string(name)] | readsIn(v[2:]), true // input.a[input.b]
	}
	return 0, false
}
