package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kest-go/kest/internal/report"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedar"
	"github.com/kest-go/kest/policy/rego"
)

// The engines that decide inside this program.
const (
	engineRego  = "rego"
	engineCedar = "cedar"
)

// rules is a folder of policies that were loaded, in either language.
type rules interface {
	policy.Explainer
	policy.Checker
	described
}

type described interface {
	Policies() []string
	Revision() string
}

// A folder says how to load one. Its zero value lets the files choose the engine.
type folder struct {
	engine string
	prefix string // Rego: the package below which the policies are
	schema string // Cedar; in the folder
	strict bool   // check what policies read against what an input holds
}

func (f *folder) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.engine, "engine", "", "rego or cedar; without it the files of the folder say which")
	cmd.Flags().StringVar(&f.prefix, "prefix", "", "Rego only: package below which the policies are, as in engine.rego.prefix")
	_ = cmd.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions( // the flag is there
		[]cobra.Completion{engineRego, engineCedar}, cobra.ShellCompDirectiveNoFileComp))
}

// load compiles a folder. Errors that are not faults in its files say what to do.
func (f *folder) load(dir string) (engine rules, warnings []fault, err error) {
	if f.engine, err = f.kind(dir); err != nil {
		return nil, nil, err
	}
	if f.engine == engineCedar {
		engine, err := cedar.Config{Schema: f.schema, CheckInput: f.strict}.Dir(dir)
		return engine, []fault{}, err
	}
	if f.schema != "" {
		return nil, nil, errors.New("--schema is for Cedar, and the policies are in Rego; leave it out")
	}
	log := &collector{faults: []fault{}}
	engine, err = rego.Config{Logger: slog.New(log), Prefix: f.prefix, CheckInput: f.strict}.Dir(dir)
	return engine, log.faults, err
}

// compiled is load, for commands that need policies without a fault.
func (f *folder) compiled(dir string) (rules, []fault, error) {
	engine, warnings, err := f.load(dir)
	if faults := sourceErrors(err); len(faults) > 0 {
		return nil, nil, report.Hint("kest policy check "+dir+" lists all faults", "policies do not compile: %s", faults[0])
	}
	return engine, warnings, err
}

// kind is the engine that was chosen, or the one whose files the folder has.
func (f *folder) kind(dir string) (string, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", report.Hint("check the path", "folder %s does not exist", dir)
	case err == nil && !info.IsDir():
		return "", report.Hint("give the folder that holds the policies", "%s is not a folder", dir)
	case f.engine == engineRego || f.engine == engineCedar:
		return f.engine, nil
	case f.engine != "":
		return "", report.Hint("there is: rego, cedar", "no engine %q", f.engine)
	}
	hasRego, hasCedar, err := languages(dir)
	switch {
	case err != nil:
		return "", err
	case hasRego && hasCedar:
		return "", report.Hint("say which with --engine rego or --engine cedar", "folder %s has policies in Rego and in Cedar", dir)
	case hasCedar:
		return engineCedar, nil
	case hasRego:
		return engineRego, nil
	}
	return "", report.Hint("policies are *.rego, *.tar.gz (a bundle) or *.cedar", "folder %s has no policy files", dir)
}

// languages looks at the names of the files that the engines would load.
func languages(dir string) (hasRego, hasCedar bool, err error) {
	seen := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if seen++; err == nil && seen > maxFiles {
			err = report.Hint("give a smaller folder, or say --engine", "folder %s has more than %d files", dir, maxFiles)
		}
		if err != nil {
			return err
		}
		name := d.Name()
		if path != dir && strings.HasPrefix(name, ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		hasCedar = hasCedar || strings.HasSuffix(name, ".cedar")
		hasRego = hasRego || strings.HasSuffix(name, ".tar.gz") ||
			strings.HasSuffix(name, ".rego") && !strings.HasSuffix(name, "_test.rego")
		return nil
	})
	return hasRego, hasCedar, err
}

// maxFiles bounds the files of a folder, as the engines do.
const maxFiles = 10_000

// known tells a misspelt name from a refusal.
func known(engine rules, name string) error {
	err := engine.Check(name)
	if err == nil || !errors.Is(err, policy.ErrUnknownPolicy) {
		return err
	}
	names := engine.Policies()
	hint := "the folder has no policies that can be asked"
	if len(names) > 0 {
		hint = "there is: " + strings.Join(names[:min(len(names), 10)], ", ")
	}
	return &report.Error{Err: err, Hint: hint}
}

// A fault is one thing wrong with, or worth saying about, a policy file.
type fault struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Policy  string `json:"policy,omitempty"`
	Message string `json:"message"`
}

// String is the form that editors find files and lines in.
func (f fault) String() string {
	e := rego.SourceError{File: f.File, Line: f.Line, Policy: f.Policy, Message: f.Message}
	return e.Error()
}

// sourceErrors lists the faults in an error, which may be joined and wrapped.
func sourceErrors(err error) []fault {
	switch u := err.(type) { //nolint:errorlint // it walks the tree of errors itself, to find all of them
	case *rego.SourceError:
		return []fault{{u.File, u.Line, u.Column, u.Policy, u.Message}}
	case *cedar.SourceError:
		return []fault{{u.File, u.Line, u.Column, u.Policy, u.Message}}
	case interface{ Unwrap() []error }:
		var all []fault
		for _, e := range u.Unwrap() {
			all = append(all, sourceErrors(e)...)
		}
		return all
	case interface{ Unwrap() error }:
		return sourceErrors(u.Unwrap())
	}
	return nil
}

// place is a file and a line as editors find them.
func place(file string, line int) string { return fmt.Sprintf("%s:%d", file, line) }

// faultOrder puts faults where a reader of the files meets them.
func sortFaults(faults []fault) {
	slices.SortStableFunc(faults, func(a, b fault) int {
		if a.File != b.File {
			return strings.Compare(a.File, b.File)
		}
		return a.Line - b.Line
	})
}
