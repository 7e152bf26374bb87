package opa_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/opa"
	"github.com/kest-go/kest/policy/policytest"
)

// mustMean checks that a body is the document of in, as encoding/json writes it.
func mustMean(t *testing.T, body []byte, in *policy.Input) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"input": in.Document()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jcs.Parse(body, jcs.Options{MaxDepth: 100}); err != nil { // no member stands twice
		t.Fatalf("%v in %s", err, body)
	}
	var got, want any
	if err := errors.Join(json.Unmarshal(body, &got), json.Unmarshal(text, &want)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("body %s\nwant %s\n%v", body, text, err)
	}
}

func TestQuestion(t *testing.T) {
	in := policytest.Input(77)
	override := 77
	in.Environment.TrustOverride, in.Subject.User = &override, ""
	in.Labels["a\"b\n"] = "\x00\u2028é"
	in.Attributes = map[string]any{
		"": nil, "list": []any{nil, true, []any{}, map[string]any{}}, "n": math.MaxInt, "m": math.MinInt, "f": 87.5, "e": 1e300, "neg": math.Copysign(0, -1),
		"i64": int64(7), "words": []string{"a"}, "raw": json.RawMessage(`{"a":[1e2]}`),
	}
	body, err := opa.Question(in, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	mustMean(t, body, in)
	if _, err := opa.Question(in, len(body)); err != nil {
		t.Errorf("a question of exactly the limit: %v", err)
	}
	if _, err := opa.Question(in, len(body)-1); !errors.Is(err, policy.ErrIndefinite) {
		t.Errorf("a question above the limit: %v", err)
	}
}

// What cannot be sent, or would be another input there, is not.
func TestInputIsRefused(t *testing.T) {
	f := serve(t, answer(`{"result":true}`))
	e := engine(t, opa.Config{URL: f.URL, MaxRequest: 64 << 10})
	deep, self, bomb := any("x"), map[string]any{}, []any{}
	for range 70 {
		deep = []any{deep}
	}
	self["self"] = self
	for range 30 {
		bomb = []any{bomb, bomb, bomb, bomb}
	}
	history := func(a policy.Ancestor) *policy.History {
		return policy.NewHistory(func() []policy.Ancestor { return slices.Repeat([]policy.Ancestor{a}, 128) })
	}
	for name, test := range map[string]struct {
		change func(*policy.Input)
		hint   string
	}{
		"failing":      {func(in *policy.Input) { in.Attributes["bad"] = failing{} }, "JSON values"},
		"function":     {func(in *policy.Input) { in.Attributes["bad"] = func() {} }, "JSON values"},
		"not a number": {func(in *policy.Input) { in.Attributes["bad"] = math.NaN() }, "JSON values"},
		"big":          {func(in *policy.Input) { in.Attributes["bad"] = strings.Repeat("x", 64<<10) }, "MaxRequest"},
		"bomb":         {func(in *policy.Input) { in.Attributes["bad"] = bomb }, "MaxRequest"},
		"long lineage": {func(in *policy.Input) {
			in.Lineage.History = history(policy.Ancestor{Resource: strings.Repeat("x", 600)})
		}, "MaxRequest"},
		"deep":     {func(in *policy.Input) { in.Attributes["bad"] = deep }, "64 levels"},
		"itself":   {func(in *policy.Input) { in.Attributes["bad"] = self }, "64 levels"},
		"workload": {func(in *policy.Input) { in.Subject.Workload = "a\xff" }, "UTF-8"},
		"name":     {func(in *policy.Input) { in.Attributes["a\xff"] = 1 }, "UTF-8"},
		"ancestor": {func(in *policy.Input) { in.Lineage.History = history(policy.Ancestor{User: "\xed\xa0\x80"}) }, "UTF-8"},
	} {
		in := policytest.Input(1)
		test.change(in)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d, err := e.Evaluate(t.Context(), "kest/x", in)
		runtime.ReadMemStats(&after)
		if text := mustRefuse(t, d, err, policy.ErrIndefinite); !strings.Contains(text, test.hint) || strings.Contains(text, "5105") {
			t.Errorf("%s: %s", name, text)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
			t.Errorf("%s: allocated %d bytes", name, grown)
		}
	}
	d, err := e.Evaluate(t.Context(), "kest/x", nil)
	mustRefuse(t, d, err, policy.ErrIndefinite)
	if n := f.Requests.Load(); n != 0 {
		t.Errorf("%d requests went out", n)
	}
}

type failing struct{}

func (failing) MarshalJSON() ([]byte, error) { return nil, fmt.Errorf("card 5105-1051-0510-5100") }

// FuzzQuestion: a question is refused, or means what encoding/json would have written.
func FuzzQuestion(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":{"b":[1,null,{"c.d":"x"}]}}`, `{"":"\u0000\u2028\ud83d\ude00","n":-0.0001,"m":1e300}`, `{"a":[[[[]]]]}`} {
		f.Add("alice", seed)
	}
	f.Add("\xff", `{}`)
	f.Fuzz(func(t *testing.T, user, attributes string) {
		in := policytest.Input(1)
		in.Subject.User, in.Attributes = user, nil
		if json.Unmarshal([]byte(attributes), &in.Attributes) != nil {
			return
		}
		body, err := opa.Question(in, 1<<20)
		if err == nil {
			mustMean(t, body, in)
		} else if !errors.Is(err, policy.ErrIndefinite) || len(err.Error()) > 300 {
			t.Fatal(err)
		}
	})
}
