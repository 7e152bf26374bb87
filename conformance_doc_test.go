package kest_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"math"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// required lists the requirements that docs/conformance.md must map to tests: the prefix and the last number.
var required = map[string]int{
	"F-PE": 13, "F-GC": 4, "F-AE": 13, "F-ID": 5, "F-PA": 7, "F-TS": 6, "F-TT": 6, "F-IC": 5, "F-CP": 8, "TC": 12,
}

// single requirements, of series that are not required as a whole.
var single = []string{"NF-SEC-05", "NF-INTER-01", "NF-OBS-01", "NF-TEST-02"}

// waiting requirements have no test of their own; the document says why.
var waiting = []string{"F-CP-05", "F-CP-06", "F-CP-08"}

const conformanceDoc = "docs/conformance.md"

// TestConformanceDocument holds docs/conformance.md to the tests. When it fails it prints the rows to add, as far as
// there are tests that mention the requirement; the others it names.
func TestConformanceDocument(t *testing.T) {
	t.Parallel()
	for _, fault := range lintConformance(os.DirFS(".")) {
		t.Error(fault)
	}
}

func TestConformanceDocumentFinds(t *testing.T) {
	t.Parallel()
	var doc, tests strings.Builder
	doc.WriteString("| requirement | test | file |\n|---|---|---|\n")
	for _, id := range waiting {
		doc.WriteString("| " + id + " | needs propagation |\n")
	}
	tests.WriteString("package a_test\n\n")
	for i, id := range requirements() {
		if !slices.Contains(waiting, id) {
			name := fmt.Sprintf("TestNumber%d", i)
			fmt.Fprintf(&doc, "| %s | `%s` | `lineage/a_test.go` |\n", id, name)
			fmt.Fprintf(&tests, "// %s.\nfunc %s(t *testing.T) {}\n", id, name)
		}
	}
	tree := func(old, doc2, tests2 string) fs.FS {
		return fstest.MapFS{
			conformanceDoc:       {Data: []byte(strings.Replace(doc.String(), old, doc2, 1))},
			"lineage/a_test.go":  {Data: []byte(strings.Replace(tests.String(), old, tests2, 1))},
			"lineage/a.go":       {Data: []byte("package a\n\nfunc TestInProduction() {} // F-AE-04\n")},
			"conformance_doc.md": {Data: []byte("F-AE-04")},
		}
	}
	if found := lintConformance(tree("-", "-", "-")); len(found) != 0 {
		t.Fatalf("the good document has %q", found)
	}
	name := fmt.Sprintf("TestNumber%d", slices.Index(requirements(), "F-AE-04"))
	row := "| F-AE-04 | `" + name + "` | `lineage/a_test.go` |\n"
	for _, f := range []struct{ name, old, doc, tests, want string }{
		{"no row", row, "", "", "add: " + strings.TrimSpace(row)},
		{"no test", "func " + name + "(", "", "func TestOther(", "F-AE-04: lineage/a_test.go has no " + name},
		{"not mentioned", "// F-AE-04.\n", "", "// F-AE\n", "lineage/a_test.go does not mention it"},
		{"no file", row, strings.Replace(row, "/a_", "/b_", 1), "", "F-AE-04: lineage/b_test.go has no " + name},
		{"production file", row, "| F-AE-04 | `TestInProduction` | `lineage/a.go` |\n", "", "F-AE-04: lineage/a.go has no TestInProduction"},
		{"unknown", row, row + strings.Replace(row, "04", "14", 1), "", "F-AE-14: not a requirement"},
		{"excused", row, "| F-AE-04 | too hard |\n", "", "F-AE-04: is to have a test, not a reason"},
		{"no reason", "| needs propagation |", "| |", "", "F-CP-05: neither a test nor a reason"},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			found := lintConformance(tree(f.old, f.doc, f.tests))
			if !slices.ContainsFunc(found, func(s string) bool { return strings.Contains(s, f.want) }) {
				t.Errorf("found %q, want %q", found, f.want)
			}
		})
	}
	for text, want := range map[string]string{
		"F-AE-04.": "FAE04", "TestTC07Denies": "TC07", "Test_F_AE_04": "FAE04", "NF-SEC-05": "NFSEC05",
		"F-AE-02…04": "FAE02 FAE03 FAE04", "F-GC-01/04": "FGC01 FGC04", "F-AE": "",
	} {
		if got := strings.Join(slices.Sorted(maps.Keys(idsIn(text))), " "); got != want {
			t.Errorf("idsIn(%q) = %s, want %s", text, got, want)
		}
	}
	if found := lintConformance(fstest.MapFS{}); len(found) < len(requirements()) {
		t.Errorf("an empty tree has only %d faults", len(found))
	}
}

func requirements() []string {
	ids := slices.Clone(single)
	for prefix, last := range required {
		for n := range last {
			ids = append(ids, fmt.Sprintf("%s-%02d", prefix, n+1))
		}
	}
	slices.Sort(ids)
	return ids
}

