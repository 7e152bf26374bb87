package cli

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/kest-go/kest/auto"
	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/internal/report"
	"github.com/kest-go/kest/lineage"
)

func (c *cli) identity() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "identity",
		Short: "Show which identity this machine gives, and why",
		Long: `Look for an identity as a guard does: SPIFFE, Bedrock, AWS, OIDC, and a local
key when there is no signal of any. Prints the workload's name, its key, what
certifies that, and what was looked for. A signal that is there and cannot be
used is an error: nothing is fallen through to.

Exit codes: 0 there is one; 1 a signal is broken.`,
		Args: cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error { return c.showIdentity(ctx, wait) }),
	}
	cmd.PersistentFlags().DurationVar(&wait, "wait", 5*time.Second, "how long to wait for the platform")
	c.json(cmd)
	cmd.AddCommand(c.identityKeys(&wait))
	return cmd
}

func (c *cli) identityKeys(wait *time.Duration) *cobra.Command {
	return &cobra.Command{
		Use:   "keys",
		Short: "Print what a verifier needs to know of this identity",
		Long: `Print what a verifier needs, in the form that kest verify --keys reads: for a key
that a platform certifies an archive with its binding and the roots behind it,
else a JSON object from principal to JWKS.

The key is the one of this process and ends with it: what lasts are the roots,
the member "roots" of the archive, which lineage.ParseRoots reads.`,
		Args: cobra.NoArgs,
		RunE: c.run(func(ctx context.Context, _ []string) error { return c.exportKeys(ctx, *wait) }),
	}
}

// detect opens the identity. close ends it.
func (c *cli) detect(ctx context.Context, wait time.Duration) (p identity.Provider, findings []identity.Finding, closed func(), err error) {
	p, findings, err = auto.Identity(ctx, auto.Config{Wait: wait, Logger: slog.New(slog.NewTextHandler(c.Stderr, nil))})
	return p, findings, func() {
		if closer, ok := p.(io.Closer); ok {
			closer.Close()
		}
	}, err
}

// found is the result of kest identity.
type found struct {
	Provider  string             `json:"provider,omitempty"`
	Principal string             `json:"principal,omitempty"`
	KeyID     string             `json:"key_id,omitempty"`
	Binding   *boundKey          `json:"binding,omitempty"`
	Labels    map[string]string  `json:"labels,omitempty"`
	Error     string             `json:"error,omitempty"`
	Probes    []identity.Finding `json:"probes"`
}

type boundKey struct {
	Form     lineage.BindingForm `json:"form"`
	Proves   string              `json:"proves"`
	NotAfter time.Time           `json:"not_after"`
}

func (c *cli) showIdentity(ctx context.Context, wait time.Duration) error {
	p, findings, closed, err := c.detect(ctx, wait)
	defer closed()
	f := found{Probes: findings}
	if err == nil {
		err = f.fill(ctx, p)
	}
	if err != nil {
		f.Error = err.Error()
	}
	if c.JSON {
		if werr := c.WriteJSON(f); werr != nil {
			return werr
		}
	} else if werr := c.Write(c.identityPage(&f)); werr != nil {
		return werr
	}
	if err != nil {
		return report.ErrBad
	}
	return nil
}

func (f *found) fill(ctx context.Context, p identity.Provider) error {
	for _, probe := range f.Probes {
		if probe.Chosen {
			f.Provider = probe.Name
		}
	}
	signer, err := p.Signer(ctx)
	if err != nil {
		return err
	}
	f.Principal, f.KeyID = signer.Principal(), signer.KeyID()
	if l, ok := signer.(identity.Labeler); ok {
		f.Labels = l.Labels()
	}
	if binder, ok := p.(identity.Binder); ok {
		if b := binder.Binding(f.KeyID); b != nil {
			f.Binding = &boundKey{b.Form(), b.Form().Proves(), b.NotAfter().UTC()}
		}
	}
	return nil
}

func (c *cli) identityPage(f *found) []byte {
	page := c.Page()
	if f.Error != "" {
		page.Line("%s", page.Paint(report.Red, "NO IDENTITY"))
		page.Wrap("  ", f.Error)
	} else {
		page.Wrap(f.Provider+"  ", report.Clean(f.Principal))
		page.Line("  key       %s", report.Clean(f.KeyID))
		if b := f.Binding; b != nil {
			page.Line("  binding   %s, until %s", b.Form, b.NotAfter.Format(time.RFC3339))
			page.Wrap("            ", b.Proves)
		} else {
			page.Line("  binding   none: verifiers must be given the key")
		}
	}
	page.Line("")
	page.Line("looked for, in this order:")
	for _, probe := range f.Probes {
		mark := " "
		if probe.Chosen {
			mark = "✓"
		} else if probe.Present {
			mark = "!"
		}
		page.Wrap(fmt.Sprintf("  %s %-12s ", mark, probe.Name), probe.Signal+": "+probe.Why)
	}
	return page.Bytes()
}

// publicKeys is what a provider without bindings offers.
type publicKeys interface{ PublicKey() ed25519.PublicKey }

func (c *cli) exportKeys(ctx context.Context, wait time.Duration) error {
	p, _, closed, err := c.detect(ctx, wait)
	defer closed()
	if err != nil {
		return report.Hint("kest identity shows what was looked for", "%w", err)
	}
	signer, err := p.Signer(ctx)
	if err != nil {
		return err
	}
	text, err := keysOf(ctx, p, signer.Principal())
	if err != nil {
		return err
	}
	return c.Write(append(text, '\n'))
}

func keysOf(ctx context.Context, p identity.Provider, principal string) ([]byte, error) {
	if binder, ok := p.(identity.Binder); ok && binder.Binding("") != nil {
		roots, err := auto.Roots(ctx, binder)
		if err != nil {
			return nil, err
		}
		archive := &binding.Archive{}
		archive.Add(binder.Binding(""))
		if err := archive.AddRoots(roots); err != nil {
			return nil, err
		}
		return archive.AppendJSON(nil)
	}
	keys, ok := p.(publicKeys)
	if !ok {
		return nil, errors.New("the provider does not tell its public key")
	}
	set, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{principal: {keys.PublicKey()}})
	if err != nil {
		return nil, err
	}
	return set.AppendJSON(nil)
}
