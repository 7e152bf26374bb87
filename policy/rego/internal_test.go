package rego

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/kest-go/kest/policy"
)

// These tests are inside the package: the value that OPA sees has no public way out.

func inputs() map[string]*policy.Input {
	hash := strings.Repeat("0f", 32)
	override := 40
	one := policy.Ancestor{
		Operation: "op", Classification: "c", SourceType: "internet", Principal: "p", User: "u", Agent: "a", Task: "t", Resource: "r",
		TrustScore: 7, Overridden: true, Taints: []string{"x", "y"}, RemovedTaints: []string{"z"}, Sanitizer: "s",
		Labels: map[string]string{"level": "", "a.b": "\""}, Outcome: "ok",
	}
	long := make([]policy.Ancestor, 200) // more than are listed
	for i := range long {
		long[i] = policy.Ancestor{Operation: fmt.Sprint("op", i%7), Principal: "p", Outcome: policy.OutcomeUnknown, Parents: []int{i / 2}}
	}
	long[0].Parents = nil
	return map[string]*policy.Input{
		"zero": {},
		"full": {
			Subject: policy.Subject{Workload: "w", User: "u", Agent: "a", Task: "t", TrustScore: 77, Taints: []string{"x", "y"}},
			Object:  policy.Object{ID: "o", Attributes: map[string]any{"k": "v", "": nil}},
			Environment: policy.Environment{IsRoot: true, SourceType: "internet", ParentHashes: []string{hash, hash},
				PolicyNames: []string{"a", "b"}, PolicyTier: policy.Platform, Operation: "op", Classification: "c",
				ActiveDeviations: []policy.Deviation{{Policy: "p", Tier: policy.Enterprise, Reason: "r", Approver: "x", ApproverKey: "k"}, {}},
				EntryID:          "e", TraceID: "t", TrustOverride: &override, RemovedTaints: []string{"x"}, Sanitizer: "s"},
			TrustScore: -3,
			Lineage: policy.Lineage{Length: 100000, Principals: []string{"p"}, MinTrust: 10, SourceTypes: []string{"s"},
				History: history(one, policy.Ancestor{Parents: []int{0}})},
			Labels: map[string]string{"level": "secret", "": ""},
			Attributes: map[string]any{
				"int": 1, "i64": int64(math.MinInt64), "u64": uint64(math.MaxInt64), "f": 1.5, "e": 1e300, "tiny": 5e-324,
				"exact": int64(9007199254740993), "n": json.Number("12345678901234567890123"), "b": true, "nil": nil,
				"list": []any{1, "two", []any{}, map[string]any{}}, "ss": []string{"a"}, "sm": map[string]string{"a": "b"},
				"no": []string{}, "empty": map[string]any{}, "unicode": "é\U0001F512\x00",
			},
		},
		"long": {Lineage: policy.Lineage{Length: len(long), History: history(long...)}},
	}
}

func history(all ...policy.Ancestor) *policy.History {
	return policy.NewHistory(func() []policy.Ancestor { return all })
}

// The value built by hand is the document of the vocabulary (F-PE-09): engines must not see different inputs.
func TestInputEqualsDocument(t *testing.T) {
	for name, in := range inputs() {
		want, err := ast.InterfaceToValue(in.Document())
		if err != nil {
			t.Fatal(err)
		}
		got, err := inputTerm(in, allFields)
		if err != nil {
			t.Fatal(err)
		}
		if got.Value.Compare(want) != 0 || got.Value.String() != want.String() {
			t.Errorf("%s:\n got %v\nwant %v", name, got, want)
		}
	}
}

// topLevel names every member that the document has, so none can be left out by mistake.
func TestTopLevelIsComplete(t *testing.T) {
	doc := new(policy.Input).Document()
	if len(doc) != len(topLevel) {
		t.Errorf("document has %d members, topLevel %d", len(doc), len(topLevel))
	}
	var all fields
	for name, f := range topLevel {
		all |= f
		if _, ok := doc[name]; !ok {
			t.Errorf("%q is not in the document", name)
		}
	}
	if all != every {
		t.Errorf("fields %b, want %b", all, every)
	}
}

type money int

// What JSON cannot carry is an error that says where (F-PE-09: types are fixed before any engine sees them).
func TestAttributesRefused(t *testing.T) {
	deep := any("x")
	for range maxDepth + 1 {
		deep = []any{deep}
	}
	loop := map[string]any{}
	loop["self"] = loop
	tests := map[string]struct {
		value any
		want  string
	}{
		"struct":          {time.Now(), "type time.Time"},
		"named":           {money(3), "type rego.money"},
		"pointer":         {new(int), "type *int"},
		"func":            {func() {}, "type func()"},
		"channel":         {make(chan int), "type chan int"},
		"bytes":           {[]byte("x"), "type []uint8"},
		"ast value":       {ast.Boolean(true), "type ast.Boolean"},
		"nan":             {math.NaN(), "not finite"},
		"inf":             {math.Inf(1), "not finite"},
		"utf8":            {"\xff", "UTF-8"},
		"key":             {map[string]any{"\xff": 1}, "UTF-8"},
		"huge exponent":   {json.Number("1e1000000000"), "out of range"},
		"many digits":     {json.Number(strings.Repeat("9", 401)), "not a JSON number"},
		"no number":       {json.Number("0x10"), "not a JSON number"},
		"text as number":  {json.Number(`"1"`), "not a JSON number"},
		"empty number":    {json.Number(""), "not a JSON number"},
		"null as number":  {json.Number("null"), "not a JSON number"},
		"space in number": {json.Number(" 1"), "not a JSON number"},
		"deep":            {deep, "nested deeper"},
		"cycle":           {loop, "nested deeper"},
		"many":            {make([]any, maxNodes), "more than"},
		"inside":          {[]any{0, map[string]any{"k": []any{money(1)}}}, "x[1].k[0]: type"},
	}
	for name, test := range tests {
		for _, in := range []*policy.Input{
			{Attributes: map[string]any{"x": test.value}}, {Object: policy.Object{Attributes: map[string]any{"x": test.value}}},
		} {
			_, err := inputTerm(in, allFields)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "attributes.x") {
				t.Errorf("%s: %v", name, err)
			}
			if err != nil && len(err.Error()) > 600 {
				t.Errorf("%s: error of %d bytes", name, len(err.Error()))
			}
		}
	}
}

// Every integer type arrives with its exact value, also where OPA's own conversion does not have it: it makes -1 of
// the largest uint64.
func TestIntegersAreExact(t *testing.T) {
	for _, v := range []any{int8(-128), int16(-32768), int32(math.MinInt32), int64(math.MaxInt64), math.MinInt,
		uint8(255), uint16(65535), uint32(math.MaxUint32), uint64(math.MaxUint64), uint(math.MaxUint), float32(0.1)} {
		got, err := inputTerm(&policy.Input{Attributes: map[string]any{"x": v}}, allFields)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf(`{"x": %v}`, v); got.Get(kAttributes).String() != want {
			t.Errorf("%s: got %s, want %s", reflect.TypeOf(v), got.Get(kAttributes), want)
		}
	}
}
