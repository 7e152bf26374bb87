package policy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// validate holds value, decoded by encoding/json, against a schema of the few JSON Schema keywords that the
// published one uses. A keyword that it does not know is an error, so the schema cannot say more than is tested.
func validate(schema map[string]any, value any, path string) error {
	var errs []error
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf(path+": "+format, args...))
	}
	for keyword, arg := range schema {
		switch keyword {
		case "$schema", "$id", "title", "description": // annotations
		case "properties", "additionalProperties", "required": // with the object, below
		case "type":
			if !isType(arg, value) {
				fail("is not of type %v", arg)
			}
		case "enum":
			if !slices.Contains(arg.([]any), value) {
				fail("is none of %v", arg)
			}
		case "const":
			if value != arg {
				fail("is not %v", arg)
			}
		case "pattern":
			if s, ok := value.(string); ok && !regexp.MustCompile(arg.(string)).MatchString(s) {
				fail("does not match %s", arg)
			}
		case "minLength":
			if s, ok := value.(string); ok && utf8.RuneCountInString(s) < int(arg.(float64)) {
				fail("is too short")
			}
		case "minimum":
			if n, ok := value.(float64); ok && n < arg.(float64) {
				fail("is below %v", arg)
			}
		case "maximum":
			if n, ok := value.(float64); ok && n > arg.(float64) {
				fail("is above %v", arg)
			}
		case "items":
			list, _ := value.([]any)
			for i, item := range list {
				errs = append(errs, validate(arg.(map[string]any), item, fmt.Sprintf("%s[%d]", path, i)))
			}
		default:
			fail("schema keyword %q is not known here", keyword)
		}
	}
	if object, ok := value.(map[string]any); ok {
		errs = append(errs, validateObject(schema, object, path))
	}
	return errors.Join(errs...)
}

func validateObject(schema, object map[string]any, path string) error {
	var errs []error
	properties, _ := schema["properties"].(map[string]any)
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := object[name.(string)]; !ok {
			errs = append(errs, fmt.Errorf("%s: %v is missing", path, name))
		}
	}
	for name, value := range object {
		if property, ok := properties[name].(map[string]any); ok {
			errs = append(errs, validate(property, value, path+"."+name))
		} else if schema["additionalProperties"] == false {
			errs = append(errs, fmt.Errorf("%s: %s is not allowed", path, name))
		}
	}
	return errors.Join(errs...)
}

func isType(types, value any) bool {
	if list, ok := types.([]any); ok {
		return slices.ContainsFunc(list, func(t any) bool { return isType(t, value) })
	}
	switch v := value.(type) {
	case nil:
		return types == "null"
	case bool:
		return types == "boolean"
	case string:
		return types == "string"
	case float64:
		return types == "number" || types == "integer" && v == math.Trunc(v)
	case []any:
		return types == "array"
	case map[string]any:
		return types == "object"
	}
	return false
}

