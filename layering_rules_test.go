package kest_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

const (
	ours     = "github.com/kest-go/kest" // module path of the root; every other module is below it
	otelAPI  = "go.opentelemetry.io/otel"
	anything = "*"
)

// A layer may import what mayImport says, in code that is not a test.
type layer string

const (
	base       layer = "base"       // internal/*
	core       layer = "core"       // lineage
	vocabulary layer = "vocabulary" // one small interface and its values
	kit        layer = "kit"        // contract tests and mocks of a vocabulary, for tests only
	adapter    layer = "adapter"    // an implementation of a vocabulary
	guard      layer = "guard"      // kest
	shared     layer = "shared"     // internal/*: what several binaries have in common
	binary     layer = "binary"     // flags, environment, wiring
	leaf       layer = "leaf"       // benchmarks, examples, tests against other people's vectors
)

type place struct {
	layer layer
	third []string // import paths outside the repository and the standard library that the package may lead to
	noEnv bool     // no clock, network, file, environment or randomness of its own
	over  []string // what it is built upon: vocabularies, and for auto what it links. Those of a vocabulary its adapters may use, too
}

func in(l layer, third ...string) place { return place{layer: l, third: third} }

func (p place) pure() place { p.noEnv = true; return p }

func (p place) on(vocabularies ...string) place { p.over = vocabularies; return p }

// environment is what a pure package does without (DESIGN §2), and clock the members of package time among it.
var (
	environment = []string{"os", "io/ioutil", "net", "syscall", "log", "crypto/rand", "math/rand", "plugin", "time/tzdata"}
	clock       = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTicker", "NewTimer"}
)

// tree is what the rules look at: the Go files by directory, and the modules' directories.
type tree struct {
	fs      fs.FS
	table   map[string]place
	files   map[string][]goFile // by directory
	modules []string            // directories with a go.mod
	found   []string
	checked int
}

type goFile struct {
	name    string
	test    bool
	imports []string
}

// lintLayers returns the faults of a repository, sorted, and how many imports it looked at.
func lintLayers(root fs.FS, table map[string]place) ([]string, int) {
	t := &tree{fs: root, table: table, files: map[string][]goFile{}}
	if err := fs.WalkDir(root, ".", t.visit); err != nil {
		t.fault(".", "%v", err)
	}
	t.lintListed()
	for _, dir := range slices.Sorted(maps.Keys(t.files)) {
		for _, f := range t.files[dir] {
			t.lintFile(dir, f)
		}
		t.lintThird(dir)
	}
	t.lintModules()
	slices.Sort(t.found)
	return slices.Compact(t.found), t.checked
}

func (t *tree) fault(where, format string, args ...any) {
	t.found = append(t.found, where+": "+fmt.Sprintf(format, args...))
}

func (t *tree) visit(name string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	if d.IsDir() {
		// What the go command leaves out of ./... as well.
		if b := d.Name(); b == "testdata" || b == "vendor" || name != "." && (b[0] == '.' || b[0] == '_') {
			return fs.SkipDir
		}
		return nil
	}
	dir := path.Dir(name)
	switch {
	case d.Name() == "go.mod":
		t.modules = append(t.modules, dir)
	case strings.HasSuffix(name, ".go"):
		t.files[dir] = append(t.files[dir], t.parse(dir, name))
	}
	return nil
}

// parse reads a Go file whatever its build constraints are: a rule holds on every system.
func (t *tree) parse(dir, name string) goFile {
	f := goFile{name: name, test: strings.HasSuffix(name, "_test.go")}
	text, err := fs.ReadFile(t.fs, name)
	if err != nil {
		t.fault(name, "%v", err)
		return f
	}
	syntax, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
	if err != nil {
		t.fault(name, "%v", err)
		return f
	}
	for _, spec := range syntax.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			f.imports = append(f.imports, p)
		}
	}
	if p, _ := t.place(dir); p.noEnv && !f.test {
		ast.Inspect(syntax, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, s.Sel.Name) {
					t.fault(name, "uses time.%s, but the package has no clock of its own", s.Sel.Name)
				}
			}
			return true
		})
	}
	return f
}

// place finds the line of a package: its own, or the nearest one ending in /... above it.
func (t *tree) place(dir string) (place, bool) {
	if p, ok := t.table[dir]; ok {
		return p, true
	}
	for up := dir; up != "." && up != "/"; up = path.Dir(up) {
		if p, ok := t.table[up+"/..."]; ok {
			return p, true
		}
	}
	return place{}, false
}

func (t *tree) lintListed() {
	for dir := range t.files {
		if _, ok := t.place(dir); !ok && !isTool(dir) {
			t.fault(dir, "the package is not listed; give it a line in layering_test.go")
		}
	}
	for dir := range t.table {
		if _, ok := t.files[dir]; ok {
			continue
		}
		up, all := strings.CutSuffix(dir, "/...")
		if all && slices.ContainsFunc(slices.Collect(maps.Keys(t.files)), func(d string) bool { return below(d, up) }) {
			continue
		}
		t.fault(dir, "listed, but it has no Go file")
	}
	if len(t.files) == 0 || len(t.modules) == 0 {
		t.fault(".", "%d packages and %d modules: nothing to check", len(t.files), len(t.modules))
	}
}

