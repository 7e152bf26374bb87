package lineage

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/kest-go/kest/internal/jcs"
)

// canonicalDocument parses a payload strictly and demands canonical bytes (SPEC §2).
func canonicalDocument(payload []byte, l Limits) (jcs.Value, error) {
	options := jcs.Options{MaxBytes: l.EntryBytes, MaxDepth: l.Depth, Integers: jcs.Reject}
	doc, err := jcs.Parse(payload, options)
	if errors.Is(err, jcs.ErrDepth) || errors.Is(err, jcs.ErrSize) {
		return jcs.Value{}, fmt.Errorf("%w: %w", err, ErrLimit)
	}
	if err != nil {
		return jcs.Value{}, err
	}
	pooled := buffers.Get().(*[]byte)
	defer buffers.Put(pooled)
	canonical, err := doc.Append((*pooled)[:0], options)
	if cap(canonical) <= maxPooled {
		*pooled = canonical[:0]
	}
	if err != nil {
		return jcs.Value{}, err
	}
	if !bytes.Equal(canonical, payload) {
		return jcs.Value{}, errors.New("not in RFC 8785 canonical form")
	}
	return doc, nil
}

// decodeEntry reads a payload strictly: canonical bytes only, no duplicate members, every required member present
// and of its type. The error names the member.
func decodeEntry(payload []byte, l Limits) (*Entry, error) {
	doc, err := canonicalDocument(payload, l)
	if err != nil {
		return nil, err
	}
	return readEntry(doc, l)
}

func readEntry(doc jcs.Value, l Limits) (*Entry, error) {
	r := reader{limits: l, extra: jcs.Value{Kind: jcs.Object}}
	e := r.entry(doc)
	if r.err != nil {
		return nil, r.err
	}
	if err := e.validate(l); err != nil {
		return nil, err
	}
	if e.unsorted = e.unsortedTaints(); e.unsorted != "" {
		// Kept readable as a set; the verifier refuses it unless the principal is a legacy one (SPEC §15).
		for _, list := range []*[]string{&e.AddedTaints, &e.RemovedTaints, &e.Taints} {
			slices.Sort(*list)
			*list = slices.Compact(*list)
		}
	}
	return e, nil
}

// reader picks members out of a parsed document and keeps the first error.
type reader struct {
	limits Limits
	extra  jcs.Value // unknown members of the entry
	err    error
}

func (r *reader) fail(member, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: %w", member, fmt.Errorf(format, args...))
	}
}

// entry visits the members once, in the order they have in canonical form, so a missing one is found by
// comparing with the list of required names.
func (r *reader) entry(doc jcs.Value) *Entry {
	e := &Entry{}
	if doc.Kind != jcs.Object {
		r.fail("entry", "is a JSON %s; want an object", doc.Kind)
		return e
	}
	seen := 0
	for _, m := range doc.Members {
		if r.member(e, m.Name, m.Value) {
			seen++
			continue
		}
		r.extra.Members = append(r.extra.Members, m)
	}
	if seen != len(entryMembers) {
		for _, name := range entryMembers {
			if _, ok := doc.Get(name); !ok {
				r.fail(name, "required member is missing")
			}
		}
	}
	if len(r.extra.Members) > 0 {
		e.Extra = r.object("extra members", r.extra)
	}
	return e
}

var entryMembers = [...]string{
	"added_taints", "classification", "content_hash", "entry_id", "environment", "input_hash", "labels", "metadata",
	"operation", "otel_context", "parent_ids", "policy_context", "removed_taints", "runtime", "schema_version",
	"taints", "timestamp_ms", "trust_score",
}

// member reads one member into e and reports whether its name is known.
func (r *reader) member(e *Entry, name string, v jcs.Value) bool {
	switch name {
	case "added_taints":
		e.AddedTaints = r.strings(name, v, r.limits.Taints)
	case "classification":
		e.Classification = r.string(name, v)
	case "content_hash":
		e.ContentHash = r.string(name, v)
	case "entry_id":
		e.ID = r.string(name, v)
	case "environment":
		e.Environment = r.object(name, v)
	case "input_hash":
		e.InputHash = r.string(name, v)
	case "labels":
		e.Labels = r.labels(v)
	case "metadata":
		r.want(name, v, jcs.Null)
	case "operation":
		e.Operation = r.string(name, v)
	case "otel_context":
		e.OTelContext = r.object(name, v)
	case "parent_ids":
		e.Parents = r.parents(name, v)
	case "policy_context":
		e.Policies = r.policies(v)
	case "removed_taints":
		e.RemovedTaints = r.strings(name, v, r.limits.Taints)
	case "runtime":
		e.Runtime = Runtime{Name: r.text(name, v, "name"), Version: r.text(name, v, "version")}
	case "schema_version":
		if s := r.string(name, v); s != SchemaVersion {
			r.fail(name, "%q; this version reads %q", clip(s), SchemaVersion)
		}
	case "taints":
		e.Taints = r.strings(name, v, r.limits.Taints)
	case "timestamp_ms":
		e.TimestampMS = r.integer(name, v)
	case "trust_score":
		e.TrustScore = int(r.integer(name, v))
	default:
		return false
	}
	return true
}

