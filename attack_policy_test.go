package kest_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/propagate"
)

// TestEveryWordOfADeviationIsSigned: no field can be changed after the approver signed, and the id of the key is never
// what somebody wrote there.
func TestEveryWordOfADeviationIsSigned(t *testing.T) {
	ciso, keys := approvers(t, "ciso", 1)
	d := policy.Deviation{Policy: "e/1", Tier: policy.Enterprise, Scope: "pay.*", Reason: "CHG-1", Approver: "ciso", ApproverKey: "mine",
		NotAfter: time.Now().Add(time.Hour).Truncate(time.Second)}
	d, err := d.Sign(t.Context(), ciso)
	must(t, err)
	if d.ApproverKey != "" {
		t.Errorf("signing keeps the key id %q that nobody verified", d.ApproverKey)
	}
	verified, err := d.Verify(t.Context(), keys)
	if err != nil || verified.ApproverKey != ciso.KeyID() {
		t.Fatalf("key %q, %v", verified.ApproverKey, err)
	}
	for name, change := range map[string]func(*policy.Deviation){
		"policy": func(d *policy.Deviation) { d.Policy = "e/2" }, "tier": func(d *policy.Deviation) { d.Tier = policy.Platform },
		"scope": func(d *policy.Deviation) { d.Scope = "pay.*x" }, "reason": func(d *policy.Deviation) { d.Reason = "CHG-2" },
		"approver": func(d *policy.Deviation) { d.Approver = "cto" }, "end": func(d *policy.Deviation) { d.NotAfter = d.NotAfter.Add(time.Second) },
		"no end": func(d *policy.Deviation) { d.NotAfter = time.Time{} }, "signature": func(d *policy.Deviation) { d.Signature = "" },
	} {
		forged := verified
		change(&forged)
		if got, err := forged.Verify(t.Context(), keys); !errors.Is(err, lineage.ErrUnverified) || got != (policy.Deviation{}) {
			t.Errorf("%s changed: %+v, %v", name, got, err)
		}
	}
}

// TestApproverThatHangs: New waits for the keys of approvers, but not for ever.
func TestApproverThatHangs(t *testing.T) {
	ciso, _ := approvers(t, "ciso", 1)
	d, err := policy.Deviation{Policy: "e/1", Tier: policy.Enterprise, Scope: "*", Approver: "ciso"}.Sign(t.Context(), ciso)
	must(t, err)
	var limited bool
	keys := sourceFunc(func(ctx context.Context) error {
		_, limited = ctx.Deadline()
		return context.DeadlineExceeded
	})
	_, err = kest.New(kest.Config{Engine: allowOnly(), Enterprise: []string{"e/1"}, Deviations: []policy.Deviation{d}, Approvers: keys})
	if !errors.Is(err, context.DeadlineExceeded) || !limited {
		t.Errorf("a deadline: %t; %v", limited, err)
	}
}

// TestTrialsInTheLog: a policy under trial that cannot decide is reported with its error, and cannot fill the log.
func TestTrialsInTheLog(t *testing.T) {
	r := newRig(t, func(c *kest.Config) {
		c.Shadow.Platform = []string{"s/1", "s/2"}
		c.Engine = policytest.Func(func(_ context.Context, name string, _ *policy.Input) (policy.Decision, error) {
			switch name {
			case "s/1":
				return policy.Decision{Allow: true, Reason: "fine"}, fmt.Errorf("%w: socket gone", policy.ErrUnavailable)
			case "s/2":
				return policy.Decision{Reason: "\xff" + strings.Repeat("x", 1<<20)}, nil
			}
			return policy.Decision{Allow: true}, nil
		})
	})
	if got := r.entry(t.Context()).Labels[lineage.LabelObserved]; got != "platform:s/1=error,platform:s/2=deny" {
		t.Errorf("signed %q", got)
	}
	log := r.log.String()
	if !strings.Contains(log, "socket gone") || strings.Contains(log, "fine") || len(log) > 8<<10 {
		t.Errorf("%d bytes of log: %.2000s", len(log), log)
	}
}

