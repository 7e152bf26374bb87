// Package jcs reads JSON strictly and writes it in the one canonical form of
// RFC 8785 (JSON Canonicalization Scheme).
//
// There is one parser and one encoder, so what was checked is what is hashed.
// Parse accepts exactly the texts of RFC 8259 that have one meaning: it
// refuses duplicate member names (compared after unescaping), lone or reversed
// surrogates, invalid UTF-8, a byte order mark, data after the value, numbers
// that no IEEE 754 double can hold, and nesting beyond a limit. Member names
// are compared exactly: no case folding, no Unicode normalisation.
//
// Everything here is safe for concurrent use as long as nobody changes a Value
// that is being read.
package jcs

// Kind says which of the six JSON types a Value holds. The zero Kind is Null.
type Kind uint8

// The six JSON types (RFC 8259 §3).
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

var kindNames = [...]string{"null", "bool", "number", "string", "array", "object"}

// String returns the name used in error texts: "null", "bool", "number",
// "string", "array" or "object"; "invalid" for any other value.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "invalid"
}

// Value is one JSON value. The zero Value is null. Only the fields that belong
// to Kind have a meaning; Append ignores the others.
type Value struct {
	Kind    Kind
	Bool    bool     // for Bool
	Text    string   // for String: decoded text; for Number: the literal as read
	Elems   []Value  // for Array
	Members []Member // for Object, in source order
}

// Member is one name and value pair of an object.
type Member struct {
	Name  string // decoded text
	Value Value
}

// Get returns the value of the member called name, compared exactly. It
// reports false when v is not an object or has no such member. It takes time
// proportional to the number of members.
func (v Value) Get(name string) (Value, bool) {
	if v.Kind != Object {
		return Value{}, false
	}
	for i := range v.Members {
		if v.Members[i].Name == name {
			return v.Members[i].Value, true
		}
	}
	return Value{}, false
}

// Go returns v as the value that encoding/json would make of it: nil, bool,
// string, []any, map[string]any, and for a number what number makes of its
// literal.
func (v Value) Go(number func(literal string) any) any {
	switch v.Kind {
	case Bool:
		return v.Bool
	case Number:
		return number(v.Text)
	case String:
		return v.Text
	case Array:
		out := make([]any, len(v.Elems))
		for i := range v.Elems {
			out[i] = v.Elems[i].Go(number)
		}
		return out
	case Object:
		out := make(map[string]any, len(v.Members))
		for i := range v.Members {
			out[v.Members[i].Name] = v.Members[i].Value.Go(number)
		}
		return out
	case Null:
	}
	return nil
}

// Integers says what happens to an integer beyond ±(2^53−1), the range in
// which every integer is a distinct IEEE 754 double.
type Integers uint8

const (
	// Round follows RFC 8785: every number becomes the nearest double, so
	// 9007199254740993 is written 9007199254740992.
	Round Integers = iota

	// Exact writes an integer literal (no fraction, no exponent) beyond the
	// range with its own digits, however many, so that two different integers
	// never give the same bytes (SPEC §2, input_hash). All other numbers are
	// written as with Round.
	Exact

	// Reject makes every number beyond the range an error (SPEC §2), in
	// whatever notation: a double of that size is an integer, and 1e20 is
	// written as one.
	Reject
)

// Limits on nesting. A scalar has depth 0, [] and {} have depth 1.
const (
	defaultDepth = 64     // SPEC §12
	maxDepth     = 10_000 // bounds the stack whatever the caller asks for
)

// Options bounds the work and chooses the treatment of large integers. The
// zero value is RFC 8785 with a depth limit of 64 and no size limit.
type Options struct {
	// MaxBytes caps the length of the text given to Parse, before any work is
	// done on it, and the number of bytes written by Append. 0 or less means
	// no cap: set it for anything that comes from outside. A parsed Value
	// takes up to about 40 bytes of memory per byte of text, and about three
	// times that while it is read.
	MaxBytes int

	// MaxDepth caps the nesting of arrays and objects. 0 or less means 64
	// (SPEC §12); more than 10,000 means 10,000.
	MaxDepth int

	// Integers is the treatment of integers beyond ±(2^53−1).
	Integers Integers
}

func (o Options) depth() int {
	switch {
	case o.MaxDepth <= 0:
		return defaultDepth
	case o.MaxDepth > maxDepth:
		return maxDepth
	}
	return o.MaxDepth
}

// Canonicalize parses src and appends its canonical form to dst. It is Parse
// followed by Append. On an error, an *Error, dst is returned unchanged.
func Canonicalize(dst, src []byte, o Options) ([]byte, error) {
	v, err := Parse(src, o)
	if err != nil {
		return dst, err
	}
	return v.Append(dst, o)
}
