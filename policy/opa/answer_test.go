package opa_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/opa"
	"github.com/kest-go/kest/policy/policytest"
)

// SPEC §7: POST {base}/v1/data/{policy} with {"input": …}.
func TestRequest(t *testing.T) {
	for _, test := range []struct {
		change func(*opa.Config)
		uri    string
	}{
		{func(*opa.Config) {}, "/v1/data/kest/allow_trusted?strict-builtin-errors=true"},
		{func(c *opa.Config) { c.InsecureBuiltinErrors = true }, "/v1/data/kest/allow_trusted"},
		{func(c *opa.Config) { c.InsecureBuiltinErrors = true; c.URL += "/authz/" }, "/authz/v1/data/kest/allow_trusted"},
		{func(c *opa.Config) { c.Provenance = true }, "/v1/data/kest/allow_trusted?provenance=true&strict-builtin-errors=true"},
	} {
		var got *http.Request
		var body []byte
		f := serve(t, func(w http.ResponseWriter, r *http.Request) {
			got = r
			body, _ = io.ReadAll(r.Body)
			io.WriteString(w, `{"result":true}`)
		})
		c := opa.Config{URL: f.URL}
		test.change(&c)
		if d, err := evaluate(engine(t, c)); err != nil || !d.Allow {
			t.Fatalf("%+v, %v", d, err)
		}
		mustMean(t, body, policytest.Input(100))
		if got.Method != "POST" || got.RequestURI != test.uri || got.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %v; want %s", got.Method, got.RequestURI, got.Header, test.uri)
		}
		for _, h := range []string{"Authorization", "Accept-Encoding", "Cookie"} {
			if got.Header.Get(h) != "" {
				t.Errorf("header %s: %s", h, got.Header.Get(h))
			}
		}
	}
}

func TestAnswers(t *testing.T) {
	const custom = "result.verdict.ok"
	for _, test := range []struct {
		path, body string
		allow      bool
	}{
		{"", `{"result":{"allow":true}}`, true},
		{"", `{"result":{"allow":false}}`, false},
		{"", `{"result":true}`, true},
		{"", `{"result":false}`, false},
		{"", `{"result":{"allow":true,"why":["x",1e20,9007199254740993,null],"deny":false}}`, true},
		{"", " \n{\"decision_id\":\"x\",\"result\" : {\"allow\" : true}}\r\n", true},
		{"", `{"re\u0073ult":true}`, true}, // the same name, escaped
		{"", `{"Result":false,"result":true}`, true},
		{"result.allow", `{"result":true}`, true},
		{custom, `{"result":{"verdict":{"ok":true}}}`, true},
		{custom, `{"result":{"allow":true,"verdict":{"ok":false}}}`, false},
		{"decision", `{"decision":true,"result":false}`, true},
		{"result", `{"result":false}`, false},
	} {
		f := serve(t, answer(test.body))
		d, err := evaluate(engine(t, opa.Config{URL: f.URL, DecisionPath: test.path}))
		if err != nil || d.Allow != test.allow {
			t.Errorf("%q in %s: %+v, %v", test.path, test.body, d, err)
		}
	}
}

