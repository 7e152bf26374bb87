package policies_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/policies"
	"github.com/kest-go/kest/policy/cedar"
	"github.com/kest-go/kest/policy/rego"
)

// question finds the rows with a condition in both languages.
var question = regexp.MustCompile("(?m)^\\|[^`|]+\\| `(.+?)` \\| `(.+?)` \\|$")

// TestQuestions reads the table of questions in README.md, and holds the two languages together on random lineages.
func TestQuestions(t *testing.T) {
	byRego, byCedar := fstest.MapFS{}, fstest.MapFS{}
	rows := question.FindAllStringSubmatch(read(t, os.DirFS("."), "README.md"), -1)
	for i, row := range rows {
		byRego[fmt.Sprintf("doc/q%d.rego", i)] = &fstest.MapFile{Data: fmt.Appendf(nil,
			"package doc.q%d\n\nimport data.kest.lineage\n\ndefault allow := false\n\nallow if %s\n", i, row[1])}
		byCedar[fmt.Sprintf("doc/q%d.cedar", i)] = &fstest.MapFile{Data: fmt.Appendf(nil,
			"permit (principal, action, resource) when { %s };\n", row[2])}
	}
	if len(rows) < 12 {
		t.Fatalf("%d rows", len(rows))
	}
	p := &pair{}
	var err error
	if p.rego, err = rego.FS(policies.Overlay(policies.Rego(), byRego)); err != nil {
		t.Fatal(err)
	}
	if p.cedar, err = (cedar.Config{CheckInput: true}).FS(byCedar); err != nil {
		t.Fatal(err)
	}
	past := allowAll(t)
	yes, no := map[string]bool{}, map[string]bool{}
	rapid.Check(t, func(rt *rapid.T) {
		ctx, _ := kest.StartSession(context.Background())
		for _, c := range rapid.SliceOfN(rapid.Custom(drawPast), 0, 12).Draw(rt, "past") {
			c.happen(rt, ctx, past)
		}
		k := &keeper{}
		if err := rapid.Custom(drawCall).Draw(rt, "call").run(rt, ctx, newGuard(rt, k, everyPolicy), past); err != nil {
			rt.Fatal(err)
		}
		for i, row := range rows {
			name := fmt.Sprintf("doc/q%d", i)
			a, errA := p.rego.Evaluate(ctx, name, &k.in)
			b, errB := p.cedar.Evaluate(ctx, name, &k.in)
			if errA != nil || errB != nil || a.Allow != b.Allow {
				rt.Errorf("%s: %t %v in Rego, %t %v in Cedar", row[1], a.Allow, errA, b.Allow, errB)
			}
			if a.Allow {
				yes[name] = true
			} else {
				no[name] = true
			}
		}
	})
	t.Logf("%d questions; yes to %d, no to %d", len(rows), len(yes), len(no))
	if len(yes) < len(rows)/2 || len(no) < len(rows)/2 {
		t.Errorf("yes to %d and no to %d of %d questions", len(yes), len(no), len(rows))
	}
}

// TestReadmeNames: the table has every policy and every member of the data.
func TestReadmeNames(t *testing.T) {
	text := read(t, os.DirFS("."), "README.md")
	for _, name := range newPair(t, deployment(t)).rego.Policies() {
		if !strings.Contains(text, "| `"+name+"` |") {
			t.Errorf("README.md has no row for %s", name)
		}
	}
	for name := range deployment(t) {
		if !strings.Contains(text, "`"+name) {
			t.Errorf("README.md does not name the data %s", name)
		}
	}
}
