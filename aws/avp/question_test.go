package avp_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions/types"

	"github.com/kest-go/kest/aws/avp"
	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// asked evaluates and returns what the policy store was asked.
func asked(t *testing.T, c avp.Config, in *policy.Input) awstest.Authorization {
	t.Helper()
	s := awstest.Start(t)
	var got awstest.Authorization
	c.PolicyStoreID = newStore(s, func(q awstest.Authorization) awstest.Verdict { got = q; return allow })
	c.AWSConfig = sdk(s)
	if d, err := engine(t, c).Evaluate(t.Context(), policytest.AllowTrusted, in); err != nil || !d.Allow {
		t.Fatalf("%+v, %v", d, err)
	}
	return got
}

// SPEC §7: real principal, action and resource.
func TestEntities(t *testing.T) {
	for _, test := range []struct {
		config                      avp.Config
		object                      string
		principal, action, resource string
	}{
		{avp.Config{}, "order/ORD-123", "Workload", "Action", "Resource"},
		{avp.Config{}, "", "Workload", "Action", "Resource"},
		{avp.Config{Namespace: "Org::Kest"}, "o", "Org::Kest::Workload", "Org::Kest::Action", "Org::Kest::Resource"},
		{avp.Config{PrincipalType: "Service", ResourceType: "Other::Thing", Namespace: "Kest"}, "o", "Kest::Service", "Kest::Action", "Other::Thing"},
	} {
		in := policytest.Input(100)
		in.Object.ID = test.object
		q := asked(t, test.config, in)
		if test.object == "" {
			test.object = "*"
		}
		q.Context = nil
		want := awstest.Authorization{Principal: awstest.Entity{Type: test.principal, ID: policytest.Workload},
			Action: awstest.Entity{Type: test.action, ID: policytest.AllowTrusted}, Resource: awstest.Entity{Type: test.resource, ID: test.object}}
		if !reflect.DeepEqual(q, want) {
			t.Errorf("%+v: %+v; want %+v", test.config, q, want)
		}
	}
}

// Ids are data, whatever is in them, and what Verified Permissions has no id for is said before the call.
func TestIDs(t *testing.T) {
	for _, id := range []string{`a"; permit(principal, action, resource);`, `Workload::"admin"`, `\`, `\"`, "'", "\x00", "\t", "*", " ", "é日本\U0001f600", "\u0301a",
		"\u202e", strings.Repeat("é", 612), "__entity", `{"entityId":"x"}`, "/../" + strings.Repeat("a", 600)} {
		in := policytest.Input(100)
		in.Subject.Workload, in.Object.ID = id, id
		if q := asked(t, avp.Config{}, in); q.Principal.ID != id || q.Resource.ID != id || q.Context["subject.workload"] != id {
			t.Errorf("%q became %q and %q", id, q.Principal.ID, q.Resource.ID)
		}
	}
	s, e := start(t, always(allow))
	for id, hint := range map[string]string{"": "empty", "5105\xff": "UTF-8", "5105\xed\xa0\x80": "UTF-8", "5105\n": "line break", "\r5105": "line break",
		"a\u2028b": "line break", "a\u2029": "line break", "a\u0085": "line break", strings.Repeat("a", 613): "613 characters"} {
		for _, change := range []func(*policy.Input){
			func(in *policy.Input) { in.Subject.Workload = id }, func(in *policy.Input) { in.Object.ID = id },
		} {
			in := policytest.Input(100)
			if change(in); in.Object.ID == "" {
				continue // no object: "*"
			}
			d, err := e.Evaluate(t.Context(), "kest/x", in)
			if text := mustRefuse(t, d, err, policy.ErrIndefinite); !strings.Contains(text, hint) {
				t.Errorf("%.20q: %s", id, text)
			}
			a := e.EvaluateAll(t.Context(), []string{"kest/x"}, in)[0]
			mustRefuse(t, a.Decision, a.Err, policy.ErrIndefinite)
		}
	}
	if n := s.Calls(""); n != 0 {
		t.Errorf("%d requests went out", n)
	}
	longest := strings.Repeat("a", policy.MaxName) // the action of the longest name fits
	if d, err := e.Evaluate(t.Context(), longest, policytest.Input(1)); err != nil || !d.Allow {
		t.Errorf("%+v, %v", d, err)
	}
}

