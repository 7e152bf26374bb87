package cedar_test

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedar"
	"github.com/kest-go/kest/policy/policytest"
)

// every asks about each member of the document, nested and dotted (SPEC §7).
const every = `
	context.subject.workload == "spiffe://example.org/payments" && context["subject.workload"] == context.subject.workload &&
	context.subject.user == "ada" && context["subject.user"] == "ada" && !(context has "subject.agent") && !(context.subject has task) &&
	context.subject.trust_score == 80 && context["subject.trust_score"] == 80 && context.subject.taints == ["web", "pii"] && context["subject.taints"].contains("web") &&
	context.object.id == "invoice/7" && context["object.id"] == "invoice/7" && context.object.attributes == {} && !(context has "object.attributes") &&
	context.environment.is_root == false && context["environment.is_root"] == false && context["environment.source_type"] == "internal" &&
	context.environment.parent_hash like "abab*" && context["environment.parent_hashes"] == [context.environment.parent_hash] &&
	context["environment.policy_names"] == ["kest/allow_trusted"] && context["environment.policy_tier"] == "function" &&
	context["environment.active_deviations"] == [{"policy": "org/audit", "tier": "platform", "reason": "CHG-1"}] &&
	context["environment.operation"] == "pay" && context["environment.classification"] == "system" &&
	context["environment.entry_id"] like "01932d5c-*" && context["environment.trace_id"] like "4bf9*" &&
	context.identity.workload == context["identity.workload"] && context["identity.user"] == "ada" && !(context has "identity.task") &&
	context.trust_score == 80 && context.lineage.length == 1 && context["lineage.principals"] == ["spiffe://example.org/gateway"] &&
	context["lineage.min_trust"] == 80 && context["lineage.source_types"] == ["internal"] && context.attributes == {} &&
	!(context.environment has trust_override) && context["environment.removed_taints"] == ["raw"] && !(context has "environment.sanitizer") &&
	context.lineage.operations == ["fraud.check"] && context["lineage.operations"].contains("fraud.check") &&
	context.lineage.taints == ["pii"] && context.lineage.resources == ["invoice/7"] && context["lineage.unsanitized_sources"] == ["internal"] &&
	context.lineage.steps.contains({"operation": "fraud.check", "principal": "spiffe://example.org/gateway", "outcome": "ok"}) &&
	context.lineage.acts == [{"operation": "fraud.check", "principal": "spiffe://example.org/gateway", "outcome": "ok", "resource": "invoice/7"}] &&
	context["lineage.acts"] == context.lineage.acts &&
	context["lineage.users"] == [{"operation": "fraud.check", "user": "ada"}] &&
	context.lineage.labels.containsAll([{"name": "level", "value": ""}, {"name": "x.y", "value": "z"}]) &&
	context.lineage.ancestors_omitted == 0 && context["lineage.ancestors_omitted"] == 0 && context.lineage.ancestors == [{
		"operation": "fraud.check", "classification": "system", "source_type": "internal", "principal": "spiffe://example.org/gateway",
		"user": "ada", "resource": "invoice/7", "trust_score": 80, "overridden": false, "taints": ["pii"], "removed_taints": [],
		"labels": {"level": "", "x.y": "z"}, "outcome": "ok", "parents": []}] &&
	context.labels.level == "secret" && context["labels.level"] == "secret" && context.labels has "a.b" && context["labels.a.b"] == ""`

