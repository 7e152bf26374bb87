package tree

import (
	"fmt"
	"strings"
)

// A FileError is one fault in one file. The engines' own types have its fields, and are converted from it.
type FileError struct {
	File         string // as people see it
	Line, Column int    // from 1; 0 for none
	Policy       string // that the file holds, or ""
	Message      string // one line
}

// Error gives file, line and policy before the message (SPEC §7).
func (e *FileError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Policy != "" {
		fmt.Fprintf(&b, ": policy %s", e.Policy)
	}
	return b.String() + ": " + e.Message
}

// OneLine keeps a message readable in a log: no line breaks, at most 300 bytes.
func OneLine(s string) string {
	const most = 300
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
