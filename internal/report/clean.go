package report

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean returns s with everything that a terminal could act on, or that could hide or reorder text, written as an
// escape such as \x1b or \u202e: control characters (C0, DEL, C1), bidirectional controls and other format
// characters, line and paragraph separators, private and unassigned characters, invalid UTF-8, and more than two
// combining marks in a row. Backslashes stay single, so the result is for reading only.
func Clean(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	marks := 0
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				fmt.Fprintf(&b, `\x%02x`, s[i])
				marks = 0
				continue
			}
		}
		if unicode.In(r, unicode.Mn, unicode.Me) {
			marks++
		} else {
			marks = 0
		}
		if printable(r) && marks <= 2 {
			b.WriteRune(r)
			continue
		}
		escape(&b, r)
	}
	return b.String()
}

func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// printable is Go's definition: letters, marks, numbers, punctuation, symbols and the ASCII space. It leaves out
// all of the categories C and Z, where the controls live.
func printable(r rune) bool { return strconv.IsPrint(r) }

func escape(b *strings.Builder, r rune) {
	switch {
	case r == '\n':
		b.WriteString(`\n`)
	case r == '\t':
		b.WriteString(`\t`)
	case r < 0x80:
		fmt.Fprintf(b, `\x%02x`, r)
	case r <= 0xffff:
		fmt.Fprintf(b, `\u%04x`, r)
	default:
		fmt.Fprintf(b, `\U%08x`, r)
	}
}

// Width is the number of terminal columns that clean text takes: East Asian wide and full-width characters take
// two (UAX #11), combining marks none.
func Width(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// wide holds the large blocks of UAX #11 with East_Asian_Width W or F.
var wide = [][2]rune{
	{0x1100, 0x115f}, {0x2e80, 0x303e}, {0x3041, 0x33ff}, {0x3400, 0x4dbf}, {0x4e00, 0x9fff}, {0xa000, 0xa4cf},
	{0xa960, 0xa97c}, {0xac00, 0xd7a3}, {0xf900, 0xfaff}, {0xfe30, 0xfe6f}, {0xff01, 0xff60}, {0xffe0, 0xffe6},
	{0x16fe0, 0x18aff}, {0x1b000, 0x1b2ff}, {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1faff},
	{0x20000, 0x3fffd},
}

func runeWidth(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	for _, block := range wide {
		if block[0] <= r && r <= block[1] {
			return 2
		}
	}
	return 1
}

// Fit cleans s and shortens it to at most width columns, with "…" in the place of what is left out: the middle,
// because the ends of an identifier tell more.
func Fit(s string, width int) string {
	s = Clean(s)
	if Width(s) <= width {
		return s
	}
	head, tail := (width-1)/2, width-1-(width-1)/2
	return cut(s, head) + "…" + cutLeft(s, tail)
}

// Name shows an identifier within a sentence or a list: as it is when it is one plain word, else quoted, so that
// spaces and punctuation in it cannot pass for those around it. It takes at most width columns.
func Name(s string, width int) string {
	clean := Clean(s)
	if clean == s && s != "" && !strings.ContainsAny(s, "\"', ;") {
		return Fit(s, width)
	}
	return `"` + Fit(strings.ReplaceAll(clean, `"`, `\"`), width-2) + `"`
}

// cut returns the longest prefix of s that takes at most width columns.
func cut(s string, width int) string {
	for i, r := range s {
		if width -= runeWidth(r); width < 0 {
			return s[:i]
		}
	}
	return s
}

// cutLeft returns the longest suffix of s that takes at most width columns.
func cutLeft(s string, width int) string {
	for i := len(s); i > 0; {
		r, n := utf8.DecodeLastRuneInString(s[:i])
		if width -= runeWidth(r); width < 0 {
			return s[i:]
		}
		i -= n
	}
	return s
}

// wrap breaks clean text at spaces into lines of at most width columns. A word that is longer is broken.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		switch {
		case line == "":
			line = word
		case Width(line)+1+Width(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
		for head := cut(line, width); len(head) < len(line) && head != ""; head = cut(line, width) {
			lines, line = append(lines, head), line[len(head):]
		}
	}
	if line != "" || len(lines) == 0 {
		lines = append(lines, line)
	}
	return lines
}