// Every member of the document is in the context, with its type, whether a policy names it or takes the context whole.
func TestContextHoldsTheDocument(t *testing.T) {
	for name, condition := range map[string]string{"named": every, "whole": every + " && context != {}"} {
		if d, err := when(t, condition).Evaluate(t.Context(), "p", call(80)); err != nil || !d.Allow {
			t.Errorf("%s: %+v %v", name, d, err)
		}
	}
	full := call(80)
	full.Subject.Agent, full.Subject.Task = "agent-7", "pay"
	full.Environment.ParentHashes, full.Environment.ActiveDeviations[0].Approver = nil, "ciso"
	override := 0
	full.Environment.ActiveDeviations[0].ApproverKey, full.Environment.TrustOverride = "key-1", &override
	full.Environment.Sanitizer = "scrub"
	full.Lineage.History = history(policy.Ancestor{Operation: "a", Labels: map[string]string{"": ""}, Outcome: "unknown"},
		policy.Ancestor{Operation: "b", Agent: "agent", Task: "t", Overridden: true, RemovedTaints: []string{"x"}, Sanitizer: "s", Parents: []int{0}})
	full.Attributes = map[string]any{"a": map[string]any{"b.c": 1, "n": nil}}
	all, _, err, _ := cedar.Context(full)
	if err != nil {
		t.Fatal(err)
	}
	// What Document says, converted by cedar-go itself from JSON, is what is nested in the context.
	document := dropNulls(roundTrip(t, full.Document()))
	text, _ := json.Marshal(document)
	var want types.Record
	if err := want.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	for name, v := range want.All() {
		if got, _ := all.Get(name); got == nil || !got.Equal(v) {
			t.Errorf("%s is %v, want %v", name, got, v)
		}
	}
	var dotted []string
	for name := range all.Keys() {
		if strings.Contains(string(name), ".") {
			dotted = append(dotted, string(name))
		}
	}
	if got := leaves("", document); !slices.Equal(slices.Sorted(slices.Values(dotted)), slices.Sorted(slices.Values(got))) {
		t.Errorf("dotted %q, want %q", dotted, got)
	}
}

func roundTrip(t testing.TB, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	var out any
	if err := d.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func dropNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			if inner == nil {
				delete(v, name)
			} else {
				v[name] = dropNulls(inner)
			}
		}
	case []any:
		v = slices.DeleteFunc(v, func(inner any) bool { return inner == nil })
		for i := range v {
			v[i] = dropNulls(v[i])
		}
		return v
	}
	return v
}

// leaves are the paths of everything below the top that is no object.
func leaves(prefix string, v any) (paths []string) {
	m, ok := v.(map[string]any)
	if !ok {
		if !strings.Contains(prefix, ".") {
			return nil
		}
		return []string{prefix}
	}
	for name, inner := range m {
		if prefix != "" {
			name = prefix + "." + name
		}
		paths = append(paths, leaves(name, inner)...)
	}
	return paths
}