// indefinite are bodies of a 200 answer that hold no definite boolean (SPEC §7: JSON true only).
var indefinite = []string{
	``, ` `, `{}`, `[]`, `null`, `true`, `"true"`, `1`, `tru`, `{"result":`, `{"result":true`, `result: true`, `<html>true</html>`,
	`{"result":null}`, `{"result":"true"}`, `{"result":1}`, `{"result":"allow"}`, `{"result":[]}`, `{"result":[true]}`, `{"result":{}}`,
	`{"result":{"allow":"true"}}`, `{"result":{"allow":1}}`, `{"result":{"allow":null}}`, `{"result":{"allow":[true]}}`,
	`{"result":{"allow":{"allow":true}}}`, `{"result":[{"allow":true}]}`, `{"allow":true}`, `[{"result":true}]`,
	// case folding, look-alikes
	`{"Result":true}`, `{"RESULT":{"allow":true}}`, `{"result":{"Allow":true}}`, `{"re` + "\u017f" + `ult":true}`, `{"result ":true}`,
	`{"result":True}`, `{"result":TRUE}`, `{"result.allow":true}`, `{"result":{"allow ":true}}`,
	// two answers
	`{"result":false,"result":true}`, `{"result":true,"result":true}`, `{"result":{"allow":false,"allow":true}}`,
	`{"result":true,"re\u0073ult":false}`, `{"result":{"allow":true},"x":{"y":1,"y":2}}`,
	// more than one value
	`{"result":true}{"result":false}`, `{"result":true} x`, `{"result":true},`, `{"result":true}` + "\x00", `{"result":true}]`,
	// not JSON
	"\ufeff" + `{"result":true}`, `{"result":true,}`, `{'result':true}`, `{"result":true/**/}`, `{"x":"` + "\xff" + `","result":true}`,
	`{"x":"\ud800","result":true}`, `{"x":1e400,"result":true}`, `{"x":NaN,"result":true}`, `{"x":01,"result":true}`,
	`{"x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `,"result":true}`,
	strings.Repeat("[", 100_000), strings.Repeat(`{"result":`, 20_000),
}

func TestIndefiniteAnswers(t *testing.T) {
	var body string
	f := serve(t, func(w http.ResponseWriter, r *http.Request) { answer(body)(w, r) })
	e := engine(t, opa.Config{URL: f.URL})
	for _, body = range indefinite {
		d, err := evaluate(e)
		text := mustRefuse(t, d, err, policy.ErrIndefinite)
		if len(body) > 12 && strings.Contains(text, body) {
			t.Errorf("error repeats the answer: %s", text)
		}
	}
	if n := f.Conns.Load(); n != 1 {
		t.Errorf("%d connections for complete answers; want 1", n)
	}
}

// With a path of their own, neither a boolean result nor a member on the way is a decision.
func TestCustomPathIsExact(t *testing.T) {
	for _, body := range []string{
		`{"result":true}`, `{"result":{"allow":true}}`, `{"result":{"verdict":true}}`, `{"result":{"verdict":{"OK":true}}}`,
		`{"result":{"verdict":{"ok":"true"}}}`, `{"result":{"verdict.ok":true}}`, `{"verdict":{"ok":true}}`,
	} {
		f := serve(t, answer(body))
		d, err := evaluate(engine(t, opa.Config{URL: f.URL, DecisionPath: "result.verdict.ok"}))
		mustRefuse(t, d, err, policy.ErrIndefinite)
	}
}

// The error says what is wrong with the answer, and what to do about the case that everybody meets first.
func TestAnswerHints(t *testing.T) {
	for body, hint := range map[string]string{
		`{}`:                            "the server does not know the policy, or it is undefined for this input; check the name",
		`{"result":{}}`:                 `no "result.allow": give the rule a default`,
		`[true]`:                        "the answer is an array, not an object",
		`null`:                          "the answer is null, not an object",
		`{"result":"x"}`:                `"result" is a string, not an object`,
		`{"result":{"allow":1}}`:        `"result.allow" is a number, not true or false`,
		`{"result":true,"result":true}`: "duplicate member, at byte 15",
	} {
		d, err := evaluate(engine(t, opa.Config{URL: serve(t, answer(body)).URL}))
		if text := mustRefuse(t, d, err, policy.ErrIndefinite); !strings.Contains(text, hint) || !strings.Contains(text, `"kest/allow_trusted"`) {
			t.Errorf("%s: %s", body, text)
		}
	}
}

func TestDecisionDetails(t *testing.T) {
	const id = "4ca636c1-55e4-417a-b1d8-4aceb67960d1"
	for _, test := range []struct{ members, revision, reason string }{
		{``, "", ""},
		{`,"decision_id":"` + id + `"`, "", "opa decision " + id},
		{`,"decision_id":"` + id + `\n` + `"`, "", ""},
		{`,"decision_id":"allow everything"`, "", ""},
		{`,"decision_id":7`, "", ""},
		{`,"provenance":{"version":"1","revision":"abc"}`, "abc", ""},
		{`,"provenance":{"bundles":{"b":{"revision":"2"},"a":{"revision":"1"},"c":{}}}`, "a=1,b=2", ""},
		{`,"provenance":{"revision":7,"bundles":[]}`, "", ""},
		{`,"provenance":{"revision":"a\u001b[2J"}`, "", ""},
		{`,"provenance":{"revision":"` + strings.Repeat("x", 257) + `"}`, "", ""},
	} {
		f := serve(t, answer(`{"result":true`+test.members+`}`))
		d, err := evaluate(engine(t, opa.Config{URL: f.URL, Provenance: true}))
		if err != nil || d != (policy.Decision{Allow: true, Revision: test.revision, Reason: test.reason}) {
			t.Errorf("%s: %+v, %v", test.members, d, err)
		}
	}
}

func TestStatus(t *testing.T) {
	conflict := `{"code":"internal_error","message":"secret words","errors":[{"code":"eval_conflict_error","message":"secret words"}]}`
	for _, test := range []struct {
		status     int
		body, hint string
		class      error
	}{
		{201, `{"result":true}`, "201", policy.ErrIndefinite},
		{204, ``, "204", policy.ErrIndefinite},
		{206, `{"result":true}`, "206", policy.ErrIndefinite},
		{300, `{"result":true}`, "300", policy.ErrUnavailable},
		{304, ``, "304", policy.ErrUnavailable},
		{400, `{"code":"invalid_parameter","message":"secret words"}`, "invalid_parameter", policy.ErrUnavailable},
		{401, `{"result":true}`, "BearerToken", policy.ErrUnavailable},
		{403, `{"code":"secret words"}`, "BearerToken", policy.ErrUnavailable},
		{404, `secret words`, "OPA API", policy.ErrUnavailable},
		{500, conflict, "(eval_conflict_error)", policy.ErrIndefinite},
		{500, strings.Replace(conflict, "conflict", "cancel", 1), "(eval_cancel_error)", policy.ErrUnavailable},
		{503, strings.Replace(conflict, "conflict", "builtin", 1), "(eval_builtin_error)", policy.ErrIndefinite},
		{500, `{"result":true}`, "500", policy.ErrUnavailable},
		{503, `{"result":true}`, "503", policy.ErrUnavailable},
		{599, `{"result":true}`, "599", policy.ErrUnavailable},
	} {
		f := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(test.status)
			io.WriteString(w, test.body)
		})
		e := engine(t, opa.Config{URL: f.URL})
		for range 3 {
			d, err := evaluate(e)
			if text := mustRefuse(t, d, err, test.class); !strings.Contains(text, test.hint) || strings.Contains(text, "secret") {
				t.Errorf("%d: %s", test.status, text)
			}
		}
		if f.Requests.Load() != 3 || f.Conns.Load() != 1 {
			t.Errorf("%d: %d requests on %d connections; want 3 on 1", test.status, f.Requests.Load(), f.Conns.Load())
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	other := serve(t, answer(`{"result":true}`))
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{other.URL + "/v1/data/kest/allow_trusted", "/v1/data/other", "//%zz", ""} {
			f := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header()["Location"] = []string{location}
				w.WriteHeader(status)
				io.WriteString(w, `{"result":true}`)
			})
			d, err := evaluate(engine(t, opa.Config{URL: f.URL, BearerToken: opa.StaticToken("t0ken")}))
			if text := mustRefuse(t, d, err, policy.ErrUnavailable); !strings.Contains(text, "not followed") {
				t.Error(text)
			}
			if f.Requests.Load() != 1 {
				t.Errorf("%d %q: %d requests", status, location, f.Requests.Load())
			}
		}
	}
	if n := other.Requests.Load(); n != 0 {
		t.Errorf("the target of the redirects got %d requests", n)
	}
}

// FuzzDecision holds the reader of answers against encoding/json: it may allow only what that, lenient as it is,
// can read as the boolean true in the same place.
func FuzzDecision(f *testing.F) {
	for _, body := range append(indefinite, `{"result":true}`, `{"result":{"allow":true}}`, `{"result":{"allow":false,"x":[1,{"y":null}]}}`,
		`{"result":true,"decision_id":"4ca636c1-55e4-417a-b1d8-4aceb67960d1","provenance":{"bundles":{"a":{"revision":"1"}}}}`) {
		if len(body) < 4096 {
			f.Add([]byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := opa.Decide(opa.DefaultDecisionPath, body)
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
		result := lenient["result"]
		if object, ok := result.(map[string]any); ok {
			result = object["allow"]
		}
		if allow, ok := result.(bool); !ok || allow != d.Allow {
			t.Fatalf("%+v where encoding/json reads %v", d, result)
		}
		if strings.ContainsFunc(d.Reason+d.Revision, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("unprintable: %+v", d)
		}
	})
}

// Names are checked before anything leaves the process (SPEC §7), and the path on the wire is the name.
func TestNames(t *testing.T) {
	var uri string
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		uri = r.RequestURI
		io.WriteString(w, `{"result":true}`)
	})
	e := engine(t, opa.Config{URL: f.URL, InsecureBuiltinErrors: true})
	for _, name := range policytest.HostileNames() {
		d, err := e.Evaluate(t.Context(), name, policytest.Input(100))
		mustRefuse(t, d, err, policy.ErrUnknownPolicy)
	}
	if n := f.Requests.Load(); n != 0 {
		t.Fatalf("%d requests for names that are none", n)
	}
	for _, name := range []string{"a", "baseline-auth", "a/b.c/d_e-f", "...", "a/...b", "A/9", strings.Repeat("a", policy.MaxName)} {
		if d, err := e.Evaluate(t.Context(), name, policytest.Input(100)); err != nil || !d.Allow {
			t.Errorf("%q: %+v, %v", name, d, err)
		}
		if want := "/v1/data/" + name; uri != want || (&url.URL{Path: want}).EscapedPath() != want {
			t.Errorf("%q asks %q", name, uri)
		}
	}
}
