package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/kest-go/kest/cmd/kest/internal/cli"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/decisionlog"
	"github.com/kest-go/kest/policy/rego"
)

const trusted = `package any
default allow := false
allow if input.trust_score >= 40
`

// dir writes the files of one folder, given as names and texts.
func dir(t testing.TB, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// scored is a call with that trust score.
func scored(trust int, operation string) *policy.Input {
	in := full()
	in.TrustScore, in.Subject.TrustScore, in.Environment.Operation = trust, trust, operation
	in.Attributes = map[string]any{"deep": []any{map[string]any{"k": nil}, true, "s", 0.5}, "big": 12345678901234567.0}
	return &in
}

// recorded is what the decision log writes of calls, each a score and an operation, under the policies of a folder.
func recorded(t testing.TB, from string, c decisionlog.Config, calls ...*policy.Input) string {
	t.Helper()
	engine, err := rego.Dir(from)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c.Engine, c.Logger = engine, slog.New(slog.NewJSONHandler(&out, nil))
	log, err := decisionlog.New(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range calls {
		_, _ = log.Evaluate(t.Context(), "any", in) // what it says is in the record
	}
	return out.String()
}

func diff(t testing.TB, before, after, records string) (code int, stdout, stderr string) {
	t.Helper()
	var out, diagnostics bytes.Buffer
	code = cli.Main([]string{"policy", "diff", before, after, "--records", "-"}, strings.NewReader(records), &out, &diagnostics)
	return code, out.String(), diagnostics.String()
}

// TestDiff: recorded calls, as the decision log writes them, under another folder.
func TestDiff(t *testing.T) {
	t.Parallel()
	old := dir(t, "any.rego", trusted)
	records := recorded(t, old, decisionlog.Config{Input: true},
		scored(30, "pay"), scored(50, "pay"), scored(60, "pay"), scored(60, "refund"), scored(90, "refund"))
	for name, c := range map[string]struct {
		files []string
		code  int
		want  []string
	}{
		"the same": {[]string{"any.rego", trusted}, 0, []string{"SAME  0 of 5 decisions\n"}},
		"other words": {[]string{"any.rego", "package any\ndefault allow := false\nallow if not low\nlow if input.trust_score < 40\n"}, 0,
			[]string{"SAME  0 of 5 decisions\n"}},
		"stricter": {[]string{"any.rego", strings.Replace(trusted, "40", "70", 1)}, 1, []string{
			"any (pay): allow -> deny, 2 decisions\n  permit data.any.allow does not match (", "any.rego:3)\n",
			"any (refund): allow -> deny, 1 decision\n", "CHANGED  3 of 5 decisions\n"}},
		"laxer": {[]string{"any.rego", strings.Replace(trusted, "40", "10", 1)}, 1, []string{
			"any (pay): deny -> allow, 1 decision\n  permit data.any.allow matches (", "CHANGED  1 of 5 decisions\n"}},
		"gone":     {[]string{"other.rego", "package other\nallow := true\n"}, 1, []string{"any (pay): allow -> error, 2 decisions\n", "unknown policy"}},
		"no value": {[]string{"any.rego", "package any\nallow if input.trust_score >= 40\n"}, 1, []string{"any (pay): deny -> error, 1 decision\n"}},
		"in Cedar": {[]string{"any.cedar", "@id(\"t\") permit (principal, action, resource) when { context.trust_score >= 60 };"}, 1, []string{
			"any (pay): allow -> deny, 1 decision\n  permit t does not match (", "any.cedar:1)", "CHANGED  1 of 5 decisions\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := diff(t, old, dir(t, c.files...), records)
			if flat := strings.ReplaceAll(stdout, "\n  /", "/"); code != c.code || stderr != "" || !containsAll(strings.ReplaceAll(flat, "\n  (", " ("), c.want) {
				t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
			}
		})
	}
}

func containsAll(text string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), strings.Join(strings.Fields(part), " ")) {
			return false
		}
	}
	return true
}

