package cedaragent_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedaragent"
	"github.com/kest-go/kest/policy/policytest"
)

func TestAnswers(t *testing.T) {
	for body, want := range map[string]policy.Decision{
		`{"decision":"Allow"}`:                                                                         {Allow: true},
		`{"decision":"Allow","diagnostics":{}}`:                                                        {Allow: true},
		`{"decision":"Allow","diagnostics":{"reason":["b","a"],"errors":[]}}`:                          {Allow: true, Reason: "determined by a, b"},
		" \n" + `{"x":[1e20,null],"decision" : "\u0041llow"}` + "\r\n":                                 {Allow: true},
		`{"Decision":"Deny","decision":"Allow"}`:                                                       {Allow: true},
		`{"decision":"Allow","errors":["x"],"diagnostics":{"Errors":["x"]}}`:                           {Allow: true}, // not where errors are
		`{"decision":"Allow","diagnostics":{"reason":["a\u001b[2J"]}}`:                                 {Allow: true},
		`{"decision":"Allow","diagnostics":{"reason":"a","errors":[]}}`:                                {Allow: true},
		`{"decision":"Allow","diagnostics":{"reason":[7,true],"errors":[]}}`:                           {Allow: true},
		`{"decision":"Deny"}`:                                                                          {},
		`{"decision":"Deny","diagnostics":null}`:                                                       {},
		`{"decision":"Deny","diagnostics":{"reason":["f"],"errors":[]}}`:                               {Reason: "determined by f"},
		`{"decision":"Deny","diagnostics":{"reason":["` + strings.Repeat("x", 257) + `"],"errors":7}}`: {},
	} {
		d, err := evaluate(engine(t, cedaragent.Config{URL: serve(t, answer(body)).URL}))
		if err != nil || d != want {
			t.Errorf("%s: %+v, %v; want %+v", body, d, err, want)
		}
	}
}

