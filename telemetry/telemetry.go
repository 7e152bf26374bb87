// Package telemetry is the vocabulary between the guard and whatever keeps its records: a [Sink] receives every
// signed entry, denial and receipt (SPEC §10). Spans go to OpenTelemetry and need nothing from here.
package telemetry

import (
	"context"

	"github.com/kest-go/kest/lineage"
)

// Kind of a record.
type Kind string

// The signed documents that the guard makes.
const (
	Entry   Kind = "entry"
	Denial  Kind = "denial"
	Receipt Kind = "receipt"
)

// A Record is one signed document with what is needed to file it. Everything but JWS repeats what JWS proves.
type Record struct {
	Kind      Kind
	JWS       string
	EntryID   string
	TraceID   string
	Operation string
	Principal string
	Hash      lineage.Hash // of the entry; zero for a denial, whose entry was never signed
}

// A Sink keeps records.
//
// The record of an entry is written before the body runs: an error stops the call, so that nothing happens that
// was not written down. Errors for denials and receipts are logged; they cannot change what already happened.
// Record must return only when the record is as safe as the sink promises, must honour ctx, and must be safe for
// concurrent use.
type Sink interface {
	Record(ctx context.Context, r Record) error
}
