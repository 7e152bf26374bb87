package rego_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/policy/rego"
)

// The contract of every engine (F-PE-02, F-PE-09, SPEC §7), against OPA itself.
func TestContract(t *testing.T) {
	policytest.TestEngine(t, policytest.Harness{New: func(t *testing.T) policy.Engine {
		return load(t, rego.Config{Timeout: time.Minute}, tree{
			"kest/allow_trusted.rego": guideV1,
			"kest/deny_all.rego":      "package kest.deny_all\nallow := false\n",
			"kest/allow_workload.rego": "package kest.allow_workload\ndefault allow := false\n" +
				"allow if input.subject.workload == \"" + policytest.Workload + "\"\n",
			"kest/undefined.rego":   "package kest.undefined\nallow if input.trust_score > 1000\n",
			"kest/not_boolean.rego": "package kest.not_boolean\nallow := \"true\"\n",
			"kest/slow.rego": "package kest.slow\nr := numbers.range(1, 20000)\n" +
				"allow if count([1 | some a in r; some b in r; a == b]) > 0\n",
		})
	}})
}

// The guide's steps: its own file, in v0 syntax, and the example in v1, from disk (SPEC §7).
func TestGuidePolicy(t *testing.T) {
	for _, dir := range []string{"testdata/guide", "../../examples/policies"} {
		t.Run(dir, func(t *testing.T) {
			var log journal
			engine, err := rego.Config{Logger: log.logger()}.Dir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for trust, want := range map[int]bool{0: false, 39: false, 40: true, 100: true} {
				d, err := engine.Evaluate(t.Context(), "kest/allow_trusted", call(trust))
				if err != nil || d.Allow != want || d.Revision != engine.Revision() {
					t.Errorf("trust %d: %+v, %v", trust, d, err)
				}
				if (d.Reason == "") != want {
					t.Errorf("trust %d: reason %q", trust, d.Reason)
				}
			}
			old := dir == "testdata/guide"
			warned := strings.Contains(log.String(), "deprecated") &&
				strings.Contains(log.String(), dir+"/kest/allow_trusted.rego") && strings.Contains(log.String(), "line=3")
			if warned != old {
				t.Errorf("v0 is %t; log: %s", old, &log)
			}
		})
	}
}

// Modules of both syntaxes share packages, data and functions.
func TestMixedSyntax(t *testing.T) {
	engine := load(t, rego.Config{Logger: new(journal).logger()}, tree{
		"old.rego":         "package old\nallow { input.trust_score >= data.limits.min; data.lib.fine(input) }\n",
		"new.rego":         "package new\nallow if { data.old.allow; not \"web\" in input.subject.taints }\n",
		"lib.rego":         "package lib\nfine(x) if x.trust_score < 90\n",
		"lib_test.rego":    "package lib\ntest_broken if {",
		"limits/data.yaml": "min: 40\n",
		".git/x.rego":      "package broken {",
	})
	if got, want := engine.Policies(), []string{"new", "old"}; !slices.Equal(got, want) {
		t.Fatalf("policies %q, want %q", got, want)
	}
	for trust, want := range map[int]bool{39: false, 40: true, 89: true, 90: false} {
		d, err := engine.Evaluate(t.Context(), "old", call(trust))
		if want && (err != nil || !d.Allow) || !want && !errors.Is(err, policy.ErrIndefinite) {
			t.Errorf("old, trust %d: %+v %v", trust, d, err)
		}
	}
	if d, err := engine.Evaluate(t.Context(), "new", call(50)); d.Allow || !errors.Is(err, policy.ErrIndefinite) {
		t.Errorf("new with taint: %+v %v", d, err)
	}
	clean := call(50)
	clean.Subject.Taints = nil
	if d, err := engine.Evaluate(t.Context(), "new", clean); !d.Allow || err != nil {
		t.Errorf("new without taint: %+v %v", d, err)
	}
}

