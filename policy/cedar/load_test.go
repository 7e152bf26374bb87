package cedar_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kest-go/kest/policy/cedar"
)

// Loading faults name file, line and policy, all of them in one run (SPEC §7).
func TestLoadErrors(t *testing.T) {
	const all = "(principal, action, resource)"
	tests := []struct {
		name  string
		files tree
		want  []string
	}{
		{"syntax", tree{"a/x.cedar": "permit" + all + " when {\n\n  context.x ==\n};"}, []string{"a/x.cedar:4: policy a/x: ", "invalid primary"}},
		{"cut", tree{"x.cedar": "permit(principal,\naction"}, []string{"x.cedar:2: policy x: "}},
		{"cut in a text", tree{"x.cedar": "permit" + all + " when { \"abc };"}, []string{"x.cedar:1: policy x: literal not terminated"}},
		{"cut before the semicolon", tree{"x.cedar": "permit" + all}, []string{"x.cedar:1"}},
		{"empty", tree{"x.cedar": ""}, []string{"x.cedar: policy x: empty file"}},
		{"only a comment", tree{"x.cedar": "// permit\n"}, []string{"x.cedar: policy x: empty file"}},
		{"several files", tree{"x.cedar": "permit", "y/z.cedar": "forbid"}, []string{"x.cedar:1: policy x", "y/z.cedar:1: policy y/z"}},
		{"unknown function", tree{"x.cedar": "permit" + all + "\nwhen { nosuch(1) };"}, []string{"x.cedar:2", "`nosuch` is not a function"}},
		{"template", tree{"x.cedar": "permit(principal == ?principal, action, resource);"}, []string{"x.cedar:1"}},
		{"not UTF-8", tree{"x.cedar": "permit\xff"}, []string{"x.cedar", "UTF-8"}},
		{"NUL", tree{"x.cedar": "permit" + all + ";\x00"}, []string{"x.cedar:1"}},
		{"Rego", tree{"x.cedar": "package x\nallow := true"}, []string{"x.cedar:1"}},
		{"one id twice", tree{"x.cedar": "@id(\"a\") permit" + all + ";\n\n@id(\"a\") forbid" + all + ";"}, []string{`x.cedar:3: policy x: the id "a" is that of line 1 too`}},
		{"id of another's index", tree{"x.cedar": "@id(\"policy1\") permit" + all + ";\nforbid" + all + ";"}, []string{`x.cedar:2: policy x: the id "policy1"`}},
		{"nothing", tree{}, []string{"no policy files (*.cedar) found"}},
		{"nothing but others", tree{"x.rego": "package x", "_cedar": "x", ".x.cedar": guide}, []string{"no policy files"}},
		{"control characters", tree{"x\n.cedar": guide}, []string{"rename"}},
		{"schema of another name", tree{"x.cedar": guide, "m/kest.cedarschema": "entity A;"}, []string{"m/kest.cedarschema: not the schema of this tree, which is schema.cedarschema"}},
		{"schema syntax", tree{"x.cedar": guide, "schema.cedarschema": "entity A;\n\nentity B = {"}, []string{"schema.cedarschema:3: "}},
		{"schema with an unknown type", tree{"x.cedar": guide, "schema.cedarschema": "entity A = {x: Foo};"}, []string{"schema.cedarschema: ", `undefined type "Foo"`}},
		{"no entities", tree{"x.cedar": guide, "entities.json": `{}`}, []string{"entities.json:1: not a JSON array"}},
		{"half of the entities", tree{"x.cedar": guide, "entities.json": "[\n"}, []string{"entities.json:2: the array does not end"}},
		{"half of an entity", tree{"x.cedar": guide, "entities.json": "[\n{\"uid\""}, []string{"entities.json:2: "}},
		{"more than entities", tree{"x.cedar": guide, "entities.json": "[]\n[]"}, []string{"more text after the array"}},
		{"not an entity", tree{"x.cedar": guide, "entities.json": "[\n{\"uid\": {\"type\": \"A\", \"id\": \"a\"}, \"parents\": [], \"attrs\": {}},\n{}]"}, []string{"entities.json:3: ", "uid"}},
		{"an entity twice", tree{"x.cedar": guide, "entities.json": "[" + entity + ",\n" + entity + "]"}, []string{`entities.json:2: entity Group::"g" is given twice`}},
		{"float in an entity", tree{"x.cedar": guide, "entities.json": `[{"uid": {"type": "A", "id": "a"}, "parents": [], "attrs": {"x": 1.5}}]`}, []string{"entities.json:1: "}},
		{"null in an entity", tree{"x.cedar": guide, "entities.json": `[{"uid": {"type": "A", "id": "a"}, "parents": [], "attrs": {"x": null}}]`}, []string{"entities.json:1: "}},
		{"a member twice", tree{"x.cedar": guide, "entities.json": `[{"uid": {"type": "A", "id": "a"}, "parents": [], "attrs": {"x": 1, "x": 2}}]`}, []string{"entities.json:1: "}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			engine, err := cedar.FS(test.files.fs())
			if err == nil || engine != nil {
				t.Fatal("loaded")
			}
			if strings.Contains(err.Error(), "<input>") {
				t.Errorf("names no file: %v", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v; want %q", err, want)
				}
			}
		})
	}
}