var mention = regexp.MustCompile(`((?:NF|F|TC)[-_]?(?:[A-Z]+[-_]?)?)(\d\d)(?:([…/])(\d\d))?`)

// idsIn returns the requirements that a text names: F-AE-04 in prose, FAE04 or F_AE_04 in the name of a test,
// F-AE-04…13 for a range and F-GC-03/04 for two.
func idsIn(text string) map[string]bool {
	named := map[string]bool{}
	for _, m := range mention.FindAllStringSubmatch(text, -1) {
		prefix := strings.NewReplacer("-", "", "_", "").Replace(m[1])
		first, _ := strconv.Atoi(m[2])
		last := first
		if m[4] != "" {
			last, _ = strconv.Atoi(m[4])
		}
		for n := first; n <= last; n++ {
			if n == first || n == last || m[3] == "…" {
				named[fmt.Sprintf("%s%02d", prefix, n)] = true
			}
		}
	}
	return named
}

func bare(id string) string { return strings.ReplaceAll(id, "-", "") }

// testFile holds what a test file names, and what each test in it names, with its comment.
type testFile struct {
	ids   map[string]bool
	tests map[string]map[string]bool
}

var testName = regexp.MustCompile(`^(Test|Fuzz|Example|Benchmark)`)

var docRow = regexp.MustCompile(`(?m)^\| ((?:F|NF|TC)-[A-Z0-9-]+) \|(.*)\|$`)

// lintConformance returns what is wrong with the document, sorted.
func lintConformance(root fs.FS) (found []string) {
	files := map[string]testFile{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || len(d.Name()) > 1 && d.Name()[0] == '.'):
			return fs.SkipDir
		case strings.HasSuffix(name, "_test.go") && path.Base(name) != "conformance_doc_test.go":
			files[name] = readTests(root, name)
		}
		return nil
	})
	if err != nil {
		found = append(found, err.Error())
	}
	doc, err := fs.ReadFile(root, conformanceDoc)
	if err != nil {
		found = append(found, err.Error())
	}
	ids, done := requirements(), map[string]bool{}
	for _, m := range docRow.FindAllStringSubmatch(string(doc), -1) {
		id, cells := m[1], strings.Split(m[2], "|")
		for i := range cells {
			cells[i] = strings.Trim(cells[i], " `")
		}
		switch {
		case !slices.Contains(ids, id):
			found = append(found, id+": not a requirement; the list is in conformance_doc_test.go")
		case len(cells) == 1 && !slices.Contains(waiting, id):
			found = append(found, id+": is to have a test, not a reason")
		case len(cells) == 1 && cells[0] != "", len(cells) == 2:
			done[id] = true
		}
		if len(cells) == 2 {
			found = append(found, lintRow(files, id, cells[0], cells[1])...)
		}
	}
	for _, id := range ids {
		if !done[id] {
			found = append(found, propose(files, id))
		}
	}
	slices.Sort(found)
	return found
}

func lintRow(files map[string]testFile, id, test, name string) []string {
	f := files[name]
	if _, ok := f.tests[test]; !ok {
		return []string{fmt.Sprintf("%s: %s has no %s", id, name, test)}
	}
	if !f.ids[bare(id)] {
		return []string{fmt.Sprintf("%s: %s does not mention it", id, name)}
	}
	return nil
}

// propose writes the row that is missing, with a test that names the requirement: one that has it in its name, else
// the one that names the fewest.
func propose(files map[string]testFile, id string) string {
	var row string
	var elsewhere []string
	best := math.MaxInt
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for _, test := range slices.Sorted(maps.Keys(files[name].tests)) {
			ids := files[name].tests[test]
			rank := len(ids)
			if idsIn(test)[bare(id)] {
				rank = 0
			}
			if ids[bare(id)] && rank < best {
				best, row = rank, fmt.Sprintf("| %s | %#q | %#q |", id, test, name)
			}
		}
		if files[name].ids[bare(id)] {
			elsewhere = append(elsewhere, name)
		}
	}
	if row != "" {
		return id + ": neither a test nor a reason; add: " + row
	}
	return fmt.Sprintf("%s: neither a test nor a reason; files that name it outside of a test: %q", id, elsewhere)
}

func readTests(root fs.FS, name string) testFile {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return testFile{}
	}
	f := testFile{ids: idsIn(string(text)), tests: map[string]map[string]bool{}}
	set := token.NewFileSet()
	syntax, err := parser.ParseFile(set, name, text, parser.ParseComments)
	if err != nil {
		return f // its own package does not build; that is reported there
	}
	for _, d := range syntax.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || !testName.MatchString(fn.Name.Name) {
			continue
		}
		from := fn.Pos()
		if fn.Doc != nil {
			from = fn.Doc.Pos()
		}
		f.tests[fn.Name.Name] = idsIn(string(text[set.Position(from).Offset:set.Position(fn.End()).Offset]))
	}
	return f
}
