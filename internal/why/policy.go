package why

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
)

// A Verdict is what a policy says of the call when it is asked again. The input is built from the record, in which
// attributes are not, and outcomes of ancestors only as [Case.Ended] was told: a policy that reads those may have said
// something else.
type Verdict struct {
	Policy string `json:"policy"`
	Tier   string `json:"tier"`
	Allow  bool   `json:"allow"`
	Reason string `json:"reason,omitempty"`
	Error  string `json:"error,omitempty"` // why the policy could not decide; it denies
	// Revision of the policies that answered, "" when the engine knows none. OtherRevision: the entry names those that
	// decided then, and this is none of them.
	Revision      string `json:"revision,omitempty"`
	OtherRevision bool   `json:"other_revision,omitempty"`
	// Unknown: the engine has no such policy.
	Unknown bool `json:"unknown,omitempty"`
	// Lifted by a deviation: the policy was not asked.
	Lifted bool `json:"lifted,omitempty"`

	Explanation *policy.Explanation `json:"explanation,omitempty"` // nil when the engine gives none
	// Without is for a policy that does not allow a call with ancestors, all of which were found.
	Without *Without `json:"without,omitempty"`
}

// Without says which ancestors, had they been absent, would have made a policy allow. A call that is absent leaves its
// children its own parents; scores and taints of what follows are those that it would have had.
type Without struct {
	// Sets are the smallest such sets, of one or two ancestors, those that look more telling first, at most 16.
	Sets    [][]Ref `json:"sets"`
	Omitted int     `json:"omitted,omitempty"`
	// Alone: the policy allows the call when it has no ancestors at all. When not, ancestors are not all that is wrong.
	Alone bool `json:"alone"`

	Evaluations int `json:"evaluations"`
	Candidates  int `json:"candidates"` // of the ancestors
	Ancestors   int `json:"ancestors"`
	// GaveUp says why not all sets of up to two ancestors were tried, "" when they were, or did not have to be.
	GaveUp string `json:"gave_up,omitempty"`
}

// Bounds of the search for a [Without].
const (
	MaxCandidates  = 64
	MaxEvaluations = 2000
	maxSets        = 16
	maxPolicies    = 32
)

// Verdicts asks the policy that denied, or all that the entry names when it was signed, at most 32. It returns early
// when ctx ends, and what it says then says so.
func (c *Case) Verdicts(ctx context.Context, engine policy.Engine) []Verdict {
	if c.denied != nil {
		return []Verdict{c.verdict(ctx, engine, policy.Tier(c.denied.Tier), c.denied.Policy)}
	}
	out := []Verdict{}
	p := c.Entry().Policies
	tiers := policy.Tiers{Enterprise: p.Enterprise, Platform: p.Platform, Application: p.Application, Function: p.Function}
	for _, tier := range policy.Order() {
		for _, name := range tiers.Names(tier) {
			if len(out) < maxPolicies {
				out = append(out, c.verdict(ctx, engine, tier, name))
			}
		}
	}
	return out
}

func (c *Case) verdict(ctx context.Context, engine policy.Engine, tier policy.Tier, name string) Verdict {
	v := Verdict{Policy: name, Tier: string(tier)}
	v.Lifted = slices.ContainsFunc(c.Entry().Policies.Deviations, func(d lineage.Deviation) bool {
		return d.Policy == name && d.Tier == string(tier)
	})
	in := c.input(tier, nil)
	decision, explanation, err := ask(ctx, engine, name, &in)
	v.Allow, v.Reason, v.Explanation = err == nil && decision.Allow, decision.Reason, explanation
	if err != nil {
		v.Error, v.Unknown = err.Error(), errors.Is(err, policy.ErrUnknownPolicy)
	}
	signed := c.Entry().Labels[lineage.LabelPolicyRevision]
	v.Revision = decision.Revision
	v.OtherRevision = signed != "" && v.Revision != "" && !signedRevision(signed, v.Revision)
	if !v.Allow && !v.Unknown && len(c.nodes) > 1 && len(c.missing) == 0 { // what is missing might be what it takes
		w := c.without(ctx, func(ctx context.Context, gone map[int]bool) bool {
			in := c.input(tier, gone)
			d, err := engine.Evaluate(ctx, name, &in)
			return err == nil && d.Allow
		})
		v.Without = &w
	}
	return v
}

// signedRevision reports whether a label names a revision. Entries hold the beginning of a longer one, so only what is that
// long may be a beginning.
func signedRevision(label, revision string) bool {
	return slices.Contains(strings.Split(label, ","), revision[:min(len(revision), lineage.MaxPolicyRevision)])
}

func ask(ctx context.Context, engine policy.Engine, name string, in *policy.Input) (policy.Decision, *policy.Explanation, error) {
	explainer, ok := engine.(policy.Explainer)
	if !ok {
		d, err := engine.Evaluate(ctx, name, in)
		return d, nil, err
	}
	e, err := explainer.Explain(ctx, name, in)
	if len(e.Rules) == 0 {
		return e.Decision, nil, err
	}
	return e.Decision, &e, err
}

