package binding

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/lineage"
)

// ArchiveSchema is the "schema" of an archive document.
const ArchiveSchema = "kest-archive/1"

// Bounds of an archive document.
const (
	maxArchive     = 64 << 20 // bytes
	maxBindings    = 100_000
	maxPerKey      = 64 // bindings of one key: it may have been certified again
	maxObservation = 1_000_000
)

// An Archive is what an auditor needs beside the records, and all that has to be believed: bindings, the roots that stood
// behind them, and when entries were first seen by somebody other than their signer. It is collected while a system runs,
// and written beside its records. The zero value is empty. It is safe for concurrent use.
//
// The document is a JSON object:
//
//	{"bindings": [<binding document>, …], "observed": {"<hash of a signed document>": <Unix ms>, …},
//	 "roots": <as lineage.ParseRoots reads it>, "schema": "kest-archive/1"}
//
// Bindings prove themselves. Roots and observations are the archive's own word: whoever can change it can forge them.
type Archive struct {
	mu       sync.Mutex
	bindings map[string][]*lineage.KeyBinding // by key id
	observed map[lineage.Hash]int64
	roots    *lineage.Roots
}

// Add keeps a binding. To add it again does nothing.
func (a *Archive) Add(b *lineage.KeyBinding) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.add(b)
}

func (a *Archive) add(b *lineage.KeyBinding) {
	if a.bindings == nil {
		a.bindings = map[string][]*lineage.KeyBinding{}
	}
	have := a.bindings[b.KeyID()]
	if len(have) >= maxPerKey || slices.ContainsFunc(have, func(o *lineage.KeyBinding) bool { return o.Text() == b.Text() }) {
		return
	}
	a.bindings[b.KeyID()] = append(have, b)
}

// Observe notes when a signed document, an entry or a record, was first seen. Only the earliest time counts.
func (a *Archive) Observe(document lineage.Hash, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.observed == nil {
		a.observed = map[lineage.Hash]int64{}
	}
	if earlier, seen := a.observed[document]; !seen || at.UnixMilli() < earlier {
		a.observed[document] = at.UnixMilli()
	}
}

// AddRoots keeps roots beside those that the archive has: those of earlier times still count for what was signed then.
func (a *Archive) AddRoots(r *lineage.Roots) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	merged, err := lineage.MergeRoots(a.roots, r)
	if err == nil {
		a.roots = merged
	}
	return err
}

// AppendJSON writes the archive in canonical form.
func (a *Archive) AppendJSON(dst []byte) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	bindings := jcs.Value{Kind: jcs.Array}
	for _, id := range slices.Sorted(maps.Keys(a.bindings)) {
		for _, b := range a.bindings[id] {
			bindings.Elems = append(bindings.Elems, jcs.Value{Kind: jcs.String, Text: b.Text()})
		}
	}
	observed := jcs.Value{Kind: jcs.Object}
	for hash, ms := range a.observed {
		observed.Members = append(observed.Members, jcs.Member{Name: hash.String(), Value: jcs.Value{Kind: jcs.Number, Text: strconv.FormatInt(ms, 10)}})
	}
	roots := a.roots
	if roots == nil {
		roots = &lineage.Roots{}
	}
	text, err := roots.AppendJSON(nil)
	if err != nil {
		return nil, err
	}
	parsed, err := jcs.Parse(text, jcs.Options{})
	if err != nil {
		return nil, err
	}
	doc := jcs.Value{Kind: jcs.Object, Members: []jcs.Member{
		{Name: "bindings", Value: bindings}, {Name: "observed", Value: observed}, {Name: "roots", Value: parsed},
		{Name: "schema", Value: jcs.Value{Kind: jcs.String, Text: ArchiveSchema}},
	}}
	return doc.Append(dst, jcs.Options{MaxBytes: maxArchive})
}

// IsArchive reports whether text looks like an archive document, for programs that take several kinds of files.
func IsArchive(text []byte) bool {
	doc, err := jcs.Parse(text, jcs.Options{MaxBytes: maxArchive})
	schema, _ := doc.Get("schema")
	return err == nil && schema.Text == ArchiveSchema
}

// ParseArchive reads an archive document strictly, at most 64 MiB, 100,000 bindings and 1,000,000 observations. No
// signature is checked before somebody asks about a key.
func ParseArchive(text []byte) (*Archive, error) {
	a, err := parseArchive(text)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	return a, nil
}

func parseArchive(text []byte) (*Archive, error) {
	doc, err := jcs.Parse(text, jcs.Options{MaxBytes: maxArchive, MaxDepth: 16})
	if err != nil {
		return nil, err
	}
	if doc.Kind != jcs.Object {
		return nil, errors.New("not a JSON object")
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
			var raw []byte
			if raw, err = m.Value.Append(nil, jcs.Options{MaxDepth: 16}); err == nil {
				a.roots, err = lineage.ParseRoots(raw)
			}
		default:
			err = fmt.Errorf("member %.40q is not known", m.Name)
		}
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *Archive) readBindings(v jcs.Value) error {
	if v.Kind != jcs.Array || len(v.Elems) > maxBindings {
		return fmt.Errorf("bindings: want a list of at most %d", maxBindings)
	}
	for i, item := range v.Elems {
		if item.Kind != jcs.String {
			return fmt.Errorf("bindings: %d is a JSON %s; want a string", i, item.Kind)
		}
		b, err := lineage.ParseBinding(item.Text)
		if err != nil {
			return fmt.Errorf("bindings: %d: %w", i, err)
		}
		if len(a.bindings[b.KeyID()]) == maxPerKey {
			return fmt.Errorf("bindings: more than %d of key %s", maxPerKey, b.KeyID())
		}
		a.add(b)
	}
	return nil
}

func (a *Archive) readObserved(v jcs.Value) error {
	if v.Kind != jcs.Object || len(v.Members) > maxObservation {
		return fmt.Errorf("observed: want an object of at most %d", maxObservation)
	}
	a.observed = make(map[lineage.Hash]int64, len(v.Members))
	for _, m := range v.Members {
		hash, err := lineage.ParseHash(m.Name)
		if err != nil {
			return fmt.Errorf("observed: %w", err)
		}
		ms, err := strconv.ParseInt(m.Value.Text, 10, 64)
		if m.Value.Kind != jcs.Number || err != nil || ms < 0 || ms > 1<<53-1 {
			return fmt.Errorf("observed: %s: want Unix milliseconds", hash)
		}
		a.observed[hash] = ms
	}
	return nil
}
