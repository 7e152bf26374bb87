package report

import (
	"errors"
	"fmt"
	"strings"
)

// Exit codes of every command (SPEC §14).
const (
	Good     = 0 // the thing checked is good
	Bad      = 1 // the thing checked is bad: verification failed, denied, policy does not compile
	Unusable = 2 // wrong usage, or input that could not be read
)

// ErrBad says that the thing checked is bad and that the command has reported so on standard output.
var ErrBad = errors.New("the thing checked is bad")

// An Error is a diagnostic with the next step for the user. It exits with [Unusable].
type Error struct {
	Err  error
	Hint string // what to do, "" when there is nothing to say
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint returns an [Error] with a formatted text.
func Hint(hint, format string, args ...any) error {
	return &Error{Err: fmt.Errorf(format, args...), Hint: hint}
}

// Exit writes the diagnostic for err and returns the exit code. With JSON, a command that could not report has
// its one document nevertheless: {"error": …, "hint": …}.
func (e *Env) Exit(err error) int {
	switch {
	case err == nil:
		return Good
	case errors.Is(err, ErrBad):
		return Bad
	}
	hint := ""
	if h := (*Error)(nil); errors.As(err, &h) {
		hint = h.Hint
	}
	e.Warn(err.Error())
	if hint != "" {
		fmt.Fprintf(e.Stderr, "hint: %s\n", Clean(hint))
	}
	if e.JSON && !e.wrote {
		// The exit code says already that there is no result; a failing write can add nothing.
		_ = e.WriteJSON(struct {
			Error string `json:"error"`
			Hint  string `json:"hint,omitempty"`
		}{err.Error(), hint})
	}
	return Unusable
}

// Warn writes a diagnostic, each of its lines after the name of the program.
func (e *Env) Warn(text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(e.Stderr, "%s: %s\n", e.Name, Clean(strings.TrimRight(line, "\n")))
	}
}
