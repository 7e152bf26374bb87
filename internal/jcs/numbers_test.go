package jcs_test

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/kest-go/kest/internal/jcs"
)

// The reference project of RFC 8785 publishes a deterministic sequence of
// doubles and the SHA-256 of the first lines "bits,text\n" that a correct
// formatter gives for it (github.com/cyberphone/json-canonicalization,
// testdata/README.md). The sequence is: 168 listed bit patterns; 2,000 doubles
// from the smallest normal one upwards; then the finite, non-zero doubles in
// the little-endian words of a chain of SHA-256 blocks that starts with the
// digest of 32 zero bytes.
var numberDigests = []struct {
	lines  int
	digest string
}{
	{1_000, "be18b62b6f69cdab33a7e0dae0d9cfa869fda80ddc712221570f9f40a5878687"},
	{10_000, "b9f7a8e75ef22a835685a52ccba7f7d6bdc99e34b010992cbc5864cd12be6892"},
	{100_000, "22776e6d4b49fa294a0d0f349268e5c28808fe7e0cb2bcbe28f63894e494d4c7"},
	{1_000_000, "49415fee2c56c77864931bd3624faad425c3c577d6d74e89a83bc725506dad16"},
}

// listedBits holds the 168 published patterns, in hexadecimal.
//
//go:embed testdata/es6-listed-bits.txt
var listedBits string

const (
	listedCount = 168
	serialCount = 2000
	serialFirst = 0x0010000000000000 // smallest normal double
)

// sequence calls yield with the first n bit patterns of the sequence.
func sequence(t *testing.T, n int, yield func(bits uint64)) {
	words := strings.Fields(listedBits)
	if len(words) != listedCount {
		t.Fatalf("testdata has %d bit patterns, want %d", len(words), listedCount)
	}
	for _, w := range words[:min(n, listedCount)] {
		b, err := strconv.ParseUint(w, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		yield(b)
	}
	n -= listedCount
	for i := range uint64(max(0, min(n, serialCount))) {
		yield(serialFirst + i)
	}
	n -= serialCount
	var block [sha256.Size]byte
	for n > 0 {
		block = sha256.Sum256(block[:])
		for w := 0; w < len(block) && n > 0; w += 8 {
			b := binary.LittleEndian.Uint64(block[w:])
			if f := math.Float64frombits(b); f == 0 || math.IsNaN(f) || math.IsInf(f, 0) {
				continue
			}
			yield(b)
			n--
		}
	}
}

// RFC 8785 §3.2.2.3 and appendix B: the published digests, beginning 49415fee
// for a million lines.
func TestNumberDigest(t *testing.T) {
	cases := numberDigests
	if testing.Short() {
		cases = cases[:2]
	}
	h := sha256.New()
	line := make([]byte, 0, 64)
	count, next := 0, 0
	sequence(t, cases[len(cases)-1].lines, func(b uint64) {
		line = strconv.AppendUint(line[:0], b, 16)
		line = append(line, ',')
		var err error
		if line, err = jcs.AppendFloat(line, math.Float64frombits(b)); err != nil {
			t.Fatalf("%016x: %v", b, err)
		}
		h.Write(append(line, '\n'))
		count++
		if count == cases[next].lines {
			if got := hex.EncodeToString(h.Sum(nil)); got != cases[next].digest {
				t.Errorf("first %d lines have digest %s, want %s", count, got, cases[next].digest)
			}
			next++
		}
	})
	if next != len(cases) {
		t.Fatalf("compared %d digests, want %d", next, len(cases))
	}
}

// What AppendFloat writes, Parse and Append keep.
func TestNumberTextIsStable(t *testing.T) {
	sequence(t, 20_000, func(b uint64) {
		f := math.Float64frombits(b)
		text, err := jcs.AppendFloat(nil, f)
		if err != nil {
			t.Fatal(err)
		}
		back, err := strconv.ParseFloat(string(text), 64)
		if err != nil || back != f {
			t.Fatalf("%016x written as %s reads back as %v, %v", b, text, back, err)
		}
		again, err := jcs.Canonicalize(nil, text, jcs.Options{})
		if err != nil || !bytes.Equal(again, text) {
			t.Fatalf("%s is written again as %s, %v", text, again, err)
		}
	})
}

// SPEC §2: the treatment of integers beyond ±(2^53−1).
func TestIntegers(t *testing.T) {
	long := "1" + strings.Repeat("0", 399) + "7"
	for _, c := range []struct{ in, round, exact, reject string }{ // "" is ErrNumber
		{"9007199254740991", "9007199254740991", "9007199254740991", "9007199254740991"},
		{"-9007199254740991", "-9007199254740991", "-9007199254740991", "-9007199254740991"},
		{"9007199254740992", "9007199254740992", "9007199254740992", ""},
		{"9007199254740993", "9007199254740992", "9007199254740993", ""},
		{"-9007199254740993", "-9007199254740992", "-9007199254740993", ""},
		{"18446744073709551615", "18446744073709552000", "18446744073709551615", ""},
		{"123456789012345678901234567890", "1.2345678901234568e+29", "123456789012345678901234567890", ""},
		{long, "", long, ""},
		{"-" + long, "", "-" + long, ""},
		{"-0", "0", "0", "0"},
		{"1e20", "100000000000000000000", "100000000000000000000", ""},
		{"1e300", "1e+300", "1e+300", ""},
		{"9007199254740992.0", "9007199254740992", "9007199254740992", ""},
		{"9007199254740993.0", "9007199254740992", "9007199254740992", ""},
		{"4503599627370495.5", "4503599627370495.5", "4503599627370495.5", "4503599627370495.5"},
		{"1e15", "1000000000000000", "1000000000000000", "1000000000000000"},
		{"1.5e-300", "1.5e-300", "1.5e-300", "1.5e-300"},
		{"1e400", "", "", ""},
		{"-1e400", "", "", ""},
		{"1.0e400", "", "", ""},
		{long + ".0", "", "", ""},
		{"0e400", "0", "0", "0"},
		{"1e309", "", "", ""},
		{"1.7976931348623159e308", "", "", ""},
	} {
		for mode, want := range map[jcs.Integers]string{jcs.Round: c.round, jcs.Exact: c.exact, jcs.Reject: c.reject} {
			checkInteger(t, c.in, mode, want)
		}
	}
}

func checkInteger(t *testing.T, in string, mode jcs.Integers, want string) {
	t.Helper()
	o := jcs.Options{Integers: mode}
	v, err := jcs.Parse([]byte(in), o)
	byHand, handErr := jcs.Value{Kind: jcs.Number, Text: in}.Append(nil, o)
	if want == "" {
		if !errors.Is(err, jcs.ErrNumber) || !errors.Is(handErr, jcs.ErrNumber) {
			t.Errorf("mode %d: %.40s gives %v and %v, want ErrNumber twice", mode, in, err, handErr)
		}
		return
	}
	if err != nil || handErr != nil {
		t.Errorf("mode %d: %.40s: %v, %v", mode, in, err, handErr)
		return
	}
	if v.Kind != jcs.Number || v.Text != in {
		t.Errorf("mode %d: %.40s is kept as %s %q, want the literal", mode, in, v.Kind, v.Text)
	}
	got, err := v.Append(nil, o)
	if err != nil || string(got) != want || string(byHand) != want {
		t.Errorf("mode %d: %.40s is written %s and %s, %v, want %s", mode, in, got, byHand, err, want)
	}
	again, err := jcs.Canonicalize(nil, got, o)
	if err != nil || string(again) != want {
		t.Errorf("mode %d: %s is written again as %s, %v", mode, got, again, err)
	}
}