// Attributes keep their JSON types; nothing is rounded, and what Cedar cannot hold is refused with its path.
func TestAttributes(t *testing.T) {
	self := map[string]any{}
	self["self"] = self
	tests := []struct {
		name  string
		value any
		want  string // a condition on x, or an error when it begins with !
	}{
		{"string", "a", `x == "a"`}, {"empty", "", `x == ""`}, {"bool", true, `x`}, {"zero", 0, `x == 0`},
		{"NUL", "a\x00b", `x == "a\0b"`}, {"text that is code", `" || true`, `x == "\" || true"`},
		{"int64", int64(math.MinInt64), `x == -9223372036854775808`}, {"uint64", uint64(math.MaxInt64), `x == 9223372036854775807`},
		{"int8", int8(-3), `x == -3`}, {"int16", int16(-3), `x == -3`}, {"int32", int32(-3), `x == -3`}, {"uint8", uint8(3), `x == 3`},
		{"uint16", uint16(3), `x == 3`}, {"uint32", uint32(math.MaxUint32), `x == 4294967295`}, {"uint", uint(3), `x == 3`},
		{"uint64 too large", uint64(math.MaxInt64 + 1), "!x: number is out of the range of a Long"},
		{"whole float", 3.0, `x == 3`}, {"negative zero", math.Copysign(0, -1), `x == 0`}, {"large float", 1e15, `x == 1000000000000000`},
		{"2^53", float64(1 << 53), `x == 9007199254740992`}, {"too large", 1e19, "!x: number is out of the range of a Long"}, {"2^63", 0x1p63, "!out of the range"},
		{"decimal", 87.5, `x == decimal("87.5")`}, {"four digits", -0.0001, `x == decimal("-0.0001")`}, {"binary fraction", 0.1, `x == decimal("0.1")`},
		{"float32", float32(0.1), `x == decimal("0.1")`}, {"compared", 87.5, `x.greaterThan(decimal("87.4999"))`},
		{"five digits", 0.00001, "!x: number has more than the four digits"}, {"third", 1.0 / 3, "!x: number has more than"}, {"tiny", 5e-324, "!more than the four"},
		{"decimal too large", json.Number("922337203685477.5808"), "!range of a decimal"}, {"largest decimal", json.Number("922337203685477.5807"), `x == decimal("922337203685477.5807")`},
		{"smallest decimal", json.Number("-922337203685477.5808"), `x == decimal("-922337203685477.5808")`},
		{"NaN", math.NaN(), "!x: number is not finite"}, {"Inf", math.Inf(-1), "!x: number is not finite"},
		{"literal", json.Number("42"), `x == 42`}, {"literal 1.0", json.Number("1.0"), `x == 1`}, {"literal 1e2", json.Number("1E2"), `x == 100`},
		{"literal -0.0", json.Number("-0.0"), `x == 0`}, {"literal 0e9", json.Number("0e999999999"), `x == 0`}, {"literal 1.50", json.Number("1.50"), `x == decimal("1.5")`},
		{"literal of no number", json.Number("x"), "!not a JSON number"}, {"empty literal", json.Number(""), "!not a JSON number"}, {"literal true", json.Number("true"), "!not a JSON number"},
		{"literal with code", json.Number("1 2"), "!not a JSON number"}, {"literal NaN", json.Number("NaN"), "!not a JSON number"},
		{"huge exponent", json.Number("1e1000000000"), "!x: number is out of range"}, {"tiny exponent", json.Number("1e-1000000000"), "!more than the four digits"},
		{"long literal", json.Number(strings.Repeat("1", 401)), "!not a JSON number"}, {"20 digits", json.Number("12345678901234567890"), "!range of a Long"},
		{"set", []any{1, "a", 1}, `x == ["a", 1] && x.contains(1)`}, {"strings", []string{"b", "a", "b"}, `x == ["a", "b"]`}, {"set with null", []any{nil, 1}, `x == [1]`},
		{"record", map[string]any{"a b": map[string]any{"c": true}}, `x["a b"].c && context["attributes.x.a b.c"]`}, {"strings by name", map[string]string{"a": "b"}, `x == {"a": "b"}`},
		{"null", nil, `!does not have the attribute`}, {"null inside", map[string]any{"n": nil}, `!(x has n) && !(context has "attributes.x.n")`}, {"nulls only", []any{nil}, `x.isEmpty()`},
		{"time", time.Now(), "!x: a type that is not a JSON value"}, {"bytes", []byte("a"), "!x: a type that is not"}, {"pointer", new(int), "!a type that is not"},
		{"not UTF-8", "a\xff", "!attributes.x: text is not valid UTF-8"}, {"name not UTF-8", map[string]any{"\xff": 1}, "!text is not valid UTF-8"},
		{"path", map[string]any{"a": []any{1, map[string]any{"b": time.Now()}}}, "!attributes.x.a[1].b: a type"},
		{"holds itself", self, "!nested deeper than 64"}, {"too many", make([]any, 5000), "!more than 4096 values"}, {"too much", strings.Repeat("x", 1<<20+1), "!more than 1048576 bytes"},
		{"entity", map[string]any{"__entity": map[string]any{"type": "Workload", "id": "a"}}, "!a name that Cedar keeps for itself"},
		{"extension", map[string]any{"__extn": map[string]any{"fn": "ip", "arg": "::1"}}, "!a name that Cedar keeps for itself"},
		{"entity-like", map[string]any{"type": "Workload", "id": "a"}, `x == {"type": "Workload", "id": "a"}`},
		{"one path twice", map[string]any{"a.b": 1, "a": map[string]any{"b": 2}}, `!two of them have the same dotted path`},
		{"one path twice, equal", map[string]any{"a.b": 1, "a": map[string]any{"b": 1}}, `!two of them have the same dotted path`},
		{"record and leaf", map[string]any{"a.b": map[string]any{"c": 1}, "a": map[string]any{"b": 1}}, `context["attributes.x.a.b"] == 1`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			condition, fails := strings.CutPrefix(test.want, "!")
			if fails && !strings.HasPrefix(condition, "(") {
				condition = "x == x"
			} else {
				condition, fails = test.want, false
			}
			condition = regexpX.ReplaceAllString(condition, "${1}context.attributes.x")
			// In the first, a path to below the attributes is read; in the second, all of it.
			for _, more := range []string{` && !(context has "attributes.x.a.b" && false)`, ` && context != {}`} {
				in := call(80)
				in.Attributes = map[string]any{"x": test.value}
				d, err := when(t, condition+more).Evaluate(t.Context(), "p", in)
				switch {
				case !fails && (err != nil || !d.Allow):
					t.Errorf("%s%s: %+v %v", condition, more, d, err)
				case fails && (!errors.Is(err, policy.ErrIndefinite) || !strings.Contains(err.Error(), test.want[1:])):
					t.Errorf("%v; want %q", err, test.want[1:])
				}
			}
		})
	}
}

