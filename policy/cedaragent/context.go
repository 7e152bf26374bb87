package cedaragent

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/kest-go/kest/internal/jcs"
)

// maxDepth bounds the nesting of the context (SPEC §12). It also ends a map that holds itself.
const maxDepth = 64

// A writer writes JSON until its first fault.
type writer struct {
	out []byte
	max int
	err error

	path   []byte // to the value that is being written
	leaves []leaf
	paths  []byte // of the leaves
	dotted bool   // a name has a dot of its own, so two paths may be the same
}

// A leaf is a value in a record that is not a record: where paths holds its path, and out its text.
type leaf struct{ path, value [2]int }

func (w *writer) raw(s string) *writer {
	w.out = append(w.out, s...)
	return w
}

// text refuses what is not UTF-8. With U+FFFD in its place two workloads could become one.
func (w *writer) text(s string) *writer {
	out, err := jcs.AppendString(w.out, s)
	if err != nil {
		w.fail("the input has text that is not UTF-8, and Cedar knows no other")
	}
	w.out = out
	return w
}

func (w *writer) fail(format string, args ...any) {
	if w.err == nil {
		w.err = indefinite(format, args...)
	}
}

// full reports whether to stop. Paths repeat the names above them, so they can grow to the square of what they are
// made from: their size is watched while they are made.
func (w *writer) full() bool {
	if len(w.out)+len(w.paths) > w.max {
		w.fail("the input has more bytes as a Cedar context than MaxRequest (%d)", w.max)
	}
	return w.err != nil
}

// context writes the input as a record, and in the same record every leaf of it by its dotted path (SPEC §7). The
// names at the top have no dots, so they are no paths.
func (w *writer) context(doc map[string]any) {
	w.record(doc, 1, true)
	w.out = w.out[:len(w.out)-1] // open the record again; it is not empty
	for _, l := range w.leaves {
		if w.full() {
			return
		}
		w.raw(`,`).text(string(w.paths[l.path[0]:l.path[1]])).raw(`:`)
		w.out = append(w.out, w.out[l.value[0]:l.value[1]]...)
	}
	w.raw(`}`)
	if w.dotted && w.ambiguous() {
		w.fail("two attributes have the same dotted path; leave the dots out of their names")
	}
}

// ambiguous reports whether two leaves have one path.
func (w *writer) ambiguous() bool {
	seen := make(map[string]bool, len(w.leaves))
	for _, l := range w.leaves {
		path := string(w.paths[l.path[0]:l.path[1]])
		if seen[path] {
			return true
		}
		seen[path] = true
	}
	return false
}

// record writes m without its nulls, which Cedar does not have. inPath says that leaves have a path: inside a set
// they have none.
func (w *writer) record(m map[string]any, depth int, inPath bool) {
	above, separator := len(w.path), ""
	w.raw(`{`)
	for name, v := range m {
		// To Cedar these are not names: an object with one of them is an entity or an extension value, which
		// whoever chose the attributes would have made.
		if name == "__entity" || name == "__extn" || name == "__expr" {
			w.fail("the input has a member %s, which would not be data to Cedar; rename it", name)
		}
		if v = w.plain(v); v == nil {
			continue
		}
		if w.full() {
			return
		}
		w.raw(separator).text(name).raw(`:`)
		separator = ","
		if !inPath {
			w.value(v, depth, false)
			continue
		}
		w.dotted = w.dotted || strings.Contains(name, ".")
		if w.path = w.path[:above]; depth > 1 {
			w.path = append(w.path, '.')
		}
		w.path = append(w.path, name...)
		start := len(w.out)
		w.value(v, depth, true)
		if _, ok := v.(map[string]any); !ok && depth > 1 {
			w.leaf(start)
		}
	}
	w.raw(`}`)
}

// leaf notes the value at w.path, whose text begins at start.
func (w *writer) leaf(start int) {
	at := len(w.paths)
	w.paths = append(w.paths, w.path...)
	w.leaves = append(w.leaves, leaf{path: [2]int{at, len(w.paths)}, value: [2]int{start, len(w.out)}})
}

// set writes an array without its nulls.
func (w *writer) set(all []any, depth int) {
	separator := ""
	w.raw(`[`)
	for _, v := range all {
		if w.full() {
			return
		}
		if v = w.plain(v); v != nil {
			w.raw(separator).value(v, depth, false)
			separator = ","
		}
	}
	w.raw(`]`)
}

// value writes what plain returned.
func (w *writer) value(v any, depth int, inPath bool) {
	switch v := v.(type) {
	case bool:
		w.out = strconv.AppendBool(w.out, v)
	case string:
		w.text(v)
	case int:
		w.out = strconv.AppendInt(w.out, int64(v), 10)
	case float64:
		w.number(strconv.FormatFloat(v, 'f', -1, 64)) // the shortest text that means v
	case literal:
		w.number(string(v))
	case []any:
		if w.deeper(depth) {
			w.set(v, depth+1)
		}
	case map[string]any:
		if w.deeper(depth) {
			w.record(v, depth+1, inPath)
		}
	}
}

// maxDecimal bounds the whole part of a decimal: 2^63 units of 1/10,000.
const maxDecimal = (1<<63 - 1) / 10_000

// number writes a number as what Cedar has for it: a Long where it is whole, a decimal where four digits after the
// point are enough, and nothing else, since a rounded number is another one.
func (w *writer) number(s string) {
	whole, fraction, _ := strings.Cut(s, ".")
	fraction = strings.TrimRight(fraction, "0")
	n, err := strconv.ParseInt(whole, 10, 64) // no exponent, infinity or NaN
	switch {
	case err != nil || len(fraction) > 4 || strings.Trim(fraction, "0123456789") != "",
		fraction != "" && (n >= maxDecimal || n <= -maxDecimal):
		w.fail("the input has a number that is neither a 64-bit integer nor a decimal of four digits after the point, " +
			"and Cedar knows no other; scale it, or write it as a string")
	case fraction == "":
		w.out = strconv.AppendInt(w.out, n, 10)
	default:
		w.raw(`{"__extn":{"fn":"decimal","arg":"`).raw(whole).raw(`.`).raw(fraction).raw(`"}}`)
	}
}

func (w *writer) deeper(depth int) bool {
	if depth >= maxDepth {
		w.fail("the input is nested too deeply; at most %d levels can be sent", maxDepth)
	}
	return w.err == nil
}

// A literal is a number as JSON writes it.
type literal string

// plain returns v as one of the types that value knows, or nil. Attributes may be anything that encoding/json can
// write: what is not of these types is written by it and read strictly.
func (w *writer) plain(v any) any {
	switch v.(type) {
	case nil, bool, string, int, float64, literal, []any, map[string]any:
		return v
	}
	text, err := json.Marshal(v)
	if err != nil { // the text could repeat an attribute
		w.fail("the input cannot be encoded; attributes must hold JSON values only")
		return nil
	}
	parsed, err := jcs.Parse(text, jcs.Options{MaxBytes: w.max, MaxDepth: maxDepth})
	if err != nil {
		w.fail("the input has an attribute that is too long, nested too deeply or has duplicate members")
	}
	return parsed.Go(func(number string) any { return literal(number) })
}
