package cli

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/internal/report"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
)

func (c *cli) deviation() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deviation",
		Short: "Sign deviations, and check who signed them",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.deviationSign(), c.deviationKey(), c.deviationVerify())
	return cmd
}

// approval is what deviation sign is asked for.
type approval struct {
	key, approver string
	file          string // configuration, or
	index         int
	policy.Deviation
	notAfter string
	yaml     bool
}

func (c *cli) deviationSign() *cobra.Command {
	var a approval
	var tier string
	cmd := &cobra.Command{
		Use:   "sign --key PEM (--file CFG --index N | --approver NAME --policy P --tier T --scope S)",
		Short: "Sign one deviation as its approver",
		Long: `Sign a deviation with the approver's Ed25519 key, every word of it. It is one of
a configuration file, counted from 0 as in deviations[0], or made of the flags.
Prints the signature, which goes into the member signature of the deviation;
with --yaml the whole deviation. The file is not changed.

PEM is a PKCS#8 file, as openssl genpkey -algorithm ed25519 writes it; - is
standard input.`,
		Example: `  kest deviation sign --key alice.pem --file kest.yaml --index 0
  kest deviation sign --key alice.pem --approver alice@example.org --yaml \
    --policy baseline-auth --tier enterprise --scope 'payments.*' \
    --reason 'INC-7: the identity provider is down' --not-after 2027-01-31T00:00:00Z`,
		Args: cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			a.Tier, a.Approver = policy.Tier(tier), a.approver
			return c.signDeviation(ctx, a)
		}),
	}
	f := cmd.Flags()
	keyFlags(cmd, &a.key, &a.approver)
	f.StringVar(&a.file, "file", "", "configuration file with the deviation")
	f.IntVar(&a.index, "index", -1, "which deviation of the file, from 0")
	f.StringVar(&a.Policy, "policy", "", "the policy that is lifted")
	f.StringVar(&tier, "tier", "", "the tier in which it stands: enterprise, platform or application")
	f.StringVar(&a.Scope, "scope", "", "the operations for which it is lifted; * stands for any run of characters")
	f.StringVar(&a.Reason, "reason", "", "why")
	f.StringVar(&a.notAfter, "not-after", "", "the end, as in 2027-01-31T00:00:00Z; without it there is none")
	f.BoolVar(&a.yaml, "yaml", false, "print the whole deviation, to be pasted")
	for _, one := range []string{"policy", "tier", "scope", "reason", "not-after"} {
		cmd.MarkFlagsMutuallyExclusive("file", one)
	}
	cmd.MarkFlagsRequiredTogether("file", "index")
	c.json(cmd)
	return cmd
}

func keyFlags(cmd *cobra.Command, key, approver *string) {
	cmd.Flags().StringVar(key, "key", "", "the approver's private key, PKCS#8 in PEM; - is standard input")
	cmd.Flags().StringVar(approver, "approver", "", "the approver's name, as deviations give it")
}

func (c *cli) deviationKey() *cobra.Command {
	var key, approver string
	cmd := &cobra.Command{
		Use:   "key --key PEM --approver NAME",
		Short: "Print the public key of an approver",
		Long: `Print the public half of an approver's key as a JSON object from the approver's
name to a JWKS: the form of the file that approvers.keys names. Put the objects
of several approvers into one.`,
		Example: `  openssl genpkey -algorithm ed25519 -out alice.pem
  kest deviation key --key alice.pem --approver alice@example.org`,
		Args: cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error {
			if approver == "" {
				return report.Hint("add --approver NAME, as deviations give it", "no approver given")
			}
			private, err := c.privateKey(ctx, key)
			if err != nil {
				return err
			}
			public := private.Public().(ed25519.PublicKey)
			set, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{approver: {public}})
			if err != nil {
				return err
			}
			text, err := set.AppendJSON(nil)
			if err != nil {
				return err
			}
			return c.WriteJSON(json.RawMessage(text))
		}),
	}
	keyFlags(cmd, &key, &approver)
	return cmd
}

// signed is the result of deviation sign.
type signed struct {
	Deviation deviationJSON `json:"deviation"`
	Key       string        `json:"key"` // id of the key
}