// TestDiffCannotTell: what is not known of a recorded call is never guessed.
func TestDiffCannotTell(t *testing.T) {
	t.Parallel()
	old, after := dir(t, "any.rego", trusted), dir(t, "any.rego", strings.Replace(trusted, "40", "70", 1))
	whole := recorded(t, old, decisionlog.Config{Input: true}, scored(90, "pay"))
	mask := func(path, with string) string {
		c := decisionlog.Config{Input: true, Mask: []decisionlog.Mask{{Path: path, With: with}}}
		return recorded(t, old, c, scored(50, "pay"))
	}
	edit := func(change func(record, input map[string]any)) string {
		var record map[string]any
		if err := json.Unmarshal([]byte(recorded(t, old, decisionlog.Config{Input: true}, scored(50, "pay"))), &record); err != nil {
			t.Fatal(err)
		}
		change(record, record["input"].(map[string]any))
		text, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		return string(text) + "\n"
	}
	for name, c := range map[string]struct{ record, want string }{
		"no input":              {recorded(t, old, decisionlog.Config{}, scored(50, "pay")), "the input was not logged (1)"},
		"dropped":               {recorded(t, old, decisionlog.Config{Input: true, MaxInput: 10}, scored(50, "pay")), "the input was not logged (1)"},
		"removed":               {mask("subject.user", ""), "the input is masked (1)"},
		"replaced":              {mask("attributes.deep", "***"), "the input is masked (1)"},
		"replaced in its form":  {mask("subject.user", "bob"), "the input is masked (1)"},
		"a member is missing":   {edit(func(_, in map[string]any) { delete(in, "labels") }), "the input is not whole"},
		"one inside is missing": {edit(func(_, in map[string]any) { delete(in["lineage"].(map[string]any), "steps") }), "the input is not whole"},
		"a type is wrong":       {edit(func(_, in map[string]any) { in["subject"].(map[string]any)["trust_score"] = "x" }), "the input is not whole"},
		"one too many":          {edit(func(_, in map[string]any) { in["trust_score"] = 50 }), "the input is not whole"},
		"another answer":        {edit(func(r, _ map[string]any) { r["result"] = "deny" }), "the old policies answer otherwise than they did (1)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := diff(t, old, after, whole+c.record)
			if code != 0 || !containsAll(stdout, []string{"nothing can be told of 1 decision: " + c.want, "SAME  0 of 1 decision"}) {
				t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
			}
			code, stdout, stderr = diff(t, old, after, c.record) // then there is no result
			if code != 2 || stdout != "" || !strings.Contains(stderr, "nothing can be told of any of 1 decision: "+c.want) {
				t.Errorf("alone: exit code %d\n%s%s", code, stdout, stderr)
			}
		})
	}
	// A record of other policies is compared: their answer is not what the old ones have to repeat.
	other := edit(func(r, _ map[string]any) { r["result"], r["revision"] = "deny", "sha256:00" })
	if code, stdout, stderr := diff(t, old, after, other); code != 1 || !strings.Contains(stdout, "allow -> deny, 1 decision") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// TestDiffUnreadable: records are read line by line, and a line that cannot be read is named.
