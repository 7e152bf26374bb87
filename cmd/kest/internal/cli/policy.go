package cli

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/kest-go/kest/internal/report"
)

func (c *cli) policy() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Check, evaluate, test and compare policies in Rego or Cedar",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.policyCheck(), c.policyEval(), c.policyTest(), c.policyDiff(), c.policyEntities())
	return cmd
}

func (c *cli) policyCheck() *cobra.Command {
	var f folder
	cmd := &cobra.Command{
		Use:   "check DIR",
		Short: "Compile the policies of a folder and list them",
		Long: `Compile the policies of a folder, in Rego with its data and bundles or in Cedar
with its entities and schema, and list them by the names that calls ask for: in
Rego the rule allow of package kest.allow_trusted is the policy
kest/allow_trusted, in Cedar the file kest/allow_trusted.cedar is.

Exit codes: 0 all compile; 1 faults, each with file and line; 2 no such folder.`,
		Args: exactly("DIR"),
		RunE: c.run(func(_ context.Context, args []string) error { return c.check(&f, args[0]) }),
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&f.schema, "schema", "", "Cedar schema, by its path in the folder; default schema.cedarschema, if it is there")
	cmd.Flags().BoolVar(&f.strict, "check-input", false,
		"find members that no input has; in Cedar without a schema, and where no attributes or labels are read")
	c.json(cmd)
	return cmd
}

// checked is the result of policy check.
type checked struct {
	Valid    bool     `json:"valid"`
	Engine   string   `json:"engine"`
	Policies []string `json:"policies"`
	Revision string   `json:"revision,omitempty"`
	Errors   []fault  `json:"errors"`
	Warnings []fault  `json:"warnings"`
}

func (c *cli) check(f *folder, dir string) error {
	engine, warnings, err := f.load(dir)
	result := checked{Engine: f.engine, Policies: []string{}, Errors: []fault{}, Warnings: warnings}
	switch faults := sourceErrors(err); {
	case err == nil:
		result.Valid, result.Policies, result.Revision = true, engine.Policies(), engine.Revision()
	case len(faults) == 0:
		return err
	default:
		sortFaults(faults)
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
