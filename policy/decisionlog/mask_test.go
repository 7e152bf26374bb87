package decisionlog_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/decisionlog"
	"github.com/kest-go/kest/policy/policytest"
)

type mask = decisionlog.Mask

// logInput returns the record of one decision about in.
func logInput(t testing.TB, in *policy.Input, c decisionlog.Config) map[string]any {
	t.Helper()
	c.Input = true
	e, o := open(t, c)
	before := policytest.Copy(in)
	s := &span{}
	if d, err := e.Evaluate(withSpan(s), policytest.AllowTrusted, in); err != nil || !d.Allow {
		t.Errorf("%+v, %v", d, err)
	}
	if fmt.Sprint(before) != fmt.Sprint(in) {
		t.Errorf("the caller's input became %v", in)
	}
	records := o.records(t)
	if len(records) != 1 {
		t.Fatalf("%d records", len(records))
	}
	// The event has what the record has.
	event := s.events["policy.decision"]
	text, _ := event["kest.decision.input"].(string)
	var fromEvent any
	json.Unmarshal([]byte(text), &fromEvent)
	if fmt.Sprint(fromEvent) != fmt.Sprint(records[0]["input"]) ||
		fmt.Sprint(event["kest.decision.input_dropped"]) != fmt.Sprint(records[0]["input_dropped"]) {
		t.Errorf("event %v, record %v", event, records[0])
	}
	return records[0]
}

func attributes(text string) map[string]any {
	var m map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	if err := d.Decode(&m); err != nil {
		panic(err)
	}
	return m
}

func TestInputWhole(t *testing.T) {
	in := policytest.Input(40)
	got, _ := json.Marshal(logInput(t, in, decisionlog.Config{})["input"])
	want := in.Document()
	delete(want, "identity")
	delete(want, "trust_score")
	delete(want["environment"].(map[string]any), "parent_hash")
	if text, _ := json.Marshal(want); string(got) != string(text) {
		t.Errorf("input\n got %s\nwant %s", got, text)
	}
}

