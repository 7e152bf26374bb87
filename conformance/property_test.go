package conformance_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/kest-go/kest/internal/jcs"
	"pgregory.net/rapid"
)

// text draws strings with characters that matter: controls, escapes, and those
// around the surrogates, where UTF-8 and UTF-16 order differ.
func text() *rapid.Generator[string] {
	special := []rune("\x00\x08\t\n\f\r\x1f \"\\/a\u007f\u0080é\u2028\ud7ff\ue000\uf8ff\ufeff\ufffd\uffff\U00010000😀\U0010ffff")
	return rapid.OneOf(
		rapid.StringOfN(rapid.SampledFrom(special), 0, 6, -1),
		rapid.StringN(0, 12, -1),
		rapid.StringMatching(`[a-z_]{1,8}`),
	)
}

// number draws literals, many of them around the bounds of exact integers and
// of plain decimal.
func number() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{
			"-0", "9007199254740991", "9007199254740992", "9007199254740993", "-9007199254740993", "18446744073709551615",
			"999999999999999999999", "1e21", "123456789012345678901234567890", "1e-6", "0.0000009", "5e-324", "1e-400",
		}),
		rapid.Map(rapid.Float64(), func(f float64) string {
			if math.IsInf(f, 0) || math.IsNaN(f) {
				f = 0
			}
			return strconv.FormatFloat(f, 'e', -1, 64)
		}),
		rapid.Map(rapid.Int64(), func(i int64) string { return strconv.FormatInt(i, 10) }),
		rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,2})?`),
	)
}

// document draws a value of at most the given depth.
func document(depth int) *rapid.Generator[jcs.Value] {
	return rapid.Custom(func(t *rapid.T) jcs.Value {
		last := jcs.Object
		if depth == 0 {
			last = jcs.String
		}
		v := jcs.Value{Kind: jcs.Kind(rapid.IntRange(int(jcs.Null), int(last)).Draw(t, "kind"))}
		switch v.Kind {
		case jcs.Bool:
			v.Bool = rapid.Bool().Draw(t, "bool")
		case jcs.Number:
			v.Text = number().Draw(t, "number")
		case jcs.String:
			v.Text = text().Draw(t, "string")
		case jcs.Array:
			v.Elems = rapid.SliceOfN(document(depth-1), 0, 5).Draw(t, "elements")
		case jcs.Object:
			for _, name := range rapid.SliceOfNDistinct(text(), 0, 40, rapid.ID).Draw(t, "names") {
				v.Members = append(v.Members, jcs.Member{Name: name, Value: document(depth-1).Draw(t, "member")})
			}
		}
		return v
	})
}

// write spells v in one of its many forms: any member order, white space and
// escapes and, when rounding makes them one number, notations.
func write(t *rapid.T, b *strings.Builder, v jcs.Value, round bool) {
	space := func() { b.WriteString(rapid.SampledFrom([]string{"", "", "", " ", "\n\t", "\r\n"}).Draw(t, "space")) }
	space()
	switch v.Kind {
	case jcs.Null:
		b.WriteString("null")
	case jcs.Bool:
		fmt.Fprint(b, v.Bool)
	case jcs.Number:
		b.WriteString(v.Text)
		if round && !strings.ContainsAny(v.Text, "eE") {
			b.WriteString(rapid.SampledFrom([]string{"", "e0", "E-00"}).Draw(t, "exponent"))
		}
	case jcs.String:
		writeString(t, b, v.Text)
	case jcs.Array:
		b.WriteByte('[')
		for i, e := range v.Elems {
			if i > 0 {
				b.WriteByte(',')
			}
			write(t, b, e, round)
		}
		b.WriteByte(']')
	case jcs.Object:
		b.WriteByte('{')
		for i, m := range rapid.Permutation(v.Members).Draw(t, "order") {
			if i > 0 {
				b.WriteByte(',')
			}
			space()
			writeString(t, b, m.Name)
			space()
			b.WriteByte(':')
			write(t, b, m.Value, round)
		}
		b.WriteByte('}')
	}
	space()
}

// writeString escapes what must be escaped and, as drawn, everything else.
func writeString(t *rapid.T, b *strings.Builder, s string) {
	all := rapid.Bool().Draw(t, "escape all")
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case !all && r >= 0x20 && r != '"' && r != '\\':
			b.WriteRune(r)
		case r >= 0x10000:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(b, `\u%04x\u%04X`, high, low)
		default:
			fmt.Fprintf(b, `\u%04X`, r)
		}
	}
	b.WriteByte('"')
}

func canonicalize(t *rapid.T, text []byte, o jcs.Options) []byte {
	out, err := jcs.Canonicalize(nil, text, o)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return out
}

// RFC 8785: one value has one canonical form, whatever its spelling; the form
// is its own canonical form, and encoding/json reads it as the same value.
func TestPropertyCanonicalForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := document(3).Draw(t, "document")
		o := jcs.Options{Integers: rapid.SampledFrom([]jcs.Integers{jcs.Round, jcs.Exact}).Draw(t, "integers")}
		want, err := v.Append(nil, o)
		if err != nil {
			t.Fatalf("Append: %v", err)
		}
		if again := canonicalize(t, want, o); !bytes.Equal(again, want) {
			t.Fatalf("not a fixed point:\n%s\n%s", want, again)
		}
		var b strings.Builder
		write(t, &b, v, o.Integers == jcs.Round)
		source := []byte(b.String())
		if got := canonicalize(t, source, o); !bytes.Equal(got, want) {
			t.Fatalf("%s\nis written %s\nwant       %s", source, got, want)
		}
		if !reflect.DeepEqual(decode(t, source, false), decode(t, want, false)) {
			t.Fatalf("%s\nhas another value than\n%s", want, source)
		}
	})
}

// What Parse reads of a canonical text is what encoding/json reads of it,
// number literals included; and members arrive in UTF-16 order.
func TestPropertySameAsDecoder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, err := document(3).Draw(t, "document").Append(nil, jcs.Options{})
		if err != nil {
			t.Fatalf("Append: %v", err)
		}
		v, err := jcs.Parse(text, jcs.Options{})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got, want := plain(t, v), decode(t, text, true); !reflect.DeepEqual(got, want) {
			t.Fatalf("read as %#v, encoding/json reads %#v", got, want)
		}
	})
}

// plain turns v into what encoding/json gives.
func plain(t *rapid.T, v jcs.Value) any {
	switch v.Kind {
	case jcs.Bool:
		return v.Bool
	case jcs.Number:
		return json.Number(v.Text)
	case jcs.String:
		return v.Text
	case jcs.Array:
		list := []any{}
		for _, e := range v.Elems {
			list = append(list, plain(t, e))
		}
		return list
	case jcs.Object:
		object := map[string]any{}
		for i, m := range v.Members {
			if i > 0 && !utf16Less(v.Members[i-1].Name, m.Name) {
				t.Fatalf("member %q stands before %q", v.Members[i-1].Name, m.Name)
			}
			object[m.Name] = plain(t, m.Value)
		}
		return object
	}
	return nil
}

func utf16Less(a, b string) bool {
	x, y := utf16.Encode([]rune(a)), utf16.Encode([]rune(b))
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return len(x) < len(y)
}

// A repeated name is refused wherever it is put and however it is spelled.
func TestPropertyDuplicates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(text(), 1, 60, rapid.ID).Draw(t, "names")
		again := rapid.SampledFrom(names).Draw(t, "again")
		var b strings.Builder
		for i, name := range append(names, again) {
			b.WriteByte("{,"[min(i, 1)])
			writeString(t, &b, name)
			b.WriteString(":0")
		}
		b.WriteByte('}')
		if _, err := jcs.Parse([]byte(b.String()), jcs.Options{}); err == nil {
			t.Fatalf("accepted %s", b.String())
		}
	})
}

// SPEC §2, input_hash: two integers have the same exact form only if they are
// the same integer.
func TestPropertyExactIntegersDiffer(t *testing.T) {
	o := jcs.Options{Integers: jcs.Exact}
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Int64().Draw(t, "a")
		b := a + rapid.Int64Range(-2, 2).Draw(t, "step") // may wrap around, which is another integer too
		x := canonicalize(t, strconv.AppendInt(nil, a, 10), o)
		y := canonicalize(t, strconv.AppendInt(nil, b, 10), o)
		if bytes.Equal(x, y) != (a == b) || string(x) != strconv.FormatInt(a, 10) {
			t.Fatalf("%d and %d are written %s and %s", a, b, x, y)
		}
	})
}
