package jcs_test

import (
	"encoding/hex"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/kest-go/kest/internal/jcs"
)

// canonical pairs: published examples of RFC 8785 and the structural vectors
// of its reference project, then cases of our own for each clause.
var canonical = []struct{ name, in, want string }{
	{
		"RFC 8785 §3.2.2",
		`{
		  "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
		  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
		  "literals": [null, true, false]
		}`,
		`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],` +
			`"string":"€$\u000f\nA'B\"\\\\\"/"}`,
	},
	{
		"RFC 8785 §3.2.3",
		`{
		  "\u20ac": "Euro Sign",
		  "\r": "Carriage Return",
		  "\ufb33": "Hebrew Letter Dalet With Dagesh",
		  "1": "One",
		  "\ud83d\ude00": "Emoji: Grinning Face",
		  "\u0080": "Control",
		  "\u00f6": "Latin Small Letter O With Diaeresis"
		}`,
		`{"\r":"Carriage Return","1":"One","` + "\u0080" + `":"Control","ö":"Latin Small Letter O With Diaeresis",` +
			`"€":"Euro Sign","😀":"Emoji: Grinning Face","` + "\ufb33" + `":"Hebrew Letter Dalet With Dagesh"}`,
	},
	{
		"structures",
		`{"1": {"f": {"f": "hi","F": 5} ,"\n": 56.0}, "10": { }, "": "empty", "a": { }, "111": [ { } ], "A": { }}`,
		`{"":"empty","1":{"\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{}],"A":{},"a":{}}`,
	},
	{"arrays", `[ 56, { "d": true, "10": null, "1": [ ] } ]`, `[56,{"1":[],"10":null,"d":true}]`},
	{
		"weird",
		`{"\u20ac":"Euro Sign","1":"One","\u0080":"Control\u007f","\ud83d\ude02":"Smiley",` +
			`"\u00f6":"Latin Small Letter O With Diaeresis","\ufb33":"Hebrew Letter Dalet With Dagesh","</script>":"Browser Challenge"}`,
		`{"1":"One","</script>":"Browser Challenge","` + "\u0080" + `":"Control` + "\u007f" + `","ö":"Latin Small Letter O With Diaeresis",` +
			`"€":"Euro Sign","😂":"Smiley","` + "\ufb33" + `":"Hebrew Letter Dalet With Dagesh"}`,
	},
	{"no normalisation", `{"a":"\u1e0d\u0307","A\u030a":1}`, `{"A` + "\u030a" + `":1,"a":"` + "\u1e0d\u0307" + `"}`},
	{"no locale", `{"peach":1,"péché":2,"pêche":3,"sin":4}`, `{"peach":1,"péché":2,"pêche":3,"sin":4}`},
	{"top level scalar", " \t\r\n-0 ", `0`},
	{"top level string", `"\u0041"`, `"A"`},
	{"empty object and array", `[{},[],"",null]`, `[{},[],"",null]`},
	{"shortest escapes", `"\u0008\u0009\u000a\u000c\u000d\u0000\u001F\u007f\u2028\/"`, `"\b\t\n\f\r\u0000\u001f` + "\u007f\u2028" + `/"`},
	{"noncharacters stay", `"\ufffe\uffff\ufdd0"`, "\"\ufffe\uffff\ufdd0\""},
	{"replacement character stays", `["\ufffd","` + "\ufffd" + `"]`, "[\"\ufffd\",\"\ufffd\"]"},
	{"last code point", `"\udbff\udfff"`, "\"\U0010ffff\""},
	{"case matters", `{"b":1,"B":2,"a":3,"A":4}`, `{"A":4,"B":2,"a":3,"b":1}`},
	{"prefix first", `{"ab":1,"a":2,"":3}`, `{"":3,"a":2,"ab":1}`},
	{"escaped and raw names", `{"\u0062":1,"a":2}`, `{"a":2,"b":1}`},
	{"astral before U+E000", `{"\ue000":1,"\ud800\udc00":2,"\uffff":3,"\ud7ff":4}`, "{\"\ud7ff\":4,\"\U00010000\":2,\"\ue000\":1,\"\uffff\":3}"},
	{"2^53−1 and its neighbours", `[9007199254740991,-9007199254740991,9007199254740992,9007199254740993]`, `[9007199254740991,-9007199254740991,9007199254740992,9007199254740992]`},
	{"notations of one number", `[1,1.0,1e0,10e-1,0.1E1,1.000]`, `[1,1,1,1,1,1]`},
	{"zeros", `[0,-0,0.0,-0.0,0e9,-0e-9,1e-400,-1e-400]`, `[0,0,0,0,0,0,0,0]`},
	{"bounds of plain decimal", `[1e20,1e21,999999999999999999999,1e-6,1e-7,0.00000123]`, `[100000000000000000000,1e+21,1e+21,0.000001,1e-7,0.00000123]`},
}