// The nested document without its nulls, and every leaf of it by its path, in the types of Verified Permissions (SPEC §7).
func TestContext(t *testing.T) {
	in := policytest.Input(77)
	in.Subject.User, in.Object.ID = "", ""
	in.Attributes = map[string]any{
		"none": nil, "list": []any{nil, true, []any{nil}, map[string]any{"a": nil, "b": "x"}}, "": "empty name", "a.b": "dot",
		"words": []string{"x"}, "map": map[string]string{"k": "v"},
		"deep": map[string]any{"empty": map[string]any{}, "text": "\"\\\x00\u2028é"},
	}
	got := asked(t, avp.Config{}, in).Context
	nested := map[string]any{}
	for name := range in.Document() {
		nested[name] = got[name]
	}
	want := map[string]any{
		"subject": map[string]any{"workload": policytest.Workload, "agent": "agent-7", "task": "payments:write", "trust_score": int64(77), "taints": []any{"contains_data"}},
		"object":  map[string]any{"attributes": map[string]any{"tags": []any{"urgent", int64(7)}}},
		"environment": map[string]any{
			"is_root": false, "source_type": "internal", "parent_hash": strings.Repeat("ab", 32), "parent_hashes": []any{strings.Repeat("ab", 32)},
			"policy_names": []any{policytest.AllowTrusted}, "policy_tier": "function", "operation": "payments.process", "classification": "system",
			"active_deviations": []any{map[string]any{"policy": "org/audit", "tier": "platform", "reason": "CHG-1", "approver": "ciso"}},
			"entry_id":          "0190e2b0-7b3a-7c3e-8a53-6f1c8a5f0001", "trace_id": strings.Repeat("0f", 16), "removed_taints": []any{},
		},
		"identity": map[string]any{"workload": policytest.Workload, "agent": "agent-7", "task": "payments:write"},
		"lineage": map[string]any{
			"length": int64(1), "principals": []any{policytest.Workload}, "min_trust": int64(77), "source_types": []any{"internal"},
			"operations": []any{"orders.take"}, "taints": []any{"contains_data"}, "resources": []any{"order/ORD-123"}, "unsanitized_sources": []any{"internal"},
			"steps":  []any{map[string]any{"operation": "orders.take", "principal": policytest.Workload, "outcome": "ok"}},
			"acts":   []any{map[string]any{"operation": "orders.take", "principal": policytest.Workload, "outcome": "ok", "resource": "order/ORD-123"}},
			"users":  []any{map[string]any{"operation": "orders.take", "user": "alice"}},
			"labels": []any{map[string]any{"name": "level", "value": "public"}},
			"ancestors": []any{map[string]any{
				"operation": "orders.take", "classification": "data", "source_type": "internal", "principal": policytest.Workload,
				"user": "alice", "agent": "agent-7", "task": "payments:write", "resource": "order/ORD-123", "trust_score": int64(77), "overridden": false,
				"taints": []any{"contains_data"}, "removed_taints": []any{}, "labels": map[string]any{"level": "public"}, "outcome": "ok", "parents": []any{},
			}},
			"ancestors_omitted": int64(0),
		},
		"labels": map[string]any{"level": "internal"},
		"attributes": map[string]any{
			"list": []any{true, []any{}, map[string]any{"b": "x"}}, "": "empty name", "a.b": "dot",
			"words": []any{"x"}, "map": map[string]any{"k": "v"}, "deep": map[string]any{"empty": map[string]any{}, "text": "\"\\\x00\u2028é"},
		},
		"trust_score": int64(77),
	}
	if !reflect.DeepEqual(nested, want) {
		t.Errorf("nested %v\nwant   %v", nested, want)
	}
	flat := maps.Clone(want)
	flatten(flat, "", want)
	if !reflect.DeepEqual(got, flat) {
		t.Errorf("context %v\nwant    %v", got, flat)
	}
	for path, want := range map[string]any{"subject.agent": "agent-7", "attributes.": "empty name", "attributes.a.b": "dot", "attributes.map.k": "v"} {
		if got[path] != want {
			t.Errorf("context[%q] is %v", path, got[path])
		}
	}
}

// flatten adds the leaves of m to all.
func flatten(all map[string]any, path string, m map[string]any) {
	for name, v := range m {
		if inner, ok := v.(map[string]any); ok {
			flatten(all, path+name+".", inner)
		} else {
			all[path+name] = v
		}
	}
}