const entity = `{"uid": {"type": "Group", "id": "g"}, "parents": [], "attrs": {}}`

// cedar-go has no bound on the depth of what it parses, and no recover helps against a stack that overflows. Each of
// these would end the process, or take minutes, if it were as long as a file may be.
func TestStatementsAreBounded(t *testing.T) {
	const n = 1 << 19
	for name, condition := range map[string]string{
		"parentheses": strings.Repeat("(", n) + "true" + strings.Repeat(")", n), "not": strings.Repeat("!", n) + "true",
		"sets": strings.Repeat("[", n) + strings.Repeat("]", n), "ifs": strings.Repeat("if true then true else ", n/23) + "true",
		"semicolons in texts": strings.Repeat(`(";" == `, n/8) + "1" + strings.Repeat(")", n/8), "escaped quotes": strings.Repeat(`("\";" == `, n/10) + "1" + strings.Repeat(")", n/10),
		"semicolons in comments": strings.Repeat("(//;\n", n/5) + "1" + strings.Repeat(")", n/5), "sum": strings.Repeat("1+", n/2) + "1 == 1",
		"text": `"` + strings.Repeat("x", n) + `" == ""`,
	} {
		_, err := cedar.Config{Limits: cedar.Limits{FileBytes: 10 << 20}}.FS(tree{"p.cedar": "// first\npermit(principal, action, resource) when { " + condition + " };"}.fs())
		if at, ok := errors.AsType[*cedar.SourceError](err); !ok || at.Line < 2 || !strings.Contains(err.Error(), "statement of more than 65536 bytes") {
			t.Errorf("%s: %.300v", name, err)
		}
	}
	for name, condition := range map[string]string{
		"has": "context has " + strings.Repeat("a.", 65) + "a", "spaced": "context has " + strings.Repeat("a .\n", 65) + "a",
		"commented": "context has " + strings.Repeat("a.//;\n", 65) + "a", "access": "context" + strings.Repeat(".a", 65),
	} {
		_, err := cedar.FS(tree{"p.cedar": "permit(principal, action, resource) when { " + condition + " };"}.fs())
		if err == nil || !strings.Contains(err.Error(), "more than 64 attributes in a row") {
			t.Errorf("%s: %.300v", name, err)
		}
	}
	// What fits loads in time, and what is long because it has many statements fits.
	start := time.Now()
	fits := "permit(principal, action, resource) when { " + strings.Repeat("(", 32_000) + "true" + strings.Repeat(")", 32_000) + " };\n" +
		"permit(principal, action, resource) when { " + strings.Repeat("context has a.b.c.d.e.f.g || ", 2000) + "true };\n" +
		"permit(principal, action, resource) when { \";\" == \"\\\"\" || context has " + strings.Repeat("a.", 64) + "a || true };\n" +
		strings.Repeat("permit(principal, action, resource) when { context.trust_score == 1 };\n", 5000)
	d, err := one(t, fits).Evaluate(t.Context(), "p", call(80))
	if took := time.Since(start); err != nil || !d.Allow || took > 20*time.Second {
		t.Error(d, err, took)
	}
}