// catalogue is an engine that says in advance which policies it has.
type catalogue struct{ *policytest.Mock }

func (catalogue) Check(name string) error {
	if strings.HasPrefix(name, "no/") {
		return policy.ErrUnknownPolicy
	}
	return nil
}

// TestTrialsAreConfigured: a misspelt policy under trial is a mistake at the start, of the guard or of the function, and
// nobody changes the list behind the guard's back.
func TestTrialsAreConfigured(t *testing.T) {
	for _, tier := range []policy.Tiers{{Enterprise: []string{"no/1"}}, {Platform: []string{"no/1"}}, {Application: []string{"no/1"}}} {
		if _, err := kest.New(kest.Config{Engine: catalogue{policytest.Allow()}, Shadow: tier}); !errors.Is(err, policy.ErrUnknownPolicy) {
			t.Errorf("%+v: %v", tier, err)
		}
	}
	lists := policy.Tiers{Enterprise: []string{"s/1"}, Platform: []string{"s/2"}, Application: []string{"s/3"}}
	r := newRig(t, func(c *kest.Config) { c.Engine, c.Shadow = catalogue{policytest.Allow()}, lists })
	if _, err := kest.Verified(r.Guard, ship, kest.Policy("f/1"), kest.ShadowPolicy("no/2")); !errors.Is(err, policy.ErrUnknownPolicy) {
		t.Errorf("of the function: %v", err)
	}
	lists.Enterprise[0], lists.Platform[0], lists.Application[0] = "x", "x", "x"
	shown := r.Config().Shadow
	shown.Enterprise[0], shown.Platform[0], shown.Application[0] = "y", "y", "y"
	if got := r.entry(t.Context()).Labels[lineage.LabelObserved]; got != "enterprise:s/1=allow,platform:s/2=allow,application:s/3=allow" {
		t.Errorf("signed %q", got)
	}
}

// TestReconfigureFromInside: resolvers, engines and bodies may change the configuration. The call that they belong to
// ends under the one it began with.
func TestReconfigureFromInside(t *testing.T) {
	r := newRig(t, tiered)
	strict := r.Config()
	strict.Enterprise = []string{"e/9"}
	change := func() error { return r.Reconfigure(strict) }
	strict.Engine = policytest.Func(func(_ context.Context, name string, _ *policy.Input) (policy.Decision, error) {
		return policy.Decision{Allow: name != "e/9"}, nil
	})
	for name, options := range map[string][]kest.Option{
		"resolver": {kest.UserFrom(func(context.Context, order) (string, error) { return "alice", change() })},
		"engine": {kest.WithEngine(policytest.Func(func(context.Context, string, *policy.Input) (policy.Decision, error) {
			return policy.Decision{Allow: true}, change()
		}))},
		"body": nil,
	} {
		r = newRig(t, tiered)
		f := kest.MustVerified(r.Guard, func(context.Context, order) (int, error) { return 0, change() }, append(options, kest.Operation("change"), kest.Policy("f/1"))...)
		done := make(chan error, 1)
		go func() { _, err := f(t.Context(), order{}); done <- err }()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%s: the call that changed the configuration: %v", name, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: deadlock", name)
		}
		_, err := f(t.Context(), order{})
		if d := wantDenied(t, err); d.Policy != "e/9" {
			t.Errorf("%s: the next call: %v", name, err)
		}
	}
}

// TestWrapWhileReconfiguring: a function is bound to the configuration before or to the one after, and never forgotten:
// the last configuration holds for all of them, however they came in between.
func TestWrapWhileReconfiguring(t *testing.T) {
	r := newRig(t, func(c *kest.Config) { c.Sink = nil })
	var mu sync.Mutex
	var functions []func(context.Context, order) (string, error)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 50 {
				f := kest.MustVerified(r.Guard, ship, kest.Operation(fmt.Sprint(i, ".", n)), kest.Policy("f/1"))
				mu.Lock()
				functions = append(functions, f)
				mu.Unlock()
			}
		})
	}
	wg.Go(func() {
		for n := range 50 {
			c := r.Config()
			c.Enterprise = []string{fmt.Sprint("e/", n)}
			must(t, r.Reconfigure(c))
		}
	})
	wg.Wait()
	c := r.Config()
	c.Engine, c.Enterprise = allowOnly("f/1"), []string{"last"}
	must(t, r.Reconfigure(c))
	for _, f := range functions {
		if _, err := f(t.Context(), order{}); wantDenied(t, err).Policy != "last" {
			t.Fatalf("a function was forgotten: %v", err)
		}
	}
}

