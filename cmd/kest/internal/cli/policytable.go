package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/kest-go/kest/internal/report"
	"github.com/kest-go/kest/policy"
)

// Bounds of the tables of a folder.
const (
	tableBytes = 1 << 20 // of one file
	maxCases   = 10_000  // in one file
	maxLevels  = 64      // of a case (SPEC §12)
)

// A tableCase is one line of a table.
type tableCase struct {
	name, policy string
	file         string
	line         int
	in           *policy.Input
	allow        bool
	class        error // expected instead of a decision, or nil
	reason       string
}

// classes are the errors that a table can expect.
var classes = map[string]error{
	"unknown": policy.ErrUnknownPolicy, "indefinite": policy.ErrIndefinite, "unavailable": policy.ErrUnavailable,
}

// run asks the engine.
func (t *tableCase) run(ctx context.Context, engine rules) testCase {
	result := testCase{Name: t.name, File: t.file, Line: t.line, Outcome: failed}
	decision, err := engine.Evaluate(ctx, t.policy, t.in)
	switch {
	case t.class != nil && err == nil:
		result.Message = fmt.Sprintf("got %s; want an error: %v", verdict(decision.Allow), t.class)
	case t.class != nil && !errors.Is(err, t.class):
		result.Message = fmt.Sprintf("got the error: %v; want: %v", err, t.class)
	case t.class == nil && err != nil:
		result.Message = fmt.Sprintf("got the error: %v; want %s", err, verdict(t.allow))
	case t.class == nil && decision.Allow != t.allow:
		result.Message = fmt.Sprintf("got %s; want %s", verdict(decision.Allow), verdict(t.allow))
		if decision.Reason != "" {
			result.Message += "; " + decision.Reason
		}
	case t.reason != "" && !strings.Contains(reasonOf(decision, err), t.reason):
		result.Message = fmt.Sprintf("got the reason %q; want %q in it", reasonOf(decision, err), t.reason)
	default:
		result.Outcome = passed
	}
	return result
}

func verdict(allow bool) string {
	if allow {
		return "allow"
	}
	return "deny"
}

func reasonOf(d policy.Decision, err error) string {
	if err != nil {
		return err.Error()
	}
	return d.Reason
}

// readTables reads all tables of a folder, and reports the faults of all. Nothing outside the folder is read.
func readTables(ctx context.Context, dir string) (all []tableCase, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // it is only read
	var errs []error
	seen := 0
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if seen++; err == nil && seen > maxFiles {
			err = fmt.Errorf("more than %d files; give a smaller folder", maxFiles)
		}
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return errors.New("interrupted")
		case name != "." && strings.HasPrefix(path.Base(name), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir() || !isTable(name):
			return nil
		}
		cases, err := readTable(root, name, filepath.ToSlash(filepath.Join(dir, name)))
		all = append(all, cases...)
		errs = append(errs, err)
		return nil
	})
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, report.Hint("kest policy test --help shows the form of a table", "%w", err)
	}
	return all, nil
}

func isTable(name string) bool {
	ext := path.Ext(name)
	return strings.HasSuffix(strings.TrimSuffix(name, ext), "_test") && (ext == ".yaml" || ext == ".yml" || ext == ".json")
}

func readTable(root *os.Root, name, shown string) ([]tableCase, error) {
	info, err := root.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be read", shown)
	}
	if !info.Mode().IsRegular() { // a pipe would hold it up
		return nil, fmt.Errorf("%s: not a regular file", shown)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be read", shown)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, tableBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", shown, err)
	case len(text) > tableBytes:
		return nil, fmt.Errorf("%s: more than %d bytes", shown, tableBytes)
	}
	return parseTable(text, shown)
}

// parseTable reads one table. All faults of it are reported, each with its line.
func parseTable(text []byte, shown string) ([]tableCase, error) {
	r := tableReader{file: shown}
	var doc, more yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: is empty", shown)
	} else if err != nil {
		return nil, yamlFault(shown, err)
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more than one document", shown)
	}
	list := doc.Content[0]
	switch {
	case list.Kind != yaml.SequenceNode:
		r.fail(list, "want a list of cases")
	case len(list.Content) == 0:
		r.fail(list, "has no cases")
	case len(list.Content) > maxCases:
		r.fail(list, "has more than %d cases", maxCases)
	default:
		for _, n := range list.Content {
			r.oneCase(n)
		}
	}
	return r.cases, errors.Join(r.errs...)
}

// yamlLine is how the parser begins an error that has a line.
var yamlLine = regexp.MustCompile(`^yaml: line \d+: `)

// yamlFault gives the line of a parser's error the form that editors find it in.
func yamlFault(shown string, err error) error {
	text := err.Error()
	if at := yamlLine.FindString(text); at != "" {
		return fmt.Errorf("%s:%s", shown, strings.TrimPrefix(text, "yaml: line "))
	}
	return fmt.Errorf("%s: %s", shown, strings.TrimPrefix(text, "yaml: "))
}

type tableReader struct {
	file  string
	cases []tableCase
	errs  []error
}

func (r *tableReader) fail(n *yaml.Node, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s: %s", place(r.file, n.Line), fmt.Sprintf(format, args...)))
}

func (r *tableReader) oneCase(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, "want a case: a mapping with name, policy, input, and allow or error")
		return
	}
	before := len(r.errs)
	t := tableCase{file: r.file, line: n.Line}
	members := map[string]*yaml.Node{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if members[key.Value] != nil {
			r.fail(key, "%.100q stands twice", key.Value)
		}
		members[key.Value] = value
		switch key.Value {
		case "name":
			t.name = r.text(key, value)
		case "policy":
			t.policy = r.text(key, value)
		case "reason":
			t.reason = r.text(key, value)
		case "error":
			if t.class = classes[r.text(key, value)]; t.class == nil {
				r.fail(value, "error: want unknown, indefinite or unavailable")
			}
		case "allow":
			if value.Kind != yaml.ScalarNode || value.Tag != "!!bool" || value.Style&yaml.TaggedStyle != 0 {
				r.fail(value, "allow: want true or false")
			}
			t.allow = strings.EqualFold(value.Value, "true")
		case "input":
		default:
			r.fail(key, "no such member %.100q; there is allow, error, input, name, policy, reason", key.Value)
		}
	}
	for _, must := range []string{"name", "policy", "input"} {
		if members[must] == nil {
			r.fail(n, "%s: missing", must)
		}
	}
	if (members["allow"] == nil) == (members["error"] == nil) {
		r.fail(n, "want allow or error, one of them")
	}
	if input := members["input"]; input != nil {
		t.in = r.input(input, t.policy)
	}
	if len(r.errs) == before {
		r.cases = append(r.cases, t)
	}
}

func (r *tableReader) text(key, value *yaml.Node) string {
	if value.Kind != yaml.ScalarNode || value.Tag != "!!str" || value.Value == "" {
		r.fail(value, "%s: want a text; quote it if it looks like something else", key.Value)
	}
	return value.Value
}

// input reads the document as policy eval does.
func (r *tableReader) input(n *yaml.Node, name string) *policy.Input {
	var b bytes.Buffer
	if err := toJSON(&b, n, 0); err != nil {
		r.errs = append(r.errs, fmt.Errorf("%s:%w", r.file, err))
		return nil
	}
	in, _, err := readInput(b.Bytes(), name)
	if err != nil {
		r.fail(n, "input: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return in
}