// A schema is checked when policies are loaded: what each can be asked about, and that no condition can err.
func TestSchema(t *testing.T) {
	const schema = `
		entity Group;
		entity Workload in [Group] { level?: Long };
		entity Resource;
		action payments;
		action "kest/p" in [payments] appliesTo { principal: [Workload], resource: [Resource], context: { trust_score: Long, "subject.user"?: String, attributes: {limit?: decimal} } };
		action "kest/q" appliesTo { principal: [Workload, Group], resource: [Resource, Group], context: { trust_score: Long } };
		action "kest/user" appliesTo { principal: [Group], resource: [Resource] };
		action "kest/nobody";`
	const entities = `[{"uid": {"type": "Workload", "id": "spiffe://example.org/payments"}, "parents": [{"type": "Group", "id": "g"}], "attrs": {"level": 3}}]`
	tests := []struct {
		name, policy, text, entities string
		want                         string // empty: loads and allows
	}{
		{"fine", "kest/p", "permit(principal, action, resource) when { context.trust_score >= 40 };", "", ""},
		{"optional, asked first", "kest/p", "permit(principal, action, resource) when { context has \"subject.user\" && context[\"subject.user\"] == \"ada\" };", "", ""},
		{"optional, not asked first", "kest/p", "\npermit(principal, action, resource) when { context[\"subject.user\"] == \"ada\" };", "", "kest/p.cedar:2: policy kest/p: policy0: "},
		{"missing", "kest/p", "permit(principal, action, resource) when { context.trust >= 40 };", "", "attribute `trust`"},
		{"wrong type", "kest/p", "permit(principal, action, resource)\nwhen { context.trust_score == \"high\" };", "", "kest/p.cedar:1: policy kest/p: policy0: "},
		{"only what its own action can be asked", "kest/q", "permit(principal, action, resource) when { context.trust_score >= 40 };", "", ""},
		{"attribute of another action", "kest/q", "permit(principal, action, resource) when { context.attributes has limit };", "", "attribute `attributes`"},
		{"every statement", "kest/p", "@id(\"a\") permit(principal, action, resource) when { 1 };\n@id(\"b\") forbid(principal, action, resource) when { context.nothing };", "", "kest/p.cedar:2: policy kest/p: b: "},
		{"unknown entity type", "kest/p", "permit(principal is User, action, resource);", "", "User"},
		{"undeclared", "kest/r", "permit(principal, action, resource);", "", `kest/r.cedar: policy kest/r: the schema declares no action "kest/r"`},
		{"for another principal", "kest/user", "permit(principal, action, resource);", "", "declares no action \"kest/user\" for principal Workload"},
		{"for nobody", "kest/nobody", "permit(principal, action, resource);", "", "declares no action \"kest/nobody\""},
		{"action group", "kest/p", "permit(principal, action in Action::\"payments\", resource);", "", ""},
		{"entity", "kest/p", "permit(principal in Group::\"g\", action, resource) when { principal has level && principal.level > 2 };", entities, ""},
		{"entity of an unknown type", "kest/p", "permit(principal, action, resource);", "[\n\n" + `{"uid": {"type": "User", "id": "x"}, "parents": [], "attrs": {}}]`, "entities.json:3: "},
		{"entity with a wrong attribute", "kest/p", "permit(principal, action, resource);", strings.Replace(entities, "3", `"3"`, 1), "entities.json:1: "},
		{"entity with a wrong parent", "kest/p", "permit(principal, action, resource);", strings.Replace(entities, "Group", "Resource", 1), "entities.json:1: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			files := tree{test.policy + ".cedar": test.text, "schema.cedarschema": schema}
			if test.entities != "" {
				files["entities.json"] = test.entities
			}
			engine, err := cedar.FS(files.fs())
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%v; want %q", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d, err := engine.Evaluate(t.Context(), test.policy, call(80)); err != nil || !d.Allow {
				t.Error(d, err)
			}
		})
	}
}

