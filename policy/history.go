package policy

import (
	"cmp"
	"slices"
	"sync"
)

// MaxAncestors is how many ancestors a [Past] lists one by one, the youngest. What it says of all of them, such as
// Operations, is never cut: the limits of a passport bound it.
const MaxAncestors = 128

// OutcomeUnknown is the outcome of an ancestor that is still running, or that nobody has given a receipt of.
const OutcomeUnknown = "unknown"

// SourceUnknown is the source type of an ancestor that declares none: those of legacy principals (SPEC §15).
const SourceUnknown = "unknown"

// An Ancestor is one verified entry before the call, signed by its Principal. Outcome is not part of the entry: it is what
// this process saw of its own calls, or what a receipt of that principal says that came with an answer.
type Ancestor struct {
	Operation, Classification, SourceType string
	Principal                             string // the workload that signed
	User, Agent, Task                     string // for whom, "" for nobody
	Resource                              string // what was acted on, or ""
	TrustScore                            int
	Overridden                            bool     // TrustScore was set by an override
	Taints                                []string // sorted
	RemovedTaints                         []string // sorted
	Sanitizer                             string   // the procedure that justifies RemovedTaints, or ""
	Labels                                map[string]string
	Outcome                               string // ok, error or panic, else [OutcomeUnknown]
	Parents                               []int  // positions in the list that the ancestor is in, ascending
}

// A Step says that a workload performed an operation, and how it ended.
type Step struct{ Operation, Principal, Outcome string }

// An Act is a [Step] that acted on a resource.
type Act struct{ Operation, Principal, Outcome, Resource string }

// A Performer says that an operation was performed for a user.
type Performer struct{ Operation, User string }

// A Label is one that an application gave an entry.
type Label struct{ Name, Value string }

// Past is what policies can ask about the ancestors of a call. All lists are sorted and have no duplicates, but for
// Ancestors. It is shared between policies: do not modify it.
type Past struct {
	// Ancestors are the youngest [MaxAncestors], parents before children; Omitted counts the others. A rule about what
	// must not be among them has to look at Omitted, or at the lists below, which are about all ancestors.
	Ancestors []Ancestor
	Omitted   int

	Operations []string
	Steps      []Step
	Acts       []Act // of those ancestors that name a resource
	Users      []Performer
	Resources  []string
	Labels     []Label
	Taints     []string // that some ancestor carried, whether or not they were removed since
	// Unsanitized are the source types from which a path leads to the call on which no entry with a sanitizer removed
	// taints.
	Unsanitized []string
}

// A History makes a [Past] when a policy first reads it, so that calls whose policies do not ask pay nothing. nil is the
// history of a root. It is safe for concurrent use.
type History struct {
	once  sync.Once
	read  func() []Ancestor
	past  Past
	known bool // past is
	forms sync.Map
}

// NewHistory returns the history of the ancestors that read returns, parents before children. read is called once at
// most, and its result belongs to the history.
func NewHistory(read func() []Ancestor) *History { return &History{read: read} }

// KnownHistory returns the history that says past, for those who read it from a document and have no more than that.
// past belongs to the history.
func KnownHistory(past Past) *History {
	h := &History{past: past, known: true}
	h.once.Do(func() {})
	return h
}

// Past returns what there is to know. It is the same value each time, and not nil.
func (h *History) Past() *Past {
	if h == nil {
		return new(Past)
	}
	h.once.Do(func() {
		h.past = past(h.read())
		h.read, h.known = nil, true
	})
	if !h.known { // or whoever recovered from a panic would see a call without a past
		panic("policy: the history of the call could not be read")
	}
	return &h.past
}

// Form returns what convert makes of the past, and keeps it by key, which is of a type or a place in memory of the
// caller's own, as with contexts. An engine keeps its form of a long list there for the other policies of the call.
// convert may be called by several goroutines at once, of which one has its result kept.
func (h *History) Form(key any, convert func(*Past) any) any {
	if h == nil {
		return convert(h.Past())
	}
	if form, ok := h.forms.Load(key); ok {
		return form
	}
	form, _ := h.forms.LoadOrStore(key, convert(h.Past()))
	return form
}

