package lineage

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Authority says which principals may do what lineage alone cannot justify (SPEC §4): begin a lineage, raise
// trust, and remove taints. A principal that no grant names may extend lineages and nothing else.
type Authority struct {
	Grants []Grant
	// RefuseObserved names policies under trial, or "*" for all: an entry of which one of them said anything but allow is
	// refused, although it did not stop the call where it was made. Entries that nobody tried are not.
	RefuseObserved []string
}

// A Grant applies to one principal or to a pattern of them. Several grants for a principal add up.
type Grant struct {
	// Principal is exact, or a prefix ending in "/*", which stands for at least one more character.
	Principal string

	// Originate lists the source types that the principal's roots may declare; "*" allows all.
	Originate []string
	// RootTrust allows roots of any source type whose score is at most this; 0 for none, so that a
	// grant about something else allows no root: a fresh root sheds taints, whatever its score.
	RootTrust int

	// OverrideTrust is the highest score to which the principal may raise trust by override; 0 for none.
	OverrideTrust int
	// RemoveTaints lists the taints that the principal may remove; "*" allows all.
	RemoveTaints []string
}

// Validate reports every grant that can match nothing or has a score out of range.
func (a *Authority) Validate() error {
	var errs []error
	for i, g := range a.Grants {
		body := strings.TrimSuffix(g.Principal, "/*")
		if body == "" || strings.Contains(body, "*") || strings.HasSuffix(body, "/") {
			errs = append(errs, fmt.Errorf(`grant %d: principal %q; use an exact id or a prefix ending in "/*"`, i, g.Principal))
		}
		if g.RootTrust < 0 || g.RootTrust > 100 || g.OverrideTrust < 0 || g.OverrideTrust > 100 {
			errs = append(errs, fmt.Errorf("grant %d for %q: score outside 0…100", i, g.Principal))
		}
	}
	if slices.Contains(a.RefuseObserved, "") {
		errs = append(errs, errors.New(`refuse_observed: empty policy name; use "*" for all`))
	}
	return errors.Join(errs...)
}

func (a *Authority) clone() *Authority {
	grants := slices.Clone(a.Grants)
	for i := range grants {
		grants[i].Originate, grants[i].RemoveTaints = slices.Clone(grants[i].Originate), slices.Clone(grants[i].RemoveTaints)
	}
	return &Authority{Grants: grants, RefuseObserved: slices.Clone(a.RefuseObserved)}
}

// any reports whether some grant of the principal satisfies allow.
func (a *Authority) any(principal string, allow func(*Grant) bool) bool {
	for i := range a.Grants {
		if g := &a.Grants[i]; g.matches(principal) && allow(g) {
			return true
		}
	}
	return false
}

func (g *Grant) matches(principal string) bool {
	if prefix, ok := strings.CutSuffix(g.Principal, "*"); ok {
		return strings.HasPrefix(principal, prefix) && len(principal) > len(prefix)
	}
	return g.Principal == principal
}

func (a *Authority) mayOriginate(principal, sourceType string, score int) bool {
	return a.any(principal, func(g *Grant) bool {
		return g.RootTrust > 0 && score <= g.RootTrust || listed(g.Originate, sourceType)
	})
}

func (a *Authority) mayOverride(principal string, score int) bool {
	return a.any(principal, func(g *Grant) bool { return score <= g.OverrideTrust })
}

func (a *Authority) mayRemove(principal, taint string) bool {
	return a.any(principal, func(g *Grant) bool { return listed(g.RemoveTaints, taint) })
}

func listed(list []string, item string) bool {
	return item != "" && slices.Contains(list, item) || slices.Contains(list, "*")
}
