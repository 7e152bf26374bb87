// Package cedarnumber finds what Cedar has for a number of JSON: a Long where it is whole, a decimal where four digits
// after the point are enough, and nothing else, since a rounded number is another one. Every adapter that speaks Cedar
// in types of its own asks it, so that they ask about the same input.
package cedarnumber

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// A Number is a Long of so many units, or a decimal of so many ten-thousandths, which are not whole.
type Number struct {
	Units   int64
	Decimal bool
}

var (
	errType    = errors.New("a type that is not a JSON value; convert it before the call")
	errLong    = errors.New("number is out of the range of a Long")
	errDecimal = errors.New("number is out of the range of a decimal")
	errFinite  = errors.New("number is not finite")
	errRange   = errors.New("number is out of range")
	errLiteral = errors.New("not a JSON number of at most " + strconv.Itoa(maxLiteral) + " characters")
	errDigits  = errors.New("number has more than the four digits after the point that a decimal has; scale it, or write it as a string")
	errNumber  = errors.New("not a number")
)

// maxLiteral bounds a number that is text, in characters; the largest float64 has 309 digits before the point.
const maxLiteral = 400

// Of returns what Cedar has for v, one of Go's numbers or a json.Number. Errors do not repeat v.
func Of(v any) (Number, error) {
	switch v := v.(type) {
	case int:
		return long(int64(v))
	case int8:
		return long(int64(v))
	case int16:
		return long(int64(v))
	case int32:
		return long(int64(v))
	case int64:
		return long(v)
	case uint8:
		return long(int64(v))
	case uint16:
		return long(int64(v))
	case uint32:
		return long(int64(v))
	case uint:
		return unsigned(uint64(v))
	case uint64:
		return unsigned(v)
	case float32:
		return float(float64(v), 32)
	case float64:
		return float(v, 64)
	case json.Number:
		return literal(string(v))
	}
	return Number{}, errType
}

func long(n int64) (Number, error) { return Number{Units: n}, nil }

func unsigned(n uint64) (Number, error) {
	if n > math.MaxInt64 {
		return Number{}, errLong
	}
	return long(int64(n))
}

func float(f float64, bits int) (Number, error) {
	if n := int64(f); f > -1<<53 && f < 1<<53 && float64(n) == f {
		return long(n)
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Number{}, errFinite
	}
	return literal(strconv.FormatFloat(f, 'g', -1, bits)) // the shortest text that means f
}

// literal reads a number as JSON writes it (RFC 8259 §6).
func literal(s string) (Number, error) {
	if len(s) > maxLiteral || !json.Valid([]byte(s)) || s[0] != '-' && (s[0] < '0' || s[0] > '9') {
		return Number{}, errLiteral
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return long(n)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return Number{}, errRange
	}
	mantissa, _, _ := strings.Cut(strings.ToLower(s), "e")
	if zero := !strings.ContainsAny(mantissa, "123456789"); zero {
		return long(0)
	}
	if math.Abs(f) < 1e-5 { // 1e-1000000000 is short text, and a gigabyte as a fraction
		return Number{}, errDigits
	}
	return exact(s)
}

// exact works on a number that is neither too large nor too small to be written out.
func exact(s string) (Number, error) {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return Number{}, errNumber
	}
	if r.IsInt() {
		if !r.Num().IsInt64() {
			return Number{}, errLong
		}
		return long(r.Num().Int64())
	}
	if r.Mul(r, big.NewRat(10_000, 1)); !r.IsInt() {
		return Number{}, errDigits
	}
	if !r.Num().IsInt64() {
		return Number{}, errDecimal
	}
	return Number{Units: r.Num().Int64(), Decimal: true}, nil
}
