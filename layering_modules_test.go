package kest_test

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// lintModules checks go.work against the go.mod files: a module is part of the workspace, or it is a tool. Every
// module of the workspace is named in the documents, so that a reader can find it.
func (t *tree) lintModules() {
	var workspace []string
	for _, words := range modLines(t.read("go.work"), "use") {
		workspace = append(workspace, path.Clean(words[0]))
	}
	documents := t.read("README.md") + t.read("docs/architecture.md")
	for _, dir := range t.modules {
		used := slices.Contains(workspace, dir)
		switch {
		case !used && !isTool(dir):
			t.fault(dir, "the module is neither in go.work nor below internal/tools")
		case used && isTool(dir):
			t.fault(dir, "a tool module is in go.work, where it would decide the versions of everything")
		case used && !strings.Contains(documents, "`"+dir+"`"):
			t.fault(dir, "the module is not named (in backquotes) in README.md or docs/architecture.md")
		}
		t.lintModule(dir)
	}
	for _, dir := range workspace {
		if !slices.Contains(t.modules, dir) {
			t.fault(dir, "in go.work, but it has no go.mod")
		}
	}
}

func (t *tree) lintModule(dir string) {
	name := path.Join(dir, "go.mod")
	text := t.read(name)
	if lines := modLines(text, "module"); len(lines) != 1 || lines[0][0] != path.Join(ours, dir) {
		t.fault(name, "the module path is not %s", path.Join(ours, dir))
	}
	for _, words := range modLines(text, "require") {
		indirect := slices.Contains(words, "indirect")
		if dir == "." && !indirect && !covers([]string{otelAPI}, words[0]) {
			t.fault(name, "the root requires %s; it may require the OpenTelemetry API only", words[0])
		}
	}
	for _, words := range modLines(text, "replace") {
		i := slices.Index(words, "=>")
		if i < 0 || i+1 >= len(words) {
			continue
		}
		to := words[i+1]
		local := strings.HasPrefix(to, "./") || strings.HasPrefix(to, "../")
		if at := path.Join(dir, to); !local || !slices.Contains(t.modules, at) {
			t.fault(name, "replaces by %s, which is not a module of this repository", to)
		}
	}
}

func (t *tree) read(name string) string {
	text, err := fs.ReadFile(t.fs, name)
	if err != nil {
		return "" // what should be in it is then reported as missing
	}
	return string(text)
}

// modLines returns the words after a directive of a go.mod or go.work file, with and without parentheses.
func modLines(text, directive string) [][]string {
	var lines [][]string
	inside := false
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case inside && words[0] == ")":
			inside = false
		case inside && !strings.HasPrefix(words[0], "//"):
			lines = append(lines, words)
		case words[0] == directive && len(words) > 1 && words[1] == "(":
			inside = true
		case words[0] == directive && len(words) > 1:
			lines = append(lines, words[1:])
		}
	}
	return lines
}
