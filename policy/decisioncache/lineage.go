package decisioncache

import (
	"maps"
	"slices"

	"github.com/kest-go/kest/policy"
)

// lineage is every field, those of the history included: a policy may read what no other field tells apart.
func (w *writer) lineage(l *policy.Lineage) {
	w.number(l.Length)
	w.texts(l.Principals)
	w.number(l.MinTrust)
	w.texts(l.SourceTypes)
	p := l.History.Past()
	each(w, p.Ancestors, w.ancestor)
	w.number(p.Omitted)
	w.texts(p.Operations)
	each(w, p.Steps, func(s *policy.Step) {
		w.text(s.Operation)
		w.text(s.Principal)
		w.text(s.Outcome)
	})
	each(w, p.Acts, func(a *policy.Act) {
		w.text(a.Operation)
		w.text(a.Principal)
		w.text(a.Outcome)
		w.text(a.Resource)
	})
	each(w, p.Users, func(u *policy.Performer) {
		w.text(u.Operation)
		w.text(u.User)
	})
	w.texts(p.Resources)
	each(w, p.Labels, func(l *policy.Label) {
		w.text(l.Name)
		w.text(l.Value)
	})
	w.texts(p.Taints)
	w.texts(p.Unsanitized)
}

func (w *writer) ancestor(a *policy.Ancestor) {
	for _, s := range [...]string{
		a.Operation, a.Classification, a.SourceType, a.Principal, a.User, a.Agent, a.Task, a.Resource, a.Sanitizer, a.Outcome,
	} {
		w.text(s)
	}
	w.number(a.TrustScore)
	w.flag(a.Overridden)
	w.texts(a.Taints)
	w.texts(a.RemovedTaints)
	w.labels(a.Labels)
	each(w, a.Parents, func(at *int) { w.number(*at) })
}

func (w *writer) labels(m map[string]string) {
	w.number(len(m))
	if len(m) > maxQuestion {
		w.refused = true
		return
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		w.text(name)
		w.text(m[name])
	}
}

// each writes how many there are before them, and ends when there is no room left.
func each[T any](w *writer, items []T, write func(*T)) {
	w.number(len(items))
	for i := range items {
		if w.refused = w.refused || len(w.b) > maxQuestion; w.refused {
			return
		}
		write(&items[i])
	}
}
