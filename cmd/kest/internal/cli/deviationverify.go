package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/internal/report"
	"github.com/kest-go/kest/lineage"
)

func (c *cli) deviationVerify() *cobra.Command {
	var file, keys string
	cmd := &cobra.Command{
		Use:   "verify --file CFG --keys KEYS",
		Short: "Check the signatures of all deviations of a configuration",
		Long: `Check every deviation of a configuration file by the keys of its approver, and
say who signed it with which key, and when it ends.

KEYS is a JSON object from approver to JWKS: the file that approvers.keys names.

Exit codes: 0 all are signed and in force; 1 one is not signed, was changed
after it was signed, or has expired; 2 wrong usage or unreadable input.`,
		Example: `  kest deviation verify --file kest.yaml --keys approvers.json`,
		Args:    cobra.NoArgs,
		RunE:    c.run(func(ctx context.Context, _ []string) error { return c.verifyDeviations(ctx, file, keys) }),
	}
	cmd.Flags().StringVar(&file, "file", "", "configuration file")
	cmd.Flags().StringVar(&keys, "keys", "", "JSON object from approver to JWKS")
	c.json(cmd)
	return cmd
}

// judged is one deviation in the result of deviation verify.
type judged struct {
	Index    int    `json:"index"`
	Line     int    `json:"line"`
	Signed   bool   `json:"signed"` // and the signature holds
	Expired  bool   `json:"expired"`
	Key      string `json:"key,omitempty"` // id of the approver's key
	Error    string `json:"error,omitempty"`
	Policy   string `json:"policy"`
	Tier     string `json:"tier"`
	Scope    string `json:"scope"`
	Reason   string `json:"reason,omitempty"`
	Approver string `json:"approver,omitempty"`
	NotAfter string `json:"not_after,omitempty"`
}

func (j *judged) good() bool { return j.Signed && !j.Expired }

// approverBytes is what lineage.ParseKeySet takes.
const approverBytes = 4 << 20

func (c *cli) verifyDeviations(ctx context.Context, file, keys string) error {
	switch {
	case file == "":
		return report.Hint("add --file FILE", "no configuration given")
	case keys == "":
		return report.Hint("add --keys FILE, the file that approvers.keys names", "no keys of approvers given")
	case file == "-" && keys == "-":
		return errors.New("configuration and keys cannot both come from standard input")
	}
	text, err := c.Read(ctx, "keys", keys, approverBytes)
	if err != nil {
		return err
	}
	set, err := lineage.ParseKeySet(text)
	if err != nil {
		return report.Hint(`it is a JSON object from approver to JWKS, as kest deviation key prints it`, "keys %s: %w", report.Shown(keys), err)
	}
	list, err := c.deviations(ctx, file)
	if err != nil {
		return err
	}
	all, bad := make([]judged, len(list)), 0
	for i, d := range list {
		if all[i] = judge(ctx, i, d, set); !all[i].good() {
			bad++
		}
	}
	if c.JSON {
		err = c.WriteJSON(struct {
			Valid      bool     `json:"valid"`
			Deviations []judged `json:"deviations"`
		}{bad == 0, all})
	} else {
		err = c.Write(c.deviationPage(file, all, bad))
	}
	if err == nil && bad > 0 {
		err = report.ErrBad
	}
	return err
}

func judge(ctx context.Context, i int, d config.ListedDeviation, keys lineage.KeySource) judged {
	j := judged{
		Index: i, Line: d.Line, Expired: d.Expired(time.Now()), Policy: d.Policy, Tier: string(d.Tier), Scope: d.Scope,
		Reason: d.Reason, Approver: d.Approver, NotAfter: end(d.NotAfter),
	}
	verified, err := d.Verify(ctx, keys)
	if err != nil {
		j.Error = err.Error()
		if _, reason, found := strings.Cut(j.Error, lineage.ErrUnverified.Error()+": "); found {
			j.Error = reason // the rest says what the page says anyway
		}
		return j
	}
	j.Signed, j.Key = true, verified.ApproverKey
	return j
}

func (c *cli) deviationPage(file string, all []judged, bad int) []byte {
	p := c.Page()
	for i := range all {
		j := &all[i]
		verdict := p.Paint(report.Green, "GOOD")
		switch {
		case !j.Signed:
			verdict = p.Paint(report.Red, "BAD")
		case j.Expired:
			verdict = p.Paint(report.Red, "EXPIRED")
		}
		p.Line("%s  deviations[%d], line %d: %s", verdict, i, j.Line, report.Name(j.Policy, 40))
		p.Wrap("  lifts ", fmt.Sprintf("%s policy %s for %s", report.Name(j.Tier, 40), report.Name(j.Policy, 160), report.Name(j.Scope, 160)))
		if j.Signed {
			p.Wrap("  signed by ", fmt.Sprintf("%s, key %s", report.Name(j.Approver, 160), j.Key))
		} else {
			p.Wrap("  ", j.Error)
		}
		if j.NotAfter != "" {
			p.Line("  %s %s", map[bool]string{true: "ended", false: "ends"}[j.Expired], j.NotAfter)
		} else {
			p.Line("  has no end")
		}
	}
	verdict, counted := p.Paint(report.Green, "GOOD"), report.Count(len(all), "deviation", "deviations")
	if bad > 0 {
		verdict, counted = p.Paint(report.Red, "BAD"), fmt.Sprintf("%d of %s", bad, counted)
	}
	p.Line("%s  %s: %s", verdict, report.Fit(report.Shown(file), 50), counted)
	return p.Bytes()
}
