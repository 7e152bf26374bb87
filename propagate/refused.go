package propagate

import (
	"errors"
	"fmt"
	"net/http"
)

// A Class is why a request is refused, as far as its sender is told (SPEC §9): nothing internal leaks.
type Class int

// Classes of refusals.
const (
	Fault           Class = iota // a fault of ours
	Malformed                    // what came cannot be read
	Unauthenticated              // the credential is missing or not accepted
	Forbidden                    // denied, or the lineage is not trusted
	TooLarge                     // of headers and lineage
	ContentTooLarge              // of a body whose digest must be known before anything runs
	Unavailable                  // a store, a key source or an engine could not answer
)

var classes = [...]struct {
	title  string
	status int
}{
	Fault:           {"internal error", http.StatusInternalServerError},
	Malformed:       {"malformed", http.StatusBadRequest},
	Unauthenticated: {"credential is not accepted", http.StatusUnauthorized},
	Forbidden:       {"not allowed", http.StatusForbidden},
	TooLarge:        {"lineage is too large", http.StatusRequestHeaderFieldsTooLarge},
	ContentTooLarge: {"content is too large", http.StatusRequestEntityTooLarge},
	Unavailable:     {"lineage could not be checked", http.StatusServiceUnavailable},
}

func (c Class) known() Class {
	if c < 0 || int(c) >= len(classes) {
		return Fault
	}
	return c
}

// Title says it in words that may be shown to anybody.
func (c Class) Title() string { return classes[c.known()].title }

// Status is the HTTP status code.
func (c Class) Status() int { return classes[c.known()].status }

// A RefusedError is a request that was not admitted, or lineage that could not be sent. Its text is for operators:
// show Class.Title to others.
type RefusedError struct {
	Class Class
	Err   error
}

func (e *RefusedError) Error() string {
	if e.Err == nil {
		return e.Class.Title()
	}
	return e.Class.Title() + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// RefusalClass implements what [ClassOf] looks for.
func (e *RefusedError) RefusalClass() Class { return e.Class }

func refuse(c Class, format string, args ...any) error {
	return &RefusedError{c, fmt.Errorf(format, args...)}
}

// ClassOf returns the class of an error that has one, for example a denial of a guarded call, and Fault for any
// other.
func ClassOf(err error) Class {
	var classed interface{ RefusalClass() Class }
	if errors.As(err, &classed) {
		return classed.RefusalClass().known()
	}
	return Fault
}
