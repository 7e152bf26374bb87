package decisioncache_test

import (
	"context"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/decisioncache"
	"github.com/kest-go/kest/policy/policytest"
)

// count returns how many of the questions, asked twice in turn, reach the engine.
func count(t *testing.T, ignore []string, inputs ...*policy.Input) int {
	t.Helper()
	m := policytest.Func(func(context.Context, string, *policy.Input) (policy.Decision, error) {
		return policy.Decision{Revision: "r1"}, nil
	}).Keep(0)
	e := open(t, decisioncache.Config{Engine: m, Revision: func() string { return "r1" }, Ignore: ignore})
	for range 2 {
		for _, in := range inputs {
			e.Evaluate(context.Background(), "a", in)
		}
	}
	return m.Count()
}

// whole is an input that has one of everything.
func whole() *policy.Input {
	in := policytest.Input(40)
	override, env := 40, &in.Environment
	env.TrustOverride, env.RemovedTaints, env.Sanitizer = &override, []string{"pii"}, "scrub"
	taints := []string{"pii"}
	in.Lineage.History = policy.NewHistory(func() []policy.Ancestor {
		return []policy.Ancestor{
			{Operation: "first", User: "bob", Resource: "r", Taints: taints, RemovedTaints: taints, Labels: map[string]string{"a": "b"}, Parents: []int{1}},
			{Operation: "second"},
		}
	})
	return in
}

// TestEveryFieldCounts changes each field of the input, found by reflection, so one that is added to policy.Input
// later and forgotten in the key fails here.
func TestEveryFieldCounts(t *testing.T) {
	fields := 0
	var walk func(path string, find func(*policy.Input) reflect.Value)
	walk = func(path string, find func(*policy.Input) reflect.Value) {
		in := whole()
		v := find(in)
		switch {
		case v.Type() == reflect.TypeFor[*policy.History](): // nobody may change what it returns, but for this test
			walk(path, func(in *policy.Input) reflect.Value {
				return reflect.ValueOf(find(in).Interface().(*policy.History).Past()).Elem()
			})
			v.SetZero() // and the history of a root is another one
		case v.Kind() == reflect.Pointer:
			walk(path, func(in *policy.Input) reflect.Value { return find(in).Elem() })
			v.SetZero()
		case v.Type() == reflect.TypeFor[time.Time]():
			v.Set(reflect.ValueOf(v.Interface().(time.Time).Add(1)))
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, func(in *policy.Input) reflect.Value { return find(in).Field(i) })
			}
			return
		case v.Kind() == reflect.String:
			v.SetString(v.String() + "x")
		case v.Kind() == reflect.Int:
			v.SetInt(v.Int() + 1)
		case v.Kind() == reflect.Bool:
			v.SetBool(!v.Bool())
		case v.Kind() == reflect.Slice:
			if v.Len() == 0 {
				t.Fatalf("%s: the whole input has none", path)
			}
			walk(path+"[0]", func(in *policy.Input) reflect.Value { return find(in).Index(0) })
			v.Set(reflect.Append(v, v.Index(0)))
		case v.Kind() == reflect.Map:
			v.SetMapIndex(reflect.ValueOf("x"), reflect.ValueOf("x"))
		default:
			t.Fatalf("%s: %s is not known here", path, v.Type())
		}
		fields++
		if n := count(t, nil, whole(), in); n != 2 {
			t.Errorf("%s does not count: %d questions, want 2", path, n)
		}
	}
	walk("Input", func(in *policy.Input) reflect.Value { return reflect.ValueOf(in).Elem() })
	if fields < 80 {
		t.Errorf("only %d fields were changed", fields)
	}
}

