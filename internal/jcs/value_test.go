package jcs_test

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"

	"github.com/kest-go/kest/internal/jcs"
)

func str(s string) jcs.Value { return jcs.Value{Kind: jcs.String, Text: s} }
func num(s string) jcs.Value { return jcs.Value{Kind: jcs.Number, Text: s} }

func object(members ...jcs.Member) jcs.Value {
	return jcs.Value{Kind: jcs.Object, Members: members}
}

func TestParseValue(t *testing.T) {
	src := []byte(` {"s":"a\u00e9","n":-1.50e+2,"t":true,"f":false,"z":null,"o":{},"a":[1,"x"]} `)
	v, err := jcs.Parse(src, jcs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range src {
		src[i] = '#' // the value must not refer to the text
	}
	var names []string
	for _, m := range v.Members {
		names = append(names, m.Name)
	}
	if got := strings.Join(names, ""); v.Kind != jcs.Object || got != "sntfzoa" {
		t.Errorf("%s with members %s, want the source order sntfzoa", v.Kind, got)
	}
	for name, want := range map[string]jcs.Value{
		"s": str("aé"), "n": num("-1.50e+2"), "t": {Kind: jcs.Bool, Bool: true}, "f": {Kind: jcs.Bool},
		"z": {}, "o": {Kind: jcs.Object}, "a": {Kind: jcs.Array},
	} {
		got, ok := v.Get(name)
		if !ok || got.Kind != want.Kind || got.Bool != want.Bool || got.Text != want.Text {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, ok, want)
		}
	}
	a, _ := v.Get("a")
	if len(a.Elems) != 2 || a.Elems[0].Text != "1" || a.Elems[1].Text != "x" {
		t.Errorf("a: got %+v", a)
	}
}

// Texts that are read one after the other, some of them with an error half-way,
// or at the same time, have nothing to do with each other.
func TestParseKeepsNothing(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				name := string(rune('a'+g)) + string(rune('a'+i%26))
				v, err := jcs.Parse([]byte(`{"`+name+`":["`+name+`",{"x":["`+name+`"]}],"z":"`+name+`"}`), jcs.Options{})
				if _, bad := jcs.Parse([]byte(`{"a":[1,2,{"b":["`+name+`",`), jcs.Options{}); err != nil || bad == nil {
					t.Errorf("%v, %v", err, bad)
					return
				}
				out, err := v.Append(nil, jcs.Options{})
				if want := `{"` + name + `":["` + name + `",{"x":["` + name + `"]}],"z":"` + name + `"}`; err != nil || string(out) != want {
					t.Errorf("got %s, %v, want %s", out, err, want)
				}
			}
		})
	}
	wg.Wait()
}

func TestGetIsExact(t *testing.T) {
	v, err := jcs.Parse([]byte(`{"alg":1,"é":2}`), jcs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ALG", "Alg", "alg ", "al", "", "e\u0301"} {
		if _, ok := v.Get(name); ok {
			t.Errorf("Get(%q) found a member", name)
		}
	}
	for _, w := range []jcs.Value{{}, str("alg"), {Kind: jcs.Array, Members: v.Members}} {
		if _, ok := w.Get("alg"); ok {
			t.Errorf("Get on %s found a member", w.Kind)
		}
	}
}

func TestKindNames(t *testing.T) {
	var got []string
	for k := jcs.Null; k <= jcs.Object+1; k++ {
		got = append(got, k.String())
	}
	if s := strings.Join(got, " "); s != "null bool number string array object invalid" {
		t.Error(s)
	}
}

// A Value built by hand is checked like text.
func TestAppendRefuses(t *testing.T) {
	deep := jcs.Value{Kind: jcs.Array}
	for range 64 {
		deep = jcs.Value{Kind: jcs.Array, Elems: []jcs.Value{deep}}
	}
	for _, c := range []struct {
		name  string
		v     jcs.Value
		class error
		path  string
	}{
		{"invalid UTF-8", object(jcs.Member{Name: "a", Value: str("x\xff")}), jcs.ErrEncoding, "a"},
		{"surrogate", str("\xed\xa0\x80"), jcs.ErrEncoding, ""},
		{"name", object(jcs.Member{Name: "\xff"}), jcs.ErrEncoding, `["\xff"]`},
		{"empty number", num(""), jcs.ErrSyntax, ""},
		{"word as number", num("NaN"), jcs.ErrSyntax, ""},
		{"number and more", num("1,2"), jcs.ErrSyntax, ""},
		{"number with space", num("1 "), jcs.ErrSyntax, ""},
		{"leading zero", num("01"), jcs.ErrSyntax, ""},
		{"overflow", num("1e400"), jcs.ErrNumber, ""},
		{"kind", jcs.Value{Kind: jcs.Object + 1}, jcs.ErrSyntax, ""},
		{"duplicate", object(jcs.Member{Name: "b"}, jcs.Member{Name: "a"}, jcs.Member{Name: "b"}), jcs.ErrDuplicate, "b"},
		{"duplicate neighbours", object(jcs.Member{Name: "b"}, jcs.Member{Name: "b"}), jcs.ErrDuplicate, "b"},
		{"depth", deep, jcs.ErrDepth, ""},
		{"element", jcs.Value{Kind: jcs.Array, Elems: []jcs.Value{{}, num("x")}}, jcs.ErrSyntax, "[1]"},
	} {
		out, err := c.v.Append([]byte("keep"), jcs.Options{})
		if string(out) != "keep" {
			t.Errorf("%s: dst became %q", c.name, out)
		}
		e := checkClass(t, c.name, err, c.class)
		if e.Offset != -1 || strings.Contains(e.Error(), "at byte") {
			t.Errorf("%s: offset %d in a value without text: %v", c.name, e.Offset, e)
		}
		if c.class != jcs.ErrDepth && e.Path != c.path {
			t.Errorf("%s: path %q, want %q", c.name, e.Path, c.path)
		}
	}
}

