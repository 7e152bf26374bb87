package kest_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// TestReconfigure: functions that were wrapped before follow, as one.
func TestReconfigure(t *testing.T) {
	r := newRig(t, tiered)
	pay := kest.MustVerified(r.Guard, ship, kest.Operation("pay"), kest.Policy("f/1"))
	asked := func() []string {
		r.engine.Reset()
		if _, err := pay(t.Context(), order{}); err != nil {
			t.Fatal(err)
		}
		return r.engine.Names()
	}
	if got := asked(); !slices.Equal(got, tierNames) {
		t.Fatalf("before: %q", got)
	}
	c := r.Config()
	c.Enterprise, c.Platform, c.Application = []string{"e/3"}, nil, nil
	c.Shadow.Platform = []string{"p/1"}
	must(t, r.Reconfigure(c))
	if got := asked(); !slices.Equal(got, []string{"e/3", "f/1", "p/1"}) {
		t.Errorf("after: %q", got)
	}
	if got := r.Config(); !slices.Equal(got.Enterprise, c.Enterprise) || !slices.Equal(got.Shadow.Platform, c.Shadow.Platform) {
		t.Errorf("Config says %q and %q", got.Enterprise, got.Shadow)
	}
	late := kest.MustVerified(r.Guard, ship, kest.Operation("late"), kest.Policy("f/2"))
	r.engine.Reset()
	if _, err := late(t.Context(), order{}); err != nil || !slices.Equal(r.engine.Names(), []string{"e/3", "f/2", "p/1"}) {
		t.Errorf("wrapped afterwards: %q, %v", r.engine.Names(), err)
	}
}

// TestReconfigureAllOrNothing: a configuration that is wrong, for the guard or for one of its functions, changes nothing.
func TestReconfigureAllOrNothing(t *testing.T) {
	r := newRig(t, tiered, func(c *kest.Config) { c.Origins = map[string]int{"partner": 70} })
	pay := kest.MustVerified(r.Guard, ship, kest.Operation("pay"), kest.Policy("f/1"))
	scan := kest.MustVerified(r.Guard, ship, kest.Operation("scan"), kest.Policy("f/1"), kest.SourceType("partner"))
	for name, test := range map[string]struct {
		change func(*kest.Config)
		want   []string
	}{
		"guard":    {func(c *kest.Config) { c.Enterprise = []string{"a b", "c d"} }, []string{"a b", "c d"}},
		"function": {func(c *kest.Config) { c.Enterprise, c.Origins = nil, nil }, []string{"scan", `"partner"`}},
		"engine":   {func(c *kest.Config) { c.Engine = nil }, []string{"no engine"}},
		"approval": {func(c *kest.Config) { c.RequireApproval = true }, []string{"Approvers"}},
	} {
		c := r.Config()
		test.change(&c)
		err := r.Reconfigure(c)
		var problems *kest.ConfigError
		if !errors.As(err, &problems) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not name %s", name, err, want)
			}
		}
	}
	for _, f := range []func(context.Context, order) (string, error){pay, scan} {
		r.engine.Reset()
		if _, err := f(t.Context(), order{}); err != nil || !slices.Equal(r.engine.Names(), tierNames) {
			t.Errorf("asked %q, %v", r.engine.Names(), err)
		}
	}
}

// TestReconfigureKeepsIdentity: who does not name one does not get a new key.
func TestReconfigureKeepsIdentity(t *testing.T) {
	r := newRig(t)
	c := r.Config()
	c.Identity = nil
	must(t, r.Reconfigure(c))
	if got := r.entry(t.Context()).Principal(); got != payments {
		t.Errorf("signed by %q", got)
	}
	c.Identity = identitytest.New("spiffe://example.org/other")
	must(t, r.Reconfigure(c))
	if got := r.entry(t.Context()).Principal(); got != "spiffe://example.org/other" {
		t.Errorf("signed by %q", got)
	}
}

// TestReconfigureDefault: functions that follow the process default follow its guard, and not a guard that was replaced.
func TestReconfigureDefault(t *testing.T) {
	t.Cleanup(kest.Reset)
	engine := policytest.Allow()
	base := kest.Config{Engine: engine, Identity: identitytest.New(payments)}
	must(t, kest.Configure(base))
	old := kest.Default()
	pay := kest.MustVerified(nil, ship, kest.Operation("pay"), kest.Policy("f/1"))
	asked := func() []string {
		engine.Reset()
		if _, err := pay(t.Context(), order{}); err != nil {
			t.Fatal(err)
		}
		return engine.Names()
	}
	next := base
	next.Enterprise = []string{"e/1"}
	must(t, old.Reconfigure(next))
	if got := asked(); !slices.Equal(got, []string{"e/1", "f/1"}) {
		t.Errorf("asked %q", got)
	}
	next.Enterprise = []string{"e/2"}
	must(t, kest.Configure(next))
	must(t, old.Reconfigure(base))
	if got := asked(); !slices.Equal(got, []string{"e/2", "f/1"}) {
		t.Errorf("after another default: asked %q", got)
	}
}

