package cli

import (
	"fmt"
	"strings"

	"github.com/kest-go/kest/internal/report"
	"github.com/kest-go/kest/internal/why"
	"github.com/kest-go/kest/policy"
)

// How much a page shows; --json has more.
const (
	shownSteps = 8
	shownItems = 6
)

// name shows an identifier that somebody else chose.
func name(s string) string { return report.Name(s, 160) }

func (c *cli) whyPage(file string, r explained) []byte {
	p := whyPage{c.Page()}
	if r.Verified {
		p.Line("%s  %s", p.Paint(report.Green, "VERIFIED"), report.Fit(file, 60))
	} else {
		p.Line("%s  %s", p.Paint(report.Red, "NOT VERIFIED"), report.Fit(file, 60))
		p.Wrap("  ", r.Failure)
	}
	if r.Explanation == nil {
		p.Line("  Nothing is explained that cannot be believed. --unverified explains what is")
		p.Line("  claimed, whoever claims it.")
		return p.Bytes()
	}
	if !r.Verified {
		p.Line("  What follows is claimed by whoever made the file. Do not rely on it.")
	}
	e := r.Explanation
	p.head(e)
	p.trust(&e.Trust)
	for i := range e.Policies {
		p.verdict(&e.Policies[i])
	}
	p.taints(e)
	p.trials(e)
	p.deviations(e)
	if len(r.Notes) > 0 {
		p.Line("")
	}
	for _, note := range r.Notes {
		p.Wrap("note: ", note)
	}
	return p.Bytes()
}

type whyPage struct{ *report.Page }

func (p whyPage) head(e *why.Explanation) {
	p.Line("")
	if d := e.Denied; d != nil {
		p.Line("%s  %s", p.Paint(report.Red, "DENIED"), report.Name(e.Entry.Operation, 60))
		p.Wrap("  by      ", fmt.Sprintf("%s, %s tier", name(d.Policy), name(d.Tier)))
		if d.Reason != "" {
			p.Wrap("  reason  ", d.Reason)
		}
	} else {
		p.Line("%s  %s", p.Paint(report.Bold, "SIGNED"), report.Name(e.Entry.Operation, 60))
	}
	p.Line("  entry   %s", report.Fit(e.Entry.EntryID, 64))
	p.Wrap("  signer  ", name(e.Entry.Principal))
	if n := len(e.Missing); n > 0 {
		p.Wrap("  missing ", fmt.Sprintf("%s not in the file, first %.12s; --passport FILE adds them",
			report.Count(n, "parent is", "parents are"), e.Missing[0].String()))
	}
}

func (p whyPage) title(format string, args ...any) {
	p.Line("")
	for i, line := range strings.Split(fmt.Sprintf(format, args...), "\n") {
		if i == 0 {
			line = p.Paint(report.Bold, line)
		}
		p.Line("%s", line)
	}
}

func (p whyPage) trust(t *why.Trust) {
	switch n := len(t.Causes); {
	case !t.Complete:
		p.title("Trust %d; what made it could not be followed to its end", t.Score)
	case n == 0:
		p.title("Trust %d: nothing has lowered it", t.Score)
	default:
		p.title("Trust %d, because of %s", t.Score, report.Count(n, "call", "calls"))
	}
	skipped := 0
	for i := range t.Steps {
		s := &t.Steps[i]
		if !s.Cause && !s.Differs && s.Rule != why.Unknown && i > 0 && len(t.Steps)+t.Omitted > shownSteps {
			skipped++
			continue
		}
		p.skipped(skipped)
		skipped = 0
		p.step(s)
	}
	p.skipped(skipped + t.Omitted)
}

func (p whyPage) skipped(n int) {
	if n > 0 {
		p.Line("       … %s that leave it as it is", report.Count(n, "call", "calls"))
	}
}

