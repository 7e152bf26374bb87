package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Problem is one thing that is wrong with a configuration, or for [Deployment.Warnings] one that is probably not
// meant. It does not repeat values that could be secrets.
type Problem struct {
	// File is the file as it was named, or the environment variable that the value came from.
	File string `json:"file,omitempty"`
	// Line and Column count from 1, in characters. 0: the problem is of the whole file, or the value came from the
	// environment. Where the text is no YAML at all, Column is that of the first character of the line.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Path names the setting, as in deviations[0].tier; "" for the whole file.
	Path string `json:"path,omitempty"`
	// Message says what is wrong, and Hint what to do; Hint may be "".
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// String returns the problem in one line: file:line:column: path: message; hint.
func (p *Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
		}
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString("; " + p.Hint)
	}
	return b.String()
}

// maxProblems is how many problems are reported: who has more reads the first ones first.
const maxProblems = 100

// An Error lists everything that is wrong with a configuration, in the order of the file, up to 100 problems.
type Error struct {
	Problems []*Problem
	More     bool // there are more than 100
}

func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems)+1)
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	if e.More {
		lines = append(lines, "and more")
	}
	return strings.Join(lines, "\n")
}

// place is where a value stands.
type place struct {
	file         string
	line, column int
}

func (p place) problem(path, message, hint string) *Problem {
	return &Problem{File: p.file, Line: p.line, Column: p.column, Path: path, Message: message, Hint: hint}
}

// problems collects, and stops keeping at [maxProblems].
type problems struct {
	list []*Problem
	more bool
}

func (p *problems) add(problem *Problem) {
	if p.more = p.more || len(p.list) == maxProblems; !p.more {
		p.list = append(p.list, problem)
	}
}

// sorted is the list in the order of the file; what came from the environment is last.
func (p *problems) sorted(file string) []*Problem {
	slices.SortStableFunc(p.list, func(a, b *Problem) int {
		if (a.File == file) != (b.File == file) {
			if a.File == file {
				return -1
			}
			return 1
		}
		if a.File != b.File {
			return strings.Compare(a.File, b.File)
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return p.list
}

func (p *problems) err(file string) error {
	if len(p.list) == 0 {
		return nil
	}
	return &Error{Problems: p.sorted(file), More: p.more}
}

// clip shortens what a message quotes, and sentence a message that others wrote.
func clip(s string) string     { return shorten(s, 64) }
func sentence(s string) string { return shorten(s, 512) }

func shorten(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// nearest is the hint for a name that is not known: the known one that is most like it, or all of them when none is.
func nearest(name string, known []string) string {
	best, distance := "", 0
	if len(known) > 1024 {
		return "" // it would cost, and help nobody
	}
	if len(name) <= 64 { // longer ones are no slips
		for _, k := range known {
			if d := slips(name, k); best == "" || d < distance {
				best, distance = k, d
			}
		}
	}
	switch {
	case best != "" && distance <= max(1, len(best)/3):
		return fmt.Sprintf("did you mean %q?", clip(best))
	case len(known) == 0:
		return ""
	case len(known) == 1:
		return fmt.Sprintf("there is only %q", clip(known[0]))
	case len(known) <= 24:
		return "use " + choice(known)
	}
	return ""
}

var word = regexp.MustCompile(`^[A-Za-z0-9_./:$-]{1,64}$`)

// choice lists alternatives for people. Names that are no words are put into quotes: they may come from the file.
func choice(names []string) string {
	shown := make([]string, len(names))
	for i, name := range names {
		if shown[i] = name; !word.MatchString(name) {
			shown[i] = strconv.Quote(clip(name))
		}
	}
	if len(shown) < 2 {
		return strings.Join(shown, "")
	}
	return strings.Join(shown[:len(shown)-1], ", ") + " or " + shown[len(shown)-1]
}

// slips is the number of bytes to insert, delete, replace or swap with the next one (Damerau and Levenshtein's distance,
// with each byte taking part in one slip). Letters of either case are equal.
func slips(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			replace := row[j]
			if a[i] != b[j] {
				replace++
			}
			next[j+1] = min(replace, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}
