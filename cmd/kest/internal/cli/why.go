package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/kest-go/kest/fastverify"
	"github.com/kest-go/kest/internal/report"
	"github.com/kest-go/kest/internal/why"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
)

// searchTime bounds how long policies are asked about what might have been.
const searchTime = 5 * time.Second

// whyOptions are the arguments of why.
type whyOptions struct {
	report.VerifyOptions
	entry      string
	passport   string // more entries
	config     string
	policies   string
	folder     folder
	unverified bool
}

func (c *cli) why() *cobra.Command {
	var o whyOptions
	cmd := &cobra.Command{
		Use:   "why FILE --entry ID --keys KEYS",
		Short: "Explain a denial or a low score by its ancestors",
		Long: `Explain why an entry has its trust score and its taints, or why a call was
denied: which ancestors caused it, and with --policies which line of the policy,
and without which ancestors it would have allowed the call. Everything that is
explained is verified first. How ancestors ended is known from receipts in FILE.

FILE is a passport, the value of a baggage header, a denial record, or an audit
file or folder as kest demo leaves it; - is standard input. A denial record
holds no ancestors: --passport FILE adds them.
ID is an entry id or hash, or the beginning of one, or: denied, for the only
denial. Without it, it is the only denial, or else the only end of the lineage.
KEYS is as for kest verify.

Exit codes: 0 explained; 1 not verified; 2 wrong usage, unreadable input, or no
such entry.`,
		Example: `  kest why out --keys out/keys.json --policies out/policies --entry 01a213cb-fab3
  kest why passport.json --keys keys.json --entry 01a213cb-fab4`,
		Args: exactly("FILE"),
		RunE: c.run(func(ctx context.Context, args []string) error {
			o.File, o.Batch = args[0], fastverify.New(fastverify.Config{})
			return c.explainEntry(ctx, o)
		}),
	}
	keysFlag(cmd, &o.VerifyOptions)
	f := cmd.Flags()
	f.StringVar(&o.entry, "entry", "", "entry id or hash, or its beginning; or: denied")
	f.StringVar(&o.passport, "passport", "", "passport or baggage header with the ancestors")
	configFlag(cmd, &o.config)
	f.StringVar(&o.policies, "policies", "", "folder of policies, to ask them again")
	o.folder.flags(cmd)
	f.BoolVar(&o.unverified, "unverified", false, "explain what is claimed, although nothing or not all of it is verified")
	c.json(cmd)
	return cmd
}

// explained is the result of why.
type explained struct {
	Verified    bool             `json:"verified"`
	Failure     string           `json:"failure,omitempty"` // why not
	Notes       []string         `json:"notes"`
	Explanation *why.Explanation `json:"explanation,omitempty"` // none when it is not verified, unless that was asked for
}

func (c *cli) explainEntry(ctx context.Context, o whyOptions) error {
	if err := c.deployed(ctx, o.config, &o.VerifyOptions); err != nil {
		return err
	}
	if o.Keys == "" && o.Config.Keys == nil && !o.unverified {
		return report.Hint("add --keys FILE; to see what is claimed, whoever claims it, add --unverified",
			"no keys given: without them nothing can be believed")
	}
	var engine policy.Engine
	if o.policies != "" {
		compiled, warnings, err := o.folder.compiled(o.policies)
		if err != nil {
			return err
		}
		c.warn(warnings)
		engine = compiled
	}
	e, err := c.evidence(ctx, o)
	if err != nil {
		return err
	}
	target, err := e.pick(o.entry)
	if err != nil {
		return err
	}
	basis := why.Rules{Origins: o.Config.Origins, Trust: o.Config.Trust}
	out := explained{Notes: e.notes()}
	theCase := target.explain(e.records, basis)
	receipts, failure, err := c.believe(ctx, o, e, target, theCase, &out.Notes)
	if err != nil {
		return err
	}
	out.Failure = failure
	out.Verified = out.Failure == ""
	if out.Verified || o.unverified {
		search, cancel := context.WithTimeout(ctx, searchTime)
		defer cancel()
		out.Explanation = theCase.Ended(receipts).Explain(search, engine)
		out.Notes = append(out.Notes, notesOn(out.Explanation, len(receipts) > 0)...)
	}
	return c.whyResult(o, out)
}

