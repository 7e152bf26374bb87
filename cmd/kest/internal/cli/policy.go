package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/kest-go/kest/internal/report"
	"github.com/kest-go/kest/policy/rego"
)

func (c *cli) policy() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Check and evaluate Rego policies",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.policyCheck(), c.policyEval())
	return cmd
}

func (c *cli) policyCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check DIR",
		Short: "Compile the policies of a folder and list them",
		Long: `Compile the Rego policies of a folder, with its data and bundles, and list
them by the names that calls ask for: the rule allow of package kest.allow_trusted
is the policy kest/allow_trusted.

Exit codes: 0 all compile; 1 faults, each with file and line; 2 no such folder.`,
		Args: exactly("DIR"),
		RunE: c.run(func(_ context.Context, args []string) error { return c.check(args[0]) }),
	}
	c.json(cmd)
	return cmd
}

// fault is one thing wrong with, or worth saying about, a policy file.
type fault struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Policy  string `json:"policy,omitempty"`
	Message string `json:"message"`
}

func (f fault) String() string {
	e := rego.SourceError{File: f.File, Line: f.Line, Policy: f.Policy, Message: f.Message}
	return e.Error()
}

// checked is the result of policy check.
type checked struct {
	Valid    bool     `json:"valid"`
	Policies []string `json:"policies"`
	Revision string   `json:"revision,omitempty"`
	Errors   []fault  `json:"errors"`
	Warnings []fault  `json:"warnings"`
}

func (c *cli) check(dir string) error {
	engine, warnings, err := load(dir)
	result := checked{Policies: []string{}, Errors: []fault{}, Warnings: warnings}
	switch faults := sourceErrors(err); {
	case err == nil:
		result.Valid, result.Policies, result.Revision = true, engine.Policies(), engine.Revision()
	case len(faults) == 0:
		return err
	default:
		result.Errors = faults
	}
	if c.JSON {
		err = c.WriteJSON(result)
	} else {
		c.warn(warnings)
		err = c.Write(c.checkPage(dir, result))
	}
	if err == nil && !result.Valid {
		err = report.ErrBad
	}
	return err
}

func (c *cli) checkPage(dir string, r checked) []byte {
	p := c.Page()
	if !r.Valid {
		for _, f := range r.Errors {
			p.Line("%s", report.Clean(f.String())) // one line each, so that editors and greps find file and line
		}
		p.Line("%s  %s: %s", p.Paint(report.Red, "BAD"), report.Fit(dir, 50), report.Count(len(r.Errors), "fault", "faults"))
		return p.Bytes()
	}
	for _, name := range r.Policies {
		p.Line("%s", name)
	}
	p.Line("%s  %s: %s, revision %.19s", p.Paint(report.Green, "GOOD"), report.Fit(dir, 30),
		report.Count(len(r.Policies), "policy", "policies"), r.Revision)
	return p.Bytes()
}

func (c *cli) warn(warnings []fault) {
	for _, w := range warnings {
		c.Warn("warning: " + w.String())
	}
}

// load compiles a folder. Errors that are not faults in its files say what to do.
func load(dir string) (*rego.Engine, []fault, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil, report.Hint("check the path", "folder %s does not exist", dir)
	case err == nil && !info.IsDir():
		return nil, nil, report.Hint("give the folder that holds the policies", "%s is not a folder", dir)
	}
	log := &collector{faults: []fault{}}
	engine, err := rego.Config{Logger: slog.New(log)}.Dir(dir)
	return engine, log.faults, err
}

// sourceErrors lists the faults in an error, which may be joined and wrapped.
func sourceErrors(err error) []fault {
	switch u := err.(type) { //nolint:errorlint // it walks the tree of errors itself, to find all of them
	case *rego.SourceError:
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

// A collector is a slog.Handler that keeps the engine's warnings, to show them in the form of this program. The
// engine logs while it loads, on one goroutine.
type collector struct{ faults []fault }

func (*collector) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

func (h *collector) Handle(_ context.Context, r slog.Record) error {
	f := fault{Message: r.Message}
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "file":
			f.File = a.Value.String()
		case "line":
			f.Line = int(a.Value.Int64())
		default:
			f.Message += fmt.Sprintf("; %s: %v", a.Key, a.Value)
		}
		return true
	})
	h.faults = append(h.faults, f)
	return nil
}

func (h *collector) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *collector) WithGroup(string) slog.Handler      { return h }
