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
	prefix   string
	compiler *ast.Compiler
	store    storage.Store
	policies map[string]*prepared
	without  map[string]string // packages without an allow rule: name to one file
}

// prepared is the query of one policy, compiled once for each load.
type prepared struct {
	body     ast.Body
	compiler ast.QueryCompiler
	reads    reads
	denied   string // reason of a denial
}

// answer is the variable that the query binds.
const answer = ast.Var("answer")

func (l *loader) compile(ctx context.Context, revision string) (*set, error) {
	s := &set{revision: revision, prefix: l.prefix, policies: map[string]*prepared{}, without: map[string]string{}}
	s.store = inmem.NewFromObjectWithOpts(l.data, inmem.OptRoundTripOnWrite(false), inmem.OptReturnASTValuesOnRead(true))
	txn, err := s.store.NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("policy data: %w", err)
	}
	defer s.store.Abort(ctx, txn)
	// A document in data must not stand where a rule stands: OPA would answer with one of them.
	s.compiler = ast.NewCompiler().WithCapabilities(l.v1).WithSchemas(l.schemas).
		WithPathConflictsCheck(storage.NonEmpty(ctx, s.store, txn))
	s.compiler.Compile(l.modules)
	if s.compiler.Failed() {
		return nil, l.sourceErrors("", s.compiler.Errors)
	}
	for _, shown := range slices.Sorted(maps.Keys(s.compiler.Modules)) {
		if err := s.prepare(shown, s.compiler.Modules[shown]); err != nil {
			return nil, l.sourceErrors(shown, err)
		}
	}
	return s, nil
}

// prepare compiles the query of the policy in m, if m has one that no other file has prepared.
func (s *set) prepare(shown string, m *ast.Module) error {
	name, ok := policyName(s.prefix, m.Package.Path)
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
	rules := s.compiler.GetRulesDynamicWithOpts(rule, ast.RulesOptions{IncludeHiddenModules: true})
	s.policies[name] = &prepared{
		body: body, compiler: qc, reads: readsOf(rules, s.compiler.Graph),
		denied: fmt.Sprintf("rule allow in %s is not true", shown),
	}
	return nil
}

// isAllow reports whether a rule gives allow a value. A function does not.
func isAllow(r *ast.Rule) bool {
	ref := r.Head.Ref()
	head, ok := ref[0].Value.(ast.Var)
	return ok && head == "allow" && len(r.Head.Args) == 0
}

// policyName joins the segments of a package after "data" and the prefix. A package that no policy name can reach has none.
func policyName(prefix string, pkg ast.Ref) (string, bool) {
	var segments []string
	for _, t := range pkg[1:] {
		s, ok := t.Value.(ast.String)
		if !ok || strings.Contains(string(s), "/") {
			return "", false // a["b/c"] is not a.b.c
		}
		segments = append(segments, string(s))
	}
	name, below := strings.CutPrefix(strings.Join(segments, "/"), prefix)
	return name, below && policy.ValidateName(name) == nil
}