// Only true and {"allow": true} allow (SPEC §7); everything that is not a boolean is an error.
func TestAnswers(t *testing.T) {
	tests := []struct {
		rule  string
		allow bool
		class error
	}{
		{"allow := true", true, nil},
		{"allow := false", false, nil},
		{`allow := {"allow": true}`, true, nil},
		{`allow := {"allow": false}`, false, nil},
		{"allow.allow := true", true, nil},
		{`allow := {"allow": true, "x": 1}`, false, policy.ErrIndefinite},
		{`allow := {"allow": "true"}`, false, policy.ErrIndefinite},
		{`allow := {"allow": {"allow": true}}`, false, policy.ErrIndefinite},
		{`allow := {"Allow": true}`, false, policy.ErrIndefinite},
		{`allow := "true"`, false, policy.ErrIndefinite},
		{`allow := 1`, false, policy.ErrIndefinite},
		{`allow := [true]`, false, policy.ErrIndefinite},
		{`allow := {true}`, false, policy.ErrIndefinite},
		{`allow := {}`, false, policy.ErrIndefinite},
		{`allow := null`, false, policy.ErrIndefinite},
		{`allow contains true`, false, policy.ErrIndefinite},
		{`allow["allow"] contains true`, false, policy.ErrIndefinite},
		{`allow if input.nothing`, false, policy.ErrIndefinite},
		{"allow := true if input.trust_score > 1\nallow := false if input.trust_score > 2", false, policy.ErrIndefinite},
		{`allow if to_number(input.subject.workload) > 1`, false, policy.ErrIndefinite},
		{`allow if not to_number(input.subject.workload)`, false, policy.ErrIndefinite},
		{`allow if 1 / (input.trust_score - 80) > 1`, false, policy.ErrIndefinite},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			d, err := one(t, test.rule).Evaluate(t.Context(), "p", call(80))
			if d.Allow != test.allow || !errors.Is(err, test.class) || (err == nil) != (test.class == nil) {
				t.Errorf("%+v, %v; want allow %t, class %v", d, err, test.allow, test.class)
			}
			if err != nil && strings.Contains(err.Error(), "spiffe://") {
				t.Errorf("error quotes the input: %v", err)
			}
		})
	}
}

// Names become references term by term: characters that mean something in Rego mean nothing here.
func TestNames(t *testing.T) {
	engine := load(t, rego.Config{}, tree{
		"a.rego":    "package kest[\"allow-trusted\"]\nallow := true\n",
		"b.rego":    "package kest[\"v1.2\"].x\nallow := true\n",
		"c.rego":    "package kest[\"a/b\"]\nallow := true\n",
		"d.rego":    "package kest[\"a b\"]\nallow := true\n",
		"e.rego":    "package kest.helpers\nf(x) := x\nallow(x) := true\n",
		"f.rego":    "package kest\nimport data.kest.helpers\n",
		"data.json": `{"made": {"of": {"data": {"allow": true}}}}`,
	})
	if got, want := engine.Policies(), []string{"kest/allow-trusted", "kest/v1.2/x"}; !slices.Equal(got, want) {
		t.Fatalf("policies %q, want %q", got, want)
	}
	for _, name := range engine.Policies() {
		if d, err := engine.Evaluate(t.Context(), name, call(1)); err != nil || !d.Allow || engine.Check(name) != nil {
			t.Errorf("%s: %+v %v", name, d, err)
		}
	}
	unknown := append(policytest.HostileNames(), "kest/a/b", "kest/helpers", "kest", "made/of/data", "kest/allow-trusted/allow",
		"kest.allow-trusted", "KEST/allow-trusted", "x", `kest["allow-trusted"]`, "..", "kest/..", strings.Repeat("a", 10<<10))
	for _, name := range unknown {
		d, err := engine.Evaluate(t.Context(), name, call(100))
		if d.Allow || !errors.Is(err, policy.ErrUnknownPolicy) || len(err.Error()) > 600 {
			t.Errorf("%.40q: %+v %v", name, d, err)
		}
		if err := engine.Check(name); !errors.Is(err, policy.ErrUnknownPolicy) {
			t.Errorf("check %.40q: %v", name, err)
		}
	}
	if err := engine.Check("kest/helpers"); !strings.Contains(err.Error(), "e.rego defines no rule named allow") {
		t.Error(err)
	}
}

