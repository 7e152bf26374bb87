package policy_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// TestInputDocument writes out one whole document: the names and the nulls are the contract with policy authors
// (F-PE-09, SPEC §7).
func TestInputDocument(t *testing.T) {
	in := inputs()["root"]
	in.Subject.User, in.Subject.Agent, in.Subject.Task, in.Subject.Taints = "", "", "", nil
	in.Object, in.Attributes, in.Labels = policy.Object{}, nil, nil
	in.Environment.ActiveDeviations[0].Reason, in.Environment.ActiveDeviations[0].Approver = "", ""
	got, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"attributes":{},"environment":{` +
		`"active_deviations":[{"approver":null,"approver_key":null,"policy":"org/audit","reason":null,"tier":"platform"}],` +
		`"classification":"system","entry_id":"0190e2b0-7b3a-7c3e-8a53-6f1c8a5f0001","is_root":true,` +
		`"operation":"payments.process","parent_hash":"0","parent_hashes":[],` +
		`"policy_names":["kest/allow_trusted"],"policy_tier":"function","removed_taints":[],"sanitizer":null,` +
		`"source_type":"internal","trace_id":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","trust_override":null},` +
		`"identity":{"agent":null,"task":null,"user":null,"workload":"spiffe://example.org/payments"},` +
		`"labels":{},"lineage":{"acts":[],"ancestors":[],"ancestors_omitted":0,"labels":[],"length":0,"min_trust":100,` +
		`"operations":[],"principals":[],"resources":[],"source_types":[],"steps":[],"taints":[],` +
		`"unsanitized_sources":[],"users":[]},` +
		`"object":{"attributes":{},"id":null},` +
		`"subject":{"agent":null,"taints":[],"task":null,"trust_score":100,"user":null,` +
		`"workload":"spiffe://example.org/payments"},"trust_score":100}`
	if string(got) != want {
		t.Errorf("document\n got %s\nwant %s", got, want)
	}
}

// TestInputHasOneJSONForm: an engine that marshals the value instead of the pointer must not send Go field names,
// where no policy would find trust_score.
func TestInputHasOneJSONForm(t *testing.T) {
	in := policytest.Input(40)
	byPointer, err1 := json.Marshal(in)
	byValue, err2 := json.Marshal(*in)
	byDocument, err3 := json.Marshal(in.Document())
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	if string(byValue) != string(byPointer) || string(byDocument) != string(byPointer) {
		t.Errorf("pointer  %s\nvalue    %s\ndocument %s", byPointer, byValue, byDocument)
	}
}

func TestInputDocumentParents(t *testing.T) {
	doc := document(t, inputs()["join"])["environment"].(map[string]any)
	hashes := doc["parent_hashes"].([]any)
	if len(hashes) != 2 || doc["parent_hash"] != hashes[0] {
		t.Errorf("parent_hash %v, parent_hashes %v", doc["parent_hash"], hashes)
	}
}

// TestInputDocumentTypes: engines compare across types, so only the JSON kinds listed may occur outside attributes.
func TestInputDocumentTypes(t *testing.T) {
	var walk func(value any, path string)
	walk = func(value any, path string) {
		switch v := value.(type) {
		case nil, bool, int, string:
		case []any:
			for _, item := range v {
				walk(item, path+"[]")
			}
		case map[string]any:
			for name, item := range v {
				walk(item, path+"."+name)
			}
		default:
			t.Errorf("%s is a %s", path, reflect.TypeOf(value))
		}
	}
	for name, in := range inputs() {
		in.Object.Attributes, in.Attributes = nil, nil // the kinds in them are the guard's business
		walk(in.Document(), name)
	}
}
