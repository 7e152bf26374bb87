package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kest-go/kest/policies"
)

// entitiesBytes bounds the data of a deployment.
const entitiesBytes = 16 << 20

func (c *cli) policyEntities() *cobra.Command {
	return &cobra.Command{
		Use:   "entities FILE",
		Short: "Turn data of the policy library into entities for Cedar",
		Long: `Read the data of the policy library, as Rego has them in
kest/deployment/data.json, and print what Cedar needs in entities.json: the same
data as entities, and what the policies look up for each ancestor, computed.
- is standard input.

Exit codes: 0 good; 2 wrong usage or data that cannot be read.`,
		Example: `  kest policy entities data.json > policies/entities.json`,
		Args:    exactly("FILE"),
		RunE: c.run(func(ctx context.Context, args []string) error {
			text, err := c.Read(ctx, "data", args[0], entitiesBytes)
			if err != nil {
				return err
			}
			entities, err := policies.Entities(text)
			if err != nil {
				return err
			}
			return c.Write(append(entities, '\n'))
		}),
	}
}
