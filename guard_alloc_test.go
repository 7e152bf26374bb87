//go:build !race

package kest_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/policy/policytest"
)

// TestAllocations holds the hot path to its budget: at most 40 allocations a call with receipts.
func TestAllocations(t *testing.T) {
	g, err := kest.New(kest.Config{Engine: policytest.Allow().Keep(0), Identity: identitytest.New(payments), Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	f := kest.MustVerified(g, ship, kest.Policy("a/b"))
	if n := testing.AllocsPerRun(200, func() {
		if _, err := f(context.Background(), order{"ORD-123", 99.95}); err != nil {
			t.Fatal(err)
		}
	}); n > 40 {
		t.Errorf("%v allocations a call", n)
	}
}