// Dotted paths repeat the names above them: a long name over many others must not become gigabytes.
func TestDottedPathsAreBounded(t *testing.T) {
	many := map[string]any{}
	for i := range 4000 {
		many[strings.Repeat("k", 1+i%7)+string(rune('a'+i%26))+time.Duration(i).String()] = 1
	}
	in := call(80)
	in.Attributes = map[string]any{strings.Repeat("x", 100_000): many}
	_, err := when(t, "context != {}").Evaluate(t.Context(), "p", in)
	if !errors.Is(err, policy.ErrIndefinite) || !strings.Contains(err.Error(), "dotted paths") || len(err.Error()) > 700 {
		t.Errorf("%.1000v", err)
	}
}

// Attributes that no policy reads cannot stop it; attributes that are read must be right.
func TestOnlyWhatIsRead(t *testing.T) {
	in := call(80)
	in.Attributes = map[string]any{"when": time.Now()}
	for condition, fails := range map[string]bool{
		"context.trust_score > 1": false, "context has attributes": true, `context has "attributes.x"`: true,
		`context["object.attributes.x"] == 1 || true`: true, `{"a": context}.a.trust_score > 1`: true, "context has attribute || true": false,
		`if context.trust_score > 1 then true else context.attributes.x`: true, `!(context has "attributesx")`: false,
	} {
		d, err := when(t, condition).Evaluate(t.Context(), "p", in)
		if (err != nil) != fails || d.Allow == fails {
			t.Errorf("%s: %+v %v", condition, d, err)
		}
	}
}

// A call pays for its history only when its policy reads that, and then once.
func TestHistoryIsLazy(t *testing.T) {
	read := 0
	in := call(80)
	in.Lineage.History = policy.NewHistory(func() []policy.Ancestor { read++; return []policy.Ancestor{{Operation: "a"}} })
	for _, test := range []struct {
		condition string
		read      int
	}{
		{`context.lineage.length == 1 && context.lineage.min_trust == 80 && context["lineage.source_types"] == ["internal"]`, 0},
		{`context.lineage has principals && context has "lineage.length" && context.labels.level == "secret" && context.subject != {}`, 0},
		{`context.lineage has nothing || context.trust_score == 80`, 0},
		{`context has "lineage.operations"`, 1}, {`context.lineage.operations == ["a"]`, 1},
		{`context.lineage != {}`, 1}, {`context != {}`, 1},
	} {
		if d, err := when(t, test.condition).Evaluate(t.Context(), "p", in); err != nil || !d.Allow || read != test.read {
			t.Errorf("%s: %+v %v, history read %d times", test.condition, d, err, read)
		}
	}
	for _, name := range []string{
		"operations", "taints", "resources", "unsanitized_sources", "steps", "acts", "users", "labels", "ancestors", "ancestors_omitted",
	} {
		read = 0
		in.Lineage.History = policy.NewHistory(func() []policy.Ancestor { read++; return nil })
		if d, err := when(t, "context.lineage has "+name).Evaluate(t.Context(), "p", in); err != nil || !d.Allow || read != 1 {
			t.Errorf("%s: %+v %v, history read %d times", name, d, err, read)
		}
	}
}