// A nil input and an unsupported attribute are errors, never a decision.
func TestBadInput(t *testing.T) {
	engine := one(t, "allow if input.attributes.x")
	if _, err := engine.Evaluate(t.Context(), "p", nil); !errors.Is(err, policy.ErrIndefinite) || !strings.Contains(err.Error(), "nil input") {
		t.Error(err)
	}
	in := call(80)
	in.Attributes = map[string]any{"x": map[string]any{"when": []any{1, time.Now()}}}
	_, err := engine.Evaluate(t.Context(), "p", in)
	if !errors.Is(err, policy.ErrIndefinite) || !strings.Contains(err.Error(), "attributes.x.when[1]: type time.Time") {
		t.Error(err)
	}
}

// Nothing runs away: every one of these would take minutes or all memory (SPEC §7).
func TestRunaway(t *testing.T) {
	tests := map[string]string{
		"comprehension": "r := numbers.range(1, 100000)\nallow if count([1 | some a in r; some b in r; a == b]) > 0",
		"huge range":    "allow if count(numbers.range(1, 1000000000000)) > 0",
		"cidr":          `allow if count(net.cidr_expand("::/0")) > 0`,
		"walk": "r := [[i | some i in numbers.range(1, 1000)] | some j in numbers.range(1, 1000)]\n" +
			"allow if count([1 | some j in r; walk(r, [_, v]); v == j]) < 0",
		"every": "r := numbers.range(1, 100000)\nallow if { every a in r { every b in r { a + b > 0 } } }",
	}
	for name, rules := range tests {
		t.Run(name, func(t *testing.T) {
			engine := load(t, rego.Config{Timeout: 50 * time.Millisecond}, tree{"p.rego": "package p\n" + rules})
			within(t, 10*time.Second, func() {
				d, err := engine.Evaluate(t.Context(), "p", call(80))
				if d.Allow || !errors.Is(err, policy.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%+v, %v", d, err)
				}
			})
		})
	}
}

// An answer of 100 MB is refused by its type; it is neither copied nor quoted.
func TestHugeAnswer(t *testing.T) {
	engine := load(t, rego.Config{Timeout: 30 * time.Second}, tree{"p.rego": "package p\n" +
		`k := sprintf("%1000000d", [1])` + "\n" + `allow := concat("", [k | some i in numbers.range(1, 100)])` + "\n"})
	_, err := engine.Evaluate(t.Context(), "p", call(80))
	if !errors.Is(err, policy.ErrIndefinite) || !strings.Contains(err.Error(), "string") || len(err.Error()) > 300 {
		t.Errorf("%.200v", err)
	}
}

