package propagate_test

import (
	"errors"
	"testing"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// TestReceiptOfWhatWasSent: a callee with the caller's identity, such as another instance of the same service, cannot say
// how a call ends that still runs here. The first word on a call stays, so the failure of that call would be hidden from
// every policy that asks about it.
func TestReceiptOfWhatWasSent(t *testing.T) {
	sent := chain(t, 2) // ends in a call by pay, whose body sends this request
	now := grow(t, sent, 5, pay)
	value, err := propagator(t, propagate.Config{}).Return(t.Context(), sent, now, propagate.Whole)
	if err != nil {
		t.Fatal(err)
	}
	brought := receiptOf(t, pay, now.Last(), lineage.OutcomeOK)
	lie := receiptOf(t, pay, sent.Last(), lineage.OutcomeOK)
	session := propagate.NewSession(sent, trace, "")
	e := egress(t, propagate.EgressConfig{Verifier: verifier(t), StrictReturn: true, Logger: new(logs).logger()})
	_, err = e.Learn(propagate.WithSession(t.Context(), session), sent, []string{value + "," + propagate.KeyReceipts + "=" + brought + "~" + lie})
	session.Settle(sent.Last().Hash(), lineage.OutcomeError, "") // what became of it
	if !errors.Is(err, lineage.ErrUnverified) || session.Passport().Len() != 2 || session.Outcome(now.Last().Hash()) != "" {
		t.Errorf("%v, %d entries", err, session.Passport().Len())
	}
	if o := session.Outcome(sent.Last().Hash()); o != lineage.OutcomeError {
		t.Errorf("a call that failed is %q", o)
	}
}