// Schema and entities can lie elsewhere in the tree, the schema in its JSON form too, and must be there when named.
func TestNamedFiles(t *testing.T) {
	files := tree{
		"p.cedar":  `permit(principal in Group::"top", action, resource);`,
		"m/s.json": `{"": {"entityTypes": {"Group": {"memberOfTypes": ["Group"]}, "Workload": {"memberOfTypes": ["Group"]}, "Resource": {}}, "actions": {"p": {"appliesTo": {"principalTypes": ["Workload"], "resourceTypes": ["Resource"]}}}}}`,
		"m/e.json": `[{"uid": {"type": "Workload", "id": "spiffe://example.org/payments"}, "parents": [{"type": "Group", "id": "a"}], "attrs": {}},
			{"uid": {"type": "Group", "id": "a"}, "parents": [{"type": "Group", "id": "b"}], "attrs": {}},
			{"uid": {"type": "Group", "id": "b"}, "parents": [{"type": "Group", "id": "a"}, {"type": "Group", "id": "top"}], "attrs": {}}]`,
	}
	c := cedar.Config{Schema: "m/s.json", Entities: "m/e.json"}
	d, err := load(t, c, files).Evaluate(t.Context(), "p", call(80)) // through a circle of groups
	if err != nil || !d.Allow {
		t.Error(d, err)
	}
	if d, err := load(t, cedar.Config{}, files).Evaluate(t.Context(), "p", call(80)); err != nil || d.Allow {
		t.Error("entities that nothing names:", d, err)
	}
	for name, test := range map[string]struct {
		cedar.Config
		want string
	}{
		"no schema":        {cedar.Config{Schema: "schema.cedarschema"}, "schema.cedarschema: not found"},
		"no entities":      {cedar.Config{Entities: "entities.json"}, "entities.json: not found"},
		"broken JSON":      {cedar.Config{Schema: "bad.json"}, "bad.json:2: "},
		"traversal":        {cedar.Config{Entities: "../e.json"}, `file "../e.json" in Config.Entities`},
		"absolute":         {cedar.Config{Schema: "/etc/passwd"}, `file "/etc/passwd" in Config.Schema`},
		"hidden":           {cedar.Config{Schema: ".s"}, `file ".s" in Config.Schema`},
		"a policy":         {cedar.Config{Entities: "p.cedar"}, `file "p.cedar" in Config.Entities`},
		"one file":         {cedar.Config{Schema: "m/s.json", Entities: "m/s.json"}, "name one file"},
		"negative":         {cedar.Config{Limits: cedar.Limits{Files: -1}}, "negative limit"},
		"all that is bad":  {cedar.Config{Schema: "..", Limits: cedar.Limits{FileBytes: -1}}, "negative limit; zero means the default\nfile \"..\" in Config.Schema"},
		"too large schema": {cedar.Config{Schema: "large.cedarschema", Limits: cedar.Limits{FileBytes: 3 << 20}}, "more than the 1048576 bytes"},
	} {
		files := tree{"p.cedar": files["p.cedar"], "m/s.json": files["m/s.json"], "bad.json": "{\n\"\": x}", "large.cedarschema": strings.Repeat(" ", 2<<20)}
		if name != "too large schema" {
			delete(files, "large.cedarschema")
		}
		if _, err := test.FS(files.fs()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v; want %q", name, err, test.want)
		}
	}
	if _, err := cedar.FS(nil); err == nil {
		t.Error("nil file system")
	}
	if _, err := cedar.Dir("testdata/nothing"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "testdata/nothing") {
		t.Error(err)
	}
}

// A link may lead to a file of the tree, and nowhere else. A policy that is skipped in silence could be the one that denies.
func TestLinks(t *testing.T) {
	outside := disk(t, tree{"secret.cedar": guide, "sub/x.cedar": guide})
	for name, test := range map[string]struct{ target, name, want string }{
		"inside":            {"real.cedar", "link.cedar", ""},
		"absolute, outside": {filepath.Join(outside, "secret.cedar"), "link.cedar", "link.cedar: symbolic link"},
		"relative, outside": {"../" + filepath.Base(outside) + "/secret.cedar", "link.cedar", "link.cedar: symbolic link"},
		"folder, outside":   {filepath.Join(outside, "sub"), "sub", "sub: symbolic link"},
		"folder, inside":    {"folder", "again", "again: symbolic link to a folder"},
		"loop":              {"link.cedar", "link.cedar", "link.cedar: symbolic link"},
		"dangling":          {"nowhere.cedar", "link.cedar", "link.cedar: symbolic link"},
		"device":            {"/dev/zero", "link.cedar", "link.cedar: symbolic link"},
		"entities":          {filepath.Join(outside, "secret.cedar"), "entities.json", "entities.json: symbolic link"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := disk(t, tree{"real.cedar": guide, "folder/x.json": "{}"})
			if err := os.Symlink(test.target, filepath.Join(dir, test.name)); err != nil {
				t.Fatal(err)
			}
			engine, err := cedar.Dir(dir)
			if test.want == "" && (err != nil || !slices.Equal(engine.Policies(), []string{"link", "real"})) {
				t.Error(engine, err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v; want %q", err, test.want)
			}
		})
	}
}

