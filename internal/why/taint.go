package why

import (
	"cmp"
	"slices"

	"github.com/kest-go/kest/lineage"
)

// A Taint is one that the entry carries, or that was removed on the way to it.
type Taint struct {
	Name string `json:"name"`
	// Sources are those who added it, the nearest first, at most 8; Omitted counts the others. Empty for a taint that
	// the entry does not carry.
	Sources []Source `json:"sources"`
	Omitted int      `json:"omitted,omitempty"`
	// Removals are those of the ancestors, and of the entry itself, that took it away, at most 8, the youngest first.
	Removals []Removal `json:"removals"`
}

// A Source added a taint.
type Source struct {
	Ref
	// Path is the shortest way on which the taint was carried, from the source to the entry, both included. Of more than
	// 16 entries the middle is left out; Between counts those.
	Path    []Ref `json:"path"`
	Between int   `json:"between,omitempty"`
}

// A Removal took a taint away.
type Removal struct {
	Ref
	Sanitizer string `json:"sanitizer,omitempty"`
	Override  *int   `json:"override,omitempty"` // the score, when it was justified by an override of trust
	// Back says how the entry carries the taint nevertheless: "added" again by By, or "around" the removal on a path
	// from By. "" when it does not.
	Back string `json:"back,omitempty"`
	By   *Ref   `json:"by,omitempty"`
}

const (
	maxSources  = 8
	maxRemovals = 8
	maxPath     = 16
)

// Taints explains every taint that the entry carries, and then those that were removed on the way, each sorted by name.
func (c *Case) Taints() (carried, removed []Taint) {
	carriers, removers := map[string]map[int]bool{}, map[string][]int{}
	for i := range c.nodes {
		for _, t := range c.nodes[i].Entry.Taints {
			if carriers[t] == nil {
				carriers[t] = map[int]bool{}
			}
			carriers[t][i] = true
		}
	}
	for i := range c.nodes {
		for _, t := range c.nodes[i].Entry.RemovedTaints {
			if slices.ContainsFunc(c.nodes[i].parents, func(p int) bool { return carriers[t][p] }) {
				removers[t] = append(removers[t], i)
			}
		}
	}
	target := len(c.nodes) - 1
	for _, t := range slices.Compact(slices.Sorted(slices.Values(c.target().Entry.Taints))) {
		carried = append(carried, c.taint(t, carriers[t], removers[t]))
	}
	for t, by := range removers {
		if !carriers[t][target] {
			removed = append(removed, Taint{Name: t, Sources: []Source{}, Removals: c.removals(by)})
		}
	}
	slices.SortFunc(removed, func(a, b Taint) int { return cmp.Compare(a.Name, b.Name) })
	return carried, removed
}

// taint walks back from the entry through those that carry the taint.
func (c *Case) taint(name string, carriers map[int]bool, removers []int) Taint {
	t := Taint{Name: name, Sources: []Source{}, Removals: c.removals(removers)}
	target := len(c.nodes) - 1
	toward := map[int]int{target: target} // the next entry on the way to the target
	var sources []int
	for queue := []int{target}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if slices.Contains(c.nodes[at].Entry.AddedTaints, name) {
			if len(sources) < maxSources {
				sources = append(sources, at)
			} else {
				t.Omitted++
			}
		}
		for _, p := range c.nodes[at].parents {
			if _, seen := toward[p]; !seen && carriers[p] {
				toward[p] = at
				queue = append(queue, p)
			}
		}
	}
	for _, s := range sources {
		path, between := c.path(s, toward)
		t.Sources = append(t.Sources, Source{c.ref(s), path, between})
	}
	c.back(&t, sources, removers)
	return t
}

func (c *Case) path(from int, toward map[int]int) (path []Ref, between int) {
	steps := []int{from}
	for at := from; toward[at] != at; {
		at = toward[at]
		steps = append(steps, at)
	}
	if between = len(steps) - maxPath; between > 0 {
		steps = slices.Delete(steps, maxPath/2, maxPath/2+between)
	}
	for _, at := range steps {
		path = append(path, c.ref(at))
	}
	return path, max(0, between)
}

func (c *Case) removals(removers []int) []Removal {
	out := []Removal{}
	for _, i := range youngest(removers) {
		e := &c.nodes[i].Entry
		r := Removal{Ref: c.ref(i), Sanitizer: e.Sanitizer()}
		if score, set, err := e.TrustOverride(); set && err == nil && r.Sanitizer == "" {
			r.Override = &score
		}
		out = append(out, r)
	}
	return out
}

func youngest(removers []int) []int {
	out := slices.Clone(removers[max(0, len(removers)-maxRemovals):])
	slices.Reverse(out)
	return out
}

// back finds how a taint came to the entry in spite of those who removed it.
func (c *Case) back(t *Taint, sources, removers []int) {
	if len(removers) == 0 {
		return
	}
	below := make([][]bool, len(sources))
	for i, s := range sources {
		below[i] = c.descendants(s)
	}
	for i, remover := range youngest(removers) {
		after := c.descendants(remover)
		for j, s := range sources {
			if how := backFrom(after[s], below[j][remover]); how != "" {
				ref := c.ref(s)
				t.Removals[i].Back, t.Removals[i].By = how, &ref
				break
			}
		}
	}
}

func backFrom(after, before bool) string {
	switch {
	case after:
		return "added"
	case before: // what the remover was given went another way, too
		return "around"
	}
	return ""
}

// descendants marks what a node leads to, itself not included.
func (c *Case) descendants(of int) []bool {
	below := make([]bool, len(c.nodes))
	for i := of + 1; i < len(c.nodes); i++ {
		below[i] = slices.ContainsFunc(c.nodes[i].parents, func(p int) bool { return p == of || below[p] })
	}
	return below
}

// An Observed is what a policy under trial said of an entry, which it could not stop.
type Observed struct {
	Ref
	Tier    string `json:"tier"`
	Policy  string `json:"policy"`
	Verdict string `json:"verdict"`
}

// A Deviation is an exemption that was in force for an entry.
type Deviation struct {
	Ref
	Policy      string `json:"policy"`
	Tier        string `json:"tier"`
	Reason      string `json:"reason,omitempty"`
	Approver    string `json:"approver,omitempty"`
	ApproverKey string `json:"approver_key,omitempty"` // id of the key that signed it; empty when nobody did
}

const maxListed = 64

// Observed lists the trials that did not allow, of the entry and its ancestors, the youngest first, up to 64, and counts
// the others.
func (c *Case) Observed() (out []Observed, omitted int) {
	out = []Observed{}
	for i, n := range slices.Backward(c.nodes) {
		for _, o := range n.Entry.Observed() {
			switch {
			case o.Verdict == lineage.VerdictAllow:
			case len(out) == maxListed:
				omitted++
			default:
				out = append(out, Observed{c.ref(i), o.Tier, o.Policy, o.Verdict})
			}
		}
	}
	return out, omitted
}

// Deviations lists the exemptions of the entry and its ancestors, as Observed does.
func (c *Case) Deviations() (out []Deviation, omitted int) {
	out = []Deviation{}
	for i, n := range slices.Backward(c.nodes) {
		for _, d := range n.Entry.Policies.Deviations {
			if len(out) == maxListed {
				omitted++
				continue
			}
			out = append(out, Deviation{c.ref(i), d.Policy, d.Tier, d.Reason, d.Approver, d.ApproverKey})
		}
	}
	return out, omitted
}