// Workloads before the call choose what is in its history. It must not break what a policy does not read of it, name
// what Cedar keeps for itself, or make sets that take the square of their size.
func TestHostileHistory(t *testing.T) {
	many := make([]policy.Ancestor, 100)
	for i := range many {
		many[i].Labels = map[string]string{}
		for j := range 50 {
			many[i].Labels[strings.Repeat("x", 1+i)+strings.Repeat("y", j)] = ""
		}
	}
	for name, test := range map[string]struct {
		ancestors       []policy.Ancestor
		condition, want string
	}{
		"many labels":     {many, "context.lineage has labels", "input lineage.labels: more than 4096 values"},
		"many, unread":    {many, "context.lineage has operations", ""},
		"not UTF-8":       {[]policy.Ancestor{{Operation: "\xff"}}, "context.lineage has steps", "input lineage.steps.operation: text is not valid UTF-8"},
		"not UTF-8, act":  {[]policy.Ancestor{{Resource: "\xff"}}, "context.lineage has acts", "input lineage.acts.resource: text is not valid UTF-8"},
		"reserved label":  {[]policy.Ancestor{{Labels: map[string]string{"__entity": "x"}}}, "context.lineage has ancestors", "lineage.ancestors.labels.__entity: a name that Cedar keeps"},
		"reserved, value": {[]policy.Ancestor{{Labels: map[string]string{"__entity": "x"}}}, `context.lineage.labels == [{"name": "__entity", "value": "x"}]`, ""},
		"code":            {[]policy.Ancestor{{Operation: `"}) || true`}}, `context.lineage.operations == ["\"}) || true"]`, ""},
	} {
		in := call(80)
		in.Lineage.History = history(test.ancestors...)
		d, err := when(t, test.condition).Evaluate(t.Context(), "p", in)
		if test.want == "" && (err != nil || !d.Allow) ||
			test.want != "" && (d.Allow || !errors.Is(err, policy.ErrIndefinite) || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %+v %v", name, d, err)
		}
	}
	in := call(80)
	in.Labels = map[string]string{"__extn": "x"}
	if _, err := when(t, "context has labels").Evaluate(t.Context(), "p", in); err == nil || !strings.Contains(err.Error(), "labels.__extn: a name that Cedar keeps") {
		t.Error(err)
	}
}

// Nothing of one call is left for the next one, not after a fault either.
func TestCallsAreApart(t *testing.T) {
	for _, condition := range []string{
		`context has "subject.user"`, "context.subject has user", "context.object.attributes has user", `context has "attributes.user"`,
		"context.labels has user", "context.lineage.users.contains({\"operation\": \"pay\", \"user\": \"ada\"})",
	} {
		engine := when(t, condition)
		with, bad := call(80), call(80)
		for _, in := range []*policy.Input{with, bad} {
			in.Attributes = map[string]any{"user": "ada"}
			in.Object.Attributes, in.Labels = in.Attributes, map[string]string{"user": "ada"}
			in.Lineage.History = history(policy.Ancestor{Operation: "pay", User: "ada"})
		}
		bad.Object.ID = "\xff"
		for range 50 {
			if d, err := engine.Evaluate(t.Context(), "p", with); err != nil || !d.Allow {
				t.Fatalf("%s: %+v %v", condition, d, err)
			}
			if _, err := engine.Evaluate(t.Context(), "p", bad); err == nil {
				t.Fatal("no fault")
			}
			if d, err := engine.Evaluate(t.Context(), "p", &policy.Input{}); err != nil || d.Allow {
				t.Fatalf("%s: %+v %v without it", condition, d, err)
			}
		}
	}
}

// What is read of a member is found in it, in whatever way it is read.
func TestMembersAreFound(t *testing.T) {
	for _, condition := range []string{
		`{"s": context.subject}.s.user == "ada"`, `[context.subject].contains(context.subject) && context.subject != {}`, `context.subject == {"workload": "spiffe://example.org/payments", "user": "ada", "trust_score": 80, "taints": ["pii", "web"]}`,
		`(if context.subject has user then context.subject else context.identity).user == "ada"`, `context["subject"]["user"] == "ada"`, `context has subject.user && context["subject.user"] == "ada"`,
		`context.environment.active_deviations.contains({"policy": "org/audit", "tier": "platform", "reason": "CHG-1"})`, `context.environment.is_root == false && context has "lineage.length"`,
	} {
		if d, err := when(t, condition).Evaluate(t.Context(), "p", call(80)); err != nil || !d.Allow {
			t.Errorf("%s: %+v %v", condition, d, err)
		}
	}
}

// SPEC §12: 64 levels, the record of the attributes being the first.
func TestDepth(t *testing.T) {
	engine := when(t, "context has attributes")
	for depth, fits := range map[int]bool{63: true, 64: false} {
		v := any(true)
		for range depth - 1 {
			v = []any{v}
		}
		in := call(80)
		in.Attributes = map[string]any{"x": v}
		if _, err := engine.Evaluate(t.Context(), "p", in); (err == nil) != fits || !fits && !strings.Contains(err.Error(), "nested deeper than 64") {
			t.Errorf("%d levels below the attributes: %v", depth, err)
		}
	}
}

