package policies_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/open-policy-agent/opa/v1/ast"
	opa "github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/tester"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/policies"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedar"
	"github.com/kest-go/kest/policy/rego"
)

// TestTogether puts the whole library on one guard: a call that no policy is about passes them all.
func TestTogether(t *testing.T) {
	p := newPair(t, deployment(t))
	g := newGuard(t, p, p.rego.Policies()...)
	ctx, _ := kest.StartSession(t.Context())
	for _, by := range []string{gateway, desk, desk} { // core may follow from edge
		c := call{by: by, op: "a", user: "ada"}
		if err := c.run(t, ctx, g, g); (err != nil) != (by == desk) { // but has more integrity than the gateway
			t.Errorf("%s: %v", by, err)
		}
	}
	if err := (call{by: desk, op: "a"}).run(t, t.Context(), g, g); err != nil {
		t.Error(err)
	}
	if err := (call{by: stranger, op: "a"}).run(t, t.Context(), g, g); err == nil {
		t.Error("a workload that is not in the data passes")
	}
}

// TestWithoutData: a library that was mounted and forgotten denies every call.
func TestWithoutData(t *testing.T) {
	p := newPair(t, map[string]any{})
	for _, name := range p.rego.Policies() {
		if err := (call{by: desk, op: "a"}).run(t, t.Context(), newGuard(t, p, name), nil); err == nil {
			t.Errorf("%s allows without data", name)
		}
	}
}

// negation is what may stand behind "not": a rule without arguments. OPA looks up arguments before it negates, so
// "not f(data.missing)" is undefined, and a rule that denies by it does not.
var negation = regexp.MustCompile(`^[a-z_]+(\.[a-z_]+)?$`)

// TestShape holds all files to what readers rely on.
func TestShape(t *testing.T) {
	for _, dir := range []struct {
		fs      fs.FS
		comment string
	}{{policies.Rego(), "#"}, {policies.Cedar(), "//"}} {
		names, err := fs.Glob(dir.fs, "kest/*")
		if err != nil || len(names) < 11 {
			t.Fatal(names, err)
		}
		for _, name := range names {
			if strings.HasPrefix(path.Base(name), "lineage") {
				continue // no policy
			}
			text := read(t, dir.fs, name)
			for _, word := range []string{"Rule ", "Data ", "Cannot "} {
				if !strings.Contains(text, "\n"+dir.comment+" "+word) {
					t.Errorf("%s does not say %q", name, word)
				}
			}
			for line := range strings.Lines(text) {
				line = strings.TrimSpace(line)
				if !strings.HasPrefix(line, dir.comment) && (strings.Contains(line, "attributes") || strings.Contains(line, "labels")) {
					t.Errorf("%s: %q looks at what a caller claims", name, line)
				}
				if after, ok := strings.CutPrefix(line, "not "); ok && !negation.MatchString(after) {
					t.Errorf("%s: %q negates more than a name", name, line)
				}
				if len(line) > 120 {
					t.Errorf("%s: a line of %d characters", name, len(line))
				}
			}
		}
	}
}

// TestNegation shows why: this is the rule that TestShape refuses.
func TestNegation(t *testing.T) {
	q := prepare(t, policies.Rego(), map[string]any{}, `not data.kest.lineage.free_of(data.kest.deployment.missing)`)
	result, err := q.Eval(context.Background())
	if err != nil || len(result) != 0 {
		t.Errorf("%v %v; OPA has changed, and the comment of kest.lineage with it", result, err)
	}
}

// TestRego runs the tests in *_test.rego.
func TestRego(t *testing.T) {
	modules := map[string]*ast.Module{}
	names, err := fs.Glob(policies.Rego(), "kest/*.rego")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		m, err := ast.ParseModuleWithOpts(name, read(t, policies.Rego(), name), ast.ParserOptions{RegoVersion: ast.RegoV1})
		if err != nil {
			t.Fatal(err)
		}
		modules[name] = m
	}
	results, err := tester.NewRunner().SetDefaultRegoVersion(ast.RegoV1).CapturePrintOutput(true).SetModules(modules).
		RunTests(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var tested []string
	for r := range results {
		tested = append(tested, r.Name)
		if !r.Pass() {
			t.Errorf("%v: %s %v %s", r.Location, r.Name, r.Error, r.Output)
		}
	}
	tested = append(tested, "test_any_unsanitized", "test_ever_tainted") // with unsanitized and tainted
	for _, rule := range modules["kest/lineage.rego"].Rules {
		if name := "test_" + string(rule.Head.Name); !slices.Contains(tested, name) {
			t.Errorf("there is no %s", name)
		}
	}
}

