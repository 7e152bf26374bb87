package jcs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/kest-go/kest/internal/jcs"
)

func seeds(f *testing.F) {
	for _, c := range canonical {
		f.Add([]byte(c.in), uint8(0))
		f.Add([]byte(c.in), uint8(1))
	}
	for _, a := range attacks {
		f.Add([]byte(a.src), uint8(2))
	}
	f.Add(entry1K, uint8(2))
	f.Add([]byte(`[9007199254740993,-123456789012345678901234567890]`), uint8(1))
}

// decode reads text with the standard library, numbers as literals.
func decode(t *testing.T, text []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("encoding/json refuses %q: %v", text, err)
	}
	return v
}

// plainValue is v as encoding/json gives it for the same text.
func plainValue(v jcs.Value) any {
	return v.Go(func(literal string) any { return json.Number(literal) })
}

// FuzzParse holds Parse against encoding/json: what we accept it accepts with
// the same value, and what it accepts we refuse only for a reason that is not
// grammar.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, src []byte, mode uint8) {
		v, err := jcs.Parse(src, jcs.Options{Integers: jcs.Integers(mode % 3)})
		if err == nil {
			if !utf8.Valid(src) {
				t.Fatalf("accepted invalid UTF-8 %q", src)
			}
			if got, want := plainValue(v), decode(t, src); !reflect.DeepEqual(got, want) {
				t.Fatalf("read %q as %#v, encoding/json as %#v", src, got, want)
			}
			return
		}
		var e *jcs.Error
		if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(src) || len(e.Error()) > 400 {
			t.Fatalf("%q: %v", src, err)
		}
		if errors.Is(err, jcs.ErrSyntax) && json.Valid(src) {
			t.Fatalf("%q is JSON, refused with %v", src, err)
		}
	})
}

// FuzzCanonicalize: the canonical form is a fixed point, reads back as a value
// of the same bytes, and is JSON with the values of the source.
func FuzzCanonicalize(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, src []byte, mode uint8) {
		o := jcs.Options{Integers: jcs.Integers(mode % 3)}
		first, err := jcs.Canonicalize(nil, src, o)
		if err != nil {
			if first != nil {
				t.Fatalf("%q: error with output %q", src, first)
			}
			return
		}
		v, err := jcs.Parse(first, o)
		if err != nil {
			t.Fatalf("%q: canonical form %q is refused: %v", src, first, err)
		}
		second, err := v.Append([]byte("x"), o)
		if err != nil || string(second) != "x"+string(first) {
			t.Fatalf("%q: %q, then %q, %v", src, first, second, err)
		}
		if !sameValue(decode(t, src), decode(t, first)) {
			t.Fatalf("%q: canonical form %q has another value", src, first)
		}
		for _, m := range v.Members {
			if got, ok := v.Get(m.Name); !ok || !reflect.DeepEqual(got, m.Value) {
				t.Fatalf("member %q is not found", m.Name)
			}
		}
	})
}

// sameValue compares what encoding/json read, numbers as doubles. Numbers
// beyond the doubles, which only Exact writes, must keep their literal.
func sameValue(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, ok := b.(json.Number)
		if !ok {
			return false
		}
		x, errX := a.Float64()
		y, errY := b.Float64()
		if errX != nil || errY != nil {
			return a == b
		}
		return x == y
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !sameValue(a[i], b[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for name := range a {
			if y, ok := b[name]; !ok || !sameValue(a[name], y) {
				return false
			}
		}
		return true
	}
	return a == b
}

// FuzzString: a string is written so that it reads back, or refused exactly
// when it is not UTF-8.
func FuzzString(f *testing.F) {
	for _, s := range []string{"", "a\"\\\n\x00", "é€😀", "\xff", "\xed\xa0\x80", "\u2028\x7f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out, err := jcs.AppendString(nil, s)
		if (err == nil) != utf8.ValidString(s) {
			t.Fatalf("%q: %v", s, err)
		}
		if err != nil {
			return
		}
		v, err := jcs.Parse(out, jcs.Options{})
		if err != nil || v.Kind != jcs.String || v.Text != s {
			t.Fatalf("%q is written %s and read as %q, %v", s, out, v.Text, err)
		}
		if got := decode(t, out); got != s {
			t.Fatalf("%q is written %s and read by encoding/json as %q", s, out, got)
		}
	})
}