// Refused built-ins fail when the policy is loaded, with file, line and reason, in both syntaxes.
func TestRefusedBuiltins(t *testing.T) {
	calls := map[string]string{
		"http.send": `http.send({"method": "get", "url": "http://127.0.0.1"})`, "net.lookup_ip_addr": `net.lookup_ip_addr("a")`,
		"json.match_schema": `json.match_schema({}, {"$ref": "file:///etc/passwd"})`, "json.verify_schema": `json.verify_schema({})`,
		"opa.runtime": `opa.runtime()`, "rand.intn": `rand.intn("a", 2)`, "uuid.rfc4122": `uuid.rfc4122("a")`,
		"bits.lsh": `bits.lsh(1, 1099511627776)`, "graph.reachable_paths": `graph.reachable_paths({}, [])`, "json.patch": `json.patch({}, [])`,
		"regex.globs_match": `regex.globs_match("a", "a")`, "strings.render_template": `strings.render_template("{{range 9}}{{end}}", {})`,
		"graphql.is_valid": `graphql.is_valid("{", "{")`, "graphql.parse": `graphql.parse("{", "{")`,
		"graphql.parse_and_verify": `graphql.parse_and_verify("{", "{")`, "graphql.parse_query": `graphql.parse_query("{")`,
		"graphql.parse_schema": `graphql.parse_schema("{")`, "graphql.schema_is_valid": `graphql.schema_is_valid("{")`,
		"providers.aws.sign_req": `providers.aws.sign_req({}, {}, 1)`, "io.jwt.encode_sign": `io.jwt.encode_sign({}, {}, {})`,
		"io.jwt.encode_sign_raw": `io.jwt.encode_sign_raw("", "", "")`,
	}
	if got, want := slices.Sorted(maps.Keys(calls)), slices.Sorted(maps.Keys(rego.Refused())); !slices.Equal(got, want) {
		t.Fatalf("the table tests %q,\nrefused are %q", got, want)
	}
	for name, expr := range calls {
		for _, source := range []string{
			"package p\n\nallow if x := " + expr, "package p\n\nallow { x := " + expr + " }",
			"package p\n\nallow if count([1 | x := " + expr + "]) > 0",
		} {
			c := rego.Config{Logger: new(journal).logger()}
			_, err := c.FS(tree{"kest/p.rego": source}.fs())
			var at *rego.SourceError
			if !errors.As(err, &at) || at.File != "kest/p.rego" || at.Line != 3 || at.Policy != "p" ||
				!strings.Contains(err.Error(), "built-in "+name+" is refused: it "+rego.Refused()[name]) {
				t.Errorf("%s: %v", source, err)
			}
			c.InsecureBuiltins = []string{name}
			if _, err := c.FS(tree{"kest/p.rego": source}.fs()); err != nil {
				t.Errorf("%s although enabled: %v", name, err)
			}
		}
	}
	if _, err := (rego.Config{InsecureBuiltins: []string{"http.sned"}}).FS(tree{"p.rego": guideV1}.fs()); err == nil {
		t.Error("a misspelt built-in was accepted")
	}
}

// Opening hours are a policy: the clock may be read.
func TestTimeIsAllowed(t *testing.T) {
	d, err := one(t, "allow if time.now_ns() > 0").Evaluate(t.Context(), "p", call(1))
	if err != nil || !d.Allow {
		t.Error(d, err)
	}
}

