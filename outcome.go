package kest

import (
	"context"
	"reflect"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/telemetry"
)

// outcome is how a body ended.
type outcome struct {
	known       bool // the body came back
	status      lineage.Outcome
	errorType   string
	contentHash string
}

// returned notes that the body came back. The result is hashed when something will hold the hash; a result that
// cannot be encoded has none, because nothing may fail after the body ran.
func (c *call) returned(out any, err error) {
	o := outcome{known: true, status: lineage.OutcomeOK}
	switch {
	case err != nil:
		o.status, o.errorType = lineage.OutcomeError, reflect.TypeOf(err).String()
		c.span.SetStatus(codes.Error, "the body returned an error")
	case !c.guard.config.NoReceipts || c.span.IsRecording():
		o.contentHash = outputHash(out)
	}
	c.outcome = o
}

// outputHash is the canonical hash of a result, "" when it has none: it cannot be encoded, or its own MarshalJSON
// panics, which must not turn a call that succeeded into one that did not.
func outputHash(out any) (hash string) {
	defer func() {
		if recover() != nil {
			hash = ""
		}
	}()
	hash, _ = canonicalHash(out)
	return hash
}

// finish is step 13. It runs deferred, and recovers nothing: a panic goes on, with its stack, after it was
// recorded. runtime.Goexit looks the same from here.
func (c *call) finish() {
	if !c.outcome.known {
		c.outcome.status = lineage.OutcomePanic
		c.span.SetStatus(codes.Error, "the body panicked")
	}
	passport := c.body.Passport()
	c.flowBack()
	receipt := c.receipt(passport)
	if c.flows() {
		c.outer.Settle(c.signed.Hash(), c.outcome.status, receipt)
	}
	if c.span.IsRecording() {
		c.span.SetAttributes(
			attribute.String("kest.content_hash", c.outcome.contentHash),
			attribute.String("kest.receipt", receipt),
		)
	}
	c.span.End()
}

// flows reports whether what the body learned is for the caller's session.
func (c *call) flows() bool { return c.outer != nil && !c.detached && !c.guard.config.CallTree }

// flowBack gives the caller's session what the body learned. A body that contradicted itself fails the caller's
// session too, whether or not its lineage would have flowed back.
func (c *call) flowBack() {
	switch err := c.body.Err(); {
	case c.outer == nil:
	case c.flows():
		if err := c.body.Return(c.outer); err != nil {
			c.complain(c.ctx, "kest: lineage cannot flow back; the session is unusable", err)
		}
	case err != nil:
		c.outer.Fail(err)
	}
}

// receipt signs and keeps the receipt; failures are logged, because what happened has happened. The caller's
// deadline does not count any more.
func (c *call) receipt(passport lineage.Passport) string {
	if c.guard.config.NoReceipts {
		return ""
	}
	ctx := c.afterwards()
	defer ctx.end()
	receipt, err := lineage.SignReceipt(ctx, c.signer, lineage.Receipt{
		EntryHash: c.signed.Hash(), EntryID: c.entry.ID, Status: c.outcome.status, ContentHash: c.outcome.contentHash,
		ErrorType: c.outcome.errorType, StartedMS: c.started.UnixMilli(), EndedMS: time.Now().UnixMilli(),
		Tips: passport.Tips(),
	}, c.guard.config.Limits)
	if err != nil {
		c.complain(ctx, "kest: receipt could not be signed", err)
		return ""
	}
	if sink := c.guard.config.Sink; sink != nil {
		if err := sink.Record(ctx, c.recordOf(telemetry.Receipt, receipt)); err != nil {
			c.complain(ctx, "kest: receipt could not be kept", err)
		}
	}
	return receipt
}

// recordTimeout bounds what is done for the record after the decision or the body.
const recordTimeout = 5 * time.Second

// afterwards is the context for records of what has happened: it must not end with the call.
func (c *call) afterwards() *deadline {
	return withDeadline(context.WithoutCancel(c.ctx), recordTimeout)
}

// complain logs what went wrong too late to stop the call.
func (c *call) complain(ctx context.Context, message string, err error) {
	c.guard.config.Logger.ErrorContext(ctx, message, "operation", c.operation, "entry_id", c.entry.ID, "error", err)
}
