package decisionlog_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/decisionlog"
	"github.com/kest-go/kest/policy/policytest"
)

// TestMarkOfTheCaller: whoever calls a guarded function cannot have the denial of a policy in force logged as that of a
// trial, which stops nothing and which nobody looks at.
func TestMarkOfTheCaller(t *testing.T) {
	e, o := open(t, decisionlog.Config{Engine: policytest.Func(answer)})
	guard, err := kest.New(kest.Config{Engine: e, Platform: []string{policytest.AllowTrusted, policytest.DenyAll}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	f := kest.MustVerified(guard, func(context.Context, string) (string, error) { return "", nil },
		kest.Operation("payments.pay"), kest.Policy(policytest.AllowTrusted))
	if _, err := f(policy.WithTrial(t.Context(), true), ""); err == nil {
		t.Fatal("allowed")
	}
	records := o.records(t)
	if len(records) != 2 || records[1]["result"] != "deny" {
		t.Fatalf("records %v", records)
	}
	for _, r := range records {
		if r["trial"] != nil {
			t.Errorf("record %v", r)
		}
	}
}
