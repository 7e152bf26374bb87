package decisionlog

import (
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/kest-go/kest/policy"
)

// Results of a decision.
const (
	allow   = "allow"
	deny    = "deny"
	failure = "error"
)

// Bounds of what the record repeats, in bytes.
const (
	maxName   = 256
	maxReason = 1 << 10
)

// answer is what the engine was asked and said.
type answer struct {
	policy   string
	start    time.Time
	took     time.Duration
	decision policy.Decision
	err      error
	trial    bool // nobody is stopped by it
}

// result is what the guard makes of the answer: an error denies whatever stands beside it.
func (a *answer) result() string {
	switch {
	case a.err != nil:
		return failure
	case a.decision.Allow:
		return allow
	}
	return deny
}

func (a *answer) level() slog.Level {
	switch a.result() {
	case allow:
		return slog.LevelInfo
	case deny:
		return slog.LevelWarn
	}
	return slog.LevelError
}

func (a *answer) reason() string {
	if a.err != nil {
		return a.err.Error()
	}
	return a.decision.Reason
}

// record lists the members of the record.
func (e *engine) record(in *policy.Input, a *answer) []slog.Attr {
	attrs := make([]slog.Attr, 0, 12)
	add := func(name, value string, limit int) {
		if value != "" {
			attrs = append(attrs, slog.String(name, clip(value, limit)))
		}
	}
	add("result", a.result(), maxName)
	add("policy", a.policy, maxName)
	if in != nil {
		add("tier", string(in.Environment.PolicyTier), maxName)
		add("operation", in.Environment.Operation, maxName)
		add("workload", in.Subject.Workload, maxName)
	}
	if a.trial {
		attrs = append(attrs, slog.Bool("trial", true)) // it stops nothing
	}
	add("revision", a.decision.Revision, maxName)
	attrs = append(attrs, slog.Duration("duration", a.took))
	add("reason", a.reason(), maxReason)
	if in == nil {
		return attrs
	}
	add("entry_id", in.Environment.EntryID, maxName)
	add("trace_id", in.Environment.TraceID, maxName)
	if e.input {
		text, masked, err := e.redact(in)
		if err != nil {
			add("input_dropped", err.Error(), maxReason)
			return attrs
		}
		attrs = append(attrs, slog.Any("input", json.RawMessage(text)))
		add("input_masked", strings.Join(masked, " "), maxReason)
	}
	return attrs
}

// clip makes s fit: one text that is not UTF-8 makes OTLP refuse a whole batch of spans.
func clip(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// addEvent gives the span the members of the record.
func addEvent(span trace.Span, record []slog.Attr) {
	if !span.IsRecording() {
		return
	}
	attrs := make([]attribute.KeyValue, 0, len(record))
	for _, a := range record {
		name := "kest.decision." + a.Key
		switch a.Value.Kind() {
		case slog.KindBool:
			attrs = append(attrs, attribute.Bool(name, a.Value.Bool()))
		case slog.KindDuration:
			attrs = append(attrs, attribute.Int64(name+"_ns", a.Value.Duration().Nanoseconds()))
		case slog.KindAny: // input
			text, _ := a.Value.Any().(json.RawMessage)
			attrs = append(attrs, attribute.String(name, string(text)))
		default:
			attrs = append(attrs, attribute.String(name, a.Value.String()))
		}
	}
	span.AddEvent("policy.decision", trace.WithAttributes(attrs...))
}
