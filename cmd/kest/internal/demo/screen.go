package demo

import (
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode/utf8"
)

const (
	columns    = 80 // nothing is wider, but for what the reader may copy
	minColumns = 60
	factColumn = 18 // where the text of a fact begins
)

// screen writes for people. Its first error stays, and ends the demo.
type screen struct {
	w     io.Writer
	err   error
	width int
	color bool
	ascii *strings.Replacer // nil on a terminal that can do more
}

func newScreen(o Options) *screen {
	s := &screen{w: o.Out, width: columns, color: o.Color}
	if o.Width > 0 {
		s.width = min(max(o.Width, minColumns), columns)
	}
	if o.ASCII {
		// One character for one, so that columns stay columns.
		s.ascii = strings.NewReplacer("✓", "+", "✗", "x", "·", "-", "–", "-", "…", "~", "−", "-", "→", ">", "←", "<",
			"─", "-", "┬", "+", "├", "+", "└", "+", "┐", "+", "┼", "+", "┤", "+", "┘", "+", "│", "|")
	}
	return s
}

// Styles. Text is measured before it is styled.
func (s *screen) paint(code, text string) string {
	if !s.color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *screen) bold(text string) string  { return s.paint("1", text) }
func (s *screen) dim(text string) string   { return s.paint("2", text) }
func (s *screen) green(text string) string { return s.paint("32", text) }
func (s *screen) red(text string) string   { return s.paint("31", text) }
func (s *screen) yes() string              { return s.green("✓") }
func (s *screen) no() string               { return s.red("✗") }

// line writes one line as it is.
func (s *screen) line(format string, args ...any) {
	if s.err != nil {
		return
	}
	text := strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n"
	if s.ascii != nil {
		text = s.ascii.Replace(text)
	}
	_, s.err = io.WriteString(s.w, text)
}

// prose breaks text between words, behind an indent of n spaces.
func (s *screen) prose(n int, style func(string) string, text string) {
	for _, part := range wrap(text, s.width-n) {
		s.line("%*s%s", n, "", style(part))
	}
}

// fact writes a label and a text that may take several lines.
func (s *screen) fact(label, text string) {
	for _, part := range wrap(text, s.width-factColumn) {
		s.line("   %s %s", s.dim(pad(label, factColumn-4)), part)
		label = ""
	}
}

// wrap breaks text into lines of at most width characters, within a word only where the word is longer.
func wrap(text string, width int) []string {
	width = max(width, 8)
	var lines []string
	current := ""
	for _, word := range strings.Fields(text) {
		for utf8.RuneCountInString(word) > width {
			if current != "" {
				lines, current = append(lines, current), ""
			}
			runes := []rune(word)
			lines, word = append(lines, string(runes[:width])), string(runes[width:])
		}
		switch {
		case word == "":
		case current == "":
			current = word
		case utf8.RuneCountInString(current)+1+utf8.RuneCountInString(word) <= width:
			current += " " + word
		default:
			lines, current = append(lines, current), word
		}
	}
	if current != "" {
		lines = append(lines, current)
	}
	return lines
}

// pad fills text up to n characters, and cuts it there.
func pad(text string, n int) string {
	have := utf8.RuneCountInString(text)
	if have > n {
		return string([]rune(text)[:n-1]) + "…"
	}
	return text + strings.Repeat(" ", n-have)
}

func plain(text string) string { return text }

// ruleOf finds the rule in a policy's file, so that the screen shows what is really asked.
func ruleOf(policies fs.FS, name string) string {
	text, err := fs.ReadFile(policies, name+".rego")
	if err != nil {
		return ""
	}
	for l := range strings.Lines(string(text)) {
		if strings.HasPrefix(l, "allow if ") {
			return strings.TrimSpace(l)
		}
	}
	return ""
}
