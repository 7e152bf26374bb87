package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/telemetry"
)

// printer is the smallest sink.
type printer struct{}

func (printer) Record(ctx context.Context, r telemetry.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := fmt.Println(r.Kind, r.EntryID, r.Operation)
	return err
}

func ExampleSink() {
	var s telemetry.Sink = printer{}
	s.Record(context.Background(), telemetry.Record{Kind: telemetry.Entry, EntryID: "0190e2b0", Operation: "payments.process"})
	// Output: entry 0190e2b0 payments.process
}

// TestKinds: the names of kinds are stored by sinks, so they are part of the contract (SPEC §10).
func TestKinds(t *testing.T) {
	if telemetry.Entry != "entry" || telemetry.Denial != "denial" || telemetry.Receipt != "receipt" {
		t.Errorf("%q %q %q", telemetry.Entry, telemetry.Denial, telemetry.Receipt)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (printer{}).Record(ctx, telemetry.Record{Hash: lineage.Hash{}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