// TestReconfigureForgetsTheDead: a function that nobody can call any more keeps no configuration out, and those that are
// still there are all bound, wherever they stand.
func TestReconfigureForgetsTheDead(t *testing.T) {
	r := newRig(t, func(c *kest.Config) { c.Origins = map[string]int{"partner": 70} })
	var living []func(context.Context, order) (string, error)
	func() {
		for n := range 300 {
			_ = kest.MustVerified(r.Guard, ship, kest.Operation("dead"), kest.Policy("f/1"), kest.SourceType("partner"))
			living = append(living, kest.MustVerified(r.Guard, ship, kest.Operation(fmt.Sprint("living.", n)), kest.Policy("f/1")))
		}
	}()
	runtime.GC()
	c := r.Config()
	c.Engine, c.Origins, c.Enterprise = allowOnly("f/1"), nil, []string{"new"}
	must(t, r.Reconfigure(c))
	for _, f := range living {
		if _, err := f(t.Context(), order{}); wantDenied(t, err).Policy != "new" {
			t.Fatal(err)
		}
	}
}

// TestSealWhileReconfiguring: what leaves the process is tied by an entry of one identity and one configuration.
func TestSealWhileReconfiguring(t *testing.T) {
	r := newRig(t, tiered)
	ctx, s := kest.StartSession(t.Context())
	r.entry(ctx, kest.Policy("f/1"))
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := range 100 {
			c := r.Config()
			c.Enterprise = []string{fmt.Sprint("e/", n)}
			must(t, r.Reconfigure(c))
		}
	})
	for range 100 {
		p, err := r.Seal(ctx)
		if err != nil || len(p.Leaves()) != 1 {
			t.Fatalf("%d leaves, %v", len(p.Leaves()), err)
		}
	}
	wg.Wait()
	r.verify(s.Passport())
}

// TestSetAuthorityWhileVerifying: each verification is under one authority as a whole, and what the cache learned under a
// generous one is no way around a strict one.
func TestSetAuthorityWhileVerifying(t *testing.T) {
	r := newRig(t)
	ctx, s := kest.StartSession(t.Context())
	for range 4 {
		r.entry(ctx, kest.SourceType("internal"))
	}
	p := s.Passport()
	u := lineage.Unverified{Entries: p.Entries(), Tips: p.Tips()}
	generous := &lineage.Authority{Grants: []lineage.Grant{{Principal: payments, Originate: []string{"*"}}}}
	strict := &lineage.Authority{Grants: []lineage.Grant{{Principal: payments, RemoveTaints: []string{"x"}}}}
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, report, err := r.verifier.Verify(t.Context(), u); (err == nil) != report.Valid() || !report.AuthorityUsed {
					t.Errorf("valid %t, %v", report.Valid(), err)
				}
			}
		})
	}
	for range 20 {
		must(t, r.verifier.SetAuthority(generous))
		if _, _, err := r.verifier.Verify(t.Context(), u); err != nil {
			t.Error(err)
		}
		must(t, r.verifier.SetAuthority(strict))
		var failure *lineage.VerifyError
		if _, _, err := r.verifier.Verify(t.Context(), u); !errors.As(err, &failure) || failure.Reason != lineage.Unauthorized {
			t.Errorf("under the strict authority: %v", err)
		}
	}
	close(done)
	wg.Wait()
}

