// Package report reads passports for the command lines and shows what is in them to people and to machines:
// verification reports, unverified contents and lineage graphs. The two binaries, kest and kest-verify, share it,
// so they read the same files, print the same words and exit with the same codes (SPEC §14).
//
// Everything shown to a person goes through [Clean] first: what a passport says was written by somebody else, and
// must not be able to move the cursor, change colours or reverse the text around it.
package report

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf16"

	"github.com/kest-go/kest/lineage"
)

// Columns is the width that human output fits in.
const Columns = 80

// An Env is what a command runs in. It serves one command and is not safe for concurrent use.
type Env struct {
	Name           string // of the program, before diagnostics
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	JSON           bool // one JSON document on Stdout instead of text
	Color          bool // ANSI colours in text

	// Baggage reads the value of a baggage header that carries a passport. nil: the program reads none.
	Baggage func(ctx context.Context, value string) (lineage.Unverified, error)

	wrote bool
}

// Color reports whether text written to w should have colours: w is a terminal, and the user did not object
// (https://no-color.org, TERM=dumb).
func Color(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Write sends a whole result to standard output. A result that could not be written is an error, so that a full
// disk never looks like a good passport.
func (e *Env) Write(text []byte) error {
	e.wrote = true
	if _, err := e.Stdout.Write(text); err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	return nil
}

// Out is Stdout for what writes its own result.
func (e *Env) Out() io.Writer { return out{e} }

type out struct{ *Env }

func (o out) Write(text []byte) (int, error) {
	o.wrote = true
	return o.Stdout.Write(text)
}

// WriteJSON sends v as one indented JSON document. Characters that a terminal could act on are written as
// escapes, which mean the same to a JSON reader.
func (e *Env) WriteJSON(v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, r := range string(raw) {
		switch {
		case r == '\n' || printable(r):
			b.WriteRune(r)
		case r > 0xffff: // RFC 8259 §7: a surrogate pair
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('\n')
	return e.Write(b.Bytes())
}

// A Page collects human output.
type Page struct {
	bytes.Buffer
	color bool
}

// Page returns an empty page.
func (e *Env) Page() *Page { return &Page{color: e.Color} }

// Line writes a formatted line. Arguments must be clean.
func (p *Page) Line(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	p.WriteString(strings.TrimRight(line, " "))
	p.WriteByte('\n')
}

// Wrap cleans text and writes it in lines of at most [Columns], the first after lead, the others indented to it.
func (p *Page) Wrap(lead, text string) {
	indent := Width(lead)
	for i, line := range wrap(Clean(text), Columns-indent) {
		if i > 0 {
			lead = strings.Repeat(" ", indent)
		}
		p.Line("%s%s", lead, line)
	}
}

// A Style is an SGR parameter of ECMA-48 §8.3.117.
type Style string

// Styles used for verdicts.
const (
	Bold   Style = "1"
	Faint  Style = "2"
	Red    Style = "1;31"
	Green  Style = "32"
	Yellow Style = "33"
)

// Paint returns text in a style, or as it is when the page has no colours.
func (p *Page) Paint(s Style, text string) string {
	if !p.color || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}
