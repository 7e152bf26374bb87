package cli

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/policy"
)

// lineage reads what the document says of the ancestors. Lists that are left out follow from the ancestors, if those
// are there; lists that are there must not say less.
func (r *inputReader) lineage(path string, v jcs.Value) {
	l, past := &r.in.Lineage, policy.Past{}
	number := func(to *int, most int) func(string, jcs.Value) {
		return func(path string, v jcs.Value) {
			if n := r.integer(path, v, most); n != nil {
				*to = *n
			}
		}
	}
	absent := r.object(path, v, member{
		"length": number(&l.Length, math.MaxInt32), "min_trust": number(&l.MinTrust, 100),
		"principals": r.texts(&l.Principals, nonEmpty), "source_types": r.texts(&l.SourceTypes, nonEmpty),
		"operations": r.texts(&past.Operations, nonEmpty), "taints": r.texts(&past.Taints, nonEmpty),
		"resources": r.texts(&past.Resources, nonEmpty), "unsanitized_sources": r.texts(&past.Unsanitized, nonEmpty),
		"steps": listOf(r, &past.Steps, func(s *policy.Step) member {
			return member{"operation": r.text(&s.Operation), "principal": r.text(&s.Principal), "outcome": r.formed(&s.Outcome, outcome)}
		}, "operation", "principal", "outcome"),
		"acts": listOf(r, &past.Acts, func(a *policy.Act) member {
			return member{"operation": r.text(&a.Operation), "principal": r.text(&a.Principal), "outcome": r.formed(&a.Outcome, outcome),
				"resource": r.text(&a.Resource)}
		}, "operation", "principal", "outcome", "resource"),
		"users": listOf(r, &past.Users, func(u *policy.Performer) member {
			return member{"operation": r.text(&u.Operation), "user": r.text(&u.User)}
		}, "operation", "user"),
		"labels": listOf(r, &past.Labels, func(l *policy.Label) member {
			return member{"name": r.text(&l.Name), "value": r.formed(&l.Value, anyText)}
		}, "name", "value"),
		"ancestors":         listOf(r, &past.Ancestors, r.ancestor, "operation", "principal"),
		"ancestors_omitted": number(&past.Omitted, math.MaxInt32),
	})
	if len(absent) == 14 || v.Kind != jcs.Object {
		return
	}
	if len(past.Ancestors) > 0 {
		r.derive(path, l, &past, absent)
	}
	l.History = policy.KnownHistory(past)
}

// ancestor is a place for one ancestor, of which much may be left out.
func (r *inputReader) ancestor(a *policy.Ancestor) member {
	a.Outcome, a.Labels = policy.OutcomeUnknown, map[string]string{}
	return member{
		"operation": r.text(&a.Operation), "classification": r.text(&a.Classification), "source_type": r.text(&a.SourceType),
		"principal": r.text(&a.Principal), "user": r.orNull(&a.User), "agent": r.orNull(&a.Agent), "task": r.orNull(&a.Task),
		"resource": r.orNull(&a.Resource), "sanitizer": r.orNull(&a.Sanitizer), "outcome": r.formed(&a.Outcome, outcome),
		"taints": r.texts(&a.Taints, nonEmpty), "removed_taints": r.texts(&a.RemovedTaints, nonEmpty),
		"overridden":  r.boolean(&a.Overridden),
		"labels":      func(path string, v jcs.Value) { a.Labels = r.labels(path, v) },
		"trust_score": func(path string, v jcs.Value) { a.TrustScore = value(r.integer(path, v, 100)) },
		"parents": func(path string, v jcs.Value) {
			if v.Kind != jcs.Array {
				r.wrong(path, v, "an array of positions")
			}
			for i, item := range v.Elems {
				a.Parents = append(a.Parents, value(r.integer(fmt.Sprintf("%s[%d]", path, i), item, policy.MaxAncestors-1)))
			}
		},
	}
}