// TestNoAuthorityAnyMore: nil takes the authority away that the verifier began with, and reports say so.
func TestNoAuthorityAnyMore(t *testing.T) {
	r := newRig(t)
	other := kest.WithProvider(identitytest.New("spiffe://example.org/other")) // who may begin nothing
	ctx, s := kest.StartSession(t.Context())
	r.entry(ctx, other)
	u := lineage.Unverified{Entries: s.Passport().Entries()}
	if _, report, err := r.verifier.Verify(t.Context(), u); err == nil || !report.AuthorityUsed {
		t.Fatalf("with the authority: %v", err)
	}
	must(t, r.verifier.SetAuthority(nil))
	if _, report, err := r.verifier.Verify(t.Context(), u); err != nil || report.AuthorityUsed {
		t.Errorf("without one: %v; an authority was used: %t", err, report.AuthorityUsed)
	}
}

// TestOutcomesStay: nobody can change the word of the guard on how a call ended afterwards, so that a policy that asks
// for a check which succeeded is not shown one which failed.
func TestOutcomesStay(t *testing.T) {
	engine := &pasts{}
	r := newRig(t, func(c *kest.Config) { c.Engine = engine })
	ctx, s := kest.StartSession(t.Context())
	check := kest.MustVerified(r.Guard, func(context.Context, order) (int, error) { return 0, errors.New("fraud") },
		kest.Operation("fraud.check"), kest.Policy("p"))
	if _, err := check(ctx, order{}); err == nil {
		t.Fatal("no error")
	}
	propagate.SessionFrom(ctx).Settle(s.Passport().Last().Hash(), lineage.OutcomeOK, "")
	inner, _ := kest.StartSession(ctx)
	propagate.SessionFrom(inner).Settle(s.Passport().Last().Hash(), lineage.OutcomeOK, "")
	r.entry(ctx)
	want := []policy.Step{{Operation: "fraud.check", Principal: payments, Outcome: "error"}}
	if !slices.Equal(engine.last.Steps, want) {
		t.Errorf("steps %+v", engine.last.Steps)
	}
}

// TestObservedInAnotherForm: whoever writes the label by hand can leave a trial out, but cannot make a refusal look like
// an allow, nor hide one behind another of the same name.
func TestObservedInAnotherForm(t *testing.T) {
	grants := []lineage.Grant{{Principal: payments, Originate: []string{"*"}}}
	signer, err := newRig(t).Config().Identity.Signer(t.Context())
	must(t, err)
	template := newRig(t).entry(t.Context())
	for label, good := range map[string]bool{
		"platform:p=allow": true, "platform:other=deny": true, "": true,
		"platform:p=deny": false, "platform:p=error": false, "platform:p": false, "platform:p=": false, "platform:p=ALLOW": false,
		"platform:p=allow,enterprise:p=deny": false, "enterprise:p=deny,platform:p=allow": false, "platform:p=allow,": false,
		",": false, "x": false, "p=allow": false, "platform:=allow": false, "platform:p=allow=allow": false, ":p=deny": false,
	} {
		e := template
		e.Labels = map[string]string{lineage.LabelObserved: label}
		for _, name := range []string{lineage.LabelPrincipal, lineage.LabelTraceID, lineage.LabelSourceType} {
			e.Labels[name] = template.Labels[name]
		}
		signed, err := lineage.Sign(t.Context(), signer, e, lineage.Limits{})
		must(t, err)
		v := newVerifier(t, lineage.VerifierConfig{}, nil)
		if _, _, err := v.Verify(t.Context(), lineage.Unverified{Entries: []string{signed.JWS()}}); err != nil {
			t.Errorf("%q, of which the authority says nothing: %v", label, err)
		}
		names := []string{"p"}
		must(t, v.SetAuthority(&lineage.Authority{Grants: grants, RefuseObserved: names}))
		names[0] = "x" // the verifier has its own copy
		if _, _, err := v.Verify(t.Context(), lineage.Unverified{Entries: []string{signed.JWS()}}); (err == nil) != good {
			t.Errorf("%q: %v", label, err)
		}
	}
}

// sourceFunc is a source of keys that has none, for the reason that the function gives.
type sourceFunc func(context.Context) error

func (f sourceFunc) Keys(ctx context.Context, _, _ string) ([]ed25519.PublicKey, error) {
	return nil, f(ctx)
}
