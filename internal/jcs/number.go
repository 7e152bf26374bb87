package jcs

import (
	"math"
	"strconv"
)

// maxSafe is 2^53−1 in decimal, the largest integer that is the only one its
// IEEE 754 double stands for (RFC 7493 §2.2).
const (
	maxSafe      = "9007199254740991"
	maxSafeFloat = 1<<53 - 1
)

// AppendFloat appends f as ECMAScript's Number::toString writes it (RFC 8785
// §3.2.2.3): the fewest digits that read back as f, plain decimal from 1e-6 up
// to but not including 1e21, and 0 for −0. A NaN or an infinity has no JSON
// form: it is an *Error of class ErrNumber and dst is returned unchanged.
func AppendFloat(dst []byte, f float64) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return dst, &Error{Offset: -1, Reason: "number is not finite", class: ErrNumber}
	}
	abs := math.Abs(f)
	switch {
	case f == 0:
		return append(dst, '0'), nil // also −0
	case abs <= maxSafeFloat && abs == math.Trunc(abs):
		return strconv.AppendInt(dst, int64(f), 10), nil
	case abs >= 1e-6 && abs < 1e21:
		return strconv.AppendFloat(dst, f, 'f', -1, 64), nil
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	// Go writes at least two digits of exponent, ECMAScript as few as it can.
	if n := len(dst); dst[n-2] == '0' && (dst[n-3] == '-' || dst[n-3] == '+') {
		dst = append(dst[:n-2], dst[n-1])
	}
	return dst, nil
}

// number is a scanned literal: s[:end] follows the grammar of RFC 8259 §6.
type number struct {
	end     int
	integer bool // no fraction, no exponent
	exp     bool
}

// scanNumber reads a number at the start of s. When the grammar is broken it
// returns the reason, and end is the offset of the fault.
func scanNumber(s string) (n number, reason string) {
	i := 0
	if i < len(s) && s[i] == '-' {
		i++
	}
	switch {
	case i < len(s) && s[i] == '0':
		i++
		if i < len(s) && isDigit(s[i]) {
			return number{end: i}, "number has a leading zero"
		}
	case i < len(s) && isDigit(s[i]):
		i = digits(s, i)
	default:
		return number{end: i}, "number has no digits"
	}
	n.integer = true
	if i < len(s) && s[i] == '.' {
		n.integer = false
		start := i + 1
		if i = digits(s, start); i == start {
			return number{end: i}, "number has no digit after its decimal point"
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		n.integer, n.exp = false, true
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		start := i
		if i = digits(s, start); i == start {
			return number{end: i}, "number has no digit in its exponent"
		}
	}
	n.end = i
	return n, ""
}

func isDigit(c byte) bool { return c-'0' <= 9 }

func digits(s string, i int) int {
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return i
}

// isSafe reports whether an integer literal lies within ±(2^53−1). The grammar
// allows no leading zero, so the longer literal is the larger one.
func isSafe(s string) bool {
	if s[0] == '-' {
		s = s[1:]
	}
	return len(s) < len(maxSafe) || len(s) == len(maxSafe) && s <= maxSafe
}

// checkNumber returns why the literal s cannot be canonicalised, or "".
func checkNumber(s string, n number, mode Integers) (reason string) {
	switch {
	case n.integer && (mode == Exact || isSafe(s)):
		return ""
	case mode != Reject && !n.exp && len(s) <= 300:
		return "" // below 10^300: a double holds it
	}
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil:
		return "number is beyond the range of a double"
	case mode == Reject && (n.integer || math.Abs(f) > maxSafeFloat):
		return "number is beyond ±(2^53−1)"
	}
	return ""
}

// appendNumber appends the canonical form of the literal s.
func appendNumber(dst []byte, s string, mode Integers) ([]byte, *Error) {
	n, reason := scanNumber(s)
	if reason == "" && n.end != len(s) {
		reason = "number is followed by other characters"
	}
	if reason != "" {
		return dst, &Error{Offset: -1, Reason: reason, class: ErrSyntax}
	}
	if reason := checkNumber(s, n, mode); reason != "" {
		return dst, &Error{Offset: -1, Reason: reason, class: ErrNumber}
	}
	if n.integer && s != "-0" && (mode == Exact || isSafe(s)) {
		return append(dst, s...), nil // already canonical, or exact (SPEC §2)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return dst, &Error{Offset: -1, Reason: "number is beyond the range of a double", class: ErrNumber}
	}
	dst, _ = AppendFloat(dst, f) // ParseFloat without error is finite
	return dst, nil
}