// entityTypes are what the entities of a deployment have, in the order of the README. Members that statements test
// for are optional.
const entityTypes = `
type Mark = {level: Long, categories: Set<String>};
type Certificate = {operation: String, workload: String};
entity Workload = {
  clearance: Mark, integrity: Long, domain: String,
  hears: {bell_lapadula: Set<String>, biba: Set<String>, non_interference: Set<String>},
};
entity Resource = {
  classification?: Mark, integrity?: Long, conflict_class?: String, dataset?: String,
  competitors: Set<String>, foreign: Set<String>, requires?: Set<Step>, requires_acts?: Set<Act>, separate_from?: String,
  triples?: Set<{user: String, operation: String, workload: String}>,
};
entity Deployment = {
  min: Long, may_override: Set<String>,
  taints: Set<String>, operations: Set<String>, sanitizers: Set<Certificate>,
  steps: Set<Step>, on_object?: {operations: Set<String>, step: Step},
  duties: {initiate: String, approve: String, execute: String, review: String}, workloads: Set<String>,
  read: Set<String>, append: Set<String>, write: Set<String>,
  classes: Set<String>, walled: Set<String>,
  procedures: Set<String>, certifiers: Set<String>, unconstrained: Set<String>,
  flows: {},
  check: String, check_any_object?: Bool, payers: Set<String>, untrusted: Set<String>,
  read_only: Set<String>, side_effects: Set<String>, approved_only: Set<String>, approvals: Set<Step>,
  grants: Set<{workload: String, agent: String, operation: String}>,
};
`

// TestTypes checks the Cedar policies against the schema of the input, so that a misspelt member is found.
func TestTypes(t *testing.T) {
	names, err := fs.Glob(policies.Cedar(), "kest/*.cedar")
	if err != nil {
		t.Fatal(err)
	}
	schema := strings.NewReplacer("\nentity Workload;", entityTypes, "\nentity Resource;", "").Replace(cedar.InputSchema())
	for _, name := range append(names, "kest/wrong.cedar") {
		schema += "action \"" + strings.TrimSuffix(name, ".cedar") +
			"\" appliesTo { principal: Workload, resource: Resource, context: Input };\n"
	}
	tree := policies.Overlay(policies.Cedar(), fstest.MapFS{"schema.cedarschema": {Data: []byte(schema)}})
	if _, err := cedar.FS(tree); err != nil {
		t.Error(err)
	}
	wrong := "permit (principal, action, resource) when { context.lineage.step.isEmpty() };"
	tree = policies.Overlay(tree, fstest.MapFS{"kest/wrong.cedar": {Data: []byte(wrong)}})
	if _, err := cedar.FS(tree); err == nil || !strings.Contains(err.Error(), "`step`") {
		t.Errorf("nothing is checked: %v", err)
	}
}

