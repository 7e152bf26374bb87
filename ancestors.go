package kest

import (
	"cmp"
	"slices"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
)

// ancestors reads the lineage of a call for its policies.
func (c *call) ancestors() []policy.Ancestor { return ancestorsOf(c.history, c.outer.Outcome) }

// summaryOf is what policies see of the entries before a call, but for the entries themselves.
func summaryOf(p lineage.Passport) policy.Lineage {
	past := p.Summary()
	return policy.Lineage{Length: past.Length, Principals: past.Principals, MinTrust: past.MinTrust, SourceTypes: past.SourceTypes}
}

func hashTexts(hashes []lineage.Hash) []string {
	texts := make([]string, len(hashes))
	for i, h := range hashes {
		texts[i] = h.String()
	}
	return texts
}

// ancestorsOf describes the entries of a passport, in their order.
func ancestorsOf(p lineage.Passport, outcome func(lineage.Hash) lineage.Outcome) []policy.Ancestor {
	out := make([]policy.Ancestor, p.Len())
	position := make(map[lineage.Hash]int, len(out))
	people := map[string]Identity{} // by label: most entries of a lineage are made for the same ones
	for i, s := range p.All() {
		e := s.Entry()
		label := e.Labels[lineage.LabelIdentity]
		id, known := people[label]
		if !known {
			id = actors(label)
			people[label] = id
		}
		out[i] = ancestor(&e, id)
		if o := outcome(s.Hash()); o != "" {
			out[i].Outcome = string(o)
		}
		for _, parent := range e.Parents {
			out[i].Parents = append(out[i].Parents, position[parent])
		}
		slices.Sort(out[i].Parents)
		position[s.Hash()] = i
	}
	return out
}

// AncestorOf describes an entry as policies see it among the ancestors of a call. Its outcome is unknown, and it has no
// parents: those are positions in a list that the caller makes.
func AncestorOf(e lineage.Entry) policy.Ancestor {
	return ancestor(&e, actors(e.Labels[lineage.LabelIdentity]))
}

func ancestor(e *lineage.Entry, id Identity) policy.Ancestor {
	_, overridden, _ := e.TrustOverride()
	return policy.Ancestor{
		Operation: e.Operation, Classification: e.Classification, SourceType: cmp.Or(e.SourceType(), policy.SourceUnknown),
		Principal: e.Principal(), User: id.User, Agent: id.Agent, Task: id.Task, Resource: e.Labels[lineage.LabelResourceID],
		TrustScore: e.TrustScore, Overridden: overridden, Taints: e.Taints, RemovedTaints: e.RemovedTaints,
		Sanitizer: e.Sanitizer(), Labels: applicationLabels(e.Labels), Outcome: policy.OutcomeUnknown,
	}
}

// actors reads the identity label. What another implementation wrote there, and is not of our form, names nobody.
func actors(label string) Identity {
	if label == "" {
		return Identity{}
	}
	doc, err := jcs.Parse([]byte(label), jcs.Options{MaxDepth: 4})
	if err != nil || doc.Kind != jcs.Object {
		return Identity{}
	}
	text := func(name string) string {
		if v, _ := doc.Get(name); v.Kind == jcs.String {
			return v.Text
		}
		return ""
	}
	return Identity{User: text("user"), Agent: text("agent"), Task: text("task")}
}

// applicationLabels are those that are not the library's, nil when there are none.
func applicationLabels(labels map[string]string) map[string]string {
	var own map[string]string
	for name, value := range labels {
		if lineage.ReservedLabel(name) {
			continue
		}
		if own == nil {
			own = map[string]string{}
		}
		own[name] = value
	}
	return own
}

// InputOf is what policies were shown for an entry that follows history, as far as the entry says: the attributes of
// [Attributes] are not signed, and the outcomes of ancestors are unknown. It is for explaining a decision, or trying
// other policies on it, afterwards. The leaves of history must be the parents of e. The names of the tier are those that
// the entry records.
func InputOf(e lineage.Entry, history lineage.Passport, tier policy.Tier) policy.Input {
	id, past := actors(e.Labels[lineage.LabelIdentity]), summaryOf(history)
	past.History = policy.NewHistory(func() []policy.Ancestor {
		return ancestorsOf(history, func(lineage.Hash) lineage.Outcome { return "" })
	})
	in := policy.Input{
		Subject: policy.Subject{
			Workload: e.Principal(), User: id.User, Agent: id.Agent, Task: id.Task, TrustScore: e.TrustScore, Taints: e.Taints,
		},
		Object: policy.Object{ID: e.Labels[lineage.LabelResourceID], Attributes: attributesOf(e.Labels[lineage.LabelResourceAttributes])},
		Environment: policy.Environment{
			IsRoot: e.IsRoot(), SourceType: e.SourceType(), ParentHashes: hashTexts(e.Parents), PolicyTier: tier,
			Operation: e.Operation, Classification: e.Classification, EntryID: e.ID, TraceID: e.TraceID(),
			RemovedTaints: e.RemovedTaints, Sanitizer: e.Sanitizer(),
		},
		TrustScore: e.TrustScore,
		Lineage:    past,
		Labels:     applicationLabels(e.Labels),
	}
	if score, set, err := e.TrustOverride(); set && err == nil {
		in.Environment.TrustOverride = &score
	}
	in.Environment.PolicyNames = policy.Tiers{
		Enterprise: e.Policies.Enterprise, Platform: e.Policies.Platform, Application: e.Policies.Application, Function: e.Policies.Function,
	}.Names(tier)
	for _, d := range e.Policies.Deviations {
		in.Environment.ActiveDeviations = append(in.Environment.ActiveDeviations, policy.Deviation{
			Policy: d.Policy, Tier: policy.Tier(d.Tier), Reason: d.Reason, Approver: d.Approver, ApproverKey: d.ApproverKey,
		})
	}
	return in
}

// attributesOf reads the label of resource attributes, nil when it is not a JSON object.
func attributesOf(label string) map[string]any {
	if label == "" {
		return nil
	}
	doc, err := jcs.Parse([]byte(label), jcs.Options{})
	if err != nil || doc.Kind != jcs.Object {
		return nil
	}
	values, _ := doc.Go(number).(map[string]any)
	return values
}
