package binding

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/lineage"
)

// maxValues bounds the JSON values of an archive, of which each takes some hundred bytes of memory once it is parsed:
// what is within the limits, and the roots.
const maxValues = maxBindings + maxObservation + 100_000

var archiveOptions = jcs.Options{MaxBytes: maxArchive, MaxDepth: 16}

// IsArchive reports whether text is an archive document of this version, for programs that take several kinds of files.
// It may still be malformed: [ParseArchive] tells. Other files cost one search for the name of the schema.
func IsArchive(text []byte) bool {
	if bytes.HasSuffix(bytes.TrimSpace(text), []byte(`,"schema":"`+ArchiveSchema+`"}`)) { // as AppendJSON writes it
		return true
	}
	if !bytes.Contains(text, []byte(ArchiveSchema)) || countValues(text) > maxValues {
		return false
	}
	doc, err := jcs.Parse(text, archiveOptions)
	schema, _ := doc.Get("schema")
	return err == nil && schema.Text == ArchiveSchema // which is no number, so it is a string
}

// ParseArchive reads an archive document strictly, at most 64 MiB, 100,000 bindings, of which 64 of one key to one
// principal, and 1,000,000 observations. No signature is checked before somebody asks about a key.
func ParseArchive(text []byte) (*Archive, error) {
	a, err := parseArchive(text)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	return a, nil
}

func parseArchive(text []byte) (*Archive, error) {
	if countValues(text) > maxValues {
		return nil, fmt.Errorf("more than %d values", maxValues)
	}
	doc, err := jcs.Parse(text, archiveOptions)
	if err != nil {
		return nil, err
	}
	if schema, _ := doc.Get("schema"); schema.Text != ArchiveSchema {
		return nil, fmt.Errorf("schema is not %q", ArchiveSchema)
	}
	a := &Archive{}
	for _, m := range doc.Members {
		switch m.Name {
		case "schema":
		case "bindings":
			err = a.readBindings(m.Value)
		case "observed":
			err = a.readObserved(m.Value)
		case "roots":
			err = a.readRoots(m.Value)
		default:
			err = fmt.Errorf("member %.40q is not known", m.Name)
		}
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

// countValues bounds the values of a JSON text before anything is made of it: outside of strings each but the first has
// a comma or an opening bracket before it.
func countValues(text []byte) int {
	n, quoted := 1, false
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			quoted = !quoted
		case '\\':
			i++ // nothing but a string has one
		case ',', '[', '{':
			if !quoted {
				n++
			}
		}
	}
	return n
}

func (a *Archive) readBindings(v jcs.Value) error {
	if v.Kind != jcs.Array {
		return fmt.Errorf("bindings: a JSON %s; want a list", v.Kind)
	}
	for i, item := range v.Elems {
		b, err := lineage.ParseBinding(item.Text) // "" for what is neither string nor number
		if err != nil {
			return fmt.Errorf("bindings: %d: %w", i, err)
		}
		if !a.add(b) {
			return fmt.Errorf("bindings: %d: no room; at most %d of one key to one principal, %d in all, and all within %d bytes", i, maxPerClaim, maxBindings, maxArchive)
		}
	}
	return nil
}

func (a *Archive) readObserved(v jcs.Value) error {
	if v.Kind != jcs.Object {
		return fmt.Errorf("observed: a JSON %s; want an object", v.Kind)
	}
	for _, m := range v.Members {
		hash, err := lineage.ParseHash(m.Name)
		if err != nil {
			return fmt.Errorf("observed: %w", err)
		}
		ms, err := strconv.ParseInt(m.Value.Text, 10, 64)
		if m.Value.Kind != jcs.Number || err != nil || ms < 0 || ms > maxMoment {
			return fmt.Errorf("observed: %s: want Unix milliseconds", hash)
		}
		if !a.observe(hash, ms) {
			return fmt.Errorf("observed: no room; at most %d, and all within %d bytes", maxObservation, maxArchive)
		}
	}
	return nil
}

func (a *Archive) readRoots(v jcs.Value) error {
	text, err := v.Append(nil, jcs.Options{MaxBytes: maxArchiveRoot, MaxDepth: 16})
	if err != nil {
		return fmt.Errorf("roots: %w", err)
	}
	roots, err := lineage.ParseRoots(text)
	if err != nil {
		return err
	}
	return a.AddRoots(roots)
}
