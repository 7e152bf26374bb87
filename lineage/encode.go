package lineage

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/kest-go/kest/internal/jcs"
)

// appendEntry writes the RFC 8785 form of e. The member order is fixed here instead of sorted at run time: all
// 18 names are ASCII, where UTF-16 order (RFC 8785 §3.2.3) is byte order. A property test holds the result to
// the general encoder.
func appendEntry(dst []byte, e *Entry) ([]byte, error) {
	w := writer{buf: dst}
	w.raw(`{"added_taints":`)
	w.strings(e.AddedTaints)
	w.member(`,"classification":`, e.Classification)
	w.member(`,"content_hash":`, e.ContentHash)
	w.member(`,"entry_id":`, e.ID)
	w.raw(`,"environment":`)
	w.raw(e.Environment.text())
	w.member(`,"input_hash":`, e.InputHash)
	w.raw(`,"labels":`)
	w.labels(e.Labels)
	w.member(`,"metadata":null,"operation":`, e.Operation)
	w.raw(`,"otel_context":`)
	w.raw(e.OTelContext.text())
	w.raw(`,"parent_ids":`)
	w.parents(e.Parents)
	w.raw(`,"policy_context":`)
	w.policies(&e.Policies)
	w.raw(`,"removed_taints":`)
	w.strings(e.RemovedTaints)
	w.member(`,"runtime":{"name":`, e.Runtime.Name)
	w.member(`,"version":`, e.Runtime.Version)
	w.member(`},"schema_version":`, SchemaVersion)
	w.raw(`,"taints":`)
	w.strings(e.Taints)
	w.integer(`,"timestamp_ms":`, e.TimestampMS)
	w.integer(`,"trust_score":`, int64(e.TrustScore))
	w.raw(`}`)
	return w.buf, w.err
}

// writer appends canonical JSON and keeps the first error.
type writer struct {
	buf []byte
	err error
}

func (w *writer) raw(s string) { w.buf = append(w.buf, s...) }

func (w *writer) string(s string) {
	buf, err := jcs.AppendString(w.buf, s)
	if err != nil {
		if w.err == nil {
			w.err = fmt.Errorf("%q: %w", clip(s), err)
		}
		return
	}
	w.buf = buf
}

func (w *writer) member(prefix, value string) {
	w.raw(prefix)
	w.string(value)
}

// orNull writes null for an absent optional string.
func (w *writer) orNull(prefix, value string) {
	w.raw(prefix)
	if value == "" {
		w.raw("null")
		return
	}
	w.string(value)
}

func (w *writer) integer(prefix string, n int64) {
	w.raw(prefix)
	w.buf = strconv.AppendInt(w.buf, n, 10)
}

func (w *writer) strings(list []string) {
	w.raw("[")
	for i, s := range list {
		if i > 0 {
			w.raw(",")
		}
		w.string(s)
	}
	w.raw("]")
}

func (w *writer) hashes(list []Hash) {
	w.raw("[")
	for i, h := range list {
		if i > 0 {
			w.raw(",")
		}
		w.raw(`"`)
		w.buf = h.appendHex(w.buf)
		w.raw(`"`)
	}
	w.raw("]")
}

// parents writes ["0"] for a root (F-AE-06).
func (w *writer) parents(list []Hash) {
	if len(list) == 0 {
		w.raw(`["0"]`)
		return
	}
	w.hashes(list)
}

func (w *writer) labels(labels map[string]string) {
	var fixed [16]string
	names := fixed[:0]
	for name := range labels {
		names = append(names, name)
	}
	slices.SortFunc(names, jcs.Compare)
	w.raw("{")
	for i, name := range names {
		if i > 0 {
			w.raw(",")
		}
		w.string(name)
		w.raw(":")
		w.string(labels[name])
	}
	w.raw("}")
}

func (w *writer) policies(p *PolicyContext) {
	w.raw(`{"app_policies":`)
	w.strings(p.Application)
	w.raw(`,"deviations":[`)
	for i, d := range p.Deviations {
		if i > 0 {
			w.raw(",")
		}
		w.orNull(`{"approver":`, d.Approver)
		if d.ApproverKey != "" {
			w.member(`,"approver_key":`, d.ApproverKey)
		}
		w.member(`,"policy":`, d.Policy)
		w.orNull(`,"reason":`, d.Reason)
		w.member(`,"tier":`, d.Tier)
		w.raw("}")
	}
	w.raw(`],"enterprise_policies":`)
	w.strings(p.Enterprise)
	w.raw(`,"function_policies":`)
	w.strings(p.Function)
	w.raw(`,"platform_policies":`)
	w.strings(p.Platform)
	w.raw("}")
}
