package examples_test

import (
	"os"
	"strings"
	"testing"
)

// Every Go snippet of README stands in the examples, which the other tests compile and run, line for line.
func TestReadmeSnippets(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("guide_test.go")
	if err != nil {
		t.Fatal(err)
	}
	code, snippets := flat(string(source)), 0
	for i, part := range strings.Split(string(readme), "```go\n") {
		if i == 0 {
			continue
		}
		snippet, _, closed := strings.Cut(part, "```")
		if !closed {
			t.Fatal("unclosed code block")
		}
		snippets++
		if !strings.Contains(code, flat(snippet)) {
			t.Errorf("snippet %d is not in guide_test.go:\n%s", i, snippet)
		}
	}
	if snippets < 5 {
		t.Errorf("found %d Go snippets; the guide has five steps", snippets)
	}
}

// flat drops indentation and blank lines.
func flat(code string) string {
	var b strings.Builder
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// The policy that README shows is the one that the examples load.
func TestReadmePolicy(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("policies/kest/allow_trusted.rego")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(readme), "```rego\n")
	shown, _, closed := strings.Cut(after, "```")
	if !found || !closed {
		t.Fatal("README shows no policy")
	}
	if !strings.Contains(flat(string(source)), flat(shown)) {
		t.Errorf("README shows another policy than policies/kest/allow_trusted.rego:\n%s", shown)
	}
}
