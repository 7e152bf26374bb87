package avp_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/kest-go/kest/aws/avp"
	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// A tier in one round trip: each policy has its own answer, in the order of the names.
func TestBatch(t *testing.T) {
	s, e := start(t, func(q awstest.Authorization) awstest.Verdict {
		switch q.Action.ID {
		case "allow", "allow/2":
			return awstest.Verdict{Decision: "ALLOW", Policies: []string{q.Action.ID}}
		case "broken":
			return awstest.Verdict{Decision: "ALLOW", Policies: []string{"SP1"}, Errors: []string{"EVIL"}}
		}
		return awstest.Verdict{Decision: "DENY"}
	})
	names := []string{"allow", "../allow", "deny", "broken", "", "allow/2", "allow"}
	answers := e.EvaluateAll(t.Context(), names, policytest.Input(100))
	if n := s.Calls("BatchIsAuthorized"); n != 1 || s.Calls("") != 1 || len(answers) != len(names) {
		t.Fatalf("%d calls, %d answers", n, len(answers))
	}
	for i, want := range []policy.Answer{0: {Decision: policy.Decision{Allow: true, Reason: "determined by allow"}}, 2: {}, 5: {Decision: policy.Decision{Allow: true, Reason: "determined by allow/2"}}, 6: {Decision: policy.Decision{Allow: true, Reason: "determined by allow"}}} {
		if i != 1 && i != 3 && i != 4 && answers[i] != want {
			t.Errorf("%s: %+v", names[i], answers[i])
		}
	}
	mustRefuse(t, answers[1].Decision, answers[1].Err, policy.ErrUnknownPolicy)
	mustRefuse(t, answers[4].Decision, answers[4].Err, policy.ErrUnknownPolicy)
	if text := mustRefuse(t, answers[3].Decision, answers[3].Err, policy.ErrIndefinite); !strings.Contains(text, `policy "broken"`) {
		t.Error(text)
	}
}

// What does not fit into one request is asked in several, and is one answer as it would be alone.
func TestBatchLimits(t *testing.T) {
	s, e := start(t, func(q awstest.Authorization) awstest.Verdict {
		return awstest.Verdict{Decision: "ALLOW", Policies: []string{q.Action.ID}}
	})
	names := make([]string, 2*avp.MaxBatch+1)
	for i := range names {
		names[i] = fmt.Sprint("p", i)
	}
	all := func(names []string, in *policy.Input) int {
		t.Helper()
		before := s.Calls("BatchIsAuthorized")
		for i, a := range e.EvaluateAll(t.Context(), names, in) {
			if a.Err != nil || !a.Allow || a.Reason != "determined by "+names[i] {
				t.Errorf("%s: %+v", names[i], a)
			}
		}
		return s.Calls("BatchIsAuthorized") - before
	}
	if n := all(names, policytest.Input(1)); n != 3 {
		t.Errorf("%d requests for %d policies", n, len(names))
	}
	if got := e.EvaluateAll(t.Context(), nil, policytest.Input(1)); len(got) != 0 {
		t.Errorf("%v", got)
	}
	in := policytest.Input(1)
	in.Attributes = map[string]any{"a": strings.Repeat("x", 40_000)} // twice in each context
	if n := all(names[:avp.MaxBatch], in); n != 3 {
		t.Errorf("%d requests for a long context", n)
	}
	in.Attributes = map[string]any{"a": strings.Repeat("x", 400_000)}
	if n := all(names[:3], in); n != 3 {
		t.Errorf("%d requests where each takes one", n)
	}
	long := func(n int) int {
		in.Attributes = map[string]any{"a": strings.Repeat("\x01", n)} // six bytes each, twice
		return all(names[:avp.MaxBatch], in)
	}
	fits, not := 1500, 2700 // where thirty of them just fit, or just do not
	if a, b := long(fits), long(not); a != 1 || b != 2 {
		t.Errorf("no edge between one request and two: %d and %d", a, b)
	}
	for not-fits > 20 {
		if n := (fits + not) / 2; long(n) == 1 {
			fits = n
		} else {
			not = n
		}
	}
	before := s.Calls("")
	in.Attributes = map[string]any{"a": strings.Repeat("\x00", 100_000)} // six bytes each
	for _, a := range e.EvaluateAll(t.Context(), names[:3], in) {
		if text := mustRefuse(t, a.Decision, a.Err, policy.ErrIndefinite); !strings.Contains(text, "at most 1000000") {
			t.Error(text)
		}
	}
	if n := s.Calls("") - before; n != 0 {
		t.Errorf("%d requests", n)
	}
	deep := any("x")
	for range 60 {
		deep = map[string]any{"x": deep}
	}
	in.Attributes = map[string]any{"a": strings.Repeat("x", 10_000), "deep": deep} // an answer repeats it, and is deep and long
	for _, a := range e.EvaluateAll(t.Context(), names[:avp.MaxBatch], in) {
		if a.Err != nil || !a.Allow {
			t.Fatalf("%+v", a)
		}
	}
}

