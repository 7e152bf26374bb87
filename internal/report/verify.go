package report

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/lineage"
)

// VerifyOptions are the arguments of a verification.
type VerifyOptions struct {
	File string // passport; "-" is standard input
	Keys string // key set or archive of key bindings; required unless Config has keys
	// Observed demands that the archive saw every entry while its key was valid.
	Observed bool

	// Tips are the hashes that were announced with the passport, each element a comma-separated list. nil when
	// none were announced; one empty element announces an empty passport.
	Tips   []string
	Linear bool
	Legacy []string

	Batch lineage.BatchVerifier // nil: the standard library

	// Config is what else the verifier is to go by, as authority, origins and limits. The options above count for more.
	Config lineage.VerifierConfig
}

// Verify checks a passport and reports every entry. It returns [ErrBad] when the passport is not verified, and
// another error when the question could not be answered.
func (e *Env) Verify(ctx context.Context, o VerifyOptions) error {
	v, err := e.verifier(ctx, o)
	if err != nil {
		return err
	}
	u, err := e.passport(ctx, o.File, o.Config.Limits)
	if err != nil {
		return err
	}
	report, err := v.check(ctx, u)
	if err != nil {
		return err
	}
	if e.JSON {
		err = e.WriteJSON(report)
	} else {
		page := e.Page()
		page.report(Shown(o.File), len(u.Entries), report)
		err = e.Write(page.Bytes())
	}
	if err == nil && !report.Valid() {
		err = ErrBad
	}
	return err
}

// verifier is a verification that waits for its passport.
type verifier struct {
	*lineage.Verifier
	file string
	tips []lineage.Hash
}

func (e *Env) verifier(ctx context.Context, o VerifyOptions) (*verifier, error) {
	if o.Keys == "-" && o.File == "-" {
		return nil, errors.New("passport and keys cannot both come from standard input")
	}
	tips, err := parseTips(o.Tips)
	if err != nil {
		return nil, err
	}
	o.Config.CacheBytes = -1 // one passport, verified once
	v, err := e.Verifier(ctx, o)
	return &verifier{v, o.File, tips}, err
}

// Verifier makes the verifier that the options ask for.
func (e *Env) Verifier(ctx context.Context, o VerifyOptions) (*lineage.Verifier, error) {
	if o.Keys == "" && o.Config.Keys == nil {
		return nil, Hint("add --keys FILE, a JSON object from principal to JWKS; "+
			"to look at a passport without trusting it, use: "+e.Name+" inspect",
			"no keys given: without them a verification proves nothing")
	}
	c := o.Config
	if o.Observed && o.Keys == "" {
		return nil, Hint("give an archive of key bindings as --keys, or leave --observed out", "the keys of the configuration know no times")
	}
	if o.Keys != "" {
		keys, err := e.Keys(ctx, o.Keys, binding.AuditConfig{RequireObserved: o.Observed})
		if err != nil {
			return nil, err
		}
		c.Keys = keys
	}
	c.Batch, c.Linear = o.Batch, c.Linear || o.Linear
	c.Legacy = append(slices.Clone(c.Legacy), o.Legacy...)
	return lineage.NewVerifier(c)
}

// check verifies. An error means that there is no verdict.
func (v *verifier) check(ctx context.Context, u lineage.Unverified) (*lineage.Report, error) {
	if v.tips != nil { // what the user says counts for more than what came with the passport
		u.Tips = v.tips
	}
	_, report, err := v.Verify(ctx, u)
	if err != nil && report.Failure == nil {
		return nil, fmt.Errorf("verification of %s was not completed: %w", Shown(v.file), err)
	}
	return report, nil
}

func parseTips(lists []string) ([]lineage.Hash, error) {
	if lists == nil {
		return nil, nil
	}
	tips := []lineage.Hash{}
	for _, list := range lists {
		if list == "" {
			continue
		}
		for text := range strings.SplitSeq(list, ",") {
			tip, err := lineage.ParseHash(strings.TrimSpace(text))
			if err != nil {
				return nil, Hint("give the whole hashes, comma-separated, as kest.chain_tip announced them", "--tip: %w", err)
			}
			tips = append(tips, tip)
		}
	}
	return tips, nil
}

