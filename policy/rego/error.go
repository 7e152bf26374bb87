package rego

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/internal/tree"
)

// A SourceError is one fault in one policy or data file. Loading joins all that it finds; errors.As yields the first.
type SourceError struct {
	File    string // as given to [Dir], or inside the file system; a bundle's member follows the bundle's name
	Line    int    // from 1; 0 when the fault has no line
	Column  int    // from 1; 0 when the fault has no column
	Policy  string // the policy that the file holds, or would hold by its path; empty for data
	Message string // one line
}

// Error gives file, line and policy before the message (SPEC §7).
func (e *SourceError) Error() string { return (*tree.FileError)(e).Error() }

// sourceErrors turns OPA's faults into ours. holds names the policy of a file.
func (l *loader) sourceErrors(file string, err error) error {
	if own := (*SourceError)(nil); errors.As(err, &own) {
		return err
	}
	var many ast.Errors
	if one := (*ast.Error)(nil); errors.As(err, &one) {
		many = ast.Errors{one}
	} else if !errors.As(err, &many) {
		return &SourceError{File: file, Policy: l.holds(file), Message: oneLine(err.Error())}
	}
	many.Sort()
	var errs []error
	for _, e := range many {
		s := &SourceError{File: file, Message: l.explain(e.Message)}
		if e.Location != nil {
			s.Line, s.Column = e.Location.Row, e.Location.Col
			if e.Location.File != "" {
				s.File = e.Location.File
			}
		}
		s.Policy = l.holds(s.File)
		errs = append(errs, s)
	}
	return errors.Join(errs...)
}

// explain adds the reason to OPA's "undefined function", which would send the reader looking for a misspelling.
func (l *loader) explain(message string) string {
	if name, ok := strings.CutPrefix(message, "undefined function "); ok {
		if why, no := l.forbidden[name]; no {
			return fmt.Sprintf("built-in %s is refused: it %s; "+
				"remove the call, or name it in Config.InsecureBuiltins", name, why)
		}
	}
	return oneLine(message)
}

func oneLine(s string) string { return tree.OneLine(s) }

// An evalError says why a policy gave no decision. It matches its class and its cause. Its text leaves out the
// message of a failed built-in, which may quote the input.
type evalError struct {
	policy, text string
	class, cause error
}

func (e *evalError) Error() string {
	return fmt.Sprintf("policy %q: %v: %s", e.policy, e.class, e.text)
}

func (e *evalError) Unwrap() []error {
	if e.cause == nil {
		return []error{e.class}
	}
	return []error{e.class, e.cause}
}

// failure classifies the end of an evaluation that gave no value.
func failure(name string, err error) error {
	e := &evalError{policy: name, class: policy.ErrUnavailable, cause: err}
	var fault *topdown.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		e.text = "evaluation passed its deadline"
	case errors.Is(err, context.Canceled):
		e.text = "the call was cancelled"
	case !errors.As(err, &fault):
		e.text = fmt.Sprintf("evaluation ended with a fault of type %T", err)
	case fault.Code == topdown.BuiltinErr:
		builtin, _, _ := strings.Cut(fault.Message, ":")
		e.text = fmt.Sprintf("%vbuilt-in %s reported an error", at(fault.Location), oneLine(builtin))
	case fault.Code == topdown.ConflictErr:
		e.text = at(fault.Location) + "conflicting values: " + oneLine(fault.Message)
	default:
		e.text = at(fault.Location) + fault.Code
	}
	if fault != nil && slices.Contains(policyFaults(), fault.Code) {
		e.class = policy.ErrIndefinite // asking again would end the same way
	}
	return e
}

// policyFaults are the codes of errors that are the policy's own.
func policyFaults() []string {
	return []string{topdown.BuiltinErr, topdown.ConflictErr, topdown.TypeErr, topdown.WithMergeErr}
}

func at(l *ast.Location) string {
	if l == nil || l.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d: ", l.File, l.Row)
}