func schema(t *testing.T) map[string]any {
	t.Helper()
	var s map[string]any
	if err := json.Unmarshal([]byte(policy.InputSchema()), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// inputs are documents as the guard makes them: a root, a child with everything, one with as little as possible,
// and a join.
func inputs() map[string]*policy.Input {
	root := policytest.Input(100)
	root.Environment.IsRoot, root.Environment.ParentHashes = true, nil
	root.Lineage = policy.Lineage{MinTrust: 100}
	least := policytest.Input(0)
	least.Subject = policy.Subject{Workload: "local:x"}
	least.Object, least.Attributes = policy.Object{}, nil
	least.Environment.ActiveDeviations = nil
	join := policytest.Input(36)
	join.Environment.ParentHashes = []string{strings.Repeat("01", 32), strings.Repeat("ff", 32)}
	join.Environment.ActiveDeviations = []policy.Deviation{
		{Policy: "a", Tier: policy.Enterprise, Approver: "ciso"}, {Policy: "b/c", Tier: policy.Application, Scope: "*"},
	}
	join.Lineage = policy.Lineage{Length: 12, Principals: []string{"a", "b"}, SourceTypes: []string{"internet", "llm"}}
	return map[string]*policy.Input{"child": policytest.Input(40), "root": root, "least": least, "join": join}
}

// document decodes what an engine over the wire sees.
func document(t *testing.T, in *policy.Input) map[string]any {
	t.Helper()
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestSchemaAcceptsRealInputs(t *testing.T) { // F-PE-09
	s := schema(t)
	for name, in := range inputs() {
		if err := validate(s, any(document(t, in)), name); err != nil {
			t.Error(err)
		}
	}
}

// TestSchemaRefusesMutations removes each member, gives each value every other type, adds a member to each
// object, and leaves each range by one: the schema must notice every time.
func TestSchemaRefusesMutations(t *testing.T) {
	s := schema(t)
	in, score := inputs()["child"], 40
	in.Environment.TrustOverride, in.Environment.Sanitizer, in.Environment.RemovedTaints = &score, "redact", []string{"pii"}
	in.Environment.ActiveDeviations[0].ApproverKey = "key"
	in.Lineage.History = policy.NewHistory(func() []policy.Ancestor {
		a := policytest.Input(40).Lineage.History.Past().Ancestors[0]
		a.Sanitizer, a.RemovedTaints = "redact", []string{"pii"}
		b := a
		b.Parents = []int{0}
		return []policy.Ancestor{a, b}
	})
	doc := document(t, in)
	if n := mutate(t, s, s, doc, doc, "$"); n < 200 {
		t.Fatalf("only %d mutations were tried", n)
	}
}

// mutate tries every mutation below object, which is a part of doc described by part, and counts them.
func mutate(t *testing.T, whole, part map[string]any, doc, object map[string]any, path string) (n int) {
	refused := func(what string) {
		t.Helper()
		n++
		if validate(whole, doc, "$") == nil {
			t.Errorf("%s: %s is accepted", path, what)
		}
	}
	properties, closed := part["properties"].(map[string]any)
	if !closed {
		return 0 // attributes are the caller's
	}
	object["extra"] = 1.0
	refused("an extra member")
	delete(object, "extra")
	for _, name := range slices.Sorted(maps.Keys(object)) {
		value, property := object[name], properties[name].(map[string]any)
		delete(object, name)
		refused("a missing " + name)
		for _, other := range wrong(name, value) {
			object[name] = other
			refused(fmt.Sprintf("%s = %#v", name, other))
		}
		object[name] = value
		items, _ := property["items"].(map[string]any)
		list, _ := value.([]any)
		for i, item := range list {
			for _, other := range wrong(name, item) {
				list[i] = other
				refused(fmt.Sprintf("%s[%d] = %#v", name, i, other))
			}
			list[i] = item
			if element, ok := item.(map[string]any); ok {
				n += mutate(t, whole, items, doc, element, fmt.Sprintf("%s.%s[%d]", path, name, i))
			}
		}
		if child, ok := value.(map[string]any); ok {
			n += mutate(t, whole, property, doc, child, path+"."+name)
		}
	}
	return n
}

// wrong returns values that the member name must not have instead of value. It knows the contract, not the schema.
func wrong(name string, value any) []any {
	nullable := []string{"user", "agent", "task", "id", "reason", "approver", "approver_key", "resource", "sanitizer", "trust_override"}
	coded := []string{"parent_hash", "parent_hashes", "policy_names", "policy", "policy_tier", "tier", "entry_id", "trace_id"}
	kind := func(v any) string { return fmt.Sprintf("%T", v) }
	var out []any
	for _, other := range []any{nil, true, "text ", 1.5, []any{}, map[string]any{}} {
		if kind(other) != kind(value) && (other != nil || !slices.Contains(nullable, name)) {
			out = append(out, other)
		}
	}
	switch v := value.(type) {
	case float64:
		out = append(out, 0.5, -1.0)
		if name != "length" && name != "ancestors_omitted" && name != "parents" {
			out = append(out, 101.0)
		}
	case string:
		if name != "value" { // of a label; no other string in the document is empty: absent is null
			out = append(out, "")
		}
		if slices.Contains(coded, name) {
			out = append(out, v+" ", " "+v, v+"\n", strings.ToUpper("x"+v)+"/")
		}
	}
	return out
}

// TestSchemaIsClosed: nothing but attributes and labels, whose names applications choose, is open.
func TestSchemaIsClosed(t *testing.T) {
	var open []string
	var walk func(s map[string]any, path string)
	walk = func(s map[string]any, path string) {
		if isObject := s["type"] == "object"; isObject && s["additionalProperties"] != false {
			open = append(open, path)
		}
		properties, _ := s["properties"].(map[string]any)
		if required, _ := s["required"].([]any); len(required) != len(properties) {
			t.Errorf("%s: %d of %d members are required", path, len(required), len(properties))
		}
		for name, property := range properties {
			walk(property.(map[string]any), path+"."+name)
		}
		if items, ok := s["items"].(map[string]any); ok {
			walk(items, path+"[]")
		}
	}
	walk(schema(t), "$")
	slices.Sort(open)
	if want := []string{"$.attributes", "$.labels", "$.lineage.ancestors[].labels", "$.object.attributes"}; !slices.Equal(open, want) {
		t.Errorf("open objects: %q, want %q", open, want)
	}
}