func past(all []Ancestor) Past {
	p := Past{Operations: make([]string, 0, len(all)), Steps: make([]Step, 0, len(all))}
	for i := range all {
		a := &all[i]
		p.Operations = append(p.Operations, a.Operation)
		p.Steps = append(p.Steps, Step{a.Operation, a.Principal, a.Outcome})
		if i == 0 || !slices.Equal(a.Taints, all[i-1].Taints) { // most entries hand on what they inherit
			p.Taints = append(p.Taints, a.Taints...)
		}
		if a.User != "" {
			p.Users = append(p.Users, Performer{a.Operation, a.User})
		}
		if a.Resource != "" {
			p.Resources = append(p.Resources, a.Resource)
			p.Acts = append(p.Acts, Act{a.Operation, a.Principal, a.Outcome, a.Resource})
		}
		for name, value := range a.Labels {
			p.Labels = append(p.Labels, Label{name, value})
		}
	}
	p.Unsanitized = unsanitized(all)
	p.Operations, p.Taints, p.Resources = set(p.Operations, cmp.Compare), set(p.Taints, cmp.Compare), set(p.Resources, cmp.Compare)
	p.Steps = set(p.Steps, func(a, b Step) int {
		return cmp.Or(cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Outcome, b.Outcome))
	})
	p.Acts = set(p.Acts, func(a, b Act) int {
		return cmp.Or(cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Outcome, b.Outcome),
			cmp.Compare(a.Resource, b.Resource))
	})
	p.Users = set(p.Users, func(a, b Performer) int {
		return cmp.Or(cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.User, b.User))
	})
	p.Labels = set(p.Labels, func(a, b Label) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Value, b.Value))
	})
	p.Omitted = max(0, len(all)-MaxAncestors)
	p.Ancestors = youngest(all, p.Omitted)
	return p
}

func set[T comparable](items []T, compare func(a, b T) int) []T {
	slices.SortFunc(items, compare)
	return slices.Compact(items)
}

// unsanitized walks from the youngest entries to the oldest: an entry is reached when some path from it to the call has
// no sanitizer on it. An entry that removes taints in the name of a sanitizer ends the paths through it; a name alone
// does not, because nobody has to be allowed to use one (SPEC §4 step 5).
func unsanitized(all []Ancestor) []string {
	child, reached := make([]bool, len(all)), make([]bool, len(all))
	var sources []string
	for i := len(all) - 1; i >= 0; i-- {
		a := &all[i]
		open := !child[i] || reached[i] // what has no child is a parent of the call
		if open {
			sources = append(sources, a.SourceType)
		}
		for _, parent := range a.Parents {
			child[parent] = true
			reached[parent] = reached[parent] || open && !a.cleans(&all[parent])
		}
	}
	return set(sources, cmp.Compare)
}

// cleans reports whether a sanitizer removed a taint that parent carried. To name one that it did not carry removes nothing.
func (a *Ancestor) cleans(parent *Ancestor) bool {
	return a.Sanitizer != "" && slices.ContainsFunc(a.RemovedTaints, func(taint string) bool {
		_, carried := slices.BinarySearch(parent.Taints, taint)
		return carried
	})
}

// youngest drops the first n ancestors, and the parents that are among them.
func youngest(all []Ancestor, n int) []Ancestor {
	if n == 0 {
		return all
	}
	all = slices.Clone(all[n:])
	for i := range all {
		var parents []int
		for _, p := range all[i].Parents {
			if p >= n {
				parents = append(parents, p-n)
			}
		}
		all[i].Parents = parents
	}
	return all
}

func (l *Lineage) document() map[string]any {
	p := l.History.Past()
	return map[string]any{
		"length": l.Length, "principals": list(l.Principals), "min_trust": l.MinTrust, "source_types": list(l.SourceTypes),
		"operations": list(p.Operations), "taints": list(p.Taints), "resources": list(p.Resources),
		"unsanitized_sources": list(p.Unsanitized),
		"steps": each(p.Steps, func(s Step) any {
			return map[string]any{"operation": s.Operation, "principal": s.Principal, "outcome": s.Outcome}
		}),
		"acts": each(p.Acts, func(a Act) any {
			return map[string]any{"operation": a.Operation, "principal": a.Principal, "outcome": a.Outcome, "resource": a.Resource}
		}),
		"users":             each(p.Users, func(u Performer) any { return map[string]any{"operation": u.Operation, "user": u.User} }),
		"labels":            each(p.Labels, func(l Label) any { return map[string]any{"name": l.Name, "value": l.Value} }),
		"ancestors":         each(p.Ancestors, Ancestor.document),
		"ancestors_omitted": p.Omitted,
	}
}

func (a Ancestor) document() any {
	return map[string]any{
		"operation": a.Operation, "classification": a.Classification, "source_type": a.SourceType, "principal": a.Principal,
		"user": orNull(a.User), "agent": orNull(a.Agent), "task": orNull(a.Task), "resource": orNull(a.Resource),
		"trust_score": a.TrustScore, "overridden": a.Overridden, "taints": list(a.Taints),
		"removed_taints": list(a.RemovedTaints), "sanitizer": orNull(a.Sanitizer), "labels": texts(a.Labels),
		"outcome": a.Outcome, "parents": each(a.Parents, func(i int) any { return i }),
	}
}

func each[T any](items []T, convert func(T) any) []any {
	out := make([]any, len(items))
	for i, item := range items {
		out[i] = convert(item)
	}
	return out
}

func texts(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for name, value := range m {
		out[name] = value
	}
	return out
}
