package decisionlog

import (
	"encoding/json"
	"errors"
	"fmt"
)

// A Mask hides one part of the input, or several. With neither With nor Func the part is taken out: a member is
// removed, and an element of a list becomes null.
type Mask struct {
	// Path leads to the part: names of the document of [policy.Input.Document], joined by dots. "*" stands for every
	// member of an object or every element of a list. A backslash makes the next '.', '*' or '\' a part of a name:
	//
	//	attributes.ssn
	//	object.attributes.*
	//	attributes.cards.*.number
	//	attributes.user\.email
	//
	// A path without such a part in the schema of the input is an error of the configuration. What the caller's
	// attributes hold is known only at the call: a part that is missing or null needs no mask, but a name that is to be
	// looked up in a list, or in a value that no "*" chose and that has no members, means that the data is not
	// what the rule was written for; then the whole input is dropped.
	Path string

	// With is put in the place of the part.
	With string

	// Func returns what is put in the place of the part, for example a keyed hash of it. It gets a JSON value (nil,
	// bool, int, float64, string, []any, map[string]any) that is its own, and must return one; an error or a panic
	// drops the input. The error is not logged: it could repeat the value.
	Func func(value any) (any, error)
}

// rule is a Mask that has been checked.
type rule struct {
	Mask
	path []segment
	hid  bool // something in one input
}

func newRules(masks []Mask) ([]rule, error) {
	var rules []rule
	var errs []error
	sample := sampleDocument()
	for _, m := range masks {
		path, err := parsePath(m.Path)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("mask %.100q: %w", m.Path, err))
		case m.With != "" && m.Func != nil:
			errs = append(errs, fmt.Errorf("mask %.100q: both With and Func; choose one", m.Path))
		case !reaches(sample, path):
			errs = append(errs, fmt.Errorf("mask %.100q: a logged input has no such member (identity, the outer trust_score and "+
				"environment.parent_hash are never logged: they repeat subject and parent_hashes)", m.Path))
		}
		rules = append(rules, rule{Mask: m, path: path})
	}
	return rules, errors.Join(errs...)
}

// A masked value was put in by a rule. Later rules leave it alone.
type masked struct{ value any }

// MarshalJSON implements [json.Marshaler].
func (m masked) MarshalJSON() ([]byte, error) { return json.Marshal(m.value) }

var (
	errShape = errors.New("the input has a list or a plain value where the rule has a member")
	errFunc  = errors.New("its function failed")
)

// apply masks what path reaches inside value. starred says that a star chose value.
func (r *rule) apply(value any, path []segment, starred bool) error {
	switch v := value.(type) {
	case nil, masked:
		return nil
	case map[string]any:
		return r.members(v, path)
	case []any:
		if !path[0].star {
			return errShape // what the rule is about may stand in an element
		}
		return r.elements(v, path[1:])
	}
	if starred { // one of many, which need not all be of one kind
		return nil
	}
	return errShape
}

func (r *rule) members(object map[string]any, path []segment) error {
	for name, member := range object {
		if !path[0].is(name) {
			continue
		}
		if len(path) > 1 {
			if err := r.apply(member, path[1:], path[0].star); err != nil {
				return err
			}
			continue
		}
		hidden, err := r.hide(member)
		if err != nil {
			return err
		}
		if hidden.value == nil && r.Func == nil {
			delete(object, name)
			continue
		}
		object[name] = hidden
	}
	return nil
}

// elements masks in each element what rest reaches, or the elements themselves.
func (r *rule) elements(list []any, rest []segment) error {
	for i, element := range list {
		if len(rest) > 0 {
			if err := r.apply(element, rest, true); err != nil {
				return err
			}
			continue
		}
		hidden, err := r.hide(element)
		if err != nil {
			return err
		}
		list[i] = hidden
	}
	return nil
}

// hide returns what stands in the place of value; nil is nothing.
func (r *rule) hide(value any) (masked, error) {
	r.hid = true
	switch {
	case r.Func != nil:
		if done, ok := value.(masked); ok {
			return done, nil // by an earlier rule
		}
		hidden, err := r.Func(value)
		if err != nil {
			return masked{}, errFunc
		}
		return masked{hidden}, nil
	case r.With != "":
		return masked{r.With}, nil
	}
	return masked{}, nil
}