// A whole number is a Long, one with up to four digits after the point a decimal: as in policy/cedar.
func TestNumbers(t *testing.T) {
	all := map[any]any{
		1: int64(1), int8(-1): int64(-1), int16(2): int64(2), int32(3): int64(3), int64(math.MinInt64): int64(math.MinInt64), uint8(4): int64(4), uint16(5): int64(5),
		uint32(6): int64(6), uint(7): int64(7), uint64(math.MaxInt64): int64(math.MaxInt64), 3.0: int64(3), math.Copysign(0, -1): int64(0), float32(1.25): awstest.Decimal("1.25"),
		float32(0.1): awstest.Decimal("0.1"), 87.5: awstest.Decimal("87.5"), -0.0001: awstest.Decimal("-0.0001"), -12.34: awstest.Decimal("-12.34"), 1e15: int64(1e15),
		json.Number("3.0"): int64(3), json.Number("1e2"): int64(100), json.Number("15e-1"): awstest.Decimal("1.5"), json.Number("0e999"): int64(0), json.Number("-0"): int64(0),
		json.Number("9223372036854775807"): int64(math.MaxInt64), json.Number("922337203685477.5807"): awstest.Decimal("922337203685477.5807"),
		json.Number("-922337203685477.5808"): awstest.Decimal("-922337203685477.5808"), true: true, "1.5": "1.5",
	}
	in := policytest.Input(1)
	in.Attributes = map[string]any{}
	for v := range all {
		in.Attributes[fmt.Sprintf("%T %v", v, v)] = v
	}
	got := asked(t, avp.Config{}, in).Context["attributes"].(map[string]any)
	for v, want := range all {
		if got := got[fmt.Sprintf("%T %v", v, v)]; got != want {
			t.Errorf("%T %v: %T %v; want %T %v", v, v, got, got, want, want)
		}
	}
}

// What Cedar would take for something else, or cannot hold, is not sent.
func TestInputIsRefused(t *testing.T) {
	s, e := start(t, always(allow))
	deep := any("x")
	for range 64 {
		deep = map[string]any{"x": deep}
	}
	self := map[string]any{}
	self["self"] = self
	wide := map[string]any{} // small, but not with its paths
	for i := range 2000 {
		wide[fmt.Sprint(i)] = 1
	}
	for name, test := range map[string]struct {
		value any
		hint  string
	}{
		"entity":             {map[string]any{"__entity": map[string]any{"type": "Role", "id": "admin"}}, "attributes.bad.__entity"},
		"entity in a list":   {[]any{map[string]any{"__entity": 1}}, "attributes.bad[0].__entity"},
		"null entity":        {map[string]any{"__entity": nil}, "__entity"},
		"extension":          {map[string]any{"__extn": map[string]any{"fn": "decimal", "arg": "1.5"}}, "__extn"},
		"expression":         {map[string]any{"a": map[string]any{"__expr": "principal"}}, "__expr"},
		"fifth digit":        {0.00001, "four digits"},
		"tiny":               {json.Number("1e-1000000000"), ""},
		"a third":            {1.0 / 3, "four digits"},
		"huge decimal":       {json.Number("922337203685477.5808"), "range of a decimal"},
		"huge":               {1e300, "range of a Long"},
		"huge exponent":      {json.Number("1e1000000000"), "out of range"},
		"beyond int64":       {uint64(1 << 63), "range of a Long"},
		"NaN":                {math.NaN(), "not finite"},
		"infinite":           {math.Inf(1), "not finite"},
		"not a number":       {json.Number("5105x"), "not a JSON number"},
		"not a JSON number":  {json.Number("0x10"), "not a JSON number"},
		"a word":             {json.Number("true"), "not a JSON number"},
		"many digits":        {json.Number(strings.Repeat("1", 401)), "400 characters"},
		"same path":          {map[string]any{"a.b": 1, "a": map[string]any{"b": 2}}, "dotted path"},
		"same path, deeper":  {map[string]any{"a": map[string]any{"b.c": 1, "b": map[string]any{"c": 1}}}, "dotted path"},
		"struct":             {struct{ Card string }{"5105"}, "not a JSON value"},
		"raw":                {json.RawMessage(`{"a":1}`), "not a JSON value"},
		"function":           {func() {}, "not a JSON value"},
		"text not UTF-8":     {"5105\xff", "UTF-8"},
		"name not UTF-8":     {map[string]any{"a\xff": 1}, "UTF-8"},
		"deep":               {deep, "deeper than 64"},
		"itself":             {self, "deeper than 64"},
		"long":               {strings.Repeat("x", 1<<20), "bytes of text"},
		"wide":               {map[string]any{strings.Repeat("x", 500_000): wide}, "bytes of text"},
		"many":               {make([]any, 5000), "more than 4096 values"},
		"escapes grow":       {strings.Repeat("\x00", 200_000), "Verified Permissions takes at most 1000000"},
		"names like a break": {map[string]any{"a\n\x1b[2J": func() {}}, `a\n\x1b[2J`},
	} {
		in := policytest.Input(100)
		in.Attributes["bad"] = test.value
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d, err := e.Evaluate(t.Context(), "kest/x", in)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
			t.Errorf("%s: allocated %d bytes", name, grown)
		}
		if text := mustRefuse(t, d, err, policy.ErrIndefinite); !strings.Contains(text, test.hint) {
			t.Errorf("%s: %s", name, text)
		}
	}
	in := policytest.Input(1)
	in.Subject.Taints = []string{"5105\xff"}
	d, err := e.Evaluate(t.Context(), "kest/x", in)
	if text := mustRefuse(t, d, err, policy.ErrIndefinite); !strings.Contains(text, "subject.taints[0]") {
		t.Error(text)
	}
	for hint, ancestor := range map[string]policy.Ancestor{
		"lineage.ancestors[0].labels.__extn": {Labels: map[string]string{"__extn": "5105"}}, "bytes of text": {Resource: strings.Repeat("x", 10_000)},
		"at most 1000000": {Resource: strings.Repeat("x", 5_000)}, // twice
	} {
		in := policytest.Input(1)
		in.Lineage.History = policy.NewHistory(func() []policy.Ancestor { return slices.Repeat([]policy.Ancestor{ancestor}, policy.MaxAncestors) })
		d, err := e.Evaluate(t.Context(), "kest/x", in)
		if text := mustRefuse(t, d, err, policy.ErrIndefinite); !strings.Contains(text, hint) {
			t.Errorf("%s: %s", hint, text)
		}
	}
	if n := s.Calls(""); n != 0 {
		t.Errorf("%d requests went out", n)
	}
	in = policytest.Input(1) // as much as may be
	in.Attributes = map[string]any{"n": wide, "deep": deep.(map[string]any)["x"].(map[string]any)["x"]}
	in.Lineage.Principals = make([]string, 5000) // not bounded here, but by the guard
	if d, err := e.Evaluate(t.Context(), "kest/x", in); err != nil || !d.Allow {
		t.Errorf("%+v, %v", d, err)
	}
}

