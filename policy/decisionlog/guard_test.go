package decisionlog_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/decisioncache"
	"github.com/kest-go/kest/policy/decisionlog"
	"github.com/kest-go/kest/policy/policytest"
)

// TestGuard: behind the guard, around a cache, each tier's policy of each call is on record, those from the cache
// too; and the guard still finds a misspelt policy.
func TestGuard(t *testing.T) { // SPEC §7, F-PE-03
	counted := policytest.Func(answer)
	cached, err := decisioncache.New(decisioncache.Config{
		Engine: &full{Engine: counted},
		Ignore: []string{"environment.entry_id", "environment.trace_id", "environment.parent_hashes"},
	})
	if err != nil {
		t.Fatal(err)
	}
	e, o := open(t, decisionlog.Config{Engine: cached})
	config := kest.Config{Engine: e, Enterprise: []string{policytest.AllowTrusted}, Logger: slog.New(slog.DiscardHandler)}
	guard, err := kest.New(config)
	if err != nil {
		t.Fatal(err)
	}
	body := func(context.Context, string) (string, error) { return "", nil }
	trusted := kest.MustVerified(guard, body, kest.Operation("payments.pay"), kest.Policy(policytest.AllowTrusted))
	denied := kest.MustVerified(guard, body, kest.Operation("payments.refund"), kest.Policy(policytest.DenyAll))
	for range 3 {
		if _, err := trusted(context.Background(), ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := denied(context.Background(), ""); !errors.Is(err, kest.ErrDenied) {
		t.Fatal(err)
	}
	var got []string
	for _, r := range o.records(t) {
		got = append(got, strings.Join([]string{r["result"].(string), r["tier"].(string), r["operation"].(string)}, " "))
		if r["entry_id"] == nil || r["trace_id"] == nil || r["workload"] == nil || r["revision"] != "r1" {
			t.Errorf("record %v", r)
		}
	}
	one := "allow enterprise payments.pay,allow function payments.pay,"
	if want := one + one + one + "allow enterprise payments.refund,deny function payments.refund"; strings.Join(got, ",") != want {
		t.Errorf("records\n got %s\nwant %s", strings.Join(got, ","), want)
	}
	if n := counted.Count(); n != 4 { // 8 decisions
		t.Errorf("the engine was asked %d times, want 4", n)
	}

	config.Enterprise = []string{"kest/allow_trustd"}
	if _, err := kest.New(config); !errors.Is(err, policy.ErrUnknownPolicy) {
		t.Errorf("a misspelt policy: %v", err)
	}
}

// TestTrials: the log tells a denial that stopped nothing from one that did.
func TestTrials(t *testing.T) {
	e, o := open(t, decisionlog.Config{Engine: policytest.Func(answer)})
	guard, err := kest.New(kest.Config{
		Engine: e, Shadow: policy.Tiers{Platform: []string{policytest.DenyAll}}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	f := kest.MustVerified(guard, func(context.Context, string) (string, error) { return "", nil },
		kest.Operation("payments.pay"), kest.Policy(policytest.AllowTrusted))
	if _, err := f(context.Background(), ""); err != nil {
		t.Fatal(err)
	}
	records := o.records(t)
	if len(records) != 2 || records[0]["trial"] != nil || records[1]["trial"] != true || records[1]["result"] != "deny" || records[1]["tier"] != "platform" {
		t.Errorf("records %v", records)
	}
}