// A result counts only for the question that it repeats.
func TestBatchAnswers(t *testing.T) {
	type object = map[string]any
	for name, change := range map[string]func(results []object) any{
		"fewer":             func(r []object) any { return r[:1] },
		"more":              func(r []object) any { return append(r, r[0]) },
		"none":              func([]object) any { return []object{} },
		"not a list":        func([]object) any { return "EVIL" },
		"null":              func([]object) any { return nil },
		"null results":      func(r []object) any { return []any{nil, nil} },
		"another order":     func(r []object) any { return []object{r[1], r[0]} },
		"twice the first":   func(r []object) any { return []object{r[0], r[0]} },
		"no question":       func(r []object) any { delete(r[1], "request"); return r },
		"no action":         func(r []object) any { delete(r[1]["request"].(object), "action"); return r },
		"no principal":      func(r []object) any { delete(r[1]["request"].(object), "principal"); return r },
		"another principal": func(r []object) any { r[0]["request"].(object)["principal"].(object)["entityId"] = "EVIL"; return r },
		"another type":      func(r []object) any { r[0]["request"].(object)["principal"].(object)["entityType"] = "User"; return r },
		"another resource":  func(r []object) any { r[1]["request"].(object)["resource"].(object)["entityId"] = "*"; return r },
		"another action": func(r []object) any {
			r[1]["request"].(object)["action"].(object)["actionType"] = "X::Action"
			return r
		},
	} {
		e := serve(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			var q struct{ Requests []object }
			if err := json.Unmarshal(body, &q); err != nil {
				t.Error(err)
			}
			results := make([]object, len(q.Requests))
			for i, request := range q.Requests {
				results[i] = object{"request": request, "decision": "ALLOW", "errors": []any{}, "determiningPolicies": []object{{"policyId": "a"}}}
			}
			json.NewEncoder(w).Encode(object{"results": change(results)})
		})
		for _, a := range e.EvaluateAll(t.Context(), []string{"a", "b"}, policytest.Input(100)) {
			if a.Err == nil {
				t.Errorf("%s: %+v", name, a)
				continue
			}
			mustRefuse(t, a.Decision, a.Err, policy.ErrIndefinite)
		}
	}
}

// When the call fails, every policy has the error.
func TestBatchFails(t *testing.T) {
	s, e := start(t, always(allow))
	s.Break(awstest.Fault{Times: -1, Status: 403, Code: "AccessDeniedException"})
	for _, a := range e.EvaluateAll(t.Context(), []string{"a", "b"}, policytest.Input(1)) {
		mustRefuse(t, a.Decision, a.Err, policy.ErrUnavailable)
	}
	for _, a := range e.EvaluateAll(t.Context(), []string{"a", "b"}, nil) {
		mustRefuse(t, a.Decision, a.Err, policy.ErrIndefinite)
	}
}