// The conversion neither fails in another way than by its error nor loses a value.
func FuzzContext(f *testing.F) {
	for _, text := range []string{`{}`, `{"a":{"b":[1,null,{"c.d":"x"}]}}`, `{"a.b":1,"a":{"b":2}}`, `{"__entity":{"type":"A","id":"b"}}`, `{"n":1.50,"m":-0.00010,"k":1e2}`,
		`{"":{"":{"":null}}}`, `{"x":922337203685477.5807}`} {
		f.Add(text, true)
		f.Add(text, false)
	}
	f.Fuzz(func(t *testing.T, attributes string, numbers bool) {
		in := policytest.Input(1)
		in.Attributes = nil
		d := json.NewDecoder(strings.NewReader(attributes))
		if numbers {
			d.UseNumber()
		}
		if d.Decode(&in.Attributes) != nil {
			return
		}
		got, err := avp.ContextOf(in)
		if err != nil {
			if !errors.Is(err, policy.ErrIndefinite) || len(err.Error()) > 500 {
				t.Fatal(err)
			}
			return
		}
		holds(t, in.Attributes, got["attributes"])
	})
}

// holds compares a JSON value with what was made of it.
func holds(t *testing.T, v any, got types.AttributeValue) {
	t.Helper()
	switch v := v.(type) {
	case nil:
		if got != nil {
			t.Fatalf("null became %v", got)
		}
	case map[string]any:
		r, ok := got.(*types.AttributeValueMemberRecord)
		if !ok {
			t.Fatalf("%v became %v", v, got)
		}
		for name, inner := range v {
			holds(t, inner, r.Value[name])
		}
	case string:
		if s, ok := got.(*types.AttributeValueMemberString); !ok || s.Value != v {
			t.Fatalf("%q became %v", v, got)
		}
	case bool:
		if b, ok := got.(*types.AttributeValueMemberBoolean); !ok || b.Value != v {
			t.Fatalf("%v became %v", v, got)
		}
	case []any:
		if _, ok := got.(*types.AttributeValueMemberSet); !ok {
			t.Fatalf("%v became %v", v, got)
		}
	case float64:
		same(t, v, got)
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			t.Fatalf("%s was taken", v)
		}
		same(t, f, got)
	}
}

func same(t *testing.T, f float64, got types.AttributeValue) {
	t.Helper()
	text := ""
	switch n := got.(type) {
	case *types.AttributeValueMemberLong:
		text = fmt.Sprint(n.Value)
	case *types.AttributeValueMemberDecimal:
		if text = n.Value; !strings.Contains(text, ".") || strings.HasSuffix(text, ".") {
			t.Fatalf("decimal %q", text)
		}
	}
	if back, err := json.Number(text).Float64(); err != nil || back != f {
		t.Fatalf("%v became %v", f, text)
	}
}
