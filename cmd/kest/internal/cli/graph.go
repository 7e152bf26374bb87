package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kest-go/kest/fastverify"
	"github.com/kest-go/kest/internal/report"
)

func (c *cli) graph() *cobra.Command {
	var o report.VerifyOptions
	var format string
	cmd := &cobra.Command{
		Use:   "graph FILE",
		Short: "Draw the lineage of a passport",
		Long: `Draw the lineage of a passport: calls from top to bottom, forks and joins as
branching lines. Without --keys nothing is verified, and the drawing says so.

FILE is a passport, a JSON array of compact JWS strings, or the value of a
baggage header; - is standard input.`,
		Example: `  kest graph passport.json
  kest graph passport.json --keys keys.json`,
		Args: exactly("FILE"),
		RunE: c.run(func(ctx context.Context, args []string) error {
			if err := report.CheckGraphFormat(format); err != nil {
				return err
			}
			o.File, o.Batch = args[0], fastverify.New(fastverify.Config{})
			return c.Graph(ctx, o)
		}),
	}
	keysFlag(cmd, &o)
	cmd.Flags().StringVar(&format, "format", "tree", "how to draw: tree")
	// The flag was defined on the line above, so this cannot fail.
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(report.GraphFormats(), cobra.ShellCompDirectiveNoFileComp))
	c.json(cmd)
	return cmd
}
