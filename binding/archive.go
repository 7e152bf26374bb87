package binding

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	maxPerClaim    = 64 // bindings of one key to one principal: it may have been certified again
	maxObservation = 1_000_000
	maxArchiveRoot = 4 << 20 // bytes, as lineage.ParseRoots
	maxMoment      = 1<<53 - 1
)

// An Archive is what an auditor needs beside the records, and all that has to be believed: bindings, the roots that stood
// behind them, and when entries were first seen by somebody other than their signer. It is collected while a system runs,
// and written beside its records. The zero value is empty. It is safe for concurrent use, and must not be copied.
//
// The document is a JSON object, all of whose members but the schema may be left out:
//
//	{"bindings": [<binding document>, …], "observed": {"<hash of a signed document>": <Unix ms>, …},
//	 "roots": <as lineage.ParseRoots reads it>, "schema": "kest-archive/1"}
//
// Bindings prove themselves. Roots and observations are the archive's own word: whoever can change it can forge them.
//
// An archive holds 100,000 bindings, 1,000,000 observations and 64 MiB at most. What does not fit is not kept, and
// [Archive.Dropped] counts it: begin another archive, with the same roots, before this one is full.
type Archive struct {
	mu       sync.Mutex
	bindings map[claim][]*lineage.KeyBinding
	observed map[lineage.Hash]int64
	roots    *lineage.Roots
	text     []byte // of roots

	count, size, dropped int // bindings; bytes of bindings and observations when written; what was not kept
}

// Add keeps a binding. To add it again does nothing.
func (a *Archive) Add(b *lineage.KeyBinding) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.add(b) {
		a.dropped++
	}
}

// add keeps bindings by claim: a platform certifies any key for whoever asks, so others could fill the room of a key.
func (a *Archive) add(b *lineage.KeyBinding) (kept bool) {
	c := claim{b.Principal(), b.KeyID()}
	have := a.bindings[c]
	if slices.ContainsFunc(have, func(o *lineage.KeyBinding) bool { return o.Text() == b.Text() }) {
		return true
	}
	// In a JSON string, quotes and backslashes take another byte each; canonical JSON holds nothing else that would.
	size := len(b.Text()) + strings.Count(b.Text(), `"`) + strings.Count(b.Text(), `\`) + len(`"",`)
	if len(have) >= maxPerClaim || a.count >= maxBindings || !a.room(size) {
		return false
	}
	if a.bindings == nil {
		a.bindings = map[claim][]*lineage.KeyBinding{}
	}
	a.bindings[c] = append(have, b)
	a.count++
	return true
}

// room takes so many bytes, when there are, besides those of the roots and of what is always written.
func (a *Archive) room(size int) bool {
	if a.size+size > maxArchive-maxArchiveRoot-1<<10 {
		return false
	}
	a.size += size
	return true
}

// Observe notes when a signed document, an entry or a record, was first seen. Only the earliest time counts. One before
// 1970 counts as 1970.
func (a *Archive) Observe(document lineage.Hash, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.observe(document, min(max(at.UnixMilli(), 0), maxMoment)) {
		a.dropped++
	}
}

func (a *Archive) observe(document lineage.Hash, ms int64) (kept bool) {
	earlier, seen := a.observed[document]
	if !seen && (len(a.observed) >= maxObservation || !a.room(len(document.String())+len(`"":9007199254740991,`))) {
		return false
	}
	if a.observed == nil {
		a.observed = map[lineage.Hash]int64{}
	}
	if !seen || ms < earlier {
		a.observed[document] = ms
	}
	return true
}

// Dropped is how many bindings and observations were not kept because the archive was full. What they concern cannot be
// shown from this archive.
func (a *Archive) Dropped() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dropped
}

// AddRoots keeps roots beside those that the archive has: those of earlier times still count for what was signed then.
// To add the same again does nothing. When they would be more together than [lineage.ParseRoots] reads, that is an error
// and the archive is as it was. They are merged as [lineage.MergeRoots] does.
func (a *Archive) AddRoots(r *lineage.Roots) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	merged, err := lineage.MergeRoots(a.roots, r)
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	text, err := merged.AppendJSON(nil)
	if err != nil || a.roots != nil && bytes.Equal(text, a.text) { // the same pointer for the same roots: nothing is verified anew
		return err
	}
	if _, err := lineage.ParseRoots(text); err != nil { // what cannot be read again is not kept
		return fmt.Errorf("archive: all roots together: %w; begin another archive", err)
	}
	a.roots, a.text = merged, text
	return nil
}

// AppendJSON writes the archive in canonical form (RFC 8785): the same content is the same text.
func (a *Archive) AppendJSON(dst []byte) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	texts := make([]string, 0, a.count)
	for _, list := range a.bindings {
		for _, b := range list {
			texts = append(texts, b.Text())
		}
	}
	slices.Sort(texts)
	bindings := jcs.Value{Kind: jcs.Array}
	for _, text := range texts {
		bindings.Elems = append(bindings.Elems, jcs.Value{Kind: jcs.String, Text: text})
	}
	observed := jcs.Value{Kind: jcs.Object}
	for hash, ms := range a.observed {
		observed.Members = append(observed.Members, jcs.Member{Name: hash.String(), Value: jcs.Value{Kind: jcs.Number, Text: strconv.FormatInt(ms, 10)}})
	}
	text, err := a.roots.AppendJSON(nil) // nil believes nobody
	if err != nil {
		return dst, err
	}
	roots, err := jcs.Parse(text, jcs.Options{MaxBytes: maxArchiveRoot})
	if err != nil {
		return dst, err
	}
	doc := jcs.Value{Kind: jcs.Object, Members: []jcs.Member{
		{Name: "bindings", Value: bindings}, {Name: "observed", Value: observed}, {Name: "roots", Value: roots},
		{Name: "schema", Value: jcs.Value{Kind: jcs.String, Text: ArchiveSchema}},
	}}
	return doc.Append(dst, jcs.Options{MaxBytes: maxArchive})
}