// deviationJSON has the keys of a configuration file.
type deviationJSON struct {
	Policy    string `json:"policy"`
	Tier      string `json:"tier"`
	Scope     string `json:"scope"`
	Reason    string `json:"reason,omitempty"`
	Approver  string `json:"approver,omitempty"`
	NotAfter  string `json:"not_after,omitempty"`
	Signature string `json:"signature,omitempty"`
}

func (c *cli) signDeviation(ctx context.Context, a approval) error {
	d, err := c.toSign(ctx, a)
	if err != nil {
		return err
	}
	private, err := c.privateKey(ctx, a.key)
	if err != nil {
		return err
	}
	signer, err := lineage.NewSigner(d.Approver, private)
	if err != nil {
		return err
	}
	if d, err = d.Sign(ctx, signer); err != nil {
		return err
	}
	doc := describe(d)
	switch {
	case c.JSON:
		return c.WriteJSON(signed{doc, signer.KeyID()})
	case a.yaml:
		return c.Write(doc.yaml())
	}
	return c.Write([]byte(d.Signature + "\n"))
}

func end(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// yaml writes an item of a list. The escapes of strconv.Quote are those of a double-quoted YAML scalar (YAML 1.2 §5.7)
// for text in UTF-8, which the signature demands.
func (d deviationJSON) yaml() []byte {
	var b strings.Builder
	lead := "  - "
	for _, m := range [][2]string{
		{"policy", d.Policy}, {"tier", d.Tier}, {"scope", d.Scope}, {"reason", d.Reason}, {"approver", d.Approver},
		{"not_after", d.NotAfter}, {"signature", d.Signature},
	} {
		switch {
		case m[1] == "":
			continue
		case m[0] == "not_after": // a timestamp, not text
			fmt.Fprintf(&b, "%s%s: %s\n", lead, m[0], m[1])
		default:
			fmt.Fprintf(&b, "%s%s: %s\n", lead, m[0], strconv.Quote(m[1]))
		}
		lead = "    "
	}
	return []byte(b.String())
}

// toSign is the deviation of the file, or that of the flags.
func (c *cli) toSign(ctx context.Context, a approval) (policy.Deviation, error) {
	d := a.Deviation
	if a.file != "" {
		list, err := c.deviations(ctx, a.file)
		if err != nil {
			return d, err
		}
		if a.index < 0 || a.index >= len(list) {
			return d, report.Hint("count from 0, as in deviations[0]", "%s has %s; there is no deviations[%d]",
				report.Shown(a.file), report.Count(len(list), "deviation", "deviations"), a.index)
		}
		d = list[a.index].Deviation
		if a.approver != "" && a.approver != d.Approver {
			return d, report.Hint("have the approver sign that it names, or change the file first",
				"deviations[%d] names the approver %q, not %q", a.index, d.Approver, a.approver)
		}
	} else if a.notAfter != "" {
		var err error
		if d.NotAfter, err = time.Parse(time.RFC3339, a.notAfter); err != nil {
			return d, report.Hint("write it as 2027-01-31T00:00:00Z", "--not-after: %q is no RFC 3339 time", a.notAfter)
		}
	}
	if d.Approver == "" {
		return d, report.Hint("add --approver NAME, or approver to the deviation in the file", "the deviation of %q names no approver", d.Policy)
	}
	if d.Expired(time.Now()) {
		c.Warn(fmt.Sprintf("warning: the deviation of %q ended at %s and lifts nothing", d.Policy, end(d.NotAfter)))
	}
	if err := d.Validate(); err != nil || a.file != "" {
		return d, err
	}
	// What no file can hold, such as a line break, must not be signed: the guard could not be given it.
	if _, err := config.Deviations(append([]byte("deviations:\n"), describe(d).yaml()...), ""); err != nil {
		return d, fmt.Errorf("no configuration file can hold it: %w", err)
	}
	return d, nil
}

func describe(d policy.Deviation) deviationJSON {
	return deviationJSON{d.Policy, string(d.Tier), d.Scope, d.Reason, d.Approver, end(d.NotAfter), d.Signature}
}

func (c *cli) deviations(ctx context.Context, file string) ([]config.ListedDeviation, error) {
	text, err := c.Read(ctx, "configuration", file, config.MaxBytes)
	if err != nil {
		return nil, err
	}
	list, err := config.Deviations(text, report.Shown(file))
	if err != nil {
		return nil, report.Hint("kest config check "+file+" shows all that is wrong with the file", "%w", err)
	}
	return list, nil
}
