package kest

import (
	"context"
	"errors"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/kest-go/kest/lineage"
)

// scope is the instrumentation scope of every span (F-TE-01).
const scope = "kest.core"

// globalTracer asks the global provider at every call, because a program may replace it at any time; the options
// are made once.
func globalTracer() trace.Tracer { return otel.GetTracerProvider().Tracer(scope, tracerOptions...) }

var tracerOptions = []trace.TracerOption{trace.WithInstrumentationVersion(Version)}

// ensureTrace returns the trace id of ctx. When there is no valid trace it makes one and puts it in the context,
// so that a chain shares it. It is marked as sampled, or samplers that follow their parent would drop every span.
func ensureTrace(ctx context.Context) (context.Context, string) {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		return ctx, sc.TraceID().String()
	}
	var random [24]byte
	ids.Random(random[:])
	config := trace.SpanContextConfig{
		TraceID: trace.TraceID(random[:16]), SpanID: trace.SpanID(random[16:]), TraceFlags: trace.FlagsSampled, Remote: true,
	}
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(config)), config.TraceID.String()
}

// traceparent is the W3C form of the span that represents the call.
func traceparent(span trace.Span) lineage.Object {
	sc := span.SpanContext()
	if !sc.IsValid() {
		return ""
	}
	flags := "00"
	if sc.IsSampled() {
		flags = "01"
	}
	return lineage.Object(`{"traceparent":"00-` + sc.TraceID().String() + "-" + sc.SpanID().String() + "-" + flags + `"}`)
}

// describe puts the signed entry on the span (F-TE-02).
func (c *call) describe() {
	if !c.span.IsRecording() {
		return
	}
	e, p := &c.entry, c.body.Passport()
	c.span.SetAttributes(
		attribute.String("kest.signature", c.signed.JWS()),
		attribute.String("kest.parent_hash", joinHashes(e.Parents, "0")),
		attribute.String("kest.entry_id", e.ID),
		attribute.String("kest.workload_id", e.Principal()),
		attribute.Int("kest.trust_score", e.TrustScore),
		attribute.String("kest.operation", e.Operation),
		attribute.String("kest.chain_tip", joinHashes(p.Tips(), "")),
		attribute.StringSlice("kest.taints", e.Taints),
	)
	if p.Size() <= c.guard.config.SpanPassport {
		if text, err := p.MarshalText(); err == nil {
			c.span.SetAttributes(attribute.String("kest.passport", string(text)))
		}
	}
}

// refuse puts a refusal on the span (F-TE-03). What a resolver or an encoder says may repeat the argument, so that
// goes to the caller alone.
func (c *call) refuse(err error) {
	description := err.Error()
	var failed *CallError
	if errors.As(err, &failed) && (failed.Step == StepResolve || failed.Step == StepInput) {
		description = "stopped at step " + string(failed.Step)
	}
	c.span.SetStatus(codes.Error, description)
	if !c.span.IsRecording() {
		return
	}
	var denied *DeniedError
	if errors.As(err, &denied) {
		c.span.SetAttributes(
			attribute.String("kest.denied_policy", denied.Policy),
			attribute.String("kest.denied_tier", string(denied.Tier)),
			attribute.String("kest.denial", denied.Record),
		)
	}
	c.span.SetAttributes(attribute.String("kest.operation", c.operation))
	if c.entry.ID != "" {
		c.span.SetAttributes(attribute.String("kest.entry_id", c.entry.ID))
	}
}

func joinHashes(hashes []lineage.Hash, none string) string {
	if len(hashes) == 0 {
		return none
	}
	var b strings.Builder
	for i, h := range hashes {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(h.String())
	}
	return b.String()
}