// A nil input is an error, never a decision, and the input is left alone.
func TestNilInput(t *testing.T) {
	if _, err := when(t, "true").Evaluate(t.Context(), "p", nil); !errors.Is(err, policy.ErrIndefinite) || !strings.Contains(err.Error(), "nil input") {
		t.Error(err)
	}
	if d, err := when(t, "context.object.attributes.tags.contains(7) && context != {}").Evaluate(t.Context(), "p", policytest.Input(1)); err != nil || !d.Allow {
		t.Error(d, err)
	}
	if d, err := when(t, `context.environment.parent_hash == "0" && context.lineage.principals.isEmpty() && !(context.object has id)`).Evaluate(t.Context(), "p", &policy.Input{}); err != nil || !d.Allow {
		t.Error("zero input:", d, err)
	}
}

// FuzzContext: whatever JSON the attributes are, mapping them ends with a context or an error, the nested and the
// dotted form agree, and a policy that reads one path sees what one that reads all would see.
func FuzzContext(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a": 1, "b": [1, 1, "x", null], "c": {"d": true, "e": null}}`, `{"a": {"b": 1}, "a.b": 2}`, `{"": {"": {"": 1}}, ".": 2}`,
		`{"a": 1.5, "b": 1e400, "c": -0.00001}`, `{"a.b.c": 1, "a": {"b": {"c": 1}}, "a.b": {"c": 1}}`, `{"__entity": {"type": "A", "id": "b"}}`,
		`{"a\"]": {"\\": "\u0000"}}`, `{"a": [[[]], {}, [{}]]}`, `{"x": {"y": []}}`,
	} {
		f.Add(seed, "a.b")
	}
	f.Fuzz(func(t *testing.T, text, path string) {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var attributes map[string]any
		if d.Decode(&attributes) != nil {
			return
		}
		in := call(80)
		in.Attributes = attributes
		in.Object.Attributes = attributes
		keys := []string{"attributes." + path, "object.attributes." + path, "subject." + path, path}
		all, some, err, errSome := cedar.Context(in, keys...)
		if err != nil {
			return
		}
		if errSome != nil {
			t.Fatalf("reading all works, reading %q does not: %v", path, errSome)
		}
		for _, key := range keys {
			a, okA := all.Get(types.String(key))
			b, okB := some.Get(types.String(key))
			if okA != okB || okA && !a.Equal(b) {
				t.Errorf("%q is %v read with all, and %v alone", key, a, b)
			}
		}
		found := 0
		for _, name := range []types.String{"attributes", "object", "subject"} {
			nested, _ := all.Get(name)
			found += agree(t, all, string(name), nested.(types.Record))
		}
		dotted := 0
		for key := range all.Keys() {
			if head, _, ok := strings.Cut(string(key), "."); ok && (head == "attributes" || head == "object" || head == "subject") {
				dotted++
			}
		}
		if found != dotted {
			t.Errorf("%d leaves, %d dotted names: %v", found, dotted, all)
		}
	})
}

// agree compares every leaf below a record with its dotted form, and counts them.
func agree(t *testing.T, all types.Record, prefix string, nested types.Record) (n int) {
	for name, v := range nested.All() {
		at := prefix + "." + string(name)
		if inner, ok := v.(types.Record); ok {
			n += agree(t, all, at, inner)
			continue
		}
		n++
		if dotted, _ := all.Get(types.String(at)); dotted == nil || !dotted.Equal(v) {
			t.Errorf("%q is %v nested, and %v dotted", at, v, dotted)
		}
	}
	return n
}

// TestHistoryThatPanics: a fault in what makes the input denies the call and leaves the process alone.
func TestHistoryThatPanics(t *testing.T) {
	in := policytest.Input(80)
	in.Lineage.History = policy.NewHistory(func() []policy.Ancestor { panic("gone") })
	d, err := one(t, `permit (principal, action, resource) when { context.lineage.operations.contains("x") || true };`).Evaluate(t.Context(), "p", in)
	if d.Allow || !errors.Is(err, policy.ErrUnavailable) {
		t.Errorf("%+v, %v", d, err)
	}
}
