package jcs

import (
	"strconv"
	"strings"
	"sync"
)

// Parse reads src, which must be exactly one JSON value with nothing but white
// space around it. The result does not refer to src: it is copied once, and the
// strings of the result share that copy. All errors are *Error.
func Parse(src []byte, o Options) (Value, error) {
	if o.MaxBytes > 0 && len(src) > o.MaxBytes {
		return Value{}, &Error{
			Offset: o.MaxBytes,
			Reason: "text has " + strconv.Itoa(len(src)) + " bytes, more than the limit of " + strconv.Itoa(o.MaxBytes),
			class:  ErrSize,
		}
	}
	s := stacks.Get().(*stack)
	p := parser{src: string(src), stack: *s, depth: o.depth(), integers: o.Integers}
	v, err := p.document()
	p.release(s)
	if err != nil {
		return Value{}, err
	}
	return v, nil
}

// parser reads values recursively, never deeper than depth.
type parser struct {
	src      string
	pos      int
	depth    int // levels still allowed
	integers Integers
	stack
}

// stack collects the members and elements that all levels have read, until
// their object or array ends and they move to a slice of the exact size.
type stack struct {
	members []Member
	elems   []Value
}

// stacks keeps stacks between calls. An entry (SPEC §2) fits without growing.
var stacks = sync.Pool{New: func() any {
	return &stack{members: make([]Member, 0, 24), elems: make([]Value, 0, 8)}
}}

// maxKept bounds what a stack that goes back to the pool may hold.
const maxKept = 64

// release gives the stack back, emptied: nothing of one text is kept alive by,
// or visible to, the reader of another.
func (p *parser) release(s *stack) {
	if cap(p.members) > maxKept || cap(p.elems) > maxKept {
		return
	}
	clear(p.members[:cap(p.members)])
	clear(p.elems[:cap(p.elems)])
	s.members, s.elems = p.members[:0], p.elems[:0]
	stacks.Put(s)
}

func (p *parser) fail(offset int, class error, reason string) *Error {
	return &Error{Offset: offset, Reason: reason, class: class}
}

func (p *parser) document() (Value, *Error) {
	if strings.HasPrefix(p.src, "\ufeff") {
		return Value{}, p.fail(0, ErrSyntax, "text starts with a byte order mark; remove it") // RFC 8259 §8.1
	}
	v, err := p.value()
	if err != nil {
		return Value{}, err
	}
	p.space()
	if p.pos < len(p.src) {
		return Value{}, p.fail(p.pos, ErrSyntax, "data after the value")
	}
	return v, nil
}

