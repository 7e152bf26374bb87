package why

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kest-go/kest/lineage"
)

// A Rule says how a step of [Trust] came to its score (SPEC §6).
type Rule string

// The rules.
const (
	Override    Rule = "override"    // the call set it; what came before does not count
	Origin      Rule = "origin"      // a root has the score of its source type
	Attenuation Rule = "attenuation" // it follows from the lowest of its parents' scores and that of its source type
	Unknown     Rule = "unknown"     // the source type is not known here, or a parent was not found
)

// Trust says how the score came about: a path back from the entry, each time to the parent with the lowest score, that
// ends where nothing earlier counts.
type Trust struct {
	Score int `json:"score"`
	// Causes are the entries of the path that lowered or set the score: there is no smaller set that makes it.
	Causes []Ref `json:"causes"`
	// Steps begin with the entry itself. At most 256 are listed, all causes among them; Omitted counts the others.
	Steps   []Step `json:"steps"`
	Omitted int    `json:"omitted,omitempty"`
	// Complete is false when the path ended where it could not be followed.
	Complete bool `json:"complete"`
}

// A Step is one entry of the path.
type Step struct {
	Ref
	Rule       Rule   `json:"rule"`
	SourceType string `json:"source_type,omitempty"`
	Self       int    `json:"self"`    // the score of the source type
	Formula    string `json:"formula"` // floor(min(10, 40) × 100 / 100) = 10
	Cause      bool   `json:"cause"`   // it is one of Trust.Causes
	// Ties counts the other parents with the lowest score: each of them alone makes it, too.
	Ties int `json:"ties,omitempty"`
	// Differs means that the entry claims another score than its parents and its source type give.
	Differs bool `json:"differs,omitempty"`
}

const maxSteps = 256

// Trust explains the score of the entry.
func (c *Case) Trust() Trust {
	t := Trust{Score: c.target().Entry.TrustScore, Causes: []Ref{}, Steps: []Step{}}
	for at := len(c.nodes) - 1; at >= 0; {
		step, next := c.step(at)
		if step.Cause {
			t.Causes = append(t.Causes, step.Ref)
		}
		if step.Cause || len(t.Steps) < maxSteps {
			t.Steps = append(t.Steps, step)
		} else {
			t.Omitted++
		}
		t.Complete, at = step.Rule != Unknown, next
	}
	return t
}

// step explains one entry by its parents. next is the parent to explain after it, -1 when none counts.
func (c *Case) step(at int) (s Step, next int) {
	n := &c.nodes[at]
	self, known := c.rules.Origins.Score(n.Entry.SourceType())
	s = Step{Ref: c.ref(at), SourceType: n.Entry.SourceType(), Self: self}
	override, overridden, err := n.Entry.TrustOverride()
	var computed int
	switch {
	case err != nil, !overridden && (!known || n.lacks):
		s.Rule, s.Formula = Unknown, c.unknown(n, known)
		return s, -1
	case overridden:
		s.Rule, s.Cause, computed = Override, true, override
		s.Formula = fmt.Sprintf("override = %d", override)
		next = -1
	case n.Entry.IsRoot():
		s.Rule, s.Cause, computed = Origin, self < 100, self
		s.Formula = fmt.Sprintf("origin %s = %d", s.SourceType, self)
		next = -1
	default:
		var weakest int
		s.Rule = Attenuation
		s.Formula, computed, weakest, next, s.Ties = c.attenuate(n, self)
		nought := self == 0 && c.attenuates() // whatever the parents are worth
		s.Cause = computed < weakest || nought
		if nought || weakest == 100 { // with 100 nothing lowered it before
			s.Ties, next = 0, -1
		}
	}
	s.Differs = computed != s.TrustScore
	return s, next
}

func (c *Case) unknown(n *node, known bool) string {
	switch {
	case n.lacks:
		return "not all of its parents were found"
	case n.Entry.SourceType() == "":
		return "it names no source type"
	case !known:
		return fmt.Sprintf("the score of source type %s is not known here", n.Entry.SourceType())
	}
	return "its override is no score"
}

// attenuate computes the score and finds the weakest parent, the first of several.
func (c *Case) attenuate(n *node, self int) (formula string, score, weakest, first, ties int) {
	scores := make([]int, len(n.parents))
	for i, p := range n.parents {
		scores[i] = c.nodes[p].Entry.TrustScore
	}
	weakest = slices.Min(scores)
	first = n.parents[slices.Index(scores, weakest)]
	for _, s := range scores {
		if s == weakest {
			ties++
		}
	}
	score = c.rules.Trust.Trust(self, scores)
	return c.formula(lowest(scores), weakest, self, score), score, weakest, first, ties - 1
}

func (c *Case) attenuates() bool { _, yes := c.rules.Trust.(lineage.Attenuate); return yes }

func (c *Case) formula(parents string, weakest, self, score int) string {
	switch w := c.rules.Trust.(type) {
	case lineage.Attenuate:
		return fmt.Sprintf("floor(%s × %d / 100) = %d", parents, self, score)
	case lineage.Weighted:
		history := min(max(w.History, 0), 100)
		return fmt.Sprintf("at most %s: floor((%d × %d + %d × %d) / 100) = %d", parents, history, weakest, 100-history, self, score)
	}
	return fmt.Sprintf("from parents %s and %d = %d", parents, self, score)
}

// lowest writes the minimum of the parents' scores, the lowest first.
func lowest(scores []int) string {
	if len(scores) == 1 {
		return fmt.Sprint(scores[0])
	}
	const most = 4
	sorted := slices.Sorted(slices.Values(scores))
	parts := make([]string, 0, most+1)
	for _, s := range sorted[:min(most, len(sorted))] {
		parts = append(parts, fmt.Sprint(s))
	}
	if more := len(sorted) - most; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	return "min(" + strings.Join(parts, ", ") + ")"
}
