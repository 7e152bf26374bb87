package cedar

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/internal/tree"
)

// A SourceError is one fault in one policy, schema or entities file. Loading joins all that it finds; errors.As
// yields the first.
type SourceError struct {
	File    string // as given to [Dir], or inside the file system
	Line    int    // from 1; 0 when the fault has no line
	Column  int    // from 1; 0 when the fault has no column
	Policy  string // the policy that the file holds; empty for schema and entities
	Message string // one line
}

// Error gives file, line and policy before the message (SPEC §7).
func (e *SourceError) Error() string { return (*tree.FileError)(e).Error() }

// place finds the position that cedar-go's parsers write into their errors. It exports no other form of it.
var place = regexp.MustCompile(`^(?:parser error: )?(?:parse error at )?<input>:(\d+):(\d+):? ?`)

// sourceError turns a parser's fault into ours.
func sourceError(shown, policyName string, err error) *SourceError {
	e := &SourceError{File: shown, Policy: policyName, Message: strings.TrimPrefix(err.Error(), "parser error: ")}
	if m := place.FindStringSubmatch(err.Error()); m != nil {
		e.Line, _ = strconv.Atoi(m[1]) // digits
		e.Column, _ = strconv.Atoi(m[2])
		e.Message = "at " + strings.TrimPrefix(err.Error(), m[0])
		if !strings.Contains(m[0], "parse error at") {
			e.Message = strings.TrimPrefix(e.Message, "at ")
		}
	}
	e.Message = oneLine(e.Message)
	return e
}

func oneLine(s string) string { return tree.OneLine(s) }

// An evalError says why a policy gave no decision. It matches its class and its cause. Its text is our own: what
// cedar-go says of a failed condition may quote the input.
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

// stopped classifies the end of the call's context.
func stopped(name string, err error) error {
	e := &evalError{policy: name, class: policy.ErrUnavailable, cause: err, text: "the call was cancelled"}
	if errors.Is(err, context.DeadlineExceeded) {
		e.text = "evaluation passed its deadline"
	}
	return e
}

// harmless retells what cedar-go says of a failed condition without the values in it: sums and texts come from the
// input. Types, and attributes whose names the policy writes out, may be told.
func harmless(message string) string {
	const missing = "does not have the attribute "
	switch {
	case strings.HasPrefix(message, "type error: "):
		return oneLine(message)
	case strings.HasPrefix(message, "record "+missing):
		return oneLine(message) + `; ask with "has" first`
	case strings.HasPrefix(message, "integer overflow"), strings.HasPrefix(message, "duration out of range"):
		return "a number is out of range"
	case strings.HasPrefix(message, "error parsing "):
		head, _, _ := strings.Cut(message, ":")
		return oneLine(head)
	case strings.HasSuffix(message, "` does not exist"):
		return "an entity does not exist; add it to the entities file"
	case strings.Contains(message, "does not have the tag "): // its name can come from the input
		return "an entity does not have the tag; ask with hasTag first"
	case strings.Contains(message, missing): // the last one is cedar-go's own: ids stand before it
		return "an entity " + oneLine(message[strings.LastIndex(message, missing):]) + `; ask with "has" first`
	}
	return "the condition cannot be evaluated"
}