// A mounted ConfigMap is links to files behind a hidden link to a hidden folder: each policy is loaded once.
func TestConfigMap(t *testing.T) {
	dir := disk(t, tree{"..2026_11_23/a.cedar": guide})
	if os.Symlink("..2026_11_23", filepath.Join(dir, "..data")) != nil || os.Symlink("..data/a.cedar", filepath.Join(dir, "a.cedar")) != nil {
		t.Fatal("no link")
	}
	if engine, err := cedar.Dir(dir); err != nil || !slices.Equal(engine.Policies(), []string{"a"}) {
		t.Error(engine, err)
	}
}

// A pipe would hold up whoever opens it.
func TestPipe(t *testing.T) {
	dir := disk(t, tree{"a.cedar": guide})
	if err := syscall.Mkfifo(filepath.Join(dir, "b.cedar"), 0o644); err != nil {
		t.Skip(err)
	}
	if _, err := cedar.Dir(dir); err == nil || !strings.Contains(err.Error(), "b.cedar: not a regular file") {
		t.Error(err)
	}
}

// Every limit stops a load (SPEC §12), at its border and not before.
func TestLimits(t *testing.T) {
	size := int64(len(guide))
	files := tree{"a.cedar": guide, "b.cedar": guide}
	for _, test := range []struct {
		name string
		cedar.Limits
		want string
	}{
		{"files fit", cedar.Limits{Files: 3}, ""},
		{"too many files", cedar.Limits{Files: 2}, "too many files"},
		{"file fits", cedar.Limits{FileBytes: size}, ""},
		{"file too large", cedar.Limits{FileBytes: size - 1}, "a.cedar: more than"},
		{"total fits", cedar.Limits{TotalBytes: 2 * size}, ""},
		{"total too large", cedar.Limits{TotalBytes: 2*size - 1}, "b.cedar: more than"},
	} {
		_, err := cedar.Config{Limits: test.Limits}.FS(files.fs())
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v; want %q", test.name, err, test.want)
		}
	}
	if _, err := cedar.FS(tree{"a.cedar": guide + strings.Repeat(" ", 1<<20)}.fs()); err == nil || !strings.Contains(err.Error(), "a.cedar: more than") {
		t.Error("default:", err)
	}
}

// FuzzLoad: whatever a tree holds, loading ends with an engine or an error, and what loads can be asked.
func FuzzLoad(f *testing.F) {
	f.Add(guide, "", "")
	f.Add(`@id("a") forbid(principal in Group::"g", action, resource is Resource) unless { context has a.b && context["a.b"] like "*x" };`, "["+entity+"]", "")
	f.Add("permit(principal, action, resource) when { context != {} };", "[]", `entity Workload, Resource; action p appliesTo {principal: [Workload], resource: [Resource], context: {a?: Set<Long>}};`)
	f.Add(`permit(principal, action, resource) when { "\";" == [{a: 1}] || ip("::1").isLoopback() };//;`, `[{"uid": {"__entity": {"type": "A", "id": "\u0000"}}, "parents": [], "attrs": {}, "tags": {}}]`, `namespace A { type B = {}; entity C enum ["x"]; }`)
	f.Fuzz(func(t *testing.T, text, entities, schema string) {
		files := tree{"p.cedar": text}
		if entities != "" {
			files["entities.json"] = entities
		}
		if schema != "" {
			files["schema.cedarschema"] = schema
		}
		engine, err := cedar.FS(files.fs())
		if (engine == nil) == (err == nil) {
			t.Fatalf("engine %v, error %v", engine, err)
		}
		if err != nil {
			return
		}
		if d, err := engine.Evaluate(t.Context(), "p", call(1)); err != nil && d.Allow {
			t.Errorf("%+v with %v", d, err)
		}
	})
}
