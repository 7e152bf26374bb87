package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kest-go/kest/internal/report"
	"github.com/kest-go/kest/policy"
)

// inputBytes bounds an input document.
const inputBytes = 1 << 20

func (c *cli) policyEval() *cobra.Command {
	var f folder
	var input string
	cmd := &cobra.Command{
		Use:   "eval DIR POLICY --input FILE",
		Short: "Evaluate one policy against one input document, and explain the answer",
		Long: `Evaluate one policy of a folder against one input document, in the form that
engines see during a call. Types are checked first: a trust score that is text,
or a member that no call has, is refused. Members that are left out have the
values of a first call by nobody, and the result says so; lists of lineage that
are left out follow from its ancestors, if those are given.

The explanation names the rules that decided, each with file and line. After a
denial it shows the first condition of each rule that did not hold, with the
values of the input that it looked at. It can repeat any part of the input.

Exit codes: 0 allow; 1 deny, also when the policy gives no definite answer;
2 wrong usage, unreadable input, or policies that do not compile.`,
		Example: `  echo '{"trust_score": 10}' | kest policy eval policies kest/allow_trusted --input -`,
		Args:    exactly("DIR", "POLICY"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return completePolicy(f, args)
		},
		RunE: c.run(func(ctx context.Context, args []string) error { return c.eval(ctx, &f, args[0], args[1], input) }),
	}
	cmd.Flags().StringVar(&input, "input", "", "JSON input document; - is standard input")
	f.flags(cmd)
	c.json(cmd)
	return cmd
}

func completePolicy(f folder, args []string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	if engine, _, err := f.load(args[0]); err == nil && len(args) == 1 {
		return engine.Policies(), cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// evaluated is the result of policy eval.
type evaluated struct {
	Policy      string             `json:"policy"`
	Engine      string             `json:"engine"`
	Allow       bool               `json:"allow"`
	Reason      string             `json:"reason,omitempty"`
	Error       string             `json:"error,omitempty"` // why the policy could not decide; it denies
	Revision    string             `json:"revision"`
	Explanation policy.Explanation `json:"explanation"`
	Notes       []string           `json:"notes"`
	Warnings    []fault            `json:"warnings"`
}

func (c *cli) eval(ctx context.Context, f *folder, dir, name, file string) error {
	if file == "" {
		return report.Hint("add --input FILE, or --input - for standard input", "no input document given")
	}
	engine, warnings, err := f.compiled(dir)
	if err == nil {
		err = known(engine, name)
	}
	if err != nil {
		return err
	}
	text, err := c.Read(ctx, "input", file, inputBytes)
	if err != nil {
		return err
	}
	in, notes, err := readInput(text, name)
	if err != nil {
		return report.Hint("the members and types are those of policy/input.schema.json", "input %s: %w", report.Shown(file), err)
	}
	why, err := engine.Explain(ctx, name, in)
	result := evaluated{
		Policy: name, Engine: f.engine, Allow: err == nil && why.Decision.Allow, Reason: why.Decision.Reason,
		Revision: engine.Revision(), Explanation: why, Notes: notes, Warnings: warnings,
	}
	if err != nil {
		result.Error = err.Error()
	}
	return c.evalResult(result)
}

func (c *cli) evalResult(r evaluated) error {
	var err error
	if c.JSON {
		err = c.WriteJSON(r)
	} else {
		c.warn(r.Warnings)
		err = c.Write(c.evalPage(r))
	}
	if err == nil && !r.Allow {
		err = report.ErrBad
	}
	return err
}

func (c *cli) evalPage(r evaluated) []byte {
	p := c.Page()
	verdict := p.Paint(report.Red, "DENY")
	if r.Allow {
		verdict = p.Paint(report.Green, "ALLOW")
	}
	p.Line("%s  %s", verdict, r.Policy)
	if r.Reason != "" {
		p.Wrap("  reason: ", r.Reason)
	}
	if r.Error != "" {
		p.Wrap("  reason: ", "no decision could be made, which denies: "+r.Error)
	}
	explain(p, &r.Explanation)
	for _, note := range r.Notes {
		p.Wrap("  note: ", note)
	}
	return p.Bytes()
}
