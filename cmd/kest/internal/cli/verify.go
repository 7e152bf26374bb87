package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kest-go/kest/fastverify"
	"github.com/kest-go/kest/internal/report"
)

func (c *cli) verify() *cobra.Command {
	var o report.VerifyOptions
	var configuration string
	cmd := &cobra.Command{
		Use:   "verify FILE --keys KEYS [--config CFG]",
		Short: "Verify a passport",
		Long: `Verify a passport: structure, links, keys, signatures, and that trust and
taints follow from the parents. Prints every entry, then the verdict.

FILE is a passport, a JSON array of compact JWS strings, or the value of a
baggage header; - is standard input.
KEYS is a JSON object from principal to JWKS, or an archive of key bindings:
then a key counts for what was signed while its binding held, however long ago.
CFG is a deployment configuration: its authority, origins, trust and limits count,
and what its section verifier says; KEYS may be left out where it names keys.

Exit codes: 0 verified; 1 not verified; 2 wrong usage or unreadable input.`,
		Example: `  kest verify passport.json --keys keys.json
  kest verify --keys keys.json --tip 3f2a…,91c0… --json - < passport.json`,
		Args: exactly("FILE"),
		RunE: c.run(func(ctx context.Context, args []string) error {
			o.File, o.Batch = args[0], fastverify.New(fastverify.Config{})
			if err := c.deployed(ctx, configuration, &o); err != nil {
				return err
			}
			return c.Verify(ctx, o)
		}),
	}
	keysFlag(cmd, &o)
	configFlag(cmd, &configuration)
	cmd.Flags().StringArrayVar(&o.Tips, "tip", nil,
		`announced ends of the lineage: comma-separated hashes, "" for an empty passport`)
	cmd.Flags().BoolVar(&o.Linear, "linear", false, "demand that the only parent of an entry is the one before it")
	cmd.Flags().StringArrayVar(&o.Legacy, "legacy", nil, "principal whose entries may lack newer labels; may be repeated")
	c.json(cmd)
	return cmd
}

func keysFlag(cmd *cobra.Command, o *report.VerifyOptions) {
	cmd.Flags().StringVar(&o.Keys, "keys", "", "JSON object from principal to JWKS, or an archive of key bindings")
	cmd.Flags().BoolVar(&o.Observed, "observed", false, "demand that the archive saw every entry while its key was valid")
}

func (c *cli) inspect() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Show what a passport claims, without checking it",
		Long: `Show what the entries of a passport claim. Nothing is verified: neither who
signed, nor whether the entries belong together. To find out, use kest verify.

FILE is a passport, a JSON array of compact JWS strings, or the value of a
baggage header; - is standard input.`,
		Args: exactly("FILE"),
		RunE: c.run(func(ctx context.Context, args []string) error { return c.Inspect(ctx, args[0]) }),
	}
	c.json(cmd)
	return cmd
}
