package jcs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/internal/jcs"
)

// attacks are texts that Parse must refuse, with the class, the offset of the
// fault and the path to it.
var attacks = []struct {
	name, src string
	class     error
	offset    int
	path      string
}{
	{"empty", "", jcs.ErrSyntax, 0, ""},
	{"white space only", " \n", jcs.ErrSyntax, 2, ""},
	{"byte order mark", "\ufeff{}", jcs.ErrSyntax, 0, ""},
	{"byte order mark inside", "[\ufeff1]", jcs.ErrSyntax, 1, "[0]"},
	{"UTF-16", "{\x00}\x00", jcs.ErrSyntax, 1, ""},
	{"trailing comma in object", `{"a":1,}`, jcs.ErrSyntax, 7, ""},
	{"trailing comma in array", `[1,]`, jcs.ErrSyntax, 3, "[1]"},
	{"leading comma", `[,1]`, jcs.ErrSyntax, 1, "[0]"},
	{"missing comma in array", `[1 2]`, jcs.ErrSyntax, 3, ""},
	{"missing comma in object", `{"a":1 "b":2}`, jcs.ErrSyntax, 7, ""},
	{"missing colon", `{"a" 1}`, jcs.ErrSyntax, 5, "a"},
	{"missing value", `{"a":}`, jcs.ErrSyntax, 5, "a"},
	{"member without name", `{1:2}`, jcs.ErrSyntax, 1, ""},
	{"single quotes", `{'a':1}`, jcs.ErrSyntax, 1, ""},
	{"bare name", `{a:1}`, jcs.ErrSyntax, 1, ""},
	{"mismatched brackets", `[1}`, jcs.ErrSyntax, 2, ""},
	{"unclosed array", `[1`, jcs.ErrSyntax, 2, ""},
	{"unclosed object", `{"a":1`, jcs.ErrSyntax, 6, ""},
	{"unclosed nested", `{"a":[{"b":`, jcs.ErrSyntax, 11, "a[0].b"},
	{"close only", `]`, jcs.ErrSyntax, 0, ""},
	{"two values", `{} {}`, jcs.ErrSyntax, 3, ""},
	{"trailing letter", `1a`, jcs.ErrSyntax, 1, ""},
	{"trailing NUL", "{}\x00", jcs.ErrSyntax, 2, ""},
	{"comment", "/**/1", jcs.ErrSyntax, 0, ""},
	{"no-break space", "\u00a01", jcs.ErrSyntax, 0, ""},
	{"form feed", "\f1", jcs.ErrSyntax, 0, ""},
	{"capital literal", `True`, jcs.ErrSyntax, 0, ""},
	{"cut literal", `[nul]`, jcs.ErrSyntax, 1, "[0]"},
	{"long literal", `nulls`, jcs.ErrSyntax, 4, ""},
	{"NaN", `NaN`, jcs.ErrSyntax, 0, ""},
	{"Infinity", `[Infinity]`, jcs.ErrSyntax, 1, "[0]"},
	{"minus infinity", `-Infinity`, jcs.ErrSyntax, 1, ""},

	{"leading zero", `01`, jcs.ErrSyntax, 1, ""},
	{"minus leading zero", `-01`, jcs.ErrSyntax, 2, ""},
	{"plus sign", `+1`, jcs.ErrSyntax, 0, ""},
	{"minus only", `-`, jcs.ErrSyntax, 1, ""},
	{"no integer digits", `.5`, jcs.ErrSyntax, 0, ""},
	{"no fraction digits", `1.`, jcs.ErrSyntax, 2, ""},
	{"no fraction digits before exponent", `1.e5`, jcs.ErrSyntax, 2, ""},
	{"no exponent digits", `1e`, jcs.ErrSyntax, 2, ""},
	{"no exponent digits after sign", `[1e+]`, jcs.ErrSyntax, 4, "[0]"},
	{"hexadecimal", `0x10`, jcs.ErrSyntax, 1, ""},
	{"underscore", `1_000`, jcs.ErrSyntax, 1, ""},
	{"full-width digit", "\uff11", jcs.ErrSyntax, 0, ""},
	{"two points", `1.2.3`, jcs.ErrSyntax, 3, ""},
	{"overflow", `1e400`, jcs.ErrNumber, 0, ""},
	{"negative overflow", `{"n":-1e400}`, jcs.ErrNumber, 5, "n"},
	{"overflow without exponent", `[1` + strings.Repeat("0", 309) + `]`, jcs.ErrNumber, 1, "[0]"},
	{"just past the largest double", `1.7976931348623159e308`, jcs.ErrNumber, 0, ""},

	{"duplicate", `{"labels":{"a":1,"a":2}}`, jcs.ErrDuplicate, 17, "labels.a"},
	{"duplicate of the same value", `{"a":1,"a":1}`, jcs.ErrDuplicate, 7, "a"},
	{"duplicate by escape", `{"a":1,"\u0061":2}`, jcs.ErrDuplicate, 7, "a"},
	{"duplicate by surrogates", `{"` + "\U0001f600" + `":1,"\ud83d\ude00":2}`, jcs.ErrDuplicate, 10, `["\U0001f600"]`},
	{"duplicate empty name", `{"":1,"":2}`, jcs.ErrDuplicate, 6, `[""]`},
	{"duplicate not adjacent", `{"b":1,"a":2,"b":3}`, jcs.ErrDuplicate, 13, "b"},
	{"duplicate of the first in order", `{"a":1,"b":2,"c":3,"a":4}`, jcs.ErrDuplicate, 19, "a"},
	{"duplicate in array element", `[0,{"x":[],"x":[]}]`, jcs.ErrDuplicate, 11, "[1].x"},

	{"unescaped line feed", "\"a\nb\"", jcs.ErrSyntax, 2, ""},
	{"unescaped NUL", "\"\x00\"", jcs.ErrSyntax, 1, ""},
	{"unescaped control behind escape", "\"\\n\x1f\"", jcs.ErrSyntax, 3, ""},
	{"unescaped control in name", "{\"\t\":1}", jcs.ErrSyntax, 2, ""},
	{"unclosed string", `"abc`, jcs.ErrSyntax, 4, ""},
	{"unclosed string behind escape", `"a\"`, jcs.ErrSyntax, 4, ""},
	{"backslash at the end", `"\`, jcs.ErrSyntax, 2, ""},
	{"unknown escape", `"\x41"`, jcs.ErrSyntax, 1, ""},
	{"capital escape", `"\N"`, jcs.ErrSyntax, 1, ""},
	{"escaped apostrophe", `"\'"`, jcs.ErrSyntax, 1, ""},
	{"short unicode escape", `"\u004"`, jcs.ErrSyntax, 1, ""},
	{"unicode escape of signs", `"\u+041"`, jcs.ErrSyntax, 1, ""},
	{"unicode escape with braces", `"\u{41}"`, jcs.ErrSyntax, 1, ""},
	{"capital unicode escape", `"\U0041"`, jcs.ErrSyntax, 1, ""},

	{"lone high surrogate", `"\ud800"`, jcs.ErrEncoding, 1, ""},
	{"lone low surrogate", `{"a":"x\udc00"}`, jcs.ErrEncoding, 7, "a"},
	{"reversed surrogates", `"\ude00\ud83d"`, jcs.ErrEncoding, 1, ""},
	{"two high surrogates", `"\ud83d\ud83d"`, jcs.ErrEncoding, 1, ""},
	{"high surrogate and letter", `"\ud83dx"`, jcs.ErrEncoding, 1, ""},
	{"high surrogate and escape", `"\ud83d\n"`, jcs.ErrEncoding, 1, ""},
	{"high surrogate and bad escape", `"\ud83d\u00"`, jcs.ErrEncoding, 1, ""},
	{"lone surrogate in name", `{"\ud800":1}`, jcs.ErrEncoding, 2, ""},
	{"surrogate as UTF-8", "\"\xed\xa0\x80\"", jcs.ErrEncoding, 1, ""},
	{"surrogate pair as UTF-8", "\"\xed\xa0\xbd\xed\xb8\x80\"", jcs.ErrEncoding, 1, ""},
	{"byte FF", "[\"ab\xff\"]", jcs.ErrEncoding, 4, "[0]"},
	{"overlong NUL", "\"\xc0\x80\"", jcs.ErrEncoding, 1, ""},
	{"overlong slash", "\"\xe0\x80\xaf\"", jcs.ErrEncoding, 1, ""},
	{"beyond U+10FFFF", "\"\xf4\x90\x80\x80\"", jcs.ErrEncoding, 1, ""},
	{"cut character", "\"\xe2\x82\"", jcs.ErrEncoding, 1, ""},
	{"cut character before escape", "\"\xe2\x82\\u20ac\"", jcs.ErrEncoding, 1, ""},
	{"continuation behind escape", "\"\\u20ac\x80\"", jcs.ErrEncoding, 7, ""},
	{"invalid UTF-8 in name", "{\"\xff\":1}", jcs.ErrEncoding, 2, ""},
	{"Latin-1", "\"caf\xe9\"", jcs.ErrEncoding, 4, ""},

	{"too deep arrays", strings.Repeat("[", 65) + strings.Repeat("]", 65), jcs.ErrDepth, 64, ""},
	{"too deep objects", strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65), jcs.ErrDepth, 320, ""},
}

var classes = []error{jcs.ErrSyntax, jcs.ErrDuplicate, jcs.ErrDepth, jcs.ErrSize, jcs.ErrNumber, jcs.ErrEncoding}

// checkClass holds err to be an *Error of exactly one class.
func checkClass(t *testing.T, name string, err, class error) *jcs.Error {
	t.Helper()
	var e *jcs.Error
	if !errors.As(err, &e) {
		t.Fatalf("%s: got %v (%T), want an *Error", name, err, err)
	}
	for _, c := range classes {
		if errors.Is(err, c) != (c == class) {
			t.Errorf("%s: got %v, which is %q: %v, want class %q", name, err, c, errors.Is(err, c), class)
		}
	}
	if !strings.HasPrefix(e.Error(), "json: ") || strings.ContainsAny(e.Error(), "\n\r\x00") || len(e.Error()) > 400 {
		t.Errorf("%s: error text %q", name, e.Error())
	}
	return e
}

func TestAttacks(t *testing.T) {
	for _, a := range attacks {
		for _, mode := range []jcs.Integers{jcs.Round, jcs.Exact, jcs.Reject} {
			if mode == jcs.Exact && a.name == "overflow without exponent" {
				continue // an integer literal, written exactly
			}
			v, err := jcs.Parse([]byte(a.src), jcs.Options{Integers: mode})
			if err == nil {
				t.Errorf("%s: accepted", a.name)
				continue
			}
			e := checkClass(t, a.name, err, a.class)
			if e.Offset != a.offset {
				t.Errorf("%s: offset %d, want %d (%v)", a.name, e.Offset, a.offset, e)
			}
			if e.Path != a.path && a.class != jcs.ErrDepth {
				t.Errorf("%s: path %q, want %q", a.name, e.Path, a.path)
			}
			if v.Kind != jcs.Null || v.Text != "" || v.Elems != nil || v.Members != nil {
				t.Errorf("%s: error comes with a value", a.name)
			}
			out, err := jcs.Canonicalize([]byte("keep"), []byte(a.src), jcs.Options{Integers: mode})
			if err == nil || string(out) != "keep" {
				t.Errorf("%s: Canonicalize gives %q, %v", a.name, out, err)
			}
		}
	}
}

func TestErrorText(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{`{"labels":{"a":1,"a":2}}`, `json: duplicate member "a" at byte 17 (labels.a)`},
		{`{"parent_ids":["x","y",1e999]}`, `json: number is beyond the range of a double at byte 23 (parent_ids[2])`},
		{`{"labels":{"kest.identity":}}`, `json: no value starts with this character at byte 27 (labels["kest.identity"])`},
		{`[1] x`, `json: data after the value at byte 4`},
		{"\ufeff{}", `json: text starts with a byte order mark; remove it at byte 0`},
	} {
		_, err := jcs.Parse([]byte(c.src), jcs.Options{})
		if err == nil || err.Error() != c.want {
			t.Errorf("%s:\n got %v\nwant %s", c.src, err, c.want)
		}
	}
}

// Names are shortened and escaped, values are not repeated.
func TestErrorTextIsSafe(t *testing.T) {
	long := strings.Repeat("n", 1000)
	for _, src := range []string{
		`{"` + long + `":1,"` + long + `":2}`,
		`{"\u001b[31m\nkest: all good":1,"\u001b[31m\nkest: all good":2}`,
		`{"p":"hunter2","p":"hunter2"}`,
		`{"p":"hunter2` + "\xff" + `"}`,
		`{"p":["hunter2" "hunter2"]}`,
		strings.Repeat(`{"`+strings.Repeat("d", 30)+`":`, 40) + "x",
	} {
		_, err := jcs.Parse([]byte(src), jcs.Options{})
		var e *jcs.Error
		if !errors.As(err, &e) {
			t.Fatalf("%.40s: got %v, want an *Error", src, err)
		}
		text := e.Error()
		if len(text) > 400 || len(e.Path) > 131 || strings.ContainsAny(text, "\x1b\n") || strings.Contains(text, "hunter2") {
			t.Errorf("error text %q", text)
		}
	}
}

// SPEC §12: depth 64 unless told otherwise, counted over arrays and objects.
func TestDepth(t *testing.T) {
	nest := func(n int) []byte {
		return []byte(strings.Repeat(`[{"a":`, n/2) + "1" + strings.Repeat(`}]`, n/2))
	}
	for _, c := range []struct {
		limit, depth int
		ok           bool
	}{
		{0, 64, true}, {0, 66, false}, {-1, 64, true}, {2, 2, true}, {2, 4, false},
		{100, 100, true}, {100, 102, false}, {1 << 40, 10_000, true}, {1 << 40, 10_002, false},
	} {
		_, err := jcs.Canonicalize(nil, nest(c.depth), jcs.Options{MaxDepth: c.limit})
		if c.ok && err != nil {
			t.Errorf("limit %d, depth %d: %v", c.limit, c.depth, err)
		}
		if !c.ok && !errors.Is(err, jcs.ErrDepth) {
			t.Errorf("limit %d, depth %d: got %v, want ErrDepth", c.limit, c.depth, err)
		}
	}
	// Siblings do not add up.
	if _, err := jcs.Canonicalize(nil, []byte(`[[[]],[[]],{"a":[]},[[]]]`), jcs.Options{MaxDepth: 3}); err != nil {
		t.Error(err)
	}
}

func TestDepthBomb(t *testing.T) {
	for _, open := range []string{"[", `{"a":`, `[{"":`} {
		src := []byte(strings.Repeat(open, 1_000_000))
		for _, limit := range []int{0, 1 << 40} {
			start := time.Now()
			_, err := jcs.Parse(src, jcs.Options{MaxDepth: limit})
			if !errors.Is(err, jcs.ErrDepth) || len(err.Error()) > 400 {
				t.Errorf("%s: got %v, want a short ErrDepth", open, err)
			}
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("%s: took %v", open, d)
			}
		}
	}
}

// The size limit is looked at before the text is copied or read.
func TestSizeLimitComesFirst(t *testing.T) {
	src := []byte(`"` + strings.Repeat("a", 10<<20) + `"`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := jcs.Parse(src, jcs.Options{MaxBytes: 64 << 10})
	runtime.ReadMemStats(&after)
	checkClass(t, "10 MB string", err, jcs.ErrSize)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("allocated %d bytes for a text over the limit", n)
	}
	for _, c := range []struct {
		limit int
		ok    bool
	}{{len(src) - 1, false}, {len(src), true}, {0, true}, {-1, true}} {
		out, err := jcs.Canonicalize(nil, src, jcs.Options{MaxBytes: c.limit})
		if c.ok != (err == nil) || c.ok && len(out) != len(src) || !c.ok && !errors.Is(err, jcs.ErrSize) {
			t.Errorf("limit %d: %d bytes, %v", c.limit, len(out), err)
		}
	}
}

// A canonical form may be longer than its source; the limit holds for it too,
// and counts only what Append itself writes.
func TestSizeLimitOfOutput(t *testing.T) {
	src := []byte(`[1e20,1e20]`) // 45 bytes when canonical
	for _, c := range []struct {
		limit int
		ok    bool
	}{{44, false}, {45, true}, {20, false}} {
		out, err := jcs.Canonicalize([]byte("0123456789"), src, jcs.Options{MaxBytes: c.limit})
		if c.ok && (err != nil || len(out) != 55) {
			t.Errorf("limit %d: %s, %v", c.limit, out, err)
		}
		if !c.ok && (!errors.Is(err, jcs.ErrSize) || string(out) != "0123456789") {
			t.Errorf("limit %d: %s, %v, want ErrSize", c.limit, out, err)
		}
	}
}

// Many members in the worst order stay far from quadratic, and a duplicate is
// found wherever it is.
func TestManyMembers(t *testing.T) {
	const n = 100_000
	var b strings.Builder
	b.WriteByte('{')
	for i := range n {
		fmt.Fprintf(&b, `"%08d":0,`, (n-i)*7919%n)
	}
	for _, c := range []struct {
		last  string
		class error
	}{{"x", nil}, {"00000000", jcs.ErrDuplicate}, {"00007919", jcs.ErrDuplicate}} {
		src := []byte(b.String() + `"` + c.last + `":0}`)
		start := time.Now()
		out, err := jcs.Canonicalize(nil, src, jcs.Options{})
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%d members took %v", n, d)
		}
		if !errors.Is(err, c.class) {
			t.Errorf("last member %s: got %v, want %v", c.last, err, c.class)
		}
		if c.class == nil && (len(out) != len(src) || !json.Valid(out)) {
			t.Errorf("canonical form has %d bytes, want %d", len(out), len(src))
		}
	}
}

// Every size of object around the points where the search for duplicates
// changes its method, every place for the duplicate, three orders.
func TestDuplicateEverywhere(t *testing.T) {
	for _, n := range []int{1, 2, 3, 31, 32, 33, 34, 35, 70} {
		for _, order := range []string{"up", "down", "mixed"} {
			names := make([]string, n)
			for i := range names {
				switch order {
				case "up":
					names[i] = fmt.Sprintf("%03d", i)
				case "down":
					names[i] = fmt.Sprintf("%03d", n-i)
				default:
					names[i] = fmt.Sprintf("%03d", i*37%101)
				}
			}
			text := `{"` + strings.Join(names, `":0,"`) + `":0`
			if _, err := jcs.Parse([]byte(text+"}"), jcs.Options{}); err != nil {
				t.Fatalf("%d members %s: %v", n, order, err)
			}
			for _, name := range names {
				_, err := jcs.Parse([]byte(text+`,"`+name+`":0}`), jcs.Options{})
				if !errors.Is(err, jcs.ErrDuplicate) {
					t.Errorf("%d members %s, %s twice: got %v", n, order, name, err)
				}
			}
		}
	}
}
