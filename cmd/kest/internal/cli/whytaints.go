package cli

import (
	"fmt"
	"strings"

	"github.com/kest-go/kest/internal/report"
	"github.com/kest-go/kest/internal/why"
)

func (p whyPage) taints(e *why.Explanation) {
	for i := range e.Taints {
		if i == shownItems {
			p.title("… and %s; --json shows all", report.Count(len(e.Taints)-i, "more taint", "more taints"))
			break
		}
		p.taint(&e.Taints[i])
	}
	for i := range e.Removed {
		if i == shownItems {
			p.title("… and %s; --json shows all", report.Count(len(e.Removed)-i, "more removed taint", "more removed taints"))
			break
		}
		p.title("Taint %s, which is gone", report.Name(e.Removed[i].Name, 50))
		p.removals(&e.Removed[i])
	}
}

func (p whyPage) taint(t *why.Taint) {
	p.title("Taint %s", report.Name(t.Name, 60))
	for i := range t.Sources {
		if i == shownItems {
			p.Line("  … and %d more", len(t.Sources)-i+t.Omitted)
			break
		}
		s := &t.Sources[i]
		p.Wrap("  => added by ", called(s.Ref))
		if path := pathText(s); path != "" {
			p.Wrap("     carried by ", path)
		}
	}
	if len(t.Sources) == 0 {
		p.Line("  nobody who was found added it")
	}
	p.removals(t)
}

// pathText names what lies between the source and the entry.
func pathText(s *why.Source) string {
	if len(s.Path) <= 2 {
		return ""
	}
	var parts []string
	for i, r := range s.Path[1 : len(s.Path)-1] {
		if s.Between > 0 && i+1 == len(s.Path)/2 {
			parts = append(parts, fmt.Sprintf("%d more", s.Between))
		}
		parts = append(parts, name(r.Operation))
	}
	return strings.Join(parts, ", ")
}

func (p whyPage) removals(t *why.Taint) {
	for i := range t.Removals {
		r := &t.Removals[i]
		by := "an override"
		switch {
		case r.Sanitizer != "":
			by = "sanitizer " + name(r.Sanitizer)
		case r.Override != nil:
			by = fmt.Sprintf("an override of trust to %d", *r.Override)
		}
		text := called(r.Ref) + ", by " + by
		switch r.Back {
		case "added":
			text += "; added again by " + name(r.By.Operation)
		case "around":
			text += "; carried around it from " + name(r.By.Operation)
		}
		p.Wrap("     removed in ", text)
	}
}

func (p whyPage) trials(e *why.Explanation) {
	if len(e.Observed) == 0 {
		return
	}
	p.title("Policies under trial, which stop nothing")
	for i, o := range e.Observed {
		if i == shownItems {
			p.Line("  … and %d more", len(e.Observed)-i+e.ObservedOmitted)
			break
		}
		p.Wrap("  ", fmt.Sprintf("%s, %s tier: %s for %s", name(o.Policy), name(o.Tier), o.Verdict, called(o.Ref)))
	}
}

func (p whyPage) deviations(e *why.Explanation) {
	if len(e.Deviations) == 0 {
		return
	}
	p.title("Deviations in force")
	for i, d := range e.Deviations {
		if i == shownItems {
			p.Line("  … and %d more", len(e.Deviations)-i+e.DeviationsOmitted)
			break
		}
		signed := "not signed"
		if d.ApproverKey != "" {
			signed = "signed with key " + d.ApproverKey
		}
		approver := "nobody"
		if d.Approver != "" {
			approver = name(d.Approver)
		}
		p.Wrap("  ", fmt.Sprintf("%s, %s tier, for %s: approved by %s, %s", name(d.Policy), name(d.Tier), name(d.Operation), approver, signed))
		if d.Reason != "" {
			p.Wrap("    reason: ", d.Reason)
		}
	}
}
