package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/internal/report"
	"github.com/kest-go/kest/lineage"
)

func (c *cli) config() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check deployment configuration",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.configCheck(), c.configSchema())
	return cmd
}

func (c *cli) configCheck() *cobra.Command {
	var operations []string
	var environment bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say everything that is wrong with a configuration",
		Long: `Check a deployment configuration, in YAML or JSON, and say everything that is
wrong with it, with file, line and column. Nothing is connected to, and no other
file is read but the keys of approvers: kest policy check lists the policies that
there are. What is probably not meant, such as a deviation that has expired, is
a warning.

FILE alone is checked; with --env the KEST_* variables of this environment count
as they do in a program. - is standard input.

Exit codes: 0 good, warnings included; 1 bad; 2 wrong usage or no such file.`,
		Example: `  kest config check /etc/kest/kest.yaml
  kest config check kest.yaml --operations payments.Process,payments.Refund`,
		Args: exactly("FILE"),
		RunE: c.run(func(ctx context.Context, args []string) error {
			o := config.Options{Operations: operations, Environ: []string{}}
			if environment {
				o.Environ = nil // that of the process
			}
			return c.checkConfig(ctx, args[0], o)
		}),
	}
	cmd.Flags().StringSliceVar(&operations, "operations", nil,
		"all operations of the program, comma-separated: warn of deviations that match none")
	cmd.Flags().BoolVar(&environment, "env", false, "let the KEST_* variables of this environment count")
	c.json(cmd)
	return cmd
}

func (c *cli) configSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of configuration files",
		Long: `Print the JSON Schema (draft 2020-12) of configuration files, for editors. It
describes every key. Rules about several values are known to kest config check
alone.`,
		Args: cobra.NoArgs,
		RunE: c.run(func(context.Context, []string) error { return c.Write([]byte(config.Schema())) }),
	}
}

// configured is the result of config check.
type configured struct {
	Valid    bool              `json:"valid"`
	Problems []*config.Problem `json:"problems"`
	More     bool              `json:"more,omitempty"` // there are more problems than are listed
	Warnings []*config.Problem `json:"warnings"`
}

func (c *cli) checkConfig(ctx context.Context, file string, o config.Options) error {
	d, err := c.readConfig(ctx, file, o)
	result := configured{Problems: []*config.Problem{}, Warnings: []*config.Problem{}}
	bad := (*config.Error)(nil)
	switch {
	case err == nil:
		result.Valid, result.Warnings = true, append(result.Warnings, d.Warnings()...)
	case errors.As(err, &bad):
		result.Problems, result.More = bad.Problems, bad.More
	default:
		return err
	}
	if c.JSON {
		err = c.WriteJSON(result)
	} else {
		err = c.Write(c.configPage(file, result))
	}
	if err == nil && !result.Valid {
		err = report.ErrBad
	}
	return err
}

func (c *cli) readConfig(ctx context.Context, file string, o config.Options) (*config.Deployment, error) {
	if file != "-" {
		return config.Load(file, o)
	}
	text, err := c.Read(ctx, "configuration", file, config.MaxBytes)
	if err != nil {
		return nil, err
	}
	o.File = report.Shown(file)
	return config.Parse(text, o)
}

func (c *cli) configPage(file string, r configured) []byte {
	p := c.Page()
	for _, problem := range r.Problems {
		configProblem(p, "", problem)
	}
	for _, warning := range r.Warnings {
		configProblem(p, "warning: ", warning)
	}
	verdict, counted := p.Paint(report.Green, "GOOD"), report.Count(len(r.Warnings), "warning", "warnings")
	if !r.Valid {
		verdict, counted = p.Paint(report.Red, "BAD"), report.Count(len(r.Problems), "problem", "problems")
		if r.More {
			counted += ", and more"
		}
	}
	p.Line("%s  %s: %s", verdict, report.Fit(report.Shown(file), 50), counted)
	return p.Bytes()
}

// configProblem writes the place and the message on one line, however long, so that editors and greps find them.
func configProblem(p *report.Page, kind string, problem *config.Problem) {
	line := *problem
	line.Message, line.Hint = kind+line.Message, ""
	p.Line("%s", report.Clean(line.String()))
	if problem.Hint != "" {
		p.Wrap("  hint: ", problem.Hint)
	}
}

func configFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", "", "deployment configuration: authority, origins, limits and the section verifier")
}

// deployed adds what a configuration says about verification. The file alone counts, so that a verdict can be repeated
// elsewhere.
func (c *cli) deployed(ctx context.Context, file string, o *report.VerifyOptions) error {
	if file == "" {
		return nil
	}
	d, err := c.readConfig(ctx, file, config.Options{Environ: []string{}})
	if bad := (*config.Error)(nil); errors.As(err, &bad) {
		return report.Hint("kest config check "+file+" shows all of it", "configuration: %s", bad.Problems[0])
	}
	if err != nil {
		return err
	}
	o.Config, err = d.Verifier(lineage.VerifierConfig{Legacy: o.Legacy})
	if err != nil {
		return err
	}
	o.Legacy = nil
	keys, err := d.Keys()
	if keys != nil {
		o.Config.Keys = keys
	}
	return err
}
