package why

import (
	"context"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
)

// An Explanation is everything that there is to say about a case: the JSON document of kest why.
type Explanation struct {
	Entry     Ref            `json:"entry"`
	Denied    *Denied        `json:"denied,omitempty"` // nil for an entry that was signed
	Ancestors int            `json:"ancestors"`        // that were found
	Missing   []lineage.Hash `json:"missing_parents"`  // that were not

	Trust   Trust   `json:"trust"`
	Taints  []Taint `json:"taints"`         // that the entry carries
	Removed []Taint `json:"removed_taints"` // that ancestors carried, and the entry does not

	Observed          []Observed  `json:"observed"` // refusals of policies under trial
	ObservedOmitted   int         `json:"observed_omitted,omitempty"`
	Deviations        []Deviation `json:"deviations"`
	DeviationsOmitted int         `json:"deviations_omitted,omitempty"`

	Policies []Verdict `json:"policies"` // empty when no engine was given
}

// Explain says everything. engine may be nil; then no policy is asked.
func (c *Case) Explain(ctx context.Context, engine policy.Engine) *Explanation {
	e := &Explanation{
		Entry: c.ref(len(c.nodes) - 1), Denied: c.denied, Ancestors: len(c.nodes) - 1, Missing: append([]lineage.Hash{}, c.missing...),
		Trust: c.Trust(), Policies: []Verdict{},
	}
	carried, removed := c.Taints()
	e.Taints, e.Removed = append([]Taint{}, carried...), append([]Taint{}, removed...)
	e.Observed, e.ObservedOmitted = c.Observed()
	e.Deviations, e.DeviationsOmitted = c.Deviations()
	if engine != nil {
		e.Policies = c.Verdicts(ctx, engine)
	}
	return e
}