func (t *tree) lintFile(dir string, f goFile) {
	from, _ := t.place(dir)
	for _, imported := range f.imports {
		t.checked++
		to, isOurs := ourDir(imported)
		switch {
		case imported == "C":
			t.fault(f.name, "imports C, but CGO_ENABLED=0 must build")
		case isOurs:
			t.lintOurs(dir, f, to)
		case f.test && t.moduleOf(dir) == "." && isThird(imported) && !covers([]string{otelAPI}, imported):
			t.fault(f.name, "a test of the root module imports %s; its users would get that requirement", imported)
		case from.noEnv && !f.test && slices.ContainsFunc(environment, func(e string) bool { return below(imported, e) }):
			t.fault(f.name, "imports %s, but the package has no clock, network, file, environment or randomness of its own", imported)
		}
	}
}

// lintOurs checks an import of one of our packages. Tests are freer: they may look up and sideways, but not at
// binaries, and those of the root module not at other modules.
func (t *tree) lintOurs(dir string, f goFile, to string) {
	target, listed := t.place(to)
	from, _ := t.place(dir)
	switch {
	case !listed:
		t.fault(f.name, "imports %s, which is not listed", to)
	case f.test && target.layer == binary && !below(dir, to) && from.layer != binary:
		t.fault(f.name, "a test must not import the binary %s", to)
	case f.test && t.moduleOf(dir) == "." && t.moduleOf(to) != ".":
		t.fault(f.name, "a test of the root module imports %s of another module", to)
	case !f.test && dir != to && from.layer != "" && !t.mayImport(dir, to):
		t.fault(f.name, "%s must not import %s", from.layer, to)
	}
}

func (t *tree) mayImport(dir, to string) bool {
	from, _ := t.place(dir)
	target, _ := t.place(to)
	switch from.layer {
	case core:
		return target.layer == base
	case vocabulary, shared:
		return target.layer == core || target.layer == base || slices.Contains(from.over, to)
	case kit, adapter: // of the vocabularies only its own, which is the directory above, and those that one is built upon
		own, _ := t.place(path.Dir(dir))
		return target.layer == core || target.layer == base || slices.Contains(own.over, to) || slices.Contains(from.over, to) ||
			path.Dir(dir) == to &&
				(target.layer == vocabulary || target.layer == shared && from.layer == kit)
	case guard: // an adapter of another module would bring its SDK to every user
		return target.layer == core || target.layer == base || target.layer == vocabulary ||
			target.layer == adapter && t.moduleOf(to) == t.moduleOf(dir)
	case binary:
		return target.layer != kit && target.layer != leaf && (target.layer != binary || binaryOf(dir) == binaryOf(to))
	case leaf:
		return target.layer != kit && target.layer != shared && target.layer != binary && (target.layer != leaf || t.moduleOf(to) == t.moduleOf(dir))
	}
	return false // base, and what is not listed
}

// lintThird checks everything a package leads to through our packages, because that is what its user gets.
func (t *tree) lintThird(dir string) {
	from, listed := t.place(dir)
	if !listed || slices.Contains(from.third, anything) {
		return
	}
	seen, queue := map[string]bool{dir: true}, []string{dir}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, f := range t.files[at] {
			if f.test {
				continue
			}
			for _, imported := range f.imports {
				if to, isOurs := ourDir(imported); isOurs && !seen[to] {
					seen[to], queue = true, append(queue, to)
				} else if !isOurs && isThird(imported) && !covers(from.third, imported) {
					t.fault(dir, "leads to %s by %s, and its line in layering_test.go does not allow that", imported, f.name)
				}
			}
		}
	}
}

// below reports whether name is up or lies below it, by whole path elements.
func below(name, up string) bool { return name == up || strings.HasPrefix(name, up+"/") }

func isTool(dir string) bool { return below(dir, "internal/tools") }

func ourDir(imported string) (string, bool) {
	if imported == ours {
		return ".", true
	}
	return strings.CutPrefix(imported, ours+"/")
}

// isThird tells the standard library apart by the dot in the first element of every other path.
func isThird(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return strings.Contains(first, ".")
}

// covers reports whether an import path is allowed. Of OpenTelemetry that is the API: its SDK, exporters and bridges
// live below the same path.
func covers(allowed []string, imported string) bool {
	for _, a := range allowed {
		if a == otelAPI && slices.ContainsFunc([]string{"sdk", "exporters", "bridge", "log"}, func(s string) bool {
			return below(imported, otelAPI+"/"+s)
		}) {
			continue
		}
		if below(imported, a) {
			return true
		}
	}
	return false
}

func binaryOf(dir string) string {
	name, _, _ := strings.Cut(dir, "/internal/")
	return name
}

// moduleOf returns the directory of the module that holds a directory.
func (t *tree) moduleOf(dir string) string {
	for up := dir; up != "."; up = path.Dir(up) {
		if slices.Contains(t.modules, up) {
			return up
		}
	}
	return "."
}
