package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kest-go/kest/cmd/kest/internal/cli"
	"github.com/kest-go/kest/policy"
)

// anything allows whatever it is asked about, so the exit code of an evaluation tells whether the input was read.
const anything = `package any
default allow := false
allow if input.trust_score >= 0
`

// full is an input of a real shape: what the guard gives to engines.
func full() policy.Input {
	parents := []string{strings.Repeat("a1", 32), strings.Repeat("b2", 32)}
	override := 40
	history := policy.NewHistory(func() []policy.Ancestor {
		return []policy.Ancestor{
			{Operation: "fetch", Classification: "tool", SourceType: "internet", Principal: "local:b", TrustScore: 40,
				Taints: []string{"web"}, Outcome: "ok"},
			{Operation: "clean", Classification: "system", SourceType: "internal", Principal: "local:a", User: "bob", Agent: "bot",
				Task: "t", Resource: "page/1", TrustScore: 60, Overridden: true, Taints: []string{"pii"},
				RemovedTaints: []string{"web"}, Sanitizer: "scrub", Labels: map[string]string{"shop.level": "2"},
				Outcome: "unknown", Parents: []int{0}},
		}
	})
	return policy.Input{
		Subject:    policy.Subject{Workload: "local:a", User: "alice", Agent: "bot", Task: "t", TrustScore: 40, Taints: []string{"x"}},
		Object:     policy.Object{ID: "order/1", Attributes: map[string]any{"owner": "bob", "n": 1.5}},
		TrustScore: 40,
		Environment: policy.Environment{
			SourceType: "internal", ParentHashes: parents, PolicyNames: []string{"any"}, PolicyTier: policy.Platform,
			ActiveDeviations: []policy.Deviation{{Policy: "p/q", Tier: policy.Enterprise, Reason: "r", Approver: "c", ApproverKey: "k"}},
			Operation:        "pay", Classification: "system",
			TrustOverride: &override, RemovedTaints: []string{"web"}, Sanitizer: "scrub",
			EntryID: "01900000-0000-7000-8000-000000000000", TraceID: "0af7651916cd43dd8448eb211c80319c",
		},
		Lineage: policy.Lineage{Length: 2, Principals: []string{"local:a", "local:b"}, MinTrust: 40,
			SourceTypes: []string{"internal", "internet"}, History: history},
		Labels:     map[string]string{"shop.level": "1"},
		Attributes: map[string]any{"deep": []any{map[string]any{"k": nil}, true, "s", json.Number("12345678901234567890")}},
	}
}

