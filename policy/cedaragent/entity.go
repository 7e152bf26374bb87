package cedaragent

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// uid writes an entity UID, Type::"id". Cedar accepts such a text only in the form in which it would print it itself
// (its RFC 9), so the escapes are those of Rust's str::escape_debug. About some characters the versions of Rust and
// Unicode differ (those newly assigned, and invisible ones such as variation selectors). A form that the agent would
// not print is no danger: it answers 400, and that denies.
func uid(kind, id string) string {
	var b strings.Builder
	b.Grow(len(kind) + len(id) + 8)
	b.WriteString(kind)
	b.WriteString(`::"`)
	for i, r := range id {
		escape(&b, r, i == 0)
	}
	b.WriteByte('"')
	return b.String()
}

func escape(b *strings.Builder, r rune, first bool) {
	switch {
	case r == 0:
		b.WriteString(`\0`)
	case r == '\t':
		b.WriteString(`\t`)
	case r == '\n':
		b.WriteString(`\n`)
	case r == '\r':
		b.WriteString(`\r`)
	case r == '"' || r == '\'' || r == '\\':
		b.WriteByte('\\')
		b.WriteRune(r)
	case !unicode.IsPrint(r) || first && extends(r):
		b.WriteString(`\u{`)
		b.WriteString(strconv.FormatInt(int64(r), 16))
		b.WriteByte('}')
	default:
		b.WriteRune(r)
	}
}

// extends reports whether r would join the quote before it: Grapheme_Extend of Unicode.
func extends(r rune) bool {
	return r >= utf8.RuneSelf && unicode.In(r, unicode.Mn, unicode.Me, unicode.Other_Grapheme_Extend)
}