// notesOn says how far the answers of policies go.
func notesOn(e *why.Explanation, receipts bool) []string {
	if !slices.ContainsFunc(e.Policies, func(v why.Verdict) bool { return !v.Unknown }) {
		return nil
	}
	outcomes := "outcomes of ancestors are not known"
	if receipts {
		outcomes = "outcomes of ancestors are those of the receipts in the file, of which the program may have known fewer"
	}
	notes := []string{"policies were asked about what is recorded: attributes are not signed, and " + outcomes}
	if slices.ContainsFunc(e.Policies, func(v why.Verdict) bool { return v.OtherRevision }) {
		notes = append(notes, "the policies in the folder have another revision than those that decided then")
	}
	if len(e.Missing) > 0 {
		notes = append(notes, "policies were asked without the ancestors that are missing")
	}
	if e.Denied != nil && e.Policies[0].Allow {
		notes = append(notes, "the policy that denied allows now: it has changed, or it reads what is not recorded")
	}
	return notes
}

func (c *cli) whyResult(o whyOptions, out explained) error {
	var err error
	if c.JSON {
		err = c.WriteJSON(out)
	} else {
		err = c.Write(c.whyPage(report.Shown(o.File), out))
	}
	if err == nil && out.Explanation == nil {
		err = report.ErrBad
	}
	return err
}

// believe verifies the passports as wholes, the denial, and of an audit file what the case needs. It returns the
// receipts that hold, why something cannot be believed, and an error when that could not be found out.
func (c *cli) believe(ctx context.Context, o whyOptions, e *evidence, target item, theCase *why.Case, notes *[]string) (
	receipts map[lineage.Hash]lineage.Receipt, failure string, err error,
) {
	if o.Keys == "" && o.Config.Keys == nil {
		return nil, "no keys were given", nil
	}
	v, err := c.Verifier(ctx, o.VerifyOptions)
	if err != nil {
		return nil, "", err
	}
	var all lineage.Passport
	for _, u := range append(e.passports, theCase.Lineages()...) {
		p, r, err := v.Verify(ctx, u)
		switch {
		case errors.Is(err, lineage.ErrUnverified):
			return nil, err.Error(), nil
		case err != nil:
			return nil, "", fmt.Errorf("verification of %s was not completed: %w", report.Shown(o.File), err)
		}
		for _, note := range r.Notes() {
			if !slices.Contains(*notes, note) {
				*notes = append(*notes, note)
			}
		}
		if all, err = lineage.Merge(all, p); err != nil {
			return nil, "", fmt.Errorf("%s: %w", report.Shown(o.File), err)
		}
	}
	if target.denial != nil {
		switch _, err := v.VerifyDenial(ctx, target.jws); {
		case errors.Is(err, lineage.ErrUnverified):
			return nil, err.Error(), nil
		case err != nil:
			return nil, "", err
		}
	}
	return outcomes(ctx, v, e.receipts, all), "", nil
}

// outcomes returns the receipts of entries of p that hold. One that does not says nothing, nor do two that contradict each
// other: the outcome of that call stays unknown, as it does to a guard.
func outcomes(ctx context.Context, v *lineage.Verifier, receipts []string, p lineage.Passport) map[lineage.Hash]lineage.Receipt {
	found, liars := map[lineage.Hash]lineage.Receipt{}, map[lineage.Hash]bool{}
	for _, jws := range receipts {
		r, err := v.VerifyReceiptIn(ctx, jws, p)
		if err != nil {
			continue
		}
		if other, twice := found[r.EntryHash]; twice && other.Status != r.Status {
			liars[r.EntryHash] = true
		}
		found[r.EntryHash] = r
	}
	for hash := range liars {
		delete(found, hash)
	}
	return found
}