// report writes a verification report: a block for each entry, then the verdict.
func (p *Page) report(name string, length int, r *lineage.Report) {
	entries := r.Entries()
	p.Line("%s: %s", Fit(name, 60), Count(length, "entry", "entries"))
	p.Line("")
	if len(entries) > 0 {
		p.Line("   #  status     trust  hash          operation")
	}
	for _, entry := range entries {
		p.entry(&entry)
		if signed := r.Passport.Find(entry.Hash); r.Valid() && signed != nil {
			for _, remark := range remarks(new(signed.Entry())) {
				p.Wrap("      ", remark)
			}
		}
		if f := r.Failure; f != nil && f.Index == entry.Index {
			p.Wrap("      ^ ", string(f.Reason)+": "+f.Detail)
		}
	}
	if len(entries) > 0 {
		p.Line("")
	}
	p.verdict(r)
}

func (p *Page) entry(e *lineage.EntryReport) {
	style, status := Green, string(e.Status)
	switch e.Status {
	case lineage.Failed:
		style, status = Red, "FAILED"
	case lineage.Unchecked:
		style = Faint
	}
	trust, operation := "-", "(not read)"
	if e.ID != "" {
		trust, operation = fmt.Sprint(e.TrustScore), Name(e.Operation, 42)
	}
	p.Line("%4d  %s  %5s  %s  %s", e.Index, p.Paint(style, fmt.Sprintf("%-9s", status)), trust, short(e.Hash), operation)
	if e.ID == "" {
		return
	}
	by := "by " + Name(e.Principal, nameColumns)
	if e.SourceType != "" {
		by += ", data from " + Name(e.SourceType, nameColumns)
	}
	p.Wrap("      ", by)
	if e.Key != nil {
		p.Wrap("      key: ", certified(e.Key))
	}
	if len(e.Taints) > 0 {
		p.Wrap("      taints: ", list(e.Taints))
	}
	if len(e.Skipped) > 0 {
		p.Wrap("      skipped: ", strings.Join(e.Skipped, ", ")+" (legacy principal)")
	}
}

// certified says what stands behind a key, and how one knows when.
func certified(c *lineage.Certificate) string {
	text := string(c.Form)
	if c.Issuer != "" {
		text += " of " + Name(c.Issuer, nameColumns)
	}
	if !c.NotAfter.IsZero() {
		text += ", " + c.NotBefore.Format(time.RFC3339) + " to " + c.NotAfter.Format(time.RFC3339)
	}
	return text
}

func (p *Page) verdict(r *lineage.Report) {
	if f := r.Failure; f != nil {
		where := "the passport as a whole"
		if f.Index >= 0 {
			where = fmt.Sprintf("entry %d", f.Index)
			if f.EntryID != "" {
				where += " (" + Fit(f.EntryID, 36) + ")"
			}
		}
		p.Line("%s  %s: %s", p.Paint(Red, "NOT VERIFIED"), where, f.Reason)
		p.Wrap("  ", f.Detail)
		p.Line("  Nothing in this passport may be believed.")
		return
	}
	length := r.Passport.Len()
	if length == 0 {
		p.Line("%s  an empty passport: nothing is claimed", p.Paint(Green, "VERIFIED"))
		p.notes(r)
		return
	}
	summary := r.Passport.Summary()
	p.Line("%s  %s by %s, lowest trust %d", p.Paint(Green, "VERIFIED"), Count(length, "entry", "entries"),
		Count(len(summary.Principals), "principal", "principals"), summary.MinTrust)
	for _, leaf := range r.Passport.Leaves() {
		entry := leaf.Entry()
		p.Wrap("  ends in ", fmt.Sprintf("%s with trust %d, %s", short(leaf.Hash()), entry.TrustScore, Name(entry.Operation, nameColumns)))
	}
	p.notes(r)
}

func (p *Page) notes(r *lineage.Report) {
	for _, note := range r.Notes() {
		p.Wrap("  note: ", note)
	}
}

// nameColumns bounds a name that may be broken over several lines.
const nameColumns = 160

func short(h lineage.Hash) string { return h.String()[:12] }

// list joins names for people, bounded: an entry may have hundreds.
func list(names []string) string {
	const most = 16
	shown := names[:min(len(names), most)]
	parts := make([]string, len(shown))
	for i, name := range shown {
		parts[i] = Name(name, 60)
	}
	text := strings.Join(parts, ", ")
	if more := len(names) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Count says how many there are of something.
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
