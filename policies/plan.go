package policies

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// A plan is what of a deployment's data relations are computed from. nil members are those that the data leave out.
type plan struct {
	workloads map[string]workload
	resources map[string]resource
	flows     map[string][]string // domain to the domains that may interfere with it
}

type workload struct {
	clearance *label
	integrity *int64
	domain    *string
}

type label struct {
	level      int64
	categories []string
}

type resource struct{ class, dataset *string }

// newPlan reads names exactly as Rego and Cedar do: package json would take "Domain" for domain.
func newPlan(doc map[string]map[string]any) (*plan, error) {
	p, r := &plan{workloads: map[string]workload{}, resources: map[string]resource{}, flows: map[string][]string{}}, &reader{}
	for _, id := range slices.Sorted(maps.Keys(doc["workloads"])) {
		w := r.open("workload", id, doc["workloads"][id])
		p.workloads[id] = workload{r.label(w, "clearance"), r.number(w, "integrity"), r.text(w, "domain")}
	}
	if resources, given := doc["resources"]; given && resources == nil {
		r.errs = append(r.errs, errors.New("deployment data: resources is null; leave it out"))
	}
	for _, id := range slices.Sorted(maps.Keys(doc["resources"])) {
		o := r.open("resource", id, doc["resources"][id])
		if doc["resources"][id] == nil {
			r.fault("data", "is null; leave it out") // what is written down protects something, and this would not
		}
		r.label(o, "classification")
		r.number(o, "integrity")
		r.text(o, "separate_from")
		p.resources[id] = resource{r.text(o, "conflict_class"), r.text(o, "dataset")}
		if (p.resources[id].class == nil) != (p.resources[id].dataset == nil) {
			r.fault("conflict_class", "and dataset belong together; give both or none")
		}
		if id == "*" {
			r.fault("id", "stands for calls without an object; give each object its own")
		}
	}
	flows := r.open("non_interference", "flows", doc["non_interference"]["flows"])
	for _, domain := range slices.Sorted(maps.Keys(flows)) {
		p.flows[domain] = r.texts(flows, domain)
	}
	return p, errors.Join(r.errs...)
}

// A reader reads one object after the other, and collects what is wrong in any of them.
type reader struct {
	what string
	errs []error
}

func (r *reader) fault(name, text string) {
	r.errs = append(r.errs, fmt.Errorf("deployment data: %s: %s %s", r.what, name, text))
}

// open begins with an object; one that is left out is empty.
func (r *reader) open(kind, id string, value any) map[string]any {
	r.what = fmt.Sprintf("%s %q", kind, id)
	object, ok := value.(map[string]any)
	if !ok && value != nil {
		r.fault("data", "must be an object")
	}
	return object
}

func (r *reader) number(object map[string]any, name string) *int64 {
	value, ok := object[name]
	if !ok {
		return nil
	}
	number, _ := value.(json.Number)
	n, err := number.Int64()
	if err != nil {
		r.fault(name, "must be a whole number")
		return nil
	}
	return &n
}

func (r *reader) text(object map[string]any, name string) *string {
	value, ok := object[name]
	if !ok {
		return nil
	}
	text, ok := value.(string)
	if !ok {
		r.fault(name, "must be a text")
		return nil
	}
	return &text
}

func (r *reader) texts(object map[string]any, name string) []string {
	list, ok := object[name].([]any)
	if !ok {
		r.fault(name, "must be a list of texts")
		return nil
	}
	texts := make([]string, 0, len(list))
	for _, item := range list {
		text, ok := item.(string)
		if !ok {
			r.fault(name, "must be a list of texts")
			return nil
		}
		texts = append(texts, text)
	}
	return texts
}

func (r *reader) label(object map[string]any, name string) *label {
	value, ok := object[name]
	if !ok {
		return nil
	}
	parts, _ := value.(map[string]any)
	level := r.number(parts, "level")
	categories := r.texts(parts, "categories")
	if level == nil {
		r.fault(name, "must have a level, which is a whole number")
		return nil
	}
	return &label{*level, categories}
}

func (l *label) dominates(other *label) bool {
	if l == nil || other == nil || l.level < other.level {
		return false
	}
	return !slices.ContainsFunc(other.categories, func(c string) bool { return !slices.Contains(l.categories, c) })
}

// expand adds to an entity what Cedar would have to look up. It replaces what the document says under the same name.
func (p *plan) expand(e entity) {
	switch e.UID.Type {
	case "Workload":
		e.Attrs["hears"] = p.hears(p.workloads[e.UID.ID])
	case "Resource":
		delete(e.Attrs, "competitors")
		delete(e.Attrs, "foreign")
		if r := p.resources[e.UID.ID]; r.dataset != nil {
			foreign := func(o resource) bool { return o.dataset != nil && *o.dataset != *r.dataset }
			e.Attrs["foreign"] = where(p.resources, foreign)
			e.Attrs["competitors"] = where(p.resources, func(o resource) bool { return foreign(o) && *o.class == *r.class })
		}
	case "Deployment":
		if e.UID.ID == "brewer_nash" {
			e.Attrs["walled"] = where(p.resources, func(o resource) bool { return o.dataset != nil })
		}
	}
}

// hears says, for each model that w has a place in, which workloads may be among the ancestors of its calls.
func (p *plan) hears(w workload) map[string]any {
	models := map[string]any{}
	if w.clearance != nil {
		models["bell_lapadula"] = where(p.workloads, func(o workload) bool { return w.clearance.dominates(o.clearance) })
	}
	if w.integrity != nil {
		models["biba"] = where(p.workloads, func(o workload) bool { return o.integrity != nil && *o.integrity >= *w.integrity })
	}
	if w.domain != nil {
		models["non_interference"] = where(p.workloads, func(o workload) bool {
			return o.domain != nil && (*o.domain == *w.domain || slices.Contains(p.flows[*w.domain], *o.domain))
		})
	}
	return models
}

// where returns the ids of the items that match, sorted; never nil.
func where[T any](items map[string]T, match func(T) bool) []any {
	ids := []any{}
	for _, id := range slices.Sorted(maps.Keys(items)) {
		if match(items[id]) {
			ids = append(ids, id)
		}
	}
	return ids
}
