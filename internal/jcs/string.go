package jcs

import (
	"unicode/utf16"
	"unicode/utf8"
)

// plain marks the bytes that stand for themselves inside a JSON string and
// need no further look: printable ASCII and DEL, without quote and backslash.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// plainRun returns how many bytes at the start of s are plain, in steps of
// eight: the rest is for the caller to look at one by one. Each line finds
// whether some byte of a word is of one kind; a borrow between bytes can only
// mark a byte above one that is marked rightly.
func plainRun(s string) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(s)-n >= 8; n += 8 {
		w := s[n : n+8]
		x := uint64(w[0]) | uint64(w[1])<<8 | uint64(w[2])<<16 | uint64(w[3])<<24 |
			uint64(w[4])<<32 | uint64(w[5])<<40 | uint64(w[6])<<48 | uint64(w[7])<<56
		quote, backslash := x^'"'*ones, x^'\\'*ones
		control := (x - 0x20*ones) &^ x
		special := (quote-ones)&^quote | (backslash-ones)&^backslash
		if (x|control|special)&high != 0 {
			break
		}
	}
	return n
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a canonical JSON string, quotes included (RFC 8785
// §3.2.2.2). Invalid UTF-8, which includes surrogates encoded as UTF-8, is an
// *Error of class ErrEncoding with the offset in s, and dst is returned
// unchanged. It does not allocate when dst has room: len(s)+2 bytes for text
// without control characters, quotes and backslashes, 6·len(s)+2 for any text.
func AppendString(dst []byte, s string) ([]byte, error) {
	out, bad := appendString(dst, s)
	if bad >= 0 {
		return dst, &Error{Offset: bad, Reason: "string is not valid UTF-8", class: ErrEncoding}
	}
	return out, nil
}

// appendString returns the offset of the first invalid byte of s, or −1.
func appendString(dst []byte, s string) (out []byte, bad int) {
	dst = append(dst, '"')
	start := 0
	for i := plainRun(s); i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				return nil, i
			}
			i += n
			continue
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscape(dst, c)
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"'), -1
}

// appendEscape appends the escape of a control character, quote or backslash.
func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\t':
		return append(dst, '\\', 't')
	case '\n':
		return append(dst, '\\', 'n')
	case '\f':
		return append(dst, '\\', 'f')
	case '\r':
		return append(dst, '\\', 'r')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// str reads the string whose opening quote is at p.pos. Without escapes the
// result shares the memory of p.src.
func (p *parser) str() (string, *Error) {
	start := p.pos + 1
	ascii := true
	for i := start + plainRun(p.src[start:]); i < len(p.src); i++ {
		c := p.src[i]
		switch {
		case plain[c]:
		case c >= utf8.RuneSelf:
			ascii = false
		case c == '"':
			s := p.src[start:i]
			if !ascii && !utf8.ValidString(s) {
				return "", p.badUTF8(start, s)
			}
			p.pos = i + 1
			return s, nil
		case c == '\\':
			return p.escaped(start, i)
		default:
			return "", p.fail(i, ErrSyntax, "control character in a string; write it as an escape")
		}
	}
	return "", p.fail(len(p.src), ErrSyntax, "string has no closing quote")
}

func (p *parser) badUTF8(start int, s string) *Error {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			return p.fail(start+i, ErrEncoding, "string is not valid UTF-8")
		}
		i += n
	}
	return p.fail(start, ErrEncoding, "string is not valid UTF-8")
}

// escaped reads on from the first backslash of the string that starts at
// start. An escape never decodes to more bytes than it has, so the buffer of
// the raw length is enough.
func (p *parser) escaped(start, i int) (string, *Error) {
	end := p.closing(i)
	if end < 0 {
		return "", p.fail(len(p.src), ErrSyntax, "string has no closing quote")
	}
	buf := append(make([]byte, 0, end-start), p.src[start:i]...)
	for i < end {
		c := p.src[i]
		switch {
		case c == '\\':
			var err *Error
			if buf, i, err = p.escape(buf, i); err != nil {
				return "", err
			}
		case c < 0x20:
			return "", p.fail(i, ErrSyntax, "control character in a string; write it as an escape")
		default:
			buf = append(buf, c)
			i++
		}
	}
	// Escapes decode to whole characters, so raw bytes on both sides of one
	// cannot combine: the result is valid exactly when the raw bytes are.
	if !utf8.Valid(buf) {
		return "", p.badUTF8(start, p.src[start:end])
	}
	p.pos = end + 1
	return string(buf), nil
}

// closing returns the offset of the quote that ends the string around i, or −1.
func (p *parser) closing(i int) int {
	for i < len(p.src) {
		switch p.src[i] {
		case '"':
			return i
		case '\\':
			i++
		}
		i++
	}
	return -1
}

// escape decodes the escape at p.src[i] and returns the offset behind it.
func (p *parser) escape(buf []byte, i int) ([]byte, int, *Error) {
	switch c := p.src[i+1]; c { // closing saw a character behind the backslash
	case '"', '\\', '/':
		return append(buf, c), i + 2, nil
	case 'b':
		return append(buf, '\b'), i + 2, nil
	case 'f':
		return append(buf, '\f'), i + 2, nil
	case 'n':
		return append(buf, '\n'), i + 2, nil
	case 'r':
		return append(buf, '\r'), i + 2, nil
	case 't':
		return append(buf, '\t'), i + 2, nil
	case 'u':
		return p.unicode(buf, i)
	}
	return nil, 0, p.fail(i, ErrSyntax, "unknown escape in a string")
}

// unicode decodes \uXXXX, or two of them when they are a surrogate pair.
func (p *parser) unicode(buf []byte, i int) ([]byte, int, *Error) {
	r := p.hex4(i)
	switch {
	case r < 0:
		return nil, 0, p.fail(i, ErrSyntax, `\u needs four hexadecimal digits`)
	case !utf16.IsSurrogate(r):
		return utf8.AppendRune(buf, r), i + 6, nil
	}
	// RFC 8785 §3.2.2.2: a surrogate without its partner has no canonical form.
	pair := utf16.DecodeRune(r, p.hex4(i+6))
	if pair == utf8.RuneError {
		return nil, 0, p.fail(i, ErrEncoding, "surrogate without its partner in a string")
	}
	return utf8.AppendRune(buf, pair), i + 12, nil
}

// hex4 returns the value of the \uXXXX at p.src[i], or −1 when there is none.
func (p *parser) hex4(i int) rune {
	if len(p.src) < i+6 || p.src[i] != '\\' || p.src[i+1] != 'u' {
		return -1
	}
	r := rune(0)
	for _, c := range []byte(p.src[i+2 : i+6]) {
		switch {
		case isDigit(c):
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = (c | 0x20) - 'a' + 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}