func (p whyPage) step(s *why.Step) {
	mark := "   "
	if s.Cause {
		mark = "=> "
	}
	p.Wrap(fmt.Sprintf("  %s%3d  ", mark, s.TrustScore), name(s.Operation)+": "+s.Formula)
	const lead = "          "
	if s.Cause {
		p.Wrap(lead, reference(s.Ref))
		if s.Rule == why.Attenuation {
			p.Wrap(lead, fmt.Sprintf("its data comes from %s, which is worth %d", name(s.SourceType), s.Self))
		}
	}
	if s.Ties > 0 {
		p.Wrap(lead, fmt.Sprintf("%s as low", report.Count(s.Ties, "other parent is", "other parents are")))
	}
	if s.Differs {
		p.Wrap(lead, "the entry claims another score than this gives")
	}
}

// reference names an entry and who signed it; called, what it did, too.
func reference(r why.Ref) string {
	return fmt.Sprintf("%s by %s", report.Fit(r.EntryID, 64), name(r.Principal))
}
func called(r why.Ref) string {
	return fmt.Sprintf("%s (%s)", name(r.Operation), report.Fit(r.EntryID, 64))
}

func (p whyPage) verdict(v *why.Verdict) {
	said := "denies"
	switch {
	case v.Unknown:
		said = "is not in the folder"
	case v.Allow:
		said = "allows"
	case v.Error != "":
		said = "cannot decide: denies"
	}
	said = fmt.Sprintf(", %s tier: %s", report.Name(v.Tier, 12), said)
	p.title("Policy %s%s", report.Name(v.Policy, report.Columns-len("Policy ")-report.Width(said)), said)
	if v.Lifted {
		p.Line("  A deviation lifted it: it was not asked.")
	}
	switch {
	case v.Unknown:
	case v.Error != "":
		p.Wrap("  ", v.Error)
	case v.Explanation == nil && v.Reason != "":
		p.Wrap("  reason: ", v.Reason)
	}
	if v.Explanation != nil {
		p.rules(v)
	}
	if v.Without != nil {
		p.without(v.Without)
	}
}

// rules shows those that a person has to look at.
func (p whyPage) rules(v *why.Verdict) {
	shown := v.Explanation.Reasons()
	for i := range shown {
		if i == shownItems {
			p.Line("  … and %d more", len(shown)-i)
			break
		}
		p.rule("  ", &shown[i], 0)
	}
}

func (p whyPage) rule(lead string, r *policy.Rule, depth int) {
	what := "does not match"
	switch {
	case r.Default:
		what = "is the default"
	case r.Matched:
		what = "matches"
	}
	p.Wrap(lead, fmt.Sprintf("%s:%d: %s %s", r.File, r.Line, r.ID, what))
	for i := range r.Conditions {
		if i == shownItems {
			break
		}
		cond := &r.Conditions[i]
		text := fmt.Sprintf("line %d: %s is %s", cond.Line, cond.Text, cond.Result)
		if cond.Detail != "" {
			text += ": " + cond.Detail
		}
		p.Wrap(lead+"  ", text)
		for _, read := range cond.Reads {
			p.Wrap(lead+"    ", readText(read))
		}
		for j := range cond.Rules {
			if depth < 3 && j < shownItems {
				p.rule(lead+"    ", &cond.Rules[j], depth+1)
			}
		}
	}
}

func readText(r policy.Read) string {
	if r.Value == "" {
		return r.Path + " is not there"
	}
	return r.Path + " = " + r.Value
}

func (p whyPage) without(w *why.Without) {
	for i, set := range w.Sets {
		if i == shownItems {
			p.Line("  … and %d more", len(w.Sets)-i+w.Omitted)
			break
		}
		parts := make([]string, len(set))
		for j, r := range set {
			parts[j] = called(r)
		}
		p.Wrap("  would allow without ", strings.Join(parts, " and "))
	}
	if len(w.Sets) == 0 {
		p.Wrap("  ", "no one or two ancestors were found without which it would allow")
	}
	if !w.Alone {
		p.Wrap("  ", "without any ancestors it denies as well: they are not all that it objects to")
	}
	if w.GaveUp != "" {
		p.Wrap("  ", fmt.Sprintf("%s (%d of %d, %d evaluations)", w.GaveUp, w.Candidates, w.Ancestors, w.Evaluations))
	}
}
