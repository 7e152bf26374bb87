package opa

import (
	"encoding/json"
	"strconv"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/policy"
)

// maxDepth bounds the nesting of the input (SPEC §12). It also ends a map that holds itself.
const maxDepth = 64

// question returns the body of a request. encoding/json would take three times as long for the maps of the document, and
// write U+FFFD for what is not UTF-8, in whose place two workloads could become one. The error matches
// policy.ErrIndefinite.
func question(in *policy.Input, limit int) ([]byte, error) {
	if in == nil {
		return nil, indefinite("there is no input")
	}
	w := writer{out: append(make([]byte, 0, 4<<10), `{"input":`...), limit: limit}
	w.value(in.Document(), 0)
	if w.out = append(w.out, '}'); len(w.out) > limit {
		w.full()
	}
	return w.out, w.err
}

// A writer writes JSON until its first fault.
type writer struct {
	out   []byte
	limit int
	err   error
}

func (w *writer) fail(format string, args ...any) {
	if w.err == nil {
		w.err = indefinite(format, args...)
	}
}

func (w *writer) full() { w.fail("the input has more bytes encoded than MaxRequest (%d)", w.limit) }

func (w *writer) text(s string) {
	out, err := jcs.AppendString(w.out, s)
	if err != nil {
		w.fail("the input has text that is not UTF-8, which JSON cannot hold")
	}
	w.out = out
}

func (w *writer) value(v any, depth int) {
	if len(w.out) > w.limit {
		w.full()
	}
	if depth > maxDepth {
		w.fail("the input is nested too deeply; at most %d levels can be sent", maxDepth)
	}
	if w.err != nil {
		return
	}
	switch v := v.(type) {
	case nil:
		w.out = append(w.out, `null`...)
	case bool:
		w.out = strconv.AppendBool(w.out, v)
	case int:
		w.out = strconv.AppendInt(w.out, int64(v), 10)
	case string:
		w.text(v)
	case []any:
		w.list(v, depth)
	case map[string]any:
		w.object(v, depth)
	default:
		w.other(v)
	}
}

func (w *writer) list(all []any, depth int) {
	w.out = append(w.out, '[')
	for i, v := range all {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		if w.value(v, depth+1); w.err != nil {
			return
		}
	}
	w.out = append(w.out, ']')
}

func (w *writer) object(m map[string]any, depth int) {
	w.out = append(w.out, '{')
	first := true
	for name, v := range m {
		if !first {
			w.out = append(w.out, ',')
		}
		first = false
		w.text(name)
		w.out = append(w.out, ':')
		if w.value(v, depth+1); w.err != nil {
			return
		}
	}
	w.out = append(w.out, '}')
}

// other leaves numbers with a fraction, and types that the guard never makes, to encoding/json.
func (w *writer) other(v any) {
	text, err := json.Marshal(v)
	if err != nil { // the text could repeat an attribute
		w.fail("the input cannot be encoded; attributes must hold JSON values only")
		return
	}
	w.out = append(w.out, text...)
}
