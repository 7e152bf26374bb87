package cedar_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	cedargo "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedar"
	"github.com/kest-go/kest/policy/policytest"
)

const action = "\naction \"p\" appliesTo { principal: Workload, resource: Resource, context: Input };\n"

func resolve(t testing.TB, text string) *resolved.Schema {
	t.Helper()
	var s schema.Schema
	if err := s.UnmarshalCedar([]byte(text)); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The Cedar schema says of every member what the published JSON Schema says of it, to which the documents of the guard
// conform (F-PE-09), and has every dotted path.
func TestSchemaIsThatOfTheInput(t *testing.T) {
	var input map[string]any
	if err := json.Unmarshal([]byte(policy.InputSchema()), &input); err != nil {
		t.Fatal(err)
	}
	record := resolve(t, cedar.InputSchema()+action).Actions[types.NewEntityUID("Action", "p")].AppliesTo.Context
	nested, dotted := resolved.RecordType{}, resolved.RecordType{}
	for name, a := range record {
		if strings.Contains(string(name), ".") {
			dotted[name] = a
		} else {
			nested[name] = a
		}
	}
	same(t, "input", input, nested)
	for top, a := range nested {
		if members, ok := a.Type.(resolved.RecordType); ok {
			for name, member := range members {
				path := top + "." + name
				if _, isRecord := member.Type.(resolved.RecordType); isRecord {
					continue
				}
				if got, ok := dotted[path]; !ok || fmt.Sprint(got) != fmt.Sprint(member) {
					t.Errorf("%s is %v, want %v", path, got, member)
				}
				delete(dotted, path)
			}
		}
	}
	if len(dotted) > 0 {
		t.Errorf("dotted paths of nothing: %v", dotted)
	}
}

// same compares an object of JSON Schema with a record.
func same(t *testing.T, at string, object map[string]any, record resolved.RecordType) {
	t.Helper()
	properties, closed := object["properties"].(map[string]any)
	if closed && len(properties) != len(record) || !closed && len(record) != 0 {
		t.Errorf("%s has %d members, want %d", at, len(record), len(properties))
	}
	for name, p := range properties {
		p, path := p.(map[string]any), at+"."+name
		a, ok := record[types.String(name)]
		if !ok {
			t.Errorf("%s is missing", path)
			continue
		}
		kind, null := p["type"], false
		if kinds, ok := kind.([]any); ok {
			kind, null = kinds[0], slices.Contains(kinds, any("null"))
		}
		if a.Optional != null {
			t.Errorf("%s: optional is %t, null %t", path, a.Optional, null)
		}
		sameType(t, path, kind, p, a.Type)
	}
}

func sameType(t *testing.T, at string, kind any, p map[string]any, got resolved.IsType) {
	t.Helper()
	switch got := got.(type) {
	case resolved.RecordType:
		if kind != "object" {
			t.Errorf("%s is a record, and %v", at, kind)
		}
		same(t, at, p, got)
	case resolved.SetType:
		items, ok := p["items"].(map[string]any)
		if kind != "array" || !ok {
			t.Errorf("%s is a set, and %v", at, kind)
			return
		}
		sameType(t, at+"[]", items["type"], items, got.Element)
	default:
		want := map[any]resolved.IsType{"string": resolved.StringType{}, "integer": resolved.LongType{}, "boolean": resolved.BoolType{}}[kind]
		if got != want {
			t.Errorf("%s is %v, and %v", at, got, kind)
		}
	}
}

// Whole contexts conform to the schema, in which the attributes and labels of these calls are declared.
func TestContextsConform(t *testing.T) {
	text := cedar.InputSchema() + action
	for old, now := range map[string]string{
		"type Attributes = {};": "type Attributes = {cents?: Long};", "type Labels = {};": `type Labels = {level?: String, "x.y"?: String, "a.b"?: String};`,
		"type Input = {": `type Input = { "attributes.cents"?: Long, "labels.level"?: String, "labels.a.b"?: String,`,
	} {
		if !strings.Contains(text, old) {
			t.Fatalf("the schema lacks %q", old)
		}
		text = strings.Replace(text, old, now, 1)
	}
	v := validate.New(resolve(t, text))
	override := 10
	overridden := call(80)
	overridden.Environment.TrustOverride, overridden.Attributes = &override, map[string]any{"cents": 1999}
	guard := policytest.Input(80)
	guard.Attributes, guard.Object.Attributes = nil, nil
	for name, in := range map[string]*policy.Input{"zero": {}, "call": call(80), "overridden": overridden, "guard": guard} {
		all, _, err, _ := cedar.Context(in)
		if err != nil {
			t.Fatal(err)
		}
		request := cedargo.Request{Principal: types.NewEntityUID("Workload", "w"), Action: types.NewEntityUID("Action", "p"),
			Resource: types.NewEntityUID("Resource", "*"), Context: all}
		if err := v.Request(request); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// With CheckInput, what the context does not have is found when the policy is loaded, and what it has passes.
func TestCheckInput(t *testing.T) {
	for _, condition := range []string{
		typed, "context.attributes has cents && context.attributes.cents < 5", `context has "attributes.cents" || context.trust_score > 5`,
		`principal has x || {"a": 1} has a`, `context.object.attributes has x || context has "object.attributes.x"`,
	} {
		if _, err := checked("permit(principal, action, resource) when { " + condition + " };"); err != nil {
			t.Errorf("%s: %v", condition, err)
		}
	}
	for condition, want := range map[string]string{
		`context.lineage.operatoins.contains("fraud.check")`:                                                  "operatoins",
		`context["lineage.operatoins"].contains("fraud.check")`:                                               "operatoins",
		`context.linaege.operations.contains("fraud.check")`:                                                  "linaege",
		`context.subject.user == "ada"`:                                                                       "user",
		`context.trust_score == "80"`:                                                                         "",
		`context.lineage.steps.contains({"operation": "a", "principle": "b", "outcome": "ok"})`:               "",
		`context.lineage.acts.contains({"operation": "a", "principal": "b", "outcome": "ok", "object": "c"})`: "",
		`context.lineage.operations == "fraud.check"`:                                                         "",
		`context has "lineage.operatoins"`:                                                                    "never has \"lineage.operatoins\"",
		`!(context.lineage has operatoins)`:                                                                   "never has \"operatoins\"",
		`context has linaege`:                                                                                 "never has \"linaege\"",
		`context.attributes.cents < 5`:                                                                        "cents",
		`context.labels.level == "x"`:                                                                         "level",
	} {
		_, err := checked("permit(principal, action, resource)\nwhen { " + condition + " };")
		if err == nil || !strings.Contains(err.Error(), "kest/x.cedar:1: policy kest/x: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", condition, err)
		}
	}
	// What the tree says of itself is what counts.
	own := "entity Workload; entity Resource; action \"p\" appliesTo { principal: Workload, resource: Resource, context: {attributes: {cents: Long}} };"
	if _, err := (cedar.Config{CheckInput: true}).FS(tree{"p.cedar": "permit(principal, action, resource) when { context.attributes.cents < 5 };", "schema.cedarschema": own}.fs()); err != nil {
		t.Error(err)
	}
}

// typed is every member that a type can be asked of.
const typed = `
	context.subject.workload == "a" && context["subject.trust_score"] > 1 && context.subject has user && context.subject.user == "ada" &&
	context has "subject.user" && context["subject.user"] == "ada" && context.environment has trust_override && context.environment.trust_override > 3 &&
	context["environment.removed_taints"].contains("raw") && context.environment.active_deviations.isEmpty() &&
	context.lineage.operations.contains("fraud.check") && context.lineage.ancestors_omitted == 0 &&
	context.lineage.steps.contains({"operation": "fraud.check", "principal": context.subject.workload, "outcome": "ok"}) &&
	context.lineage.acts.contains({"operation": "fraud.check", "principal": "a", "outcome": "ok", "resource": context["environment.operation"]}) &&
	context["lineage.users"].contains({"operation": "fraud.check", "user": "ada"}) &&
	!context.lineage.labels.contains({"name": "level", "value": "secret"}) && !context.lineage.unsanitized_sources.contains("internet")`

func checked(text string) (*cedar.Engine, error) {
	return cedar.Config{CheckInput: true}.FS(tree{"kest/x.cedar": text}.fs())
}
