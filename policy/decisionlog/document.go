package decisionlog

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/kest-go/kest/policy"
)

// maxDepth bounds how deep attributes are nested.
const maxDepth = 32

var (
	errLarge = errors.New("it is too large or too deeply nested; raise MaxInput to log it")
	errKind  = errors.New("its attributes hold something that is not a JSON value")
)

// redact returns the masked input as JSON, and the paths of the masks that hid something. Its errors repeat nothing of
// the input.
func (e *engine) redact(in *policy.Input) (text []byte, masked []string, err error) {
	defer func() {
		if recover() != nil {
			text, masked, err = nil, nil, errors.New("masking panicked")
		}
	}()
	doc, err := documentOf(in, e.maxInput)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range e.rules { // a copy: it notes what it did
		if err := r.apply(doc, r.path, false); err != nil {
			return nil, nil, fmt.Errorf("mask %.100q: %w", r.Path, err)
		}
		if r.hid {
			masked = append(masked, r.Path)
		}
	}
	text, err = json.Marshal(doc)
	if err != nil {
		return nil, nil, errKind
	}
	if len(text) > e.maxInput {
		return nil, nil, errLarge
	}
	return text, masked, nil
}

// documentOf is what the policy saw, without the members that repeat others, and shares nothing with in.
func documentOf(in *policy.Input, limit int) (map[string]any, error) {
	doc := in.Document()
	object, _ := doc["object"].(map[string]any)
	environment, _ := doc["environment"].(map[string]any)
	delete(doc, "identity")
	delete(doc, "trust_score")
	delete(environment, "parent_hash")
	c := copier{left: limit}
	doc["attributes"] = c.value(doc["attributes"], 0) // the rest of the document is new each time
	object["attributes"] = c.value(object["attributes"], 0)
	return doc, c.err
}

// A copier copies JSON values of the kinds that the guard makes, as long as there are bytes left.
type copier struct {
	left int
	err  error
}

func (c *copier) value(value any, depth int) any {
	if c.left--; c.err == nil && (c.left < 0 || depth > maxDepth) {
		c.err = errLarge
	}
	if c.err != nil {
		return nil
	}
	switch v := value.(type) {
	case nil, bool, int, float64:
		return v
	case string:
		c.left -= len(v)
		return v
	case []any:
		return c.list(v, depth)
	case map[string]any:
		return c.object(v, depth)
	}
	c.err = errKind
	return nil
}

func (c *copier) list(list []any, depth int) any {
	var out []any
	for _, item := range list {
		out = append(out, c.value(item, depth+1))
		if c.err != nil {
			return nil
		}
	}
	if out == nil {
		return []any{} // not null
	}
	return out
}

func (c *copier) object(object map[string]any, depth int) any {
	out := map[string]any{}
	for name, member := range object {
		c.left -= len(name)
		out[name] = c.value(member, depth+1)
		if c.err != nil {
			return nil
		}
	}
	return out
}

// sampleDocument has every member that an input can have, except for the caller's attributes and labels.
func sampleDocument() map[string]any {
	one, score := []string{""}, 0
	doc, _ := documentOf(&policy.Input{
		Subject: policy.Subject{Taints: one},
		Environment: policy.Environment{
			ParentHashes: one, PolicyNames: one, ActiveDeviations: make([]policy.Deviation, 1), TrustOverride: &score, RemovedTaints: one,
		},
		Lineage: policy.Lineage{
			Principals: one, SourceTypes: one,
			History: policy.NewHistory(func() []policy.Ancestor {
				return []policy.Ancestor{{
					User: "x", Resource: "x", Taints: one, RemovedTaints: one, Labels: map[string]string{"": ""}, Parents: []int{0},
				}}
			}),
		},
	}, maxDepth)
	doc["labels"] = labels{}
	lineage, _ := doc["lineage"].(map[string]any)
	ancestors, _ := lineage["ancestors"].([]any)
	for _, a := range ancestors {
		a.(map[string]any)["labels"] = labels{}
	}
	return doc
}

// labels stands in the sample for texts of any names. A rule for the label "a.b" that is written without the backslash
// would hide nothing.
type labels struct{}

// reaches reports whether path can lead to something in the sample. An empty object is the caller's, so anything
// may be in it.
func reaches(sample any, path []segment) bool {
	if len(path) == 0 {
		return true
	}
	switch v := sample.(type) {
	case map[string]any:
		for name, member := range v {
			if path[0].is(name) && reaches(member, path[1:]) {
				return true
			}
		}
		return len(v) == 0
	case []any:
		return path[0].star && reaches(v[0], path[1:])
	case labels:
		return len(path) == 1
	}
	return false
}
