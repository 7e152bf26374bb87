package decisioncache

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/kest-go/kest/policy"
)

// A key stands for one question. Attributes come from callers, so it is a cryptographic hash: nobody can make a
// question that gets the answer to another.
type key [sha256.Size]byte

// Bounds of what is hashed. A question beyond them is not cached.
const (
	maxQuestion = 64 << 10 // bytes
	maxDepth    = 32
)

// ignored is [Config.Ignore].
type ignored struct {
	entryID, traceID, parents bool
	attributes, object        []string
}

func parseIgnore(paths []string) (ignored, error) {
	var f ignored
	for _, path := range paths {
		switch path {
		case "environment.entry_id":
			f.entryID = true
			continue
		case "environment.trace_id":
			f.traceID = true
			continue
		case "environment.parent_hashes":
			f.parents = true
			continue
		}
		name, of := strings.CutPrefix(path, "attributes.")
		list := &f.attributes
		if !of {
			name, of = strings.CutPrefix(path, "object.attributes.")
			list = &f.object
		}
		if !of || name == "" || name == "*" {
			return f, fmt.Errorf("%q cannot be ignored; only environment.entry_id, environment.trace_id, "+
				"environment.parent_hashes, attributes.NAME and object.attributes.NAME can", path)
		}
		*list = append(*list, name)
	}
	return f, nil
}

// buffers holds *[]byte.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }}

// keyOf hashes every field of in but the ignored ones. ok is false for what cannot be told apart from everything else
// in bounded space. JSON would not do: it has one form for 1 and 1.0, and for all bytes that are not UTF-8.
func keyOf(revision, name string, in *policy.Input, skip *ignored) (k key, ok bool) {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	w := writer{b: (*buffer)[:0]}
	w.text(revision)
	w.text(name)
	w.input(in, skip)
	*buffer = w.b
	if w.refused || len(w.b) > maxQuestion {
		if cap(w.b) > maxQuestion {
			*buffer = nil // let go of what a large question took
		}
		return key{}, false
	}
	return sha256.Sum256(w.b), true
}

// A writer appends values so that no two sequences of values have the same bytes: each has a fixed size or begins
// with its length, and where several kinds can stand, with its kind.
type writer struct {
	b       []byte
	refused bool
}

func (w *writer) number(n int) { w.long(int64(n)) }

func (w *writer) long(n int64) { w.b = binary.AppendVarint(w.b, n) }

func (w *writer) text(s string) {
	if w.refused = w.refused || len(w.b)+len(s) > maxQuestion; w.refused {
		return
	}
	w.number(len(s))
	w.b = append(w.b, s...)
}

func (w *writer) flag(f bool) {
	if f {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
}

func (w *writer) texts(list []string) {
	w.number(len(list))
	for _, s := range list {
		if w.refused {
			return
		}
		w.text(s)
	}
}

// input is every field, in the order of the declaration. TestEveryFieldCounts finds one that is missing here.
func (w *writer) input(in *policy.Input, skip *ignored) {
	s := &in.Subject
	w.text(s.Workload)
	w.text(s.User)
	w.text(s.Agent)
	w.text(s.Task)
	w.number(s.TrustScore)
	w.texts(s.Taints)
	w.text(in.Object.ID)
	w.members(in.Object.Attributes, skip.object, 0)
	w.environment(&in.Environment, skip)
	w.number(in.TrustScore)
	w.lineage(&in.Lineage)
	w.labels(in.Labels)
	w.members(in.Attributes, skip.attributes, 0)
}

func (w *writer) environment(env *policy.Environment, skip *ignored) {
	w.flag(env.IsRoot)
	w.text(env.SourceType)
	if !skip.parents {
		w.texts(env.ParentHashes)
	}
	w.texts(env.PolicyNames)
	w.text(string(env.PolicyTier))
	w.number(len(env.ActiveDeviations))
	for _, d := range env.ActiveDeviations {
		w.text(d.Policy)
		w.text(string(d.Tier))
		w.text(d.Scope)
		w.text(d.Reason)
		w.text(d.Approver)
		w.long(d.NotAfter.Unix())
		w.number(d.NotAfter.Nanosecond())
		w.text(d.Signature)
		w.text(d.ApproverKey)
	}
	w.text(env.Operation)
	w.text(env.Classification)
	if !skip.entryID {
		w.text(env.EntryID)
	}
	if !skip.traceID {
		w.text(env.TraceID)
	}
	w.flag(env.TrustOverride != nil)
	if env.TrustOverride != nil {
		w.number(*env.TrustOverride)
	}
	w.texts(env.RemovedTaints)
	w.text(env.Sanitizer)
}

// members is an object without the members in skip. The number of members that remain is known before they are
// written, so that those of one object cannot pass for the fields that follow.
func (w *writer) members(m map[string]any, skip []string, depth int) {
	if len(m) > maxQuestion || depth > maxDepth {
		w.refused = true
		return
	}
	names := slices.Sorted(maps.Keys(m))
	if len(skip) > 0 {
		names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(skip, name) })
	}
	w.number(len(names))
	for _, name := range names {
		if w.refused {
			return
		}
		w.text(name)
		w.value(m[name], depth+1)
	}
}

// value is one JSON value of the kinds that the guard makes. Each takes a byte at least, so the bound ends the work
// also where containers stand in each other many times.
func (w *writer) value(value any, depth int) {
	if w.refused = w.refused || len(w.b) > maxQuestion; w.refused {
		return
	}
	switch v := value.(type) {
	case nil:
		w.b = append(w.b, 'n')
	case bool:
		w.b = append(w.b, 'b')
		w.flag(v)
	case int:
		w.b = append(w.b, 'i')
		w.number(v)
	case float64:
		w.b = binary.BigEndian.AppendUint64(append(w.b, 'f'), math.Float64bits(v))
	case string:
		w.b = append(w.b, 's')
		w.text(v)
	case []any:
		w.b = append(w.b, 'a')
		w.list(v, depth)
	case map[string]any:
		w.b = append(w.b, 'o')
		w.members(v, nil, depth)
	default: // it may hold more than we can see
		w.refused = true
	}
}

func (w *writer) list(list []any, depth int) {
	if len(list) > maxQuestion || depth > maxDepth {
		w.refused = true
		return
	}
	w.number(len(list))
	for _, item := range list {
		if w.refused {
			return
		}
		w.value(item, depth+1)
	}
}