// derive completes and checks the summaries of the ancestors that are listed.
func (r *inputReader) derive(path string, l *policy.Lineage, past *policy.Past, absent []string) {
	all := past.Ancestors
	if len(all) > policy.MaxAncestors {
		r.fail(path+".ancestors", "has %d; engines see at most %d", len(all), policy.MaxAncestors)
		return
	}
	for i, a := range all {
		if !slices.IsSorted(a.Parents) || len(a.Parents) > 0 && a.Parents[len(a.Parents)-1] >= i {
			r.fail(fmt.Sprintf("%s.ancestors[%d].parents", path, i), "are not earlier positions in ascending order")
			return
		}
	}
	of := policy.NewHistory(func() []policy.Ancestor { return slices.Clone(all) }).Past()
	trust := 100
	var principals, sources []string
	for _, a := range all {
		principals, sources, trust = append(principals, a.Principal), append(sources, a.SourceType), min(trust, a.TrustScore)
	}
	s := summary{r, path, absent, past.Omitted == 0}
	number := func(name string, given *int, derived int, fits bool) {
		if s.completes(name) {
			*given = derived
		} else if !fits {
			r.fail(path+"."+name, "is %d, which the ancestors contradict", *given)
		}
	}
	number("length", &l.Length, len(all)+past.Omitted, l.Length == len(all)+past.Omitted)
	number("min_trust", &l.MinTrust, trust, l.MinTrust == trust || !s.whole && l.MinTrust < trust)
	summarize(s, "principals", &l.Principals, unique(principals))
	summarize(s, "source_types", &l.SourceTypes, unique(sources))
	summarize(s, "operations", &past.Operations, of.Operations)
	summarize(s, "taints", &past.Taints, of.Taints)
	summarize(s, "resources", &past.Resources, of.Resources)
	summarize(s, "unsanitized_sources", &past.Unsanitized, of.Unsanitized)
	summarize(s, "steps", &past.Steps, of.Steps)
	summarize(s, "acts", &past.Acts, of.Acts)
	summarize(s, "users", &past.Users, of.Users)
	summarize(s, "labels", &past.Labels, of.Labels)
}

// A summary is what is needed to compare a list of the document with the one that follows from the ancestors.
type summary struct {
	r      *inputReader
	path   string
	absent []string
	whole  bool // no ancestor is omitted
}

func (s summary) completes(name string) bool { return slices.Contains(s.absent, name) }

func summarize[T comparable](s summary, name string, given *[]T, derived []T) {
	if s.completes(name) {
		*given = derived
		return
	}
	for _, item := range derived {
		if !slices.Contains(*given, item) {
			s.r.fail(s.path+"."+name, "lacks something that the ancestors have")
			return
		}
	}
	if s.whole && len(*given) != len(derived) {
		s.r.fail(s.path+"."+name, "has more than the ancestors have, and none is omitted")
	}
}

func unique(texts []string) []string {
	texts = slices.DeleteFunc(texts, func(s string) bool { return s == "" })
	slices.SortFunc(texts, cmp.Compare)
	return slices.Compact(texts)
}

// listOf reads an array of objects, each of which must have the members named by must.
func listOf[T any](r *inputReader, to *[]T, members func(*T) member, must ...string) func(string, jcs.Value) {
	return func(path string, v jcs.Value) {
		if v.Kind != jcs.Array {
			r.wrong(path, v, "an array of objects")
			return
		}
		*to = make([]T, len(v.Elems))
		for i, item := range v.Elems {
			at := fmt.Sprintf("%s[%d]", path, i)
			for _, name := range r.object(at, item, members(&(*to)[i])) {
				if slices.Contains(must, name) {
					r.fail(at+"."+name, "missing")
				}
			}
		}
	}
}

func (r *inputReader) boolean(to *bool) func(string, jcs.Value) {
	return func(path string, v jcs.Value) {
		if v.Kind != jcs.Bool {
			r.wrong(path, v, "true or false")
		}
		*to = v.Bool
	}
}

// labels reads an object of texts.
func (r *inputReader) labels(path string, v jcs.Value) map[string]string {
	if v.Kind != jcs.Object {
		r.wrong(path, v, "an object")
	}
	labels := map[string]string{}
	for _, m := range v.Members {
		if m.Value.Kind != jcs.String {
			r.wrong(path+"."+m.Name, m.Value, "a string")
		}
		labels[m.Name] = m.Value.Text
	}
	return labels
}

// value of a number that was read, or 0 where that failed and was said.
func value(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

func anyText(string) error { return nil }

func outcome(s string) error {
	if !slices.Contains([]string{"ok", "error", "panic", policy.OutcomeUnknown}, s) {
		return errors.New("is no outcome; want ok, error, panic or unknown")
	}
	return nil
}