// space skips the white space of RFC 8259 §2.
func (p *parser) space() {
	for p.pos < len(p.src) {
		switch p.src[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// peek skips white space and returns the next byte, or 0 at the end. A real
// NUL byte is no token either, so both end in the same kind of error.
func (p *parser) peek() byte {
	p.space()
	if p.pos < len(p.src) {
		return p.src[p.pos]
	}
	return 0
}

// value reads the next value.
func (p *parser) value() (Value, *Error) {
	switch c := p.peek(); {
	case c == '"':
		s, err := p.str()
		return Value{Kind: String, Text: s}, err
	case c == '{':
		m, err := p.object()
		return Value{Kind: Object, Members: m}, err
	case c == '[':
		e, err := p.array()
		return Value{Kind: Array, Elems: e}, err
	case c == '-' || isDigit(c):
		s, err := p.number()
		return Value{Kind: Number, Text: s}, err
	case c == 't':
		return Value{Kind: Bool, Bool: true}, p.literal("true")
	case c == 'f':
		return Value{Kind: Bool}, p.literal("false")
	case c == 'n':
		return Value{}, p.literal("null")
	}
	if p.pos >= len(p.src) {
		return Value{}, p.fail(p.pos, ErrSyntax, "text ends where a value is expected")
	}
	return Value{}, p.fail(p.pos, ErrSyntax, "no value starts with this character")
}

func (p *parser) literal(word string) *Error {
	if !strings.HasPrefix(p.src[p.pos:], word) {
		return p.fail(p.pos, ErrSyntax, "unknown word; only true, false and null are values")
	}
	p.pos += len(word)
	return nil
}

// number returns the literal as it stands in the text.
func (p *parser) number() (string, *Error) {
	s := p.src[p.pos:]
	n, reason := scanNumber(s)
	if reason != "" {
		return "", p.fail(p.pos+n.end, ErrSyntax, reason)
	}
	s = s[:n.end]
	if reason := checkNumber(s, n, p.integers); reason != "" {
		return "", p.fail(p.pos, ErrNumber, reason)
	}
	p.pos += n.end
	return s, nil
}

// enter steps over an opening bracket.
func (p *parser) enter() *Error {
	if p.depth == 0 {
		return p.fail(p.pos, ErrDepth, "arrays and objects are nested too deeply")
	}
	p.depth--
	p.pos++
	return nil
}

func (p *parser) leave() {
	p.depth++
	p.pos++
}

func (p *parser) array() ([]Value, *Error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	if p.peek() == ']' {
		p.leave()
		return nil, nil
	}
	base := len(p.elems)
	for {
		e, err := p.value()
		if err != nil {
			return nil, err.at(len(p.elems) - base)
		}
		p.elems = append(p.elems, e)
		switch p.peek() {
		case ',':
			p.pos++
		case ']':
			elems := append(make([]Value, 0, len(p.elems)-base), p.elems[base:]...)
			p.elems = p.elems[:base]
			p.leave()
			return elems, nil
		default:
			return nil, p.fail(p.pos, ErrSyntax, "array needs a comma or a closing bracket here")
		}
	}
}

func (p *parser) object() ([]Member, *Error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	if p.peek() == '}' {
		p.leave()
		return nil, nil
	}
	base := len(p.members)
	seen := names{sorted: true}
	for {
		m, err := p.member(&seen, base)
		if err != nil {
			return nil, err
		}
		p.members = append(p.members, m)
		switch p.peek() {
		case ',':
			p.pos++
		case '}':
			members := append(make([]Member, 0, len(p.members)-base), p.members[base:]...)
			p.members = p.members[:base]
			p.leave()
			return members, nil
		default:
			return nil, p.fail(p.pos, ErrSyntax, "object needs a comma or a closing brace here")
		}
	}
}

// member reads a name, a colon and a value. The members before it in the same
// object are p.members[base:].
func (p *parser) member(seen *names, base int) (m Member, err *Error) {
	if p.peek() != '"' {
		return m, p.fail(p.pos, ErrSyntax, "member name in double quotes expected")
	}
	at := p.pos
	if m.Name, err = p.str(); err != nil {
		return m, err
	}
	if !seen.add(m.Name, p.members[base:]) {
		return m, p.fail(at, ErrDuplicate, "duplicate member "+quoteName(m.Name)).in(m.Name)
	}
	if p.peek() != ':' {
		return m, p.fail(p.pos, ErrSyntax, "colon expected behind the member name").in(m.Name)
	}
	p.pos++
	if m.Value, err = p.value(); err != nil {
		return m, err.in(m.Name)
	}
	return m, nil
}

// names finds duplicate member names of one object. Names in canonical order,
// which is how canonical text arrives, cost one comparison each. Otherwise a
// few names are compared one by one, and many go into a map, whose hash is
// seeded at random: a hostile object cannot make this quadratic.
type names struct {
	sorted bool
	set    map[string]struct{}
}

const fewNames = 32

// add reports whether name differs from the names of all members before it.
func (n *names) add(name string, before []Member) bool {
	if n.sorted {
		if len(before) == 0 {
			return true
		}
		if c := Compare(before[len(before)-1].Name, name); c < 0 {
			return true
		} else if c == 0 {
			return false
		}
		n.sorted = false
	}
	if len(before) <= fewNames {
		for i := range before {
			if before[i].Name == name {
				return false
			}
		}
		return true
	}
	if n.set == nil {
		n.set = make(map[string]struct{}, 2*len(before))
		for i := range before {
			n.set[before[i].Name] = struct{}{}
		}
	}
	if _, dup := n.set[name]; dup {
		return false
	}
	n.set[name] = struct{}{}
	return true
}
