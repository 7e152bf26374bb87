package jcs

import (
	"errors"
	"strconv"
)

// Classes of error, for use with errors.Is. Every error of this package is an
// *Error that is exactly one of them.
var (
	ErrSyntax    = errors.New("json: text does not follow the grammar")
	ErrDuplicate = errors.New("json: duplicate member")
	ErrDepth     = errors.New("json: nested too deeply")
	ErrSize      = errors.New("json: too large")
	ErrNumber    = errors.New("json: number out of range")
	ErrEncoding  = errors.New("json: text is not valid Unicode")
)

// Error says what is wrong with a JSON text or value, and where. It never
// repeats values, only member names, shortened and with everything outside
// printable ASCII escaped, so it is safe to log.
type Error struct {
	Offset int    // byte offset in the text; −1 when there is no text
	Path   string // such as "labels.principal" or "parent_ids[2]"; at most 131 bytes; "" at the top
	Reason string // the fault, such as `duplicate member "a"`

	class error
}

// Error returns a text such as
//
//	json: duplicate member "a" at byte 12 (labels.a)
func (e *Error) Error() string {
	s := "json: " + e.Reason
	if e.Offset >= 0 {
		s += " at byte " + strconv.Itoa(e.Offset)
	}
	if e.Path != "" {
		s += " (" + e.Path + ")"
	}
	return s
}

// Unwrap returns the class of the error, one of the sentinels of this package.
func (e *Error) Unwrap() error { return e.class }

// Bounds on what an error text repeats of its input.
const (
	maxPath = 128
	maxName = 40
)

// in puts e inside the member called name.
func (e *Error) in(name string) *Error {
	return e.under(nameSegment(name))
}

// at puts e inside element i of an array.
func (e *Error) at(i int) *Error {
	return e.under("[" + strconv.Itoa(i) + "]")
}

// under prepends a segment, and cuts the inner end when the path grows too
// long: the outer part leads the reader to the place. Segments are ASCII, so
// any cut is a character boundary; the mark is 3 bytes.
func (e *Error) under(seg string) *Error {
	switch {
	case e.Path == "":
		e.Path = seg
	case e.Path[0] == '[':
		e.Path = seg + e.Path
	default:
		e.Path = seg + "." + e.Path
	}
	if len(e.Path) > maxPath {
		e.Path = e.Path[:maxPath] + "…"
	}
	return e
}

// nameSegment returns name as it is when it is a plain word, else quoted in
// brackets, so that a name with a dot or a line feed cannot pass for a path.
func nameSegment(name string) string {
	if isWord(name) {
		return name
	}
	return "[" + quoteName(name) + "]"
}

func isWord(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-' {
			continue
		}
		return false
	}
	return true
}

// quoteName quotes a name for an error text: short, printable, ASCII.
func quoteName(name string) string {
	if len(name) > maxName {
		name = name[:maxName] + "..."
	}
	return strconv.QuoteToASCII(name)
}