// TestPoorInput: a document that is not the guard's, or of an adapter that does not know lineage, must not pass for a call
// without a past. Cedar's answer to a missing member is an error.
func TestPoorInput(t *testing.T) {
	doc := deployment(t)
	k := &keeper{}
	if err := (call{by: desk, op: "a"}).run(t, t.Context(), newGuard(t, k, everyPolicy), nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range newPair(t, doc).rego.Policies() {
		q := prepare(t, part(t, policies.Rego(), ".rego", []string{name}), doc, "data."+strings.ReplaceAll(name, "/", ".")+".allow")
		ask := func(input map[string]any) any {
			result, err := q.Eval(t.Context(), opa.EvalInput(input))
			if err != nil || len(result) != 1 {
				t.Fatalf("%s: %v %v", name, result, err)
			}
			return result[0].Expressions[0].Value
		}
		if ask(k.in.Document()) != true {
			t.Errorf("%s denies a whole input", name)
		}
		if ask(map[string]any{}) != false {
			t.Errorf("%s allows an empty input", name)
		}
		if name == "kest/trust_threshold" || name == "kest/taint_block" {
			continue // not about ancestors
		}
		poor := k.in.Document()
		poor["lineage"] = map[string]any{"length": 3, "principals": []any{}, "min_trust": 100, "source_types": []any{}}
		if ask(poor) != false {
			t.Errorf("%s allows an input without lists of ancestors", name)
		}
	}
}

// TestHalfWall: entities that were written by hand can say less than Entities lets pass.
func TestHalfWall(t *testing.T) {
	engine, err := cedar.FS(policies.Overlay(policies.Cedar(), fstest.MapFS{"entities.json": {Data: []byte(`[
		{"uid": {"type": "Deployment", "id": "brewer_nash"},
			"attrs": {"classes": ["k"], "read": ["r"], "write": [], "walled": []}, "parents": []},
		{"uid": {"type": "Resource", "id": "dataset"}, "attrs": {"dataset": "a"}, "parents": []},
		{"uid": {"type": "Resource", "id": "class"}, "attrs": {"conflict_class": "k"}, "parents": []},
		{"uid": {"type": "Resource", "id": "open"}, "attrs": {}, "parents": []}
	]`)}}))
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{"dataset": false, "class": false, "open": true} {
		in := &policy.Input{Object: policy.Object{ID: id}, Environment: policy.Environment{Operation: "r"}}
		if d, err := engine.Evaluate(t.Context(), "kest/brewer_nash", in); d.Allow != want {
			t.Errorf("%s: %+v %v", id, d, err)
		}
	}
}

// TestMalformedData is about data that Entities refuses, and Rego would compare across types: "9" >= 80 is true there.
func TestMalformedData(t *testing.T) {
	for _, test := range []struct{ policy, op, change string }{
		{"kest/bell_lapadula", "doc.read", `workloads|` + payments + `|clearance|level="9"`},
		{"kest/bell_lapadula", "doc.read", `workloads|` + payments + `|clearance|categories={"x": "finance"}`},
		{"kest/bell_lapadula", "doc.read", `resources|report/q3|classification|categories={}`},
		{"kest/bell_lapadula", "doc.read", `resources|report/q3|classification|level=null`},
		{"kest/bell_lapadula", "doc.append", `resources|report/q3|classification|level="2"`},
		{"kest/biba", "doc.read", `resources|report/q3|integrity="10"`},
		{"kest/biba", "doc.append", `resources|report/q3|integrity=null`},
		{"kest/biba", "doc.append", `workloads|` + payments + `|integrity="10"`},
		{"kest/brewer_nash", "doc.read", `resources|report/q3={"conflict_class": "banks", "dataset": null}`},
		{"kest/trust_threshold", "a", `trust_threshold|min=null`},
		{"kest/clark_wilson", "doc.read", `resources|report/q3|triples={}`},
	} {
		t.Run(test.policy+" "+test.change, func(t *testing.T) {
			in := &policy.Input{
				Subject: policy.Subject{Workload: payments}, Object: policy.Object{ID: "report/q3"}, TrustScore: 100,
				Environment: policy.Environment{Operation: test.op, SourceType: "internal"}, Lineage: policy.Lineage{MinTrust: 100},
			}
			for change, want := range map[string]bool{"": true, test.change: false} {
				text, err := json.Marshal(deployment(t, change))
				if err != nil {
					t.Fatal(err)
				}
				rules := part(t, policies.Rego(), ".rego", []string{test.policy})
				engine, err := rego.FS(policies.Overlay(rules, fstest.MapFS{"kest/deployment/data.json": {Data: text}}))
				if err != nil {
					t.Fatal(err)
				}
				if d, err := engine.Evaluate(t.Context(), test.policy, in); err != nil || d.Allow != want {
					t.Errorf("with %q: %+v %v", change, d, err)
				}
			}
		})
	}
}