// TestReconfigureStorm: while eight goroutines call, each call is decided under one configuration as a whole, the one
// that its entry names, and none is lost.
func TestReconfigureStorm(t *testing.T) {
	// Under "even" the enterprise policy is e/even and so is the only one that allows, and so on.
	engine := func(parity string) policy.Engine {
		return policytest.Func(func(_ context.Context, name string, _ *policy.Input) (policy.Decision, error) {
			return policy.Decision{Allow: name == "e/"+parity || name == "p/"+parity || name == "f/1"}, nil
		}).Keep(0)
	}
	parities := []string{"even", "odd"}
	r := newRig(t, func(c *kest.Config) {
		c.Engine, c.Enterprise, c.Platform = engine("even"), []string{"e/even"}, []string{"p/even"}
		c.Sink, c.NoReceipts, c.PolicyTimeout = nil, true, time.Minute
	})
	pay := kest.MustVerified(r.Guard, func(ctx context.Context, _ order) (lineage.PolicyContext, error) {
		return kest.CurrentEntry(ctx).Entry().Policies, nil
	}, kest.Operation("pay"), kest.Policy("f/1"))
	var done atomic.Bool
	var wg sync.WaitGroup
	var calls atomic.Int64
	for range 8 {
		wg.Go(func() {
			for !done.Load() {
				p, err := pay(t.Context(), order{})
				calls.Add(1)
				if err != nil || p.Enterprise[0][1:] != p.Platform[0][1:] {
					t.Errorf("decided under %q and %q: %v", p.Enterprise, p.Platform, err)
					return
				}
			}
		})
	}
	for i := range 1000 {
		c := r.Config()
		parity := parities[(i+1)%2]
		c.Engine, c.Enterprise, c.Platform = engine(parity), []string{"e/" + parity}, []string{"p/" + parity}
		must(t, r.Reconfigure(c))
		for calls.Load() < int64(i/10) && !t.Failed() { // or all of it is over before anybody called
			runtime.Gosched()
		}
		if i%50 == 0 { // a broken one in between changes nothing
			c.Enterprise = []string{"e/even", "e/even"}
			if r.Reconfigure(c) == nil {
				t.Error("a broken configuration is accepted")
			}
		}
	}
	done.Store(true)
	wg.Wait()
}

// TestSetAuthority: another authority counts at once, also for what was verified and remembered before.
func TestSetAuthority(t *testing.T) {
	r := newRig(t)
	ctx, s := kest.StartSession(t.Context())
	r.entry(ctx, kest.SourceType("internal"))
	p := s.Passport()
	verify := func() error {
		_, report, err := r.verifier.Verify(t.Context(), lineage.Unverified{Entries: p.Entries(), Tips: p.Tips()})
		if err == nil && !report.Valid() {
			t.Error("neither good nor bad")
		}
		return err
	}
	must(t, verify())
	must(t, r.verifier.SetAuthority(&lineage.Authority{Grants: []lineage.Grant{{Principal: "spiffe://example.org/*", Originate: []string{"llm"}}}}))
	var failure *lineage.VerifyError
	if err := verify(); !errors.As(err, &failure) || failure.Reason != lineage.Unauthorized {
		t.Errorf("what is not granted any more: %v", err)
	}
	if err := r.verifier.SetAuthority(&lineage.Authority{Grants: []lineage.Grant{{Principal: "*"}}}); err == nil {
		t.Error("a broken authority is accepted")
	}
	if verify() == nil {
		t.Error("a broken authority changed the one in force")
	}
	if _, _, err := r.verifier.VerifyOnto(t.Context(), lineage.Passport{}, lineage.Unverified{Entries: p.Entries(), Tips: p.Tips()}); err == nil {
		t.Error("VerifyOnto goes on under the authority before")
	}
	grants := []lineage.Grant{{Principal: payments, Originate: []string{"internal"}}}
	must(t, r.verifier.SetAuthority(&lineage.Authority{Grants: grants}))
	grants[0].Principal = "x" // the verifier has its own copy
	must(t, verify())
	must(t, r.verifier.SetAuthority(nil))
	must(t, verify())
}