func TestCanonicalVectors(t *testing.T) {
	for _, c := range canonical {
		got, err := jcs.Canonicalize(nil, []byte(c.in), jcs.Options{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if string(got) != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		again, err := jcs.Canonicalize(nil, got, jcs.Options{})
		if err != nil || string(again) != c.want {
			t.Errorf("%s: canonical form is not a fixed point: %s, %v", c.name, again, err)
		}
	}
}

// RFC 8785 §3.2.4 gives the bytes of the §3.2.2 example.
func TestCanonicalBytes(t *testing.T) {
	want, err := hex.DecodeString(strings.ReplaceAll(
		"7b 22 6c 69 74 65 72 61 6c 73 22 3a 5b 6e 75 6c 6c 2c 74 72 75 65 2c 66 61 6c 73 65 5d 2c 22 6e 75 6d 62 65 72 73 22 3a 5b "+
			"33 33 33 33 33 33 33 33 33 2e 33 33 33 33 33 33 33 2c 31 65 2b 33 30 2c 34 2e 35 2c 30 2e 30 30 32 2c 31 65 2d 32 37 5d 2c "+
			"22 73 74 72 69 6e 67 22 3a 22 e2 82 ac 24 5c 75 30 30 30 66 5c 6e 41 27 42 5c 22 5c 5c 5c 5c 5c 22 2f 22 7d", " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	got, err := jcs.Canonicalize(nil, []byte(canonical[0].in), jcs.Options{})
	if err != nil || string(got) != string(want) {
		t.Errorf("got % x, %v\nwant % x", got, err, want)
	}
}

// SPEC §13 TC-10.
func TestTC10CanonicalOrder(t *testing.T) {
	got, err := jcs.Canonicalize(nil, []byte(`{"z":3,"a":1,"m":2}`), jcs.Options{})
	if want := `{"a":1,"m":2,"z":3}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

// RFC 8785 appendix B. An empty want is an error.
var appendixB = []struct {
	bits uint64
	want string
}{
	{0x0000000000000000, "0"},
	{0x8000000000000000, "0"},
	{0x0000000000000001, "5e-324"},
	{0x8000000000000001, "-5e-324"},
	{0x7fefffffffffffff, "1.7976931348623157e+308"},
	{0xffefffffffffffff, "-1.7976931348623157e+308"},
	{0x4340000000000000, "9007199254740992"},
	{0xc340000000000000, "-9007199254740992"},
	{0x4430000000000000, "295147905179352830000"},
	{0x7fffffffffffffff, ""},
	{0x7ff0000000000000, ""},
	{0xfff0000000000000, ""},
	{0x44b52d02c7e14af5, "9.999999999999997e+22"},
	{0x44b52d02c7e14af6, "1e+23"},
	{0x44b52d02c7e14af7, "1.0000000000000001e+23"},
	{0x444b1ae4d6e2ef4e, "999999999999999700000"},
	{0x444b1ae4d6e2ef4f, "999999999999999900000"},
	{0x444b1ae4d6e2ef50, "1e+21"},
	{0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"},
	{0x3eb0c6f7a0b5ed8d, "0.000001"},
	{0x41b3de4355555553, "333333333.3333332"},
	{0x41b3de4355555554, "333333333.33333325"},
	{0x41b3de4355555555, "333333333.3333333"},
	{0x41b3de4355555556, "333333333.3333334"},
	{0x41b3de4355555557, "333333333.33333343"},
	{0xbecbf647612f3696, "-0.0000033333333333333333"},
	{0x43143ff3c1cb0959, "1424953923781206.2"},
}

func TestNumberAppendixB(t *testing.T) {
	for _, c := range appendixB {
		f := math.Float64frombits(c.bits)
		got, err := jcs.AppendFloat([]byte("x"), f)
		if c.want == "" {
			if !errors.Is(err, jcs.ErrNumber) || string(got) != "x" {
				t.Errorf("%016x: got %s, %v, want ErrNumber", c.bits, got, err)
			}
			continue
		}
		if err != nil || string(got) != "x"+c.want {
			t.Errorf("%016x: got %s, %v, want x%s", c.bits, got, err, c.want)
		}
		// The same number, read from another notation.
		text, err := jcs.Canonicalize(nil, strconv.AppendFloat(nil, f, 'e', 30, 64), jcs.Options{})
		if err != nil || string(text) != c.want {
			t.Errorf("%016x: read and written as %s, %v, want %s", c.bits, text, err, c.want)
		}
	}
}
