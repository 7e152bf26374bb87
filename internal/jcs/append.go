package jcs

import (
	"slices"
	"strconv"
)

// Append appends the canonical form of v to dst (RFC 8785 §3.2): no white
// space, members in UTF-16 code unit order, shortest numbers, fewest escapes.
// It does not change v, and checks it as strictly as Parse checks text, so a
// Value built by hand cannot come out as text that Parse would refuse. On an
// error, an *Error with Offset −1, dst is returned unchanged.
func (v Value) Append(dst []byte, o Options) ([]byte, error) {
	w := writer{integers: o.Integers, depth: o.depth(), limit: -1}
	if o.MaxBytes > 0 {
		w.start, w.limit = len(dst), o.MaxBytes
	}
	out, err := w.value(dst, &v)
	if err == nil {
		err = w.room(out)
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

type writer struct {
	integers Integers
	depth    int // levels still allowed
	start    int // length of dst before Append
	limit    int // bytes Append may write; −1 for no limit
}

func (w *writer) fail(class error, reason string) *Error {
	return &Error{Offset: -1, Reason: reason, class: class}
}

// room checks the limit. It runs before every element and member and at the
// end, so the buffer never exceeds the limit by more than one scalar.
func (w *writer) room(dst []byte) *Error {
	if w.limit >= 0 && len(dst)-w.start > w.limit {
		return w.fail(ErrSize, "canonical form is longer than the limit of "+strconv.Itoa(w.limit)+" bytes")
	}
	return nil
}

func (w *writer) value(dst []byte, v *Value) ([]byte, *Error) {
	switch v.Kind {
	case Null:
		return append(dst, "null"...), nil
	case Bool:
		return strconv.AppendBool(dst, v.Bool), nil
	case Number:
		return appendNumber(dst, v.Text, w.integers)
	case String:
		return w.str(dst, v.Text)
	}
	if v.Kind > Object {
		return dst, w.fail(ErrSyntax, "value has no JSON kind")
	}
	if w.depth == 0 {
		return dst, w.fail(ErrDepth, "arrays and objects are nested too deeply")
	}
	w.depth-- // after an error nobody reads it
	var err *Error
	if v.Kind == Array {
		dst, err = w.array(dst, v.Elems)
	} else {
		dst, err = w.object(dst, v.Members)
	}
	w.depth++
	return dst, err
}

func (w *writer) str(dst []byte, s string) ([]byte, *Error) {
	out, bad := appendString(dst, s)
	if bad >= 0 {
		return dst, w.fail(ErrEncoding, "string is not valid UTF-8")
	}
	return out, nil
}

func (w *writer) array(dst []byte, elems []Value) (_ []byte, err *Error) {
	dst = append(dst, '[')
	for i := range elems {
		if i > 0 {
			dst = append(dst, ',')
		}
		if err = w.room(dst); err != nil {
			return dst, err
		}
		if dst, err = w.value(dst, &elems[i]); err != nil {
			return dst, err.at(i)
		}
	}
	return append(dst, ']'), nil
}

func (w *writer) object(dst []byte, members []Member) (_ []byte, err *Error) {
	dst = append(dst, '{')
	var small [fewNames]int32
	perm := sortedOrder(small[:0], members) // nil: as they are
	for i := range members {
		m := &members[i]
		if perm != nil {
			m = &members[perm[i]]
			if i > 0 && m.Name == members[perm[i-1]].Name {
				return dst, w.fail(ErrDuplicate, "duplicate member "+quoteName(m.Name)).in(m.Name)
			}
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		if err = w.room(dst); err != nil {
			return dst, err.in(m.Name)
		}
		if dst, err = w.member(dst, m); err != nil {
			return dst, err.in(m.Name)
		}
	}
	return append(dst, '}'), nil
}

func (w *writer) member(dst []byte, m *Member) (_ []byte, err *Error) {
	if dst, err = w.str(dst, m.Name); err != nil {
		return dst, err
	}
	return w.value(append(dst, ':'), &m.Value)
}

// sortedOrder returns the indices of members in canonical order (RFC 8785
// §3.2.3), using buf when they fit, or nil when members already are in order
// and hence without duplicates. It sorts indices because v belongs to the
// caller, who may be reading it elsewhere.
func sortedOrder(buf []int32, members []Member) []int32 {
	sorted := true
	for i := 1; i < len(members) && sorted; i++ {
		sorted = Compare(members[i-1].Name, members[i].Name) < 0
	}
	if sorted {
		return nil
	}
	for i := range members {
		buf = append(buf, int32(i))
	}
	slices.SortFunc(buf, func(a, b int32) int {
		return Compare(members[a].Name, members[b].Name)
	})
	return buf
}