func (r *reader) want(member string, v jcs.Value, kind jcs.Kind) bool {
	if v.Kind != kind {
		r.fail(member, "is a JSON %s; want %s", v.Kind, kind)
		return false
	}
	return true
}

func (r *reader) string(member string, v jcs.Value) string {
	r.want(member, v, jcs.String)
	return v.Text
}

// text reads a required string member of an object.
func (r *reader) text(member string, object jcs.Value, name string) string {
	v, ok := object.Get(name)
	if !ok || v.Kind != jcs.String {
		r.fail(member+"."+name, "required string is missing")
	}
	return v.Text
}

// optional reads a member that is a string or null.
func (r *reader) optional(member string, object jcs.Value, name string) string {
	v, ok := object.Get(name)
	if !ok || v.Kind == jcs.Null {
		return ""
	}
	return r.string(member+"."+name, v)
}

// integer reads a JSON integer from 0 to 2⁵³−1. The document is canonical, so "1.0" and "1e1" cannot occur.
func (r *reader) integer(member string, v jcs.Value) int64 {
	if !r.want(member, v, jcs.Number) {
		return 0
	}
	n, err := strconv.ParseInt(v.Text, 10, 64)
	if err != nil || n < 0 || n > 1<<53-1 {
		r.fail(member, "%s is not an integer from 0 to 2^53-1", clip(v.Text))
		return 0
	}
	return n
}

func (r *reader) elems(member string, v jcs.Value, most int) []jcs.Value {
	if !r.want(member, v, jcs.Array) {
		return nil
	}
	if len(v.Elems) > most {
		r.fail(member, "%d items, more than the limit of %d: %w", len(v.Elems), most, ErrLimit)
		return nil
	}
	return v.Elems
}

func (r *reader) strings(member string, v jcs.Value, most int) []string {
	elems := r.elems(member, v, most)
	if len(elems) == 0 {
		return nil
	}
	out := make([]string, len(elems))
	for i, item := range elems {
		out[i] = r.string(member, item)
	}
	return out
}

// object keeps a JSON object as canonical text.
func (r *reader) object(member string, v jcs.Value) Object {
	if !r.want(member, v, jcs.Object) || len(v.Members) == 0 {
		return ""
	}
	text, err := v.Append(nil, jcs.Options{MaxDepth: r.limits.Depth, Integers: jcs.Reject})
	if err != nil {
		r.fail(member, "%v", err)
	}
	return Object(text)
}

func (r *reader) labels(v jcs.Value) map[string]string {
	if !r.want("labels", v, jcs.Object) {
		return nil
	}
	if len(v.Members) > r.limits.Labels {
		r.fail("labels", "%d labels, more than the limit of %d: %w", len(v.Members), r.limits.Labels, ErrLimit)
		return nil
	}
	out := make(map[string]string, len(v.Members))
	for _, m := range v.Members {
		if m.Value.Kind != jcs.String {
			r.want(labelPath(m.Name), m.Value, jcs.String)
		}
		out[m.Name] = m.Value.Text
	}
	return out
}

func (r *reader) parents(member string, v jcs.Value) []Hash {
	elems := r.elems(member, v, r.limits.PassportEntries)
	if len(elems) == 1 && elems[0].Kind == jcs.String && elems[0].Text == "0" {
		return nil // a root (TC-01)
	}
	if len(elems) == 0 {
		r.fail(member, `empty; a root has ["0"]`)
		return nil
	}
	out := make([]Hash, len(elems))
	for i, item := range elems {
		h, err := ParseHash(r.string(member, item))
		if err != nil {
			r.fail(member, `item %d: %v; "0" stands only alone`, i, err)
		}
		out[i] = h
	}
	if !ascending(out, Hash.compare) {
		r.fail(member, "not sorted and unique")
	}
	return out
}

func (r *reader) policies(v jcs.Value) PolicyContext {
	const member = "policy_context"
	if !r.want(member, v, jcs.Object) {
		return PolicyContext{}
	}
	names := func(name string) []string {
		list, ok := v.Get(name)
		if !ok {
			r.fail(member+"."+name, "required member is missing")
		}
		return r.strings(member+"."+name, list, maxPolicies)
	}
	p := PolicyContext{
		Enterprise: names("enterprise_policies"), Platform: names("platform_policies"),
		Application: names("app_policies"), Function: names("function_policies"),
	}
	deviations, ok := v.Get("deviations")
	if !ok {
		r.fail(member+".deviations", "required member is missing")
	}
	for _, d := range r.elems(member+".deviations", deviations, maxPolicies) {
		const member = member + ".deviations"
		p.Deviations = append(p.Deviations, Deviation{
			Policy: r.text(member, d, "policy"), Tier: r.text(member, d, "tier"),
			Reason: r.optional(member, d, "reason"), Approver: r.optional(member, d, "approver"),
			ApproverKey: r.optional(member, d, "approver_key"),
		})
	}
	return p
}
