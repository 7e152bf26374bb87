package decisionlog_test

import (
	"testing"

	"github.com/kest-go/kest/policy/decisionlog"
	"github.com/kest-go/kest/policy/policytest"
)

// A record says which masks hid something, so that nobody takes the input for the one that was decided on, however
// much like it the mask makes it look.
func TestMasked(t *testing.T) {
	masks := []decisionlog.Mask{
		{Path: "subject.user", With: "bob"}, {Path: "attributes.nothing.of.that"}, {Path: "lineage"},
	}
	for want, c := range map[any]decisionlog.Config{
		nil:                    {},
		"subject.user lineage": {Mask: masks},
		"lineage":              {Mask: masks[1:]},
	} {
		if got := logInput(t, policytest.Input(40), c)["input_masked"]; got != want {
			t.Errorf("input_masked is %v; want %v", got, want)
		}
	}
}