func TestDiffUnreadable(t *testing.T) {
	t.Parallel()
	folder := dir(t, "any.rego", trusted)
	one := recorded(t, folder, decisionlog.Config{Input: true}, scored(90, "pay"))
	for name, c := range map[string]struct{ records, want string }{
		"empty":          {"", "holds no decisions"},
		"other lines":    {`{"msg": "started"}` + "\n", "holds no decisions"},
		"not JSON":       {one + "\n" + "INFO started\n", "line 3: "},
		"cut off":        {one + one[:len(one)/2], "line 2: "},
		"twice a member": {strings.Replace(one, "{", `{"policy": "x", `, 1), "line 1: "},
		"a long line":    {one + `{"msg": "` + strings.Repeat("x", 1<<20) + "\"}\n", "line 2: more than 1048576 bytes"},
		"deep":           {one + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + "\n", "line 2: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if code, stdout, stderr := diff(t, folder, folder, c.records); code != 2 || stdout != "" || !strings.Contains(stderr, c.want) {
				t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
			}
		})
	}
	code, stdout, stderr := diff(t, folder, folder, "\n{\"msg\": \"started\"}\n[]\n"+one+strings.TrimSuffix(one, "\n"))
	if code != 0 || stderr != "" || stdout != "note: 2 lines are no decision\nSAME  0 of 2 decisions\n" {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	for _, args := range [][]string{{folder, folder}, {folder}, {folder, folder + "/nope", "--records", "-"}, {folder, folder, "--records", folder + "/nope"},
		{folder, folder, "--records", folder}, {folder, dir(t, "p.rego", "package p\nallow if }"), "--records", "-"}} {
		var out, diagnostics bytes.Buffer
		if code := cli.Main(append([]string{"policy", "diff"}, args...), strings.NewReader(one), &out, &diagnostics); code != 2 || out.Len() > 0 {
			t.Errorf("%q: exit code %d\n%s%s", args, code, out.String(), diagnostics.String())
		}
	}
}

// TestDiffMany: what is kept does not grow with the records; differences of one kind are one line.
func TestDiffMany(t *testing.T) {
	t.Parallel()
	old, after := dir(t, "any.rego", trusted), dir(t, "any.rego", strings.Replace(trusted, "40", "70", 1))
	one := recorded(t, old, decisionlog.Config{Input: true}, scored(50, "pay"))
	var records strings.Builder
	for i := range 1500 {
		records.WriteString(strings.Replace(one, `"operation":"pay","parent`, fmt.Sprintf(`"operation":"pay%d","parent`, i), 1))
	}
	code, stdout, stderr := diff(t, old, after, records.String())
	if code != 1 || stderr != "" || strings.Count(stdout, "allow -> deny, 1 decision\n") != 1000 ||
		!strings.Contains(stdout, "and 500 decisions in other ways\nCHANGED  1500 of 1500 decisions\n") {
		t.Errorf("exit code %d, %d bytes: %s", code, len(stdout), stderr)
	}
	code, stdout, _ = diff(t, old, after, strings.Repeat(one, 500))
	if code != 1 || !strings.HasPrefix(stdout, "any (pay): allow -> deny, 500 decisions\n") {
		t.Errorf("exit code %d: %s", code, stdout)
	}
}

// FuzzRecorded: an input that is taken from a record is the one that was recorded, in every member.
func FuzzRecorded(f *testing.F) {
	folder := dir(f, "any.rego", trusted)
	for _, in := range []*policy.Input{scored(50, "pay"), {Environment: policy.Environment{PolicyTier: policy.Function}}} {
		var record struct{ Input json.RawMessage }
		if err := json.Unmarshal([]byte(recorded(f, folder, decisionlog.Config{Input: true}, in)), &record); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(record.Input))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		in := cli.Recorded(text)
		if in == nil {
			return
		}
		doc := in.Document()
		delete(doc, "identity")
		delete(doc, "trust_score")
		delete(doc["environment"].(map[string]any), "parent_hash")
		again, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		var got, want any
		if json.Unmarshal(again, &got) != nil || json.Unmarshal(text, &want) != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s is read as %s", text, again)
		}
	})
}

// FuzzTable: nothing that is given as a table can do anything but be read or refused.
func FuzzTable(f *testing.F) {
	f.Add([]byte("- {name: a, policy: any, input: {trust_score: 40}, allow: true}\n"))
	f.Add([]byte("- name: a\n  policy: nope\n  input:\n    attributes: {a: [1, 0.5, ~, true, \"x\"]}\n  error: unknown\n  reason: x\n"))
	f.Add([]byte(`[{"name": "a", "policy": "any", "input": {}, "allow": false}]`))
	f.Add([]byte("- &a {name: *a}\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, table []byte) {
		if cases, err := cli.ParseTable(table); (err == nil) != (cases > 0) && err == nil {
			t.Fatal(cases, err)
		}
	})
}