// A network call that is enabled ends with the deadline of the evaluation too.
func TestNetworkDeadline(t *testing.T) {
	silent := listen(t)
	engine := load(t, rego.Config{Timeout: 100 * time.Millisecond, InsecureBuiltins: []string{"http.send"}}, tree{
		"p.rego": fmt.Sprintf("package p\nallow if http.send({\"method\": \"get\", \"url\": \"http://%s\", "+
			"\"max_retry_attempts\": 3}).status_code == 200", silent)})
	within(t, 5*time.Second, func() {
		_, err := engine.Evaluate(t.Context(), "p", call(80))
		if !errors.Is(err, policy.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// Loading faults name file, line and policy, all of them in one run.
func TestLoadErrors(t *testing.T) {
	tests := []struct {
		name  string
		files tree
		want  []string
	}{
		{"syntax", tree{"a/x.rego": "package a.x\n\nallow if {\n  input.x ==\n}\n"}, []string{"a/x.rego:", "policy a/x: "}},
		{"neither syntax: v1 is explained", tree{"x.rego": "package x\nallow { input.x }\nq contains 1 if true\n"}, []string{"x.rego:2: policy x: ", "`if`"}},
		{"several files", tree{"x.rego": "package x\nallow if", "y.rego": "package y\nallow if"}, []string{"x.rego:2", "y.rego:2"}},
		{"unknown function", tree{"x.rego": "package q.r\n\nallow if nosuch(1)\n"}, []string{"x.rego:3: policy q/r: ", "undefined function nosuch"}},
		{"unsafe variable", tree{"x.rego": "package x\nallow if { not y == 1; z > y }\n"}, []string{"x.rego:2: policy x: "}},
		{"recursion", tree{"x.rego": "package x\nallow if allow\n"}, []string{"x.rego:2: policy x: ", "recursive"}},
		{"two defaults", tree{"x.rego": "package x\ndefault allow := false\n", "y.rego": "package x\ndefault allow := true\n"}, []string{"rego:1: policy x", "multiple default rules"}},
		{"data over a rule", tree{"x.rego": "package x\nallow := false\n", "x/data.json": `{"allow": true}`}, []string{"x.rego:2: policy x"}},
		{"empty file", tree{"x.rego": ""}, []string{"x.rego: policy x: empty"}},
		{"only tests", tree{"x_test.rego": guideV1}, []string{"no policy files"}},
		{"nothing", tree{}, []string{"no policy files"}},
		{"json", tree{"x.rego": guideV1, "data.json": "{\n\"a\": }"}, []string{"data.json:2: "}},
		{"yaml", tree{"x.rego": guideV1, "data.yaml": "a: [1"}, []string{"data.yaml: "}},
		{"data is a list", tree{"x.rego": guideV1, "data.json": "[]"}, []string{"data.json: ", "object"}},
		{"data twice", tree{"x.rego": guideV1, "data.json": `{"a":{"b":1}}`, "a/data.yaml": "b: 2"}, []string{"data.a.b is given by another"}},
		{"not a bundle", tree{"x.rego": guideV1, "b.tar.gz": "nonsense"}, []string{"b.tar.gz: "}},
		{"control characters", tree{"x\n.rego": guideV1}, []string{`"x\n.rego": `}},
		{"brackets", tree{"x.rego": "package x\nallow := " + strings.Repeat("[", 2_000_000)}, []string{"x.rego:2"}},
		{"not text", tree{"x.rego": "\x00\xff\xfe"}, []string{"x.rego:1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			engine, err := rego.FS(test.files.fs())
			if err == nil {
				t.Fatal("loaded")
			}
			if engine != nil {
				t.Error("an engine together with an error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %.600v", want, err)
				}
			}
			if len(err.Error()) > 5000 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
		})
	}
}

// Config.Data is data too: exact numbers, merged, and not shared with the caller.
func TestConfigData(t *testing.T) {
	data := map[string]any{"limits": map[string]any{"big": int64(9007199254740993)}}
	engine := load(t, rego.Config{Data: data}, tree{
		"p.rego":           "package p\nallow if { data.limits.big == 9007199254740993; data.limits.min == 3 }\n",
		"limits/data.json": `{"min": 3}`})
	if bare := load(t, rego.Config{}, tree{"p.rego": guideV1}); bare.Revision() == load(t, rego.Config{Data: data},
		tree{"p.rego": guideV1}).Revision() {
		t.Error("other data, same revision")
	}
	data["limits"].(map[string]any)["big"] = 1
	for range 2 {
		if d, err := engine.Evaluate(t.Context(), "p", call(1)); err != nil || !d.Allow {
			t.Error(d, err)
		}
		if err := engine.Reload(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if _, err := (rego.Config{Data: map[string]any{"f": func() {}}}).FS(tree{"p.rego": guideV1}.fs()); err == nil {
		t.Error("a function was accepted as data")
	}
}

func TestBadConfig(t *testing.T) {
	good := tree{"p.rego": guideV1}.fs()
	for name, c := range map[string]rego.Config{
		"timeout": {Timeout: -1}, "files": {Limits: rego.Limits{Files: -1}}, "bytes": {Limits: rego.Limits{TotalBytes: -1}},
	} {
		if e, err := c.FS(good); err == nil || e != nil {
			t.Errorf("negative %s: %v", name, e)
		}
	}
	if _, err := rego.FS(nil); err == nil {
		t.Error("nil file system")
	}
	if _, err := rego.Dir("testdata/nowhere"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "testdata/nowhere") {
		t.Error(err)
	}
}