// decode gives the document as a tree that a test can change.
func decode(t *testing.T, in policy.Input) map[string]any {
	t.Helper()
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var doc map[string]any
	if err := decoder.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// eval runs policy eval with a document on standard input.
func eval(t *testing.T, dir, doc string) (code int, stdout, stderr string) {
	t.Helper()
	var out, diagnostics bytes.Buffer
	code = cli.Main([]string{"policy", "eval", dir, "any", "--input", "-"}, strings.NewReader(doc), &out, &diagnostics)
	return code, out.String(), diagnostics.String()
}

func policies(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "any.rego"), []byte(anything), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestInputReal: what engines see is accepted as it is, without a note (SPEC §7).
func TestInputReal(t *testing.T) {
	t.Parallel()
	dir := policies(t)
	root := full()
	root.Environment.ParentHashes, root.Environment.IsRoot = nil, true
	root.Subject.User, root.Object.ID = "", ""
	for _, in := range []policy.Input{full(), root} {
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := eval(t, dir, string(text))
		if code != 0 || stderr != "" || strings.Contains(stdout, "note") {
			t.Errorf("exit code %d: %s%s", code, stdout, stderr)
		}
	}
}

// TestInputEverySchemaMember gives every member that the published schema lists a value of each wrong type, and
// every closed object a member too many: the strict reader and the schema refuse the same (SPEC §7).
func TestInputEverySchemaMember(t *testing.T) {
	t.Parallel()
	dir := policies(t)
	var schema map[string]any
	if err := json.Unmarshal([]byte(policy.InputSchema()), &schema); err != nil {
		t.Fatal(err)
	}
	tried := 0
	refuse := func(path string, edit func(doc map[string]any)) {
		tried++
		doc := decode(t, full())
		edit(doc)
		text, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		if code, _, stderr := eval(t, dir, string(text)); code != 2 || !strings.Contains(stderr, path) {
			t.Errorf("%s: exit code %d: %s in %s", path, code, stderr, text)
		}
	}
	wrong := map[string]any{
		"null": nil, "boolean": true, "integer": json.Number("7"), "number": json.Number("0.5"), "string": "high",
		"array": []any{}, "object": map[string]any{},
	}
	walk(schema, nil, func(path []any, s map[string]any) {
		types := fmt.Sprint(s["type"])
		for name, value := range wrong {
			if !strings.Contains(types, name) && len(path) > 0 {
				refuse(dotted(path), func(doc map[string]any) { set(doc, path, value) })
			}
		}
		if s["additionalProperties"] == false {
			extra := append(append([]any{}, path...), "extra")
			refuse(dotted(extra), func(doc map[string]any) { set(doc, extra, "x") })
		}
		if s["minLength"] != nil {
			refuse(dotted(path), func(doc map[string]any) { set(doc, path, "") })
		}
		if s["pattern"] != nil || s["enum"] != nil {
			refuse(dotted(path), func(doc map[string]any) { set(doc, path, "no such!") })
		}
		for _, bound := range []string{"minimum", "maximum"} {
			if n, ok := s[bound].(float64); ok {
				outside := map[string]float64{"minimum": n - 1, "maximum": n + 1}[bound]
				refuse(dotted(path), func(doc map[string]any) { set(doc, path, outside) })
			}
		}
	})
	if tried < 300 {
		t.Errorf("only %d bad inputs were tried", tried)
	}
	t.Logf("%d bad inputs", tried)
}

// walk visits every schema below s with the path to a value that it describes.
func walk(s map[string]any, path []any, visit func([]any, map[string]any)) {
	visit(path, s)
	properties, _ := s["properties"].(map[string]any)
	for name, p := range properties {
		walk(p.(map[string]any), append(append([]any{}, path...), name), visit)
	}
	if items, ok := s["items"].(map[string]any); ok {
		index := 0
		if len(path) > 0 && path[len(path)-1] == "ancestors" {
			index = 1 // the first has no parents
		}
		walk(items, append(append([]any{}, path...), index), visit)
	}
}

func dotted(path []any) string {
	var b strings.Builder
	for _, step := range path {
		switch step := step.(type) {
		case string:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(step)
		case int:
			fmt.Fprintf(&b, "[%d]", step)
		}
	}
	return b.String()
}

func set(doc any, path []any, value any) {
	for _, step := range path[:len(path)-1] {
		switch step := step.(type) {
		case string:
			doc = doc.(map[string]any)[step]
		case int:
			doc = doc.([]any)[step]
		}
	}
	switch last := path[len(path)-1].(type) {
	case string:
		doc.(map[string]any)[last] = value
	case int:
		doc.([]any)[last] = value
	}
}

// TestInputContradictions: what the document says twice must be the same both times.
func TestInputContradictions(t *testing.T) {
	t.Parallel()
	dir := policies(t)
	for _, c := range []struct{ doc, want string }{
		{`{"trust_score": 90, "subject": {"trust_score": 10}}`, "trust_score: is 90, but subject.trust_score is 10"},
		{`{"identity": {"user": "root"}, "subject": {"user": "alice"}}`, "identity.user: differs from subject.user"},
		{`{"environment": {"is_root": true, "parent_hashes": ["` + strings.Repeat("a", 64) + `"]}}`, "environment.is_root: is true"},
		{`{"environment": {"is_root": false}}`, "environment.is_root: is false"},
		{`{"environment": {"parent_hash": "0", "parent_hashes": ["` + strings.Repeat("a", 64) + `"]}}`, "environment.parent_hash"},
		{`{"environment": {"active_deviations": [{"policy": "a", "tier": "function"}]}}`, "active_deviations[0].tier"},
		{`{"environment": {"active_deviations": [{"policy": "a"}]}}`, "active_deviations[0].tier: missing"},
		{`{"lineage": {"steps": [{"operation": "a", "principal": "p"}]}}`, "lineage.steps[0].outcome: missing"},
		{`{"lineage": {"acts": [{"operation": "a", "principal": "p", "outcome": "ok"}]}}`, "lineage.acts[0].resource: missing"},
		{`{"lineage": {"acts": [{"operation": "a", "principal": "p", "outcome": "good", "resource": "r"}]}}`, "lineage.acts[0].outcome"},
		{`{"lineage": {"ancestors": [{"operation": "a", "principal": "p", "resource": "r"}], "acts": []}}`, "lineage.acts: lacks"},
		{`{"lineage": {"ancestors": [{"operation": "a", "principal": "p"}], "acts": [{"operation": "a", "principal": "p",
			"outcome": "unknown", "resource": "r"}]}}`, "lineage.acts: has more"},
		{`{"lineage": {"ancestors": [{"operation": "a"}]}}`, "lineage.ancestors[0].principal: missing"},
		{`{"lineage": {"ancestors": [{"operation": "a", "principal": "p"}], "operations": []}}`, "lineage.operations: lacks"},
		{`{"lineage": {"ancestors": [{"operation": "a", "principal": "p"}], "operations": ["a", "b"]}}`, "lineage.operations: has more"},
		{`{"lineage": {"ancestors": [{"operation": "a", "principal": "p"}], "length": 2}}`, "lineage.length: is 2"},
		{`{"lineage": {"ancestors": [{"operation": "a", "principal": "p"}], "min_trust": 1}}`, "lineage.min_trust: is 1"},
		{`{"lineage": {"ancestors": [{"operation": "a", "principal": "p"}], "min_trust": 1, "ancestors_omitted": 1, "length": 1}}`,
			"lineage.length: is 1"},
		{`{"lineage": {"ancestors": [{"operation": "a", "principal": "p", "parents": [0]}]}}`, "ancestors[0].parents: are not earlier"},
		{`{"lineage": {"ancestors": [` + strings.Repeat(`{"operation": "a", "principal": "p"},`, 2) +
			`{"operation": "a", "principal": "p", "parents": [1, 0]}]}}`, "ancestors[2].parents: are not earlier"},
		{`{"lineage": {"ancestors": [` + strings.Repeat(`{"operation": "a", "principal": "p"},`, 128) +
			`{"operation": "a", "principal": "p"}]}}`, "lineage.ancestors: has 129"},
		{`{"labels": {"a": 1}}`, "labels.a: 1 is a number"},
		{`{"trust_score": 40.5}`, "trust_score: 40.5 is a number; want an integer"},
		{`{"trust_score": 1e400}`, "number"},
		{`{"trust_score": -1}`, "trust_score: -1 is a number"},
		{`{"Trust_Score": 40}`, "Trust_Score: no such member"},
		{"{\"a\x1b[2J\": 1}", "input"},
		{`{"trust_score": 40} {}`, "input"},
		{`null`, "is a JSON null; want an object"},
	} {
		code, stdout, stderr := eval(t, dir, c.doc)
		if code != 2 || stdout != "" || !strings.Contains(stderr, c.want) || strings.Contains(stderr, "\x1b") {
			t.Errorf("%s: exit code %d: %s%s; want %s", c.doc, code, stdout, stderr, c.want)
		}
	}
	for _, doc := range []string{
		`{"trust_score": 40.0}`, `{}`, `{"identity": {"user": "alice"}}`, `{"attributes": {"a": 1e300}}`,
		`{"lineage": {"ancestors": [{"operation": "a", "principal": "p"}], "operations": ["a", "b"], "ancestors_omitted": 1}}`,
		`{"environment": {"parent_hash": "` + strings.Repeat("a", 64) + `"}}`,
	} {
		if code, stdout, stderr := eval(t, dir, doc); code != 0 {
			t.Errorf("%s: exit code %d: %s%s", doc, code, stdout, stderr)
		}
	}
}

// TestInputLineage: what a document leaves out of the summaries follows from its ancestors.
func TestInputLineage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rules := `package any
default allow := false
allow if {
	input.lineage.length == 3
	input.lineage.min_trust == 20
	input.lineage.operations == ["clean", "fetch", "read"]
	input.lineage.principals == ["p", "q"]
	input.lineage.source_types == ["internal", "internet"]
	input.lineage.unsanitized_sources == ["internal"]
	input.lineage.steps[_] == {"operation": "clean", "principal": "q", "outcome": "ok"}
	input.lineage.acts == [{"operation": "clean", "principal": "q", "outcome": "ok", "resource": "page/1"}]
	input.lineage.ancestors[1].parents == [0]
}
`
	if err := os.WriteFile(filepath.Join(dir, "any.rego"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	doc := `{"lineage": {"ancestors": [
		{"operation": "fetch", "principal": "p", "source_type": "internet", "trust_score": 20, "taints": ["web"]},
		{"operation": "clean", "principal": "q", "source_type": "internal", "trust_score": 90, "outcome": "ok", "parents": [0], "resource": "page/1",
			"sanitizer": "s", "removed_taints": ["web"]},
		{"operation": "read", "principal": "p", "source_type": "internal", "trust_score": 100}]}}`
	if code, stdout, stderr := eval(t, dir, doc); code != 0 {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

// FuzzInput: nothing that is given as an input document can do anything but be evaluated or refused.
func FuzzInput(f *testing.F) {
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "any.rego"), []byte(anything), 0o600); err != nil {
		f.Fatal(err)
	}
	text, err := json.Marshal(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add(`{"trust_score": "high"}`)
	f.Add(`{"environment": {"active_deviations": [[]]}}`)
	f.Fuzz(func(t *testing.T, doc string) {
		var out, diagnostics bytes.Buffer
		code := cli.Main([]string{"policy", "eval", dir, "any", "--input", "-"}, strings.NewReader(doc), &out, &diagnostics)
		if code == 2 != (out.Len() == 0) || code == 2 != (diagnostics.Len() > 0) {
			t.Fatalf("exit code %d with %q and %q", code, out.String(), diagnostics.String())
		}
	})
}
