package cli

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kest-go/kest/cmd/kest/internal/demo"
	"github.com/kest-go/kest/internal/report"
)

func (c *cli) demo() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a small payment system and see what Kest does",
		Long: `Run a payment system of three services on loopback: a payment, refusals, a fork
and a join, a verification, three forgeries and three attacks. It leaves
passport, keys, policies and records in a folder, for kest verify and kest why.

Exit codes: 0 everything happened as it should; 1 something did not; 2 wrong
usage, or the folder could not be used.`,
		Args: cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			_, err := demo.Run(ctx, demo.Options{
				Dir: dir, Out: c.Out(), JSON: c.JSON, Color: c.Color, Width: report.Columns, Command: command(),
			})
			if errors.Is(err, demo.ErrScene) {
				c.Warn(err.Error())
				return report.ErrBad
			}
			return err
		}),
	}
	cmd.Flags().StringVar(&dir, "dir", "", "folder for the passport and the keys (default: a new temporary one)")
	c.json(cmd)
	return cmd
}

// command is how the user runs this program again. The path of what go run has built is gone by then.
func command() string {
	if name := os.Args[0]; !strings.Contains(name, "go-build") {
		return name
	}
	return "go run ./cmd/kest"
}