// Append reads a shared Value without changing it, from many goroutines.
func TestAppendDoesNotChangeValue(t *testing.T) {
	v := object(jcs.Member{Name: "z", Value: num("3")}, jcs.Member{Name: "a", Value: num("1")})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if out, err := v.Append(nil, jcs.Options{}); err != nil || string(out) != `{"a":1,"z":3}` {
					t.Errorf("%s, %v", out, err)
				}
			}
		})
	}
	wg.Wait()
	if v.Members[0].Name != "z" || v.Members[1].Name != "a" {
		t.Error("Append changed the order of the members")
	}
}

func TestAppendString(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", `""`},
		{"plain", `"plain"`},
		{"\"\\/", `"\"\\/"`},
		{"a\nb\tc", `"a\nb\tc"`},
		{"\b\f\r", `"\b\f\r"`},
		{"\x00\x01\x1f", `"\u0000\u0001\u001f"`},
		{"\x7f", "\"\x7f\""},
		{"é€😀\u2028\ufffd", "\"é€😀\u2028\ufffd\""},
		{"<&>'", `"<&>'"`},
	} {
		got, err := jcs.AppendString([]byte("k"), c.in)
		if err != nil || string(got) != "k"+c.want {
			t.Errorf("%q: got %s, %v, want k%s", c.in, got, err, c.want)
		}
	}
	for in, offset := range map[string]int{"\xff": 0, "ab\x80": 2, "\n\xe2\x82": 1, "é\xed\xa0\x80": 2, "a\xc0\x80": 1} {
		got, err := jcs.AppendString([]byte("k"), in)
		if e := checkClass(t, in, err, jcs.ErrEncoding); e.Offset != offset || string(got) != "k" {
			t.Errorf("%q: got %s, offset %d, want %d", in, got, e.Offset, offset)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	dst := make([]byte, 0, 4096)
	v, err := jcs.Parse(entry1K, jcs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(v.Members)
	for name, f := range map[string]func() error{
		"AppendString":         func() error { _, err := jcs.AppendString(dst, "plain \"quoted\"\n é😀\x01"); return err },
		"AppendFloat":          func() error { _, err := jcs.AppendFloat(dst, -1.5e-300); return err },
		"Append, unsorted":     func() error { _, err := v.Append(dst, jcs.Options{}); return err },
		"Compare":              func() error { return errors.Join(make([]error, jcs.Compare("aé", "aé"))...) },
		"Get of a late member": func() error { _, _ = v.Get("added_taints"); return nil },
	} {
		if n := testing.AllocsPerRun(100, func() {
			if err := f(); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// Strings without escapes share one copy of the text.
func TestFewAllocations(t *testing.T) {
	small := []byte(`{"alg":"EdDSA","kid":"3nKkTsyJkUkZ8ZLzHhM2oAXm","typ":"JWS"}`)
	for _, c := range []struct {
		src []byte
		max float64
	}{{small, 3}, {entry1K, 15}} {
		n := testing.AllocsPerRun(100, func() {
			if _, err := jcs.Parse(c.src, jcs.Options{}); err != nil {
				t.Error(err)
			}
		})
		if n > c.max {
			t.Errorf("%d bytes: %v allocations, want at most %v", len(c.src), n, c.max)
		}
	}
}

// Compare against the definition: the UTF-16 code units (RFC 8785 §3.2.3).
func TestCompareIsUTF16(t *testing.T) {
	runes := []rune{0, 1, '\n', '1', 'A', 'a', 'b', 0x7f, 0x80, 0xf6, 0x7ff, 0x800, 0x20ac, 0xd7ff, 0xe000, 0xfb33, 0xfffd, 0xffff, 0x10000, 0x1f600, 0x10ffff}
	texts := []string{""}
	for _, a := range runes {
		texts = append(texts, string(a), "x"+string(a))
		for _, b := range runes {
			texts = append(texts, string([]rune{a, b}))
		}
	}
	for _, a := range texts {
		for _, b := range texts {
			want := slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
			if got := jcs.Compare(a, b); got != want {
				t.Fatalf("Compare(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
}

// On invalid UTF-8 it is still an order.
func TestCompareIsTotal(t *testing.T) {
	var texts []string
	for c := range 256 {
		texts = append(texts, string([]byte{byte(c)}), string([]byte{0xee, byte(c)}))
	}
	texts = append(texts, "")
	slices.SortFunc(texts, jcs.Compare)
	for i, a := range texts {
		for j, b := range texts {
			want := cmp.Compare(i, j)
			if a == b {
				want = 0
			}
			if got := jcs.Compare(a, b); got != want {
				t.Fatalf("Compare(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestAppendFloatSmallIntegers(t *testing.T) {
	for _, f := range []float64{1, -1, 100, 1 << 53, -(1 << 53), 1<<53 - 1, 0.5, 123456.25, math.Copysign(0, -1)} {
		got, err := jcs.AppendFloat(nil, f)
		if err != nil {
			t.Fatal(err)
		}
		back, err := jcs.Canonicalize(nil, got, jcs.Options{})
		if err != nil || !bytes.Equal(got, back) {
			t.Errorf("%v: %s and %s, %v", f, got, back, err)
		}
	}
}
