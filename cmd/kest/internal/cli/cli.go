// Package cli is the command line kest (SPEC §14): flags, environment and wiring. What the commands show is made by
// the packages that they call.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kest-go/kest/internal/report"
)

// Main runs one command line, without the name of the program, and returns its exit code: 0 good, 1 the thing
// checked is bad, 2 wrong usage or unreadable input.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	c := &cli{Env: report.Env{
		Name: "kest", Stdin: stdin, Stdout: stdout, Stderr: stderr, Color: report.Color(stdout), Baggage: fromBaggage,
	}}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	called, err := root.ExecuteContextC(ctx)
	if err != nil && !c.ran { // arguments that cobra or a command refused
		err = usage(called, err)
	}
	return c.Exit(err)
}

// cli is one run of the program.
type cli struct {
	report.Env
	ran bool // a command was begun, so its error is not about the command line
}

// usage adds where to look.
func usage(cmd *cobra.Command, err error) error {
	text, suggestions, _ := strings.Cut(err.Error(), "\n\nDid you mean this?")
	if cmd.Name() == "help" {
		cmd = cmd.Root()
	}
	hint := cmd.CommandPath() + " --help shows the usage"
	if names := strings.Fields(suggestions); len(names) > 0 {
		hint = "did you mean: " + strings.Join(names, ", ") + "? " + hint
	}
	return &report.Error{Err: errors.New(text), Hint: hint}
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "kest",
		Short: "Zero-trust execution lineage",
		Long: `Kest checks, inspects and draws execution lineage, and evaluates its policies.

Exit codes: 0 good; 1 the thing checked is bad; 2 wrong usage or unreadable
input. Results go to standard output, everything else to standard error.`,
		Example: `  kest demo
  kest verify passport.json --keys keys.json
  kest graph passport.json
  kest policy eval policies kest/allow_trusted --input input.json`,
		// No Args: cobra then refuses unknown commands and suggests similar ones.
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(c.demo(), c.verify(), c.inspect(), c.graph(), c.why(), c.identity(), c.policy(),
		c.config(), c.deviation(), c.version())
	root.SetHelpCommand(help())
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.RunE == nil && cmd.Run == nil { // completion: cobra shows help for any shell that it does not know
			cmd.RunE = root.RunE
		}
	}
	return root
}

// help is cobra's, but a topic that does not exist is an error.
func help() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show the usage of a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return fmt.Errorf("unknown command %q", strings.Join(args, " "))
			}
			return topic.Help()
		},
	}
}

// run makes a command's function from one that does its work.
func (c *cli) run(do func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c.ran = true
		return do(cmd.Context(), args)
	}
}

func (c *cli) json(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.JSON, "json", false, "print one JSON document")
}

// exactly demands exactly the named arguments.
func exactly(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return fmt.Errorf("%d arguments given; want %s", len(args), strings.Join(names, " "))
		}
		return nil
	}
}
