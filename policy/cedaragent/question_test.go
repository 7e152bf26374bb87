package cedaragent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedaragent"
	"github.com/kest-go/kest/policy/policytest"
)

// SPEC §7: POST {base}/is_authorized with principal, action, resource and the context in both forms.
func TestRequest(t *testing.T) {
	for _, test := range []struct {
		prefix, object, principal, action, resource string
		plain                                       bool
	}{
		{"/v1", "order/ORD-123", `Workload::"` + policytest.Workload + `"`, `Action::"kest/allow_trusted"`, `Resource::"order/ORD-123"`, false},
		{"", "", `Workload::"` + policytest.Workload + `"`, `Action::"kest/allow_trusted"`, `Resource::"*"`, false},
		{"", "order/ORD-123", policytest.Workload, "kest/allow_trusted", "order/ORD-123", true},
		{"", "", policytest.Workload, "kest/allow_trusted", "*", true},
	} {
		var got *http.Request
		var body []byte
		f := serve(t, func(w http.ResponseWriter, r *http.Request) {
			got = r
			body, _ = io.ReadAll(r.Body)
			io.WriteString(w, allowed)
		})
		in := policytest.Input(100)
		in.Object.ID = test.object
		e := engine(t, cedaragent.Config{URL: f.URL + test.prefix, Plain: test.plain})
		if d, err := e.Evaluate(t.Context(), policytest.AllowTrusted, in); err != nil || d != (policy.Decision{Allow: true, Reason: "determined by p1"}) {
			t.Fatalf("%+v, %v", d, err)
		}
		var q map[string]any
		if err := json.Unmarshal(body, &q); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{"principal": test.principal, "action": test.action, "resource": test.resource, "context": q["context"]}
		if !reflect.DeepEqual(q, want) {
			t.Errorf("question %v\nwant %v", q, want)
		}
		if got.Method != "POST" || got.RequestURI != test.prefix+"/is_authorized" || got.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %v", got.Method, got.RequestURI, got.Header)
		}
		for _, h := range []string{"Authorization", "Accept-Encoding", "Cookie"} {
			if got.Header.Get(h) != "" {
				t.Errorf("header %s: %s", h, got.Header.Get(h))
			}
		}
	}
}

// contextOf returns the context of a question, as encoding/json reads it.
func contextOf(t *testing.T, in *policy.Input) map[string]any {
	t.Helper()
	body, err := cedaragent.Question("kest/x", in)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jcs.Parse(body, jcs.Options{}); err != nil { // no member stands twice
		t.Fatalf("%v in %s", err, body)
	}
	var q struct{ Context map[string]any }
	if err := json.Unmarshal(body, &q); err != nil {
		t.Fatal(err)
	}
	return q.Context
}

// The nested document without its nulls, and every leaf of it by its path (SPEC §7).
func TestContext(t *testing.T) {
	in := policytest.Input(77)
	override := 40
	in.Subject.User, in.Object.ID, in.Environment.TrustOverride = "", "", &override
	in.Labels["a.b"] = "dot"
	in.Attributes = map[string]any{
		"none": nil, "list": []any{nil, true, []any{nil}, map[string]any{"a": nil, "b": "x"}}, "": "empty name",
		"deep": map[string]any{"empty": map[string]any{}, "n": int64(-1 << 63), "text": "\"\\\x00\u2028é", "neg": math.Copysign(0, -1),
			"decimals": []any{87.5, -0.0001, json.Number("7.0"), float32(1.25), json.Number("-922337203685476.5807")}},
	}
	got := contextOf(t, in)
	nested := map[string]any{}
	for name := range in.Document() {
		nested[name] = got[name]
	}
	object := map[string]any{"attributes": map[string]any{"tags": []any{"urgent", 7.0}}}
	if !reflect.DeepEqual(nested["object"], object) {
		t.Errorf("object %v; want %v", nested["object"], object)
	}
	for path, want := range map[string]any{
		"trust_score": 77.0, "subject.trust_score": 77.0, "subject.workload": policytest.Workload, "subject.agent": "agent-7",
		"subject.taints": []any{"contains_data"}, "object.attributes.tags": []any{"urgent", 7.0}, "environment.is_root": false,
		"environment.policy_tier": "function", "lineage.min_trust": 77.0, "attributes.": "empty name", "environment.trust_override": 40.0,
		"labels.level": "internal", "labels.a.b": "dot", "lineage.operations": []any{"orders.take"}, "lineage.unsanitized_sources": []any{"internal"},
		"lineage.acts":  []any{map[string]any{"operation": "orders.take", "principal": policytest.Workload, "outcome": "ok", "resource": "order/ORD-123"}},
		"lineage.users": []any{map[string]any{"operation": "orders.take", "user": "alice"}}, "lineage.ancestors_omitted": 0.0,
		"lineage.ancestors": []any{map[string]any{
			"operation": "orders.take", "classification": "data", "source_type": "internal", "principal": policytest.Workload,
			"user": "alice", "agent": "agent-7", "task": "payments:write", "resource": "order/ORD-123", "trust_score": 77.0, "overridden": false,
			"taints": []any{"contains_data"}, "removed_taints": []any{}, "labels": map[string]any{"level": "public"}, "outcome": "ok", "parents": []any{},
		}},
		"attributes.list":   []any{true, []any{}, map[string]any{"b": "x"}},
		"attributes.deep.n": -9223372036854775808.0, "attributes.deep.text": "\"\\\x00\u2028é", "attributes.deep.neg": 0.0,
		"attributes.deep.decimals": []any{decimal("87.5"), decimal("-0.0001"), 7.0, decimal("1.25"), decimal("-922337203685476.5807")},
	} {
		if !reflect.DeepEqual(got[path], want) {
			t.Errorf("context[%q] is %v; want %v", path, got[path], want)
		}
	}
	for _, path := range []string{"subject.user", "object.id", "attributes.none", "attributes.deep", "attributes.deep.empty", "identity.user", "environment.sanitizer"} {
		if v, ok := got[path]; ok {
			t.Errorf("context[%q] is there: %v", path, v)
		}
	}
	flat := maps.Clone(nested)
	flatten(flat, "", nested)
	if !reflect.DeepEqual(got, flat) {
		t.Errorf("context %v\nwant %v", got, flat)
	}
	if _, ok := nested["subject"].(map[string]any)["user"]; ok {
		t.Error("a null was sent")
	}
}