// TestNoTwoAreOne: inputs that are easily taken for each other.
func TestNoTwoAreOne(t *testing.T) {
	values := []any{
		nil, true, false, 0, 1, -1, 1.0, 0.0, "", "0", "1", "true", "null", []any{}, []any{nil}, []any{nil, nil}, []any{[]any{}},
		[]any{[]any{}, []any{}}, []any{[]any{[]any{}}}, map[string]any{}, map[string]any{"": nil}, map[string]any{"a": nil},
		[]any{"a", "b"}, []any{"ab"}, []any{"a\x02b"}, map[string]any{"a": "b"}, "\xff", "\xfe", "\uFFFD",
		map[string]any{"a": map[string]any{"b": 1, "c": 2}}, map[string]any{"a": map[string]any{"b": 1}, "c": 2},
		1 << 48, math.Float64frombits(0x8080_8080_8080_8001), // the same bytes but for the kind
	}
	var inputs []*policy.Input
	add := func(change func(*policy.Input)) {
		in := &policy.Input{}
		change(in)
		inputs = append(inputs, in)
	}
	for _, value := range values {
		add(func(in *policy.Input) { in.Attributes = map[string]any{"a": value} })
		add(func(in *policy.Input) { in.Object.Attributes = map[string]any{"a": value} })
		add(func(in *policy.Input) { in.Attributes = map[string]any{"a": value, "b": value} })
	}
	for _, lists := range [][2][]string{{{"a"}, nil}, {nil, {"a"}}, {{"a", "b"}, nil}, {{"a"}, {"b"}}, {{"", ""}, nil}, {{""}, nil}} {
		add(func(in *policy.Input) { in.Lineage.Principals, in.Lineage.SourceTypes = lists[0], lists[1] })
		add(func(in *policy.Input) { in.Environment.ParentHashes, in.Environment.PolicyNames = lists[0], lists[1] })
	}
	one, past := 1, func(all ...policy.Ancestor) func(*policy.Input) {
		return func(in *policy.Input) {
			in.Lineage.History = policy.NewHistory(func() []policy.Ancestor { return all })
		}
	}
	add(func(in *policy.Input) { in.Environment.TrustOverride = &one })
	add(func(in *policy.Input) { in.Environment.RemovedTaints = []string{""} }) // the same bytes but for the flag
	add(func(in *policy.Input) { in.Labels = map[string]string{"a": "b"} })
	add(func(in *policy.Input) { in.Labels = map[string]string{"ab": ""} })
	add(past(policy.Ancestor{Labels: map[string]string{"a": "b"}}))
	add(past(policy.Ancestor{Taints: []string{"a"}}))
	add(past(policy.Ancestor{RemovedTaints: []string{"a"}}))
	add(past(policy.Ancestor{}, policy.Ancestor{}))
	add(past(policy.Ancestor{}, policy.Ancestor{Parents: []int{0}}))
	add(past(policy.Ancestor{Operation: "ab"}))
	add(past(policy.Ancestor{Operation: "a", Classification: "b"}))
	add(func(in *policy.Input) { in.Subject.User, in.Subject.Agent = "ab", "" })
	add(func(in *policy.Input) { in.Subject.User, in.Subject.Agent = "a", "b" })
	add(func(in *policy.Input) { in.Subject.User, in.Subject.Agent = "", "ab" })
	if n := count(t, nil, inputs...); n != len(inputs) {
		t.Errorf("%d inputs are %d questions", len(inputs), n)
	}
}

func TestIgnoredAttributes(t *testing.T) {
	with := func(attributes, object map[string]any) *policy.Input {
		in := policytest.Input(40)
		in.Attributes, in.Object.Attributes = attributes, object
		return in
	}
	type m = map[string]any
	ignore := []string{"attributes.id", "object.attributes.a.b"}
	same := []*policy.Input{
		with(m{"id": 1}, m{}), with(m{"id": 2}, m{}), with(m{}, m{"a.b": 1}), with(nil, nil), with(m{"id": func() {}}, m{}),
	}
	if n := count(t, ignore, same...); n != 1 {
		t.Errorf("%d questions, want 1", n)
	}
	differ := []*policy.Input{
		with(m{}, m{}), with(m{"ID": 1}, m{}), with(m{"a.b": 1}, m{}), with(m{"x": m{"id": 1}}, m{}), with(m{"x": m{"id": 2}}, m{}),
		with(m{}, m{"id": 1}), with(m{}, m{"a": m{"b": 1}}),
	}
	if n := count(t, ignore, differ...); n != len(differ) {
		t.Errorf("%d questions, want %d", n, len(differ))
	}
}

// TestWhatCannotBeHashedPasses: the engine decides about it each time.
func TestWhatCannotBeHashedPasses(t *testing.T) {
	deep, cycle := any("x"), map[string]any{}
	for range 100 {
		deep = []any{deep}
	}
	cycle["self"] = cycle
	bomb := []any{}
	for range 30 {
		bomb = []any{bomb, bomb, bomb, bomb}
	}
	for name, value := range map[string]any{
		"struct": struct{ A int }{1}, "pointer": new(int), "named": time.Second, "int64": int64(1), "strings": []string{"a"},
		"deep": deep, "cycle": cycle, "bomb": bomb, "long": strings.Repeat("x", 100<<10), "many": make([]any, 100<<10),
	} {
		asked := 0
		e := open(t, decisioncache.Config{Revision: func() string { return "r1" }, Engine: engine(
			func(context.Context, string, *policy.Input) (policy.Decision, error) {
				asked++
				return policy.Decision{Allow: true, Revision: "r1"}, nil
			})})
		for range 2 {
			in := policytest.Input(40)
			in.Attributes["x"] = value
			if d, err := e.Evaluate(context.Background(), "a", in); err != nil || !d.Allow {
				t.Errorf("%s: %+v, %v", name, d, err)
			}
		}
		if asked != 2 {
			t.Errorf("%s is cached", name)
		}
	}
}

// TestLongHistories: what does not fit is not cached, and is not walked to its end for each of its lists.
func TestLongHistories(t *testing.T) {
	for name, test := range map[string]struct {
		ancestors, text, asked int
	}{"fits": {20, 100, 1}, "long": {20, 8 << 10, 2}, "many": {5000, 10, 2}} {
		in := policytest.Input(40)
		in.Lineage.History = policy.NewHistory(func() []policy.Ancestor {
			all := make([]policy.Ancestor, test.ancestors)
			for i := range all {
				all[i].Operation = strconv.Itoa(i) + strings.Repeat("x", test.text)
			}
			return all
		})
		if n := count(t, nil, in); n != test.asked {
			t.Errorf("%s: asked %d times, want %d", name, n, test.asked)
		}
	}
}

// engine is a function as an engine. A Mock would copy the input.
type engine policytest.Answer

func (e engine) Evaluate(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	return e(ctx, name, in)
}