// indefinite are bodies of a 200 answer that hold no definite decision (SPEC §7: Allow only), and what the error
// says about them.
var indefinite = map[string]string{
	``: "strict JSON", ` `: "", `{`: "", `Allow`: "", `<html>Allow</html>`: "", `{"decision":"Allow"`: "",
	`{}`: "has no decision", `[]`: "an array, not an object", `null`: "is null", `true`: "", `"Allow"`: "is a string, not an object", `["Allow"]`: "",
	`{"decision":null}`: "is null, not a string", `{"decision":true}`: "a bool", `{"decision":1}`: "a number", `{"decision":["Allow"]}`: "an array",
	`{"decision":{"decision":"Allow"}}`: "an object", `{"response":{"decision":"Allow"}}`: "has no decision", `[{"decision":"Allow"}]`: "",
	// other words and other cases
	`{"decision":"allow"}`: "other than Allow and Deny", `{"decision":"ALLOW"}`: "", `{"decision":"Allow "}`: "", `{"decision":" Allow"}`: "",
	`{"decision":"Allowed"}`: "", `{"decision":"NoDecision"}`: "", `{"decision":""}`: "", `{"decision":"true"}`: "", `{"decision":"deny"}`: "",
	`{"decision":"A` + "\u217c" + `low"}`: "", `{"Decision":"Allow"}`: "has no decision", `{"DECISION":"Allow"}`: "", `{"decision ":"Allow"}`: "",
	// two answers
	`{"decision":"Deny","decision":"Allow"}`: "duplicate member, at byte 19", `{"decision":"Allow","decision":"Allow"}`: "",
	`{"decision":"Allow","dec\u0069sion":"Deny"}`: "", `{"decision":"Allow","diagnostics":{"errors":["x"],"errors":[]}}`: "duplicate",
	`{"decision":"Allow"}{"decision":"Deny"}`: "", `{"decision":"Allow"} x`: "", `{"decision":"Allow"},`: "", `{"decision":"Allow"}` + "\x00": "",
	// diagnostics that report an error, or nothing that can be understood
	`{"decision":"Allow","diagnostics":{"reason":["p1"],"errors":["EVIL words"]}}`: "1 errors in the diagnostics: a policy could not be computed",
	`{"decision":"Deny","diagnostics":{"reason":["f"],"errors":["EVIL words"]}}`:   "1 errors in the diagnostics: a policy could not be computed",
	`{"decision":"Allow","diagnostics":{"errors":[null]}}`:                         "",
	`{"decision":"Allow","diagnostics":{"errors":[{"policyId":"p"},{}]}}`:          "2 errors",
	`{"decision":"Allow","diagnostics":{"errors":null}}`:                           "null, not an array",
	`{"decision":"Allow","diagnostics":{"errors":"x"}}`:                            "a string, not an array",
	`{"decision":"Allow","diagnostics":{"errors":{}}}`:                             "an object, not an array",
	`{"decision":"Allow","diagnostics":null}`:                                      "null, not an object",
	`{"decision":"Allow","diagnostics":[]}`:                                        "an array, not an object",
	// not JSON
	"\ufeff" + `{"decision":"Allow"}`: "", `{"decision":"Allow",}`: "", `{'decision':'Allow'}`: "", `{"decision":"Allow"/**/}`: "",
	`{"x":"` + "\xff" + `","decision":"Allow"}`: "", `{"x":NaN,"decision":"Allow"}`: "", `{"x":01,"decision":"Allow"}`: "",
	`{"x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `,"decision":"Allow"}`: "nested too deeply",
	strings.Repeat("[", 100_000): "",
}

func TestIndefiniteAnswers(t *testing.T) {
	var body string
	f := serve(t, func(w http.ResponseWriter, r *http.Request) { answer(body)(w, r) })
	e := engine(t, cedaragent.Config{URL: f.URL})
	var hint string
	for body, hint = range indefinite {
		d, err := evaluate(e)
		text := mustRefuse(t, d, err, policy.ErrIndefinite)
		if !strings.Contains(text, hint) || strings.Contains(text, "EVIL") || len(body) > 12 && strings.Contains(text, body) {
			t.Errorf("%.200s: %s", body, text)
		}
	}
	if n := f.Conns.Load(); n != 1 {
		t.Errorf("%d connections for complete answers; want 1", n)
	}
}

func TestStatus(t *testing.T) {
	for _, test := range []struct {
		status     int
		body, hint string
		class      error
	}{
		{201, allowed, "201", policy.ErrIndefinite},
		{204, ``, "204", policy.ErrIndefinite},
		{206, allowed, "206", policy.ErrIndefinite},
		{304, ``, "304", policy.ErrUnavailable},
		{400, `{"reason":"secret words","description":"secret words","code":400}`, "400", policy.ErrUnavailable},
		{401, allowed, "BearerToken", policy.ErrUnavailable},
		{403, `{"code":"secret words"}`, "BearerToken", policy.ErrUnavailable},
		{404, `secret words`, "Cedar Agent API", policy.ErrUnavailable},
		{500, allowed, "500", policy.ErrUnavailable},
		{503, allowed, "503", policy.ErrUnavailable},
	} {
		f := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(test.status)
			io.WriteString(w, test.body)
		})
		d, err := evaluate(engine(t, cedaragent.Config{URL: f.URL}))
		if text := mustRefuse(t, d, err, test.class); !strings.Contains(text, test.hint) || strings.Contains(text, "secret") {
			t.Errorf("%d: %s", test.status, text)
		}
		if n := f.Requests.Load(); n != 1 {
			t.Errorf("%d: %d requests; nothing is retried", test.status, n)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	other := serve(t, answer(allowed))
	for _, status := range []int{301, 302, 303, 307, 308} {
		f := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", other.URL+"/is_authorized")
			w.WriteHeader(status)
			io.WriteString(w, allowed)
		})
		d, err := evaluate(engine(t, cedaragent.Config{URL: f.URL, BearerToken: cedaragent.StaticToken("t0ken")}))
		if text := mustRefuse(t, d, err, policy.ErrUnavailable); !strings.Contains(text, "not followed") {
			t.Error(text)
		}
	}
	if n := other.Requests.Load(); n != 0 {
		t.Errorf("the target of the redirects got %d requests", n)
	}
}

// Names are checked before anything leaves the process (SPEC §7), and the action is the name.
func TestNames(t *testing.T) {
	var q struct{ Action string }
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		io.WriteString(w, allowed)
	})
	e := engine(t, cedaragent.Config{URL: f.URL})
	for _, name := range policytest.HostileNames() {
		d, err := e.Evaluate(t.Context(), name, policytest.Input(100))
		mustRefuse(t, d, err, policy.ErrUnknownPolicy)
	}
	if n := f.Requests.Load(); n != 0 {
		t.Fatalf("%d requests for names that are none", n)
	}
	for _, name := range []string{"a", "baseline-auth", "a/b.c/d_e-f", "...", strings.Repeat("a", policy.MaxName)} {
		d, err := e.Evaluate(t.Context(), name, policytest.Input(100))
		if err != nil || !d.Allow || q.Action != `Action::"`+name+`"` {
			t.Errorf("%q asks %s: %+v, %v", name, q.Action, d, err)
		}
	}
}

// FuzzDecision holds the reader of answers against encoding/json: it may allow only what that, lenient as it is,
// can read as an Allow without errors in the same place.
func FuzzDecision(f *testing.F) {
	for body := range indefinite {
		if len(body) < 4096 {
			f.Add([]byte(body))
		}
	}
	f.Add([]byte(allowed))
	f.Add([]byte(`{"decision":"Deny","diagnostics":{"reason":["p1"],"errors":[]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := cedaragent.Decide(body)
		if err != nil {
			if !errors.Is(err, policy.ErrIndefinite) || d != (policy.Decision{}) || len(err.Error()) > 300 {
				t.Fatalf("%+v, %v", d, err)
			}
			return
		}
		var lenient map[string]any
		if err := json.Unmarshal(body, &lenient); err != nil {
			t.Fatalf("%+v from what is not JSON: %v", d, err)
		}
		diagnostics, _ := lenient["diagnostics"].(map[string]any)
		errs, _ := diagnostics["errors"].([]any)
		if want := map[bool]string{true: "Allow", false: "Deny"}[d.Allow]; lenient["decision"] != want || d.Allow && len(errs) > 0 {
			t.Fatalf("%+v where encoding/json reads %v", d, lenient)
		}
		if strings.ContainsFunc(d.Reason, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("unprintable: %+v", d)
		}
	})
}