// TestMasks: what each rule leaves of the attributes.
func TestMasks(t *testing.T) {
	const data = `{"ssn":"S","n":7,"none":null,"a.b":"D","st*r":"T","b\\s":"B","card":{"number":"N","cvc":"C"},
		"cards":[{"number":"N1","x":1},{"number":"N2"},"plain"],"grid":[["g"]],"empty":[],"":"E"}`
	upper := func(v any) (any, error) { return strings.ToLower(fmt.Sprint(v)), nil }
	for _, test := range []struct {
		name  string
		masks []mask
		want  string // what differs from data; "-" is removed
	}{
		{"drop", []mask{{Path: "attributes.ssn"}}, `{"ssn":"-"}`},
		{"replace", []mask{{Path: "attributes.ssn", With: "***"}}, `{"ssn":"***"}`},
		{"replace an object", []mask{{Path: "attributes.card", With: "***"}}, `{"card":"***"}`},
		{"function", []mask{{Path: "attributes.ssn", Func: upper}}, `{"ssn":"s"}`},
		{"function gives null", []mask{{Path: "attributes.ssn", Func: func(any) (any, error) { return nil, nil }}}, `{"ssn":null}`},
		{"nested", []mask{{Path: "attributes.card.number"}}, `{"card":{"cvc":"C"}}`},
		{"star over members", []mask{{Path: "attributes.card.*", With: "x"}}, `{"card":{"number":"x","cvc":"x"}}`},
		{"star over elements", []mask{{Path: "attributes.cards.*.number"}}, `{"cards":[{"x":1},{},"plain"]}`},
		{"elements themselves", []mask{{Path: "attributes.cards.*"}}, `{"cards":[null,null,null]}`},
		{"elements replaced", []mask{{Path: "attributes.grid.*.*", With: "x"}}, `{"grid":[["x"]]}`},
		{"escaped dot", []mask{{Path: `attributes.a\.b`}}, `{"a.b":"-"}`},
		{"escaped star", []mask{{Path: `attributes.st\*r`}}, `{"st*r":"-"}`},
		{"escaped backslash", []mask{{Path: `attributes.b\\s`}}, `{"b\\s":"-"}`},
		{"missing", []mask{{Path: "attributes.nothing.at.all"}}, `{}`},
		{"null", []mask{{Path: "attributes.none.member"}}, `{}`},
		{"empty list", []mask{{Path: "attributes.empty.*.x"}}, `{}`},
		{"case matters", []mask{{Path: "attributes.SSN"}}, `{}`},
		{"two rules", []mask{{Path: "attributes.ssn"}, {Path: "attributes.n", With: "0"}}, `{"ssn":"-","n":"0"}`},
		{"a rule into what is masked", []mask{{Path: "attributes.card", With: "x"}, {Path: "attributes.card.number"}}, `{"card":"x"}`},
		{"the last of two that replace", []mask{{Path: "attributes.ssn", With: "x"}, {Path: "attributes.ssn", With: "y"}}, `{"ssn":"y"}`},
		{"a function after a rule", []mask{{Path: "attributes.ssn", With: "X"}, {Path: "attributes.ssn", Func: upper}}, `{"ssn":"X"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := policytest.Input(40)
			in.Attributes = attributes(data)
			r := logInput(t, in, decisionlog.Config{Mask: test.masks})
			want := attributes(data)
			for name, value := range attributes(test.want) {
				if want[name] = value; value == "-" {
					delete(want, name)
				}
			}
			input, _ := r["input"].(map[string]any)
			got, _ := json.Marshal(input["attributes"])
			if text, _ := json.Marshal(want); string(got) != string(text) {
				t.Errorf("attributes\n got %s\nwant %s\n%v", got, text, r["input_dropped"])
			}
		})
	}
}

// withHistory is an input with something to hide in every part of its lineage.
func withHistory() *policy.Input {
	in := policytest.Input(40)
	in.Environment.RemovedTaints, in.Environment.Sanitizer = []string{"pii-a"}, "scrub-a"
	in.Labels = map[string]string{"level": "secret-a"}
	in.Lineage.History = policy.NewHistory(func() []policy.Ancestor {
		return []policy.Ancestor{
			{Operation: "orders.take", User: "alice", Agent: "agent-7", Task: "payments:write", Resource: "order/ORD-123", Taints: []string{"pii-b"},
				RemovedTaints: []string{"pii-a"}, Sanitizer: "scrub-b", Labels: map[string]string{"level": "secret-b"}},
			{Operation: "orders.check", Parents: []int{0}}, // nobody's: its members are null
		}
	})
	return in
}

// TestMaskHidesEverywhere: a rule for one member leaves no copy of its value anywhere in the record's input.
func TestMaskHidesEverywhere(t *testing.T) {
	for path, hidden := range map[string]string{
		"subject.user": "alice", "subject.agent": "agent-7", "subject.task": "payments:write", "subject": "alice",
		"subject.*": "agent-7", "*.user": "alice", "environment.parent_hashes": "abab", "environment.parent_hashes.*": "abab",
		"object.id": "ORD-123", "object.attributes": "urgent", "object.attributes.*": "urgent", "object.*": "urgent",
		"attributes": secret, "*": secret, "*.*": secret, "environment.active_deviations.*.approver": "ciso",
	} {
		in := policytest.Input(77)
		in.Lineage.History = nil // it says of ancestors what the rest says of the call
		r := logInput(t, in, decisionlog.Config{Mask: []mask{{Path: path}}})
		if text, _ := json.Marshal(r["input"]); strings.Contains(string(text), hidden) || r["input"] == nil {
			t.Errorf("%s: %s (%v)", path, text, r["input_dropped"])
		}
	}
	for _, test := range []struct {
		hidden string
		paths  string // as in the package comment
	}{
		{"alice", "subject.user lineage.users.*.user lineage.ancestors.*.user"}, {"agent-7", "subject.agent lineage.ancestors.*.agent"},
		{"payments:write", "subject.task lineage.ancestors.*.task"}, {"secret-", "labels lineage.labels lineage.ancestors.*.labels"},
		{"secret-", "labels.* lineage.labels.*.value lineage.ancestors.*.labels.level"},
		{"ORD-123", "object lineage.resources lineage.acts.*.resource lineage.ancestors.*.resource"}, {"scrub-", "environment.sanitizer lineage.ancestors.*.sanitizer"},
		{"pii-", "environment.removed_taints lineage.ancestors.*.removed_taints.* lineage.taints.* lineage.ancestors.*.taints"},
	} {
		in := withHistory()
		var masks []mask
		for path := range strings.FieldsSeq(test.paths) {
			masks = append(masks, mask{Path: path})
		}
		if text, _ := json.Marshal(logInput(t, in, decisionlog.Config{})["input"]); strings.Count(string(text), test.hidden) < len(masks) {
			t.Errorf("%s is not in all of %s: %s", test.hidden, test.paths, text)
		}
		r := logInput(t, in, decisionlog.Config{Mask: masks})
		if text, _ := json.Marshal(r["input"]); strings.Contains(string(text), test.hidden) || r["input"] == nil {
			t.Errorf("%s: %s (%v)", test.paths, text, r["input_dropped"])
		}
	}
	r := logInput(t, policytest.Input(77), decisionlog.Config{Mask: []mask{{Path: "subject.trust_score"}, {Path: "lineage"}}})
	if text, _ := json.Marshal(r["input"]); strings.Contains(string(text), "77") {
		t.Errorf("the score is in %s", text)
	}
}

// TestMaskFails: when a rule cannot do its work, nothing of the input is logged, and the record says so and why.
func TestMaskFails(t *testing.T) {
	deep := any("x")
	for range 100 {
		deep = []any{deep}
	}
	fails := func(any) (any, error) { return nil, errors.New("cannot hash " + secret) }
	for _, test := range []struct {
		name string
		mask mask
		data map[string]any
		want string
	}{
		{"function fails", mask{Path: "attributes.card", Func: fails}, map[string]any{"card": secret}, "its function failed"},
		{"function fails on an element", mask{Path: "attributes.l.*", Func: fails}, map[string]any{"l": []any{secret}}, "its function failed"},
		{"function panics", mask{Path: "attributes.card", Func: func(v any) (any, error) { panic(v) }}, map[string]any{"card": secret}, "panicked"},
		{"function gives no JSON", mask{Path: "attributes.card", Func: func(any) (any, error) { return func() {}, nil }},
			map[string]any{"card": secret}, "not a JSON value"},
		{"function gives too much", mask{Path: "attributes.card", Func: func(any) (any, error) { return strings.Repeat(secret, 5000), nil }},
			map[string]any{"card": secret}, "too large"},
		{"a value instead of an object", mask{Path: "attributes.card.number"}, map[string]any{"card": secret}, "plain value"},
		{"a number instead of an object", mask{Path: "attributes.card.number"}, map[string]any{"card": 5105}, "plain value"},
		{"a list instead of an object", mask{Path: "attributes.card.number"}, map[string]any{"card": []any{map[string]any{"number": secret}}}, "list"},
		{"a value instead of a list", mask{Path: "attributes.cards.*"}, map[string]any{"cards": secret}, "plain value"},
		{"a list below a star", mask{Path: "attributes.*.number"}, map[string]any{"x": []any{map[string]any{"number": secret}}}, "list"},
		{"a list in a list", mask{Path: "attributes.cards.*.number"}, map[string]any{"cards": []any{[]any{map[string]any{"number": secret}}}}, "list"},
		{"large", mask{Path: "attributes.x"}, map[string]any{"a": strings.Repeat(secret, 5000)}, "too large"},
		{"many", mask{Path: "attributes.x"}, map[string]any{"a": make([]any, 1<<20)}, "too large"},
		{"deep", mask{Path: "attributes.x"}, map[string]any{"a": deep}, "too deeply"},
		{"no JSON", mask{Path: "attributes.x"}, map[string]any{"a": struct{ S string }{secret}}, "not a JSON value"},
		{"no number", mask{Path: "attributes.x"}, map[string]any{"a": math.NaN()}, "not a JSON value"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := policytest.Input(40)
			in.Attributes = test.data
			s, o := &span{}, &output{}
			e, _ := open(t, decisionlog.Config{Input: true, Mask: []mask{test.mask}, Logger: slog.New(slog.NewJSONHandler(o, nil))})
			if d, err := e.Evaluate(withSpan(s), policytest.AllowTrusted, in); err != nil || !d.Allow {
				t.Errorf("%+v, %v", d, err)
			}
			r := o.records(t)[0]
			why, _ := r["input_dropped"].(string)
			if r["input"] != nil || !strings.Contains(why, test.want) || r["result"] != "allow" {
				t.Errorf("record %v, want %q", r, test.want)
			}
			for _, text := range []string{o.String(), fmt.Sprint(s.events)} {
				if strings.Contains(text, secret) || strings.Contains(text, "alice") {
					t.Errorf("leaked: %.500s", text)
				}
			}
			if got := s.events["policy.decision"]["kest.decision.input_dropped"]; got != why {
				t.Errorf("event %v", got)
			}
		})
	}
}

// TestSharedContainers: attributes that stand in each other many times are not walked for each time.
func TestSharedContainers(t *testing.T) {
	bomb := []any{}
	for range 30 {
		bomb = []any{bomb, bomb, bomb, bomb}
	}
	in := policytest.Input(40)
	in.Attributes = map[string]any{"bomb": bomb}
	e, o := open(t, decisionlog.Config{Engine: engine(answer), Input: true}) // a Mock would copy it
	e.Evaluate(context.Background(), policytest.AllowTrusted, in)
	if why := o.records(t)[0]["input_dropped"]; why == nil {
		t.Error("logged")
	}
}

func TestMaxInput(t *testing.T) {
	in := policytest.Input(40)
	whole, _ := json.Marshal(logInput(t, in, decisionlog.Config{})["input"])
	if r := logInput(t, in, decisionlog.Config{MaxInput: len(whole)}); r["input"] == nil {
		t.Error("an input of exactly the limit is dropped")
	}
	if r := logInput(t, in, decisionlog.Config{MaxInput: len(whole) - 1}); r["input"] != nil || r["input_dropped"] == nil {
		t.Error("an input above the limit is logged")
	}
}

func TestMaskConfig(t *testing.T) {
	for _, path := range []string{
		"attributes", "attributes.x", "attributes.*", "attributes.*.x.*", "object.attributes.a.b", "subject.user", "*", "*.*",
		"environment.active_deviations.*.reason", "subject.taints", "subject.taints.*", "lineage", "labels", "labels.level", "labels.*",
		"environment.trust_override", "environment.active_deviations.*.approver_key", "lineage.steps.*.outcome", "lineage.acts.*.resource", "lineage.users.*.user", "lineage.labels.*.value",
		"lineage.ancestors", "lineage.ancestors.*.user", "lineage.ancestors.*.labels.ssn", "lineage.ancestors.*.parents.*", "lineage.*.*.user", "lineage.resources.*", `attributes.a\.b\*\\`, "attributes.ключ", "*.attributes.x",
	} {
		if _, err := decisionlog.New(decisionlog.Config{Engine: policytest.Allow(), Mask: []mask{{Path: path}}}); err != nil {
			t.Errorf("%q: %v", path, err)
		}
	}
	for _, path := range []string{
		"", ".", "attributes.", ".attributes", "attributes..x", "attributes.x*", "attributes.**", "attributes.*x", `attributes.x\`, `attributes.\x`,
		"attributes[0]", "$.attributes", "/attributes/x", "Attributes.x", "attribute", "subject.usr", "subject.user.name", "subject.taints.x",
		"subject.*.x", "environment.*.policy", "environment.active_deviations.reason", "identity.user", "identity", "trust_score", "environment.parent_hash",
		"lineage.users.user", "lineage.acts.resource", "lineage.acts.*.user", "lineage.ancestors.user", "lineage.ancestors.*.users", "lineage.labels.ssn", "lineage.history", "labels.a.b", "lineage.ancestors.*.labels.a.b", "labels.*.x",
		"attributes.a\nb", "attributes.a\x00", "attributes.\xff", "attributes." + strings.Repeat("a", 2000), strings.Repeat("*.", 40) + "*",
	} {
		_, err := decisionlog.New(decisionlog.Config{Engine: policytest.Allow(), Mask: []mask{{Path: path}}})
		if err == nil {
			t.Errorf("%.60q is accepted", path)
		} else if len(err.Error()) > 700 || strings.Contains(err.Error(), "\x00") || !utf8.ValidString(err.Error()) {
			t.Errorf("%.60q: the error repeats it raw or at length: %q", path, err)
		}
	}
	both := mask{Path: "attributes", With: "x", Func: func(v any) (any, error) { return v, nil }}
	if _, err := decisionlog.New(decisionlog.Config{Engine: policytest.Allow(), Mask: []mask{both}}); err == nil {
		t.Error("With and Func together are accepted")
	}
}

// FuzzMaskPath: a path that is accepted has one form, and hides what its names lead to.
func FuzzMaskPath(f *testing.F) {
	for _, seed := range []string{"ssn", "*", "cards.*.number", `user\.email`, `a\\`, `\*`, "a..b", "a*", ".", "x.", "ключ", "\x00", "\xff", `\`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		names, stars, err := decisionlog.ParsePath(path)
		if err != nil || len(names) > 30 || len(path) > 1000 { // there are limits, and two more names come before these
			return
		}
		escape := strings.NewReplacer(`\`, `\\`, `.`, `\.`, `*`, `\*`)
		var again []string
		data := any(secret)
		for i, name := range slices.Backward(names) {
			if name == "" != stars[i] {
				t.Fatalf("%q: segment %d is %q, star %t", path, i, name, stars[i])
			}
			if stars[i] {
				again = append(again, "*")
				if i%2 == 0 {
					data = []any{data}
				} else {
					data = map[string]any{"in": data}
				}
				continue
			}
			again = append(again, escape.Replace(name))
			data = map[string]any{name: data}
		}
		slices.Reverse(again)
		if form := strings.Join(again, "."); form != path {
			t.Fatalf("%q means %q", path, form)
		}
		e, o := open(t, decisionlog.Config{Engine: policytest.Allow(), Input: true, MaxInput: 1 << 20, Mask: []mask{{Path: "attributes.x." + path}}})
		in := policytest.Input(40)
		in.Attributes = map[string]any{"x": data}
		e.Evaluate(context.Background(), "a", in)
		r := o.records(t)[0]
		if strings.Contains(o.String(), secret) || r["input"] == nil {
			t.Fatalf("%q: %s", path, o)
		}
	})
}