// without tries the ancestors one by one, and then two by two when no single one is enough.
func (c *Case) without(ctx context.Context, allows func(context.Context, map[int]bool) bool) Without {
	s := search{ctx: ctx, allows: allows, out: Without{Sets: [][]Ref{}, Ancestors: len(c.nodes) - 1}}
	all := map[int]bool{}
	for i := range len(c.nodes) - 1 {
		all[i] = true
	}
	s.out.Alone = s.try(all)
	candidates := c.candidates()
	if len(candidates) > MaxCandidates {
		candidates = candidates[:MaxCandidates]
		s.out.GaveUp = "too many ancestors: only some of them were tried"
	}
	s.out.Candidates = len(candidates)
	for _, a := range candidates {
		if s.try(map[int]bool{a: true}) {
			s.found(c.ref(a))
		}
	}
	if len(s.out.Sets) > 0 {
		return s.out
	}
	for i, a := range candidates {
		for _, b := range candidates[i+1:] {
			if s.try(map[int]bool{a: true, b: true}) {
				s.found(c.ref(a), c.ref(b))
			}
		}
	}
	return s.out
}

// search counts what it costs.
type search struct {
	ctx    context.Context
	allows func(context.Context, map[int]bool) bool
	out    Without
}

func (s *search) try(gone map[int]bool) bool {
	switch {
	case s.ctx.Err() != nil:
		s.out.GaveUp = "it took too long: not all ancestors were tried"
		return false
	case s.out.Evaluations == MaxEvaluations:
		s.out.GaveUp = "too many evaluations: not all pairs were tried"
		return false
	}
	s.out.Evaluations++
	return s.allows(s.ctx, gone)
}

func (s *search) found(set ...Ref) {
	if len(s.out.Sets) == maxSets {
		s.out.Omitted++
		return
	}
	s.out.Sets = append(s.out.Sets, set)
}

// candidates lists the ancestors, those first that brought something: where the score or a taint comes from. The younger
// come before the older.
func (c *Case) candidates() []int {
	var telling, others []int
	for i := len(c.nodes) - 2; i >= 0; i-- {
		e := &c.nodes[i].Entry
		self, known := c.rules.Origins.Score(e.SourceType())
		_, overridden, _ := e.TrustOverride()
		if !known || self < 100 || overridden || len(e.AddedTaints)+len(e.RemovedTaints) > 0 {
			telling = append(telling, i)
		} else {
			others = append(others, i)
		}
	}
	return append(telling, others...)
}

// input is what policies would see if some ancestors had been absent; with none absent, what they saw, as far as
// records say.
func (c *Case) input(tier policy.Tier, gone map[int]bool) policy.Input {
	past, target := c.rewrite(gone)
	in := kest.InputOf(c.Entry(), lineage.Passport{}, tier)
	in.TrustScore, in.Subject.TrustScore, in.Subject.Taints = target.TrustScore, target.TrustScore, target.Taints
	if len(gone) > 0 {
		in.Environment.IsRoot = len(target.Parents) == 0
		in.Environment.ParentHashes = c.parentHashes(target.Parents, gone)
	}
	in.Lineage = policy.Lineage{Length: len(past), MinTrust: 100}
	for _, a := range past {
		in.Lineage.MinTrust = min(in.Lineage.MinTrust, a.TrustScore)
		in.Lineage.Principals = append(in.Lineage.Principals, a.Principal)
		if a.SourceType != "" {
			in.Lineage.SourceTypes = append(in.Lineage.SourceTypes, a.SourceType)
		}
	}
	slices.Sort(in.Lineage.Principals)
	slices.Sort(in.Lineage.SourceTypes)
	in.Lineage.Principals, in.Lineage.SourceTypes = slices.Compact(in.Lineage.Principals), slices.Compact(in.Lineage.SourceTypes)
	if len(past) > 0 {
		in.Lineage.History = policy.NewHistory(func() []policy.Ancestor { return past })
	}
	return in
}

// rewrite describes the ancestors that are left, and the entry below them. Only what follows an absent one is computed
// anew, so that nothing else differs from what was signed.
func (c *Case) rewrite(gone map[int]bool) (past []policy.Ancestor, target policy.Ancestor) {
	stands := make([][]int, len(c.nodes)) // for each node, the ancestors that stand in its place
	changed := make([]bool, len(c.nodes))
	for i := range c.nodes {
		n := &c.nodes[i]
		var parents []int
		for _, p := range n.parents {
			parents = append(parents, stands[p]...)
			changed[i] = changed[i] || changed[p]
		}
		slices.Sort(parents)
		parents = slices.Compact(parents)
		if gone[i] {
			stands[i], changed[i] = parents, true
			continue
		}
		a := c.seen[i]
		a.Parents = parents
		if changed[i] {
			c.recompute(&a, &n.Entry, past)
		}
		stands[i] = []int{len(past)}
		past = append(past, a)
	}
	return past[:len(past)-1], past[len(past)-1]
}

// recompute applies SPEC §6 to other parents. A score that cannot be computed, of a legacy entry, stays.
func (c *Case) recompute(a *policy.Ancestor, e *lineage.Entry, past []policy.Ancestor) {
	scores, taints := make([]int, len(a.Parents)), make([][]string, len(a.Parents))
	for i, p := range a.Parents {
		scores[i], taints[i] = past[p].TrustScore, past[p].Taints
	}
	a.Taints = lineage.MergeTaints(taints, e.AddedTaints, e.RemovedTaints)
	if self, known := c.rules.Origins.Score(a.SourceType); known && !a.Overridden {
		a.TrustScore = c.rules.Trust.Trust(self, scores)
	}
}

// parentHashes are those of the entries that are now the parents. Their own hashes would be others, too; no policy can
// know those.
func (c *Case) parentHashes(parents []int, gone map[int]bool) []string {
	var left []int
	for i := range len(c.nodes) - 1 {
		if !gone[i] {
			left = append(left, i)
		}
	}
	out := make([]string, len(parents))
	for i, p := range parents {
		out[i] = c.nodes[left[p]].Hash.String()
	}
	slices.Sort(out)
	return out
}
