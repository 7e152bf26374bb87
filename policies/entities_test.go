package policies_test

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/kest-go/kest/policies"
)

// TestEntities looks at what is computed.
func TestEntities(t *testing.T) {
	text, err := policies.Entities([]byte(`{
		"workloads": {
			"low": {"clearance": {"level": 1, "categories": []}, "integrity": 10, "domain": "d", "hears": {"biba": ["high"]}},
			"high": {"clearance": {"level": 2, "categories": ["x"]}, "integrity": 90, "domain": "e"},
			"side": {"clearance": {"level": 2, "categories": ["y"]}},
			"none": null
		},
		"resources": {
			"a": {"conflict_class": "k", "dataset": "A"}, "b": {"conflict_class": "k", "dataset": "B"},
			"c": {"conflict_class": "l", "dataset": "C"}, "open": {"competitors": ["a"], "foreign": ["b"]}
		},
		"non_interference": {"flows": {"e": ["d"]}},
		"brewer_nash": {"walled": []}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	var entities []struct {
		UID     struct{ Type, ID string }
		Attrs   map[string]any
		Parents []any
	}
	if err := json.Unmarshal(text, &entities); err != nil {
		t.Fatal(err)
	}
	got := map[string]map[string]any{}
	for _, e := range entities {
		got[e.UID.Type+" "+e.UID.ID] = e.Attrs
		if e.Parents == nil {
			t.Errorf("%s has no list of parents", e.UID.ID)
		}
	}
	ids := func(ids ...any) any { return append([]any{}, ids...) }
	for _, test := range []struct {
		entity, attr string
		want         any
	}{
		{"Workload low", "hears", map[string]any{"bell_lapadula": ids("low"), "biba": ids("high", "low"), "non_interference": ids("low")}},
		{"Workload high", "hears", map[string]any{"bell_lapadula": ids("high", "low"), "biba": ids("high"), "non_interference": ids("high", "low")}},
		{"Workload side", "hears", map[string]any{"bell_lapadula": ids("low", "side")}},
		{"Workload none", "hears", map[string]any{}},
		{"Workload low", "integrity", 10.0},
		{"Resource a", "competitors", ids("b")}, {"Resource a", "foreign", ids("b", "c")},
		{"Resource c", "competitors", ids()}, {"Resource c", "foreign", ids("a", "b")},
		{"Resource open", "competitors", nil}, {"Resource open", "foreign", nil},
		{"Deployment brewer_nash", "walled", ids("a", "b", "c")},
		{"Deployment non_interference", "flows", map[string]any{"e": ids("d")}},
	} {
		attrs, ok := got[test.entity]
		if have := attrs[test.attr]; !ok || !reflect.DeepEqual(have, test.want) {
			t.Errorf("%s: %s is %v, want %v", test.entity, test.attr, have, test.want)
		}
	}
	if len(got) != 10 {
		t.Errorf("%d entities", len(got))
	}
}

func TestEntitiesRefuses(t *testing.T) {
	for _, test := range []struct{ name, data, want string }{
		{"nothing", ``, "EOF"},
		{"half", `{"workloads": {`, "unexpected EOF"},
		{"more", `{} {}`, "more text after the document"},
		{"list", `[]`, "cannot unmarshal"},
		{"member that is no object", `{"payments": 1}`, "cannot unmarshal"},
		{"workload that is no object", `{"workloads": {"w": 1}}`, `workload "w": data must be an object`},
		{"resource that is no object", `{"resources": {"r": []}}`, `resource "r": data must be an object`},
		{"integrity", `{"workloads": {"w": {"integrity": "80"}}}`, `workload "w": integrity must be a whole number`},
		{"half an integrity", `{"resources": {"r": {"integrity": 80.5}}}`, `resource "r": integrity must be a whole number`},
		{"domain", `{"workloads": {"w": {"domain": ["a"]}}}`, `workload "w": domain must be a text`},
		{"clearance", `{"workloads": {"w": {"clearance": 3}}}`, `workload "w": clearance must have a level`},
		{"no level", `{"resources": {"r": {"classification": {"categories": []}}}}`, `resource "r": classification must have a level`},
		{"no categories", `{"workloads": {"w": {"clearance": {"level": 1}}}}`, `workload "w": categories must be a list of texts`},
		{"categories", `{"workloads": {"w": {"clearance": {"level": 1, "categories": [1]}}}}`, `workload "w": categories must be a list of texts`},
		{"name in capitals", `{"workloads": {"w": {"clearance": {"Level": 1, "categories": []}}}}`, `clearance must have a level`},
		{"half a wall", `{"resources": {"r": {"dataset": "a"}}}`, `resource "r": conflict_class and dataset belong together`},
		{"wall", `{"resources": {"r": {"dataset": 1, "conflict_class": "c"}}}`, `resource "r": dataset must be a text`},
		{"separate_from", `{"resources": {"r": {"separate_from": ["a"]}}}`, `resource "r": separate_from must be a text`},
		{"resource of no object", `{"resources": {"*": {}}}`, `resource "*": id stands for calls without an object`},
		{"flows", `{"non_interference": {"flows": ["a"]}}`, `non_interference "flows": data must be an object`},
		{"flows of a domain", `{"non_interference": {"flows": {"a": "b"}}}`, `non_interference "flows": a must be a list of texts`},
		{"null", `{"payments": {"operations": ["a", null]}}`, `Deployment "payments".operations[1] is null`},
		{"fraction", `{"trust_threshold": {"min": 0.5}}`, `Deployment "trust_threshold".min is 0.5, which is not a whole number`},
		{"large", `{"trust_threshold": {"min": 9223372036854775808}}`, `which is not a whole number of 64 bits`},
		{"a name of Cedar's", `{"payments": {"x": {"__entity": {}}}}`, `Deployment "payments".x.__entity is a name that Cedar keeps`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := policies.Entities([]byte(test.data)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	_, err := policies.Entities([]byte(`{"workloads": {"w": {"domain": 1}, "x": {"integrity": null}}, "resources": {"*": {}}}`))
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not all faults at once: %v", err)
	}
}

// FuzzEntities: no document panics, and what is accepted is a document that is the same the second time.
func FuzzEntities(f *testing.F) {
	example, err := os.ReadFile("example/rego/kest/deployment/data.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Add([]byte(`{"workloads": {"w": null}, "resources": {"r": {"dataset": "a", "conflict_class": "b"}}, "brewer_nash": null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := policies.Entities(data)
		if err != nil {
			return
		}
		if second, err := policies.Entities(data); err != nil || string(first) != string(second) || !json.Valid(first) {
			t.Errorf("%v\n%s\n%s", err, first, second)
		}
	})
}