// decimal is how Cedar's JSON writes one.
func decimal(arg string) any {
	return map[string]any{"__extn": map[string]any{"fn": "decimal", "arg": arg}}
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

// What Cedar would take for something else is not sent.
func TestInputIsRefused(t *testing.T) {
	f := serve(t, answer(allowed))
	e := engine(t, cedaragent.Config{URL: f.URL, MaxRequest: 1 << 20})
	deep := any("x")
	for range 70 {
		deep = map[string]any{"x": deep}
	}
	wide := map[string]any{} // small, but not with its paths
	for i := range 2000 {
		wide[fmt.Sprint(i)] = 1
	}
	for name, test := range map[string]struct {
		value any
		hint  string
	}{
		"entity":            {map[string]any{"__entity": map[string]any{"type": "Role", "id": "admin"}}, "__entity"},
		"entity in a list":  {[]any{map[string]any{"__entity": 1}}, "__entity"},
		"null entity":       {map[string]any{"__entity": nil}, "__entity"},
		"extension":         {map[string]any{"__extn": map[string]any{"fn": "decimal", "arg": "1.5"}}, "__extn"},
		"expression":        {map[string]any{"a": map[string]any{"__expr": "principal"}}, "__expr"},
		"escaped name":      {json.RawMessage(`{"__ent\u0069ty":{"type":"Role","id":"admin"}}`), "__entity"},
		"fifth digit":       {0.00001, "neither a 64-bit integer nor a decimal"},
		"huge decimal":      {json.Number("922337203685477.5"), "64-bit integer"},
		"not finite":        {json.RawMessage(`1.5e400`), "attribute"},
		"decimal exponent":  {json.RawMessage(`1.5e1`), "64-bit integer"},
		"huge":              {1e300, "64-bit integer"},
		"beyond int64":      {uint64(1 << 63), "64-bit integer"},
		"exponent":          {json.RawMessage(`1e2`), "64-bit integer"},
		"same path":         {map[string]any{"a.b": 1, "a": map[string]any{"b": 2}}, "dotted path"},
		"same path, deeper": {map[string]any{"a": map[string]any{"b.c": 1, "b": map[string]any{"c": 1}}}, "dotted path"},
		"duplicate":         {json.RawMessage(`{"a":1,"a":2}`), "duplicate"},
		"failing":           {failing{}, "JSON values"},
		"function":          {func() {}, "JSON values"},
		"not a number":      {json.Number("x"), "JSON values"},
		"deep":              {deep, "64 levels"},
		"long":              {strings.Repeat("x", 1<<20), "MaxRequest"},
		"wide":              {map[string]any{strings.Repeat("x", 500_000): wide}, "MaxRequest"},
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
		if text := mustRefuse(t, d, err, policy.ErrIndefinite); !strings.Contains(text, test.hint) || strings.Contains(text, "5105") {
			t.Errorf("%s: %s", name, text)
		}
	}
	ancestor := func(n int, a policy.Ancestor) func(*policy.Input) {
		return func(in *policy.Input) {
			in.Lineage.History = policy.NewHistory(func() []policy.Ancestor { return slices.Repeat([]policy.Ancestor{a}, n) })
		}
	}
	for _, change := range []func(*policy.Input){
		func(in *policy.Input) { in.Labels["__entity"] = "x" }, ancestor(1, policy.Ancestor{Labels: map[string]string{"__extn": "x"}}),
		ancestor(128, policy.Ancestor{Resource: strings.Repeat("x", 5_000)}), // each of them twice
		ancestor(1, policy.Ancestor{User: "a\xff"}),
		func(in *policy.Input) { in.Subject.Workload = "a\xff" }, func(in *policy.Input) { in.Object.ID = "\xed\xa0\x80" },
	} {
		in := policytest.Input(100)
		change(in)
		d, err := e.Evaluate(t.Context(), "kest/x", in)
		mustRefuse(t, d, err, policy.ErrIndefinite)
	}
	d, err := e.Evaluate(t.Context(), "kest/x", nil)
	mustRefuse(t, d, err, policy.ErrIndefinite)
	if n := f.Requests.Load(); n != 0 {
		t.Errorf("%d requests went out", n)
	}
}

type failing struct{}

func (failing) MarshalJSON() ([]byte, error) { return nil, fmt.Errorf("card 5105-1051-0510-5100") }

// Names with dots are names like others while their paths differ.
func TestDottedNames(t *testing.T) {
	in := policytest.Input(1)
	in.Attributes = map[string]any{"http.method": "GET", "http": map[string]any{"path": "/"}}
	got := contextOf(t, in)
	if got["attributes.http.method"] != "GET" || got["attributes.http.path"] != "/" {
		t.Error(got)
	}
}

// The form in which Cedar prints the UID: e2e/cedar holds it against the real engine.
func TestUID(t *testing.T) {
	for id, want := range map[string]string{
		"":                             `W::""`,
		"spiffe://example.org/a":       `W::"spiffe://example.org/a"`,
		`a"; permit(x)`:                `W::"a\"; permit(x)"`,
		`\`:                            `W::"\\"`,
		`\"`:                           `W::"\\\""`,
		`it's`:                         `W::"it\'s"`,
		"\x00\t\r\n":                   `W::"\0\t\r\n"`,
		"\x01\x1b\x7f":                 `W::"\u{1}\u{1b}\u{7f}"`,
		"é日本\U0001f600":                "W::\"é日本\U0001f600\"",
		"\u202eevil\u200b\u00a0\ufeff": `W::"\u{202e}evil\u{200b}\u{a0}\u{feff}"`,
		"\u0301a\u0301":                "W::\"\\u{301}a\u0301\"", // a combining mark would join the quote
		"\ue000\U000e0001":             `W::"\u{e000}\u{e0001}"`,
		`\u{41}*`:                      `W::"\\u{41}*"`,
	} {
		if got := cedaragent.UID("W", id); got != want {
			t.Errorf("%q: %s; want %s", id, got, want)
		}
	}
}

// An id ends where it ends: no other quote than the last is left bare.
func FuzzQuestion(f *testing.F) {
	for _, id := range []string{"", "a", `"`, `\`, `\"`, "\n", "\x00", "é", "\u0301", `Workload::"x"`, "\xff"} {
		f.Add(id, `{"a":{"b":[1,null,{"c.d":"x"}]}}`)
	}
	f.Add("a", `{"a.b":1,"a":{"b":2}}`)
	f.Add("a", `{"__entity":{"type":"A","id":"b"}}`)
	f.Fuzz(func(t *testing.T, id, attributes string) {
		in := policytest.Input(1)
		in.Subject.Workload = id
		var m map[string]any
		if json.Unmarshal([]byte(attributes), &m) == nil {
			in.Attributes = m
		}
		body, err := cedaragent.Question("kest/x", in)
		if err != nil {
			if !errors.Is(err, policy.ErrIndefinite) || len(err.Error()) > 300 {
				t.Fatal(err)
			}
			return
		}
		var q struct {
			Principal string
			Context   map[string]any
		}
		if _, err := jcs.Parse(body, jcs.Options{MaxDepth: 100}); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		if err := json.Unmarshal(body, &q); err != nil {
			t.Fatal(err)
		}
		inner, ok := strings.CutPrefix(q.Principal, `Workload::"`)
		inner, closed := strings.CutSuffix(inner, `"`)
		bare := strings.NewReplacer(`\\`, "", `\"`, "").Replace(inner)
		if !ok || !closed || strings.ContainsAny(bare, "\"\n\x00") || strings.HasSuffix(bare, `\`) {
			t.Fatalf("%q became %s", id, q.Principal)
		}
		if id != q.Context["subject.workload"] {
			t.Fatalf("%q is %v in the context", id, q.Context["subject.workload"])
		}
	})
}
