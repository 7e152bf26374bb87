package kest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// verdicts is an engine that allows, but denies d/… and cannot decide about x/….
func verdicts(_ context.Context, name string, _ *policy.Input) (policy.Decision, error) {
	switch {
	case strings.HasPrefix(name, "d/"):
		return policy.Decision{Reason: "no\nway"}, nil
	case strings.HasPrefix(name, "x/"):
		return policy.Decision{Allow: true}, policy.ErrUnavailable // what comes with an error counts for nothing
	}
	return policy.Decision{Allow: true}, nil
}

// TestShadow: policies under trial are asked after all others, stop nothing, and what they said is signed and logged.
func TestShadow(t *testing.T) {
	r := newRig(t, tiered, func(c *kest.Config) {
		c.Engine = policytest.Func(verdicts)
		c.Shadow = policy.Tiers{Enterprise: []string{"d/1"}, Platform: []string{"ok/1"}, Application: []string{"x/1"}}
	})
	ctx, s := kest.StartSession(t.Context())
	e := r.entry(ctx, kest.Policy("f/1"), kest.ShadowPolicy("d/2", "kest/other"))
	const want = "enterprise:d/1=deny,platform:ok/1=allow,application:x/1=error,function:d/2=deny,function:kest/other=allow"
	if got := e.Labels[lineage.LabelObserved]; got != want {
		t.Errorf("signed %q, want %q", got, want)
	}
	if got := e.Observed(); len(got) != 5 || got[0] != (lineage.Observation{Tier: "enterprise", Policy: "d/1", Verdict: "deny"}) {
		t.Errorf("read %+v", got)
	}
	for _, list := range [][]string{e.Policies.Enterprise, e.Policies.Platform, e.Policies.Application, e.Policies.Function} {
		if slices.ContainsFunc(list, func(name string) bool { return strings.Contains(want, name+"=") }) {
			t.Errorf("the entry says that %q are enforced", list)
		}
	}
	if n := strings.Count(r.log.String(), "under trial"); n != 3 {
		t.Errorf("%d log lines, want 3: %s", n, r.log.String())
	}
	r.verify(s.Passport())
}

// TestShadowComesLast: nobody asks a policy under trial about a call that is denied, and the input names its own tier.
func TestShadowComesLast(t *testing.T) {
	shadow := func(c *kest.Config) { c.Shadow.Platform = []string{"s/1", "s/2"} }
	r := newRig(t, tiered, shadow)
	r.entry(t.Context())
	names := r.engine.Names()
	if !slices.Equal(names[len(names)-2:], []string{"s/1", "s/2"}) {
		t.Errorf("asked %q", names)
	}
	env := r.engine.Calls()[len(names)-1].Input.Environment
	if env.PolicyTier != policy.Platform || !slices.Equal(env.PolicyNames, []string{"s/1", "s/2"}) {
		t.Errorf("input names %s %q", env.PolicyTier, env.PolicyNames)
	}
	r = newRig(t, tiered, shadow, func(c *kest.Config) { c.Engine = policytest.Func(verdicts) })
	wantDenied(t, r.call(t.Context(), kest.Policy("d/1")))
	if strings.Contains(r.log.String(), "under trial") {
		t.Error("a policy under trial was asked about a denied call")
	}
}

// TestShadowCannotStop: not by hanging, either; the call goes on after the time for one policy.
func TestShadowCannotStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *kest.Config) {
			c.Shadow.Enterprise = []string{"hang"}
			c.Engine = policytest.Func(func(ctx context.Context, name string, _ *policy.Input) (policy.Decision, error) {
				if name == "hang" {
					<-ctx.Done()
				}
				return policy.Decision{Allow: true}, nil
			})
		})
		if got := r.entry(t.Context()).Labels[lineage.LabelObserved]; got != "enterprise:hang=error" {
			t.Errorf("signed %q", got)
		}
	})
}

// TestShadowMistakes: what would make an enforced policy an observed one, or a trial that nobody meant, is refused.
func TestShadowMistakes(t *testing.T) {
	base := kest.Config{Engine: policytest.Allow(), Enterprise: []string{"e/1"}}
	for name, test := range map[string]struct {
		shadow policy.Tiers
		want   string
	}{
		"also enforced":  {policy.Tiers{Enterprise: []string{"e/1"}}, "is enforced, too"},
		"function":       {policy.Tiers{Function: []string{"f/1"}}, "kest.ShadowPolicy"},
		"twice":          {policy.Tiers{Platform: []string{"p/1", "p/1"}}, "listed twice"},
		"hostile name":   {policy.Tiers{Platform: []string{"../p=allow,x"}}, "policy name"},
		"far too many":   {policy.Tiers{Platform: strings.Split("a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", ",")}, "at most 16"},
		"another's tier": {policy.Tiers{Platform: []string{"e/1"}}, ""}, // the same policy may be tried in another tier
	} {
		c := base
		c.Shadow = test.shadow
		_, err := kest.New(c)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := base
	c.Enterprise, c.Engine, c.Shadow.Platform = nil, nil, []string{"p/1"}
	if _, err := kest.New(c); err == nil || !strings.Contains(err.Error(), "no engine") {
		t.Errorf("no engine: %v", err)
	}
	c = base
	c.Shadow.Platform, c.Deviations = []string{"p/1"}, []policy.Deviation{{Policy: "p/1", Tier: policy.Platform, Scope: "*"}}
	if _, err := kest.New(c); err == nil || !strings.Contains(err.Error(), "no platform policy") {
		t.Errorf("a deviation of what is not enforced: %v", err)
	}
	r := newRig(t, func(c *kest.Config) { c.Shadow.Platform = strings.Split("a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p", ",") })
	for name, options := range map[string][]kest.Option{
		"none":          {kest.ShadowPolicy()},
		"also enforced": {kest.Policy("f/1"), kest.ShadowPolicy("f/1")},
		"hostile name":  {kest.ShadowPolicy("a=b")},
		"too many":      {kest.ShadowPolicy("q")},
	} {
		if _, err := kest.Verified(r.Guard, ship, append(options, kest.Policy("kest/allow_trusted"))...); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// TestShadowLabelIsOurs: an application cannot write what policies under trial said.
func TestShadowLabelIsOurs(t *testing.T) {
	r := newRig(t)
	if _, err := kest.Verified(r.Guard, ship, kest.Policy("p"), kest.Label(lineage.LabelObserved, "platform:p/1=allow")); err == nil {
		t.Error("the label is accepted")
	}
}

// TestRefuseObserved: a verifier's authority can refuse ancestors that a policy under trial would not have allowed.
func TestRefuseObserved(t *testing.T) {
	r := newRig(t, func(c *kest.Config) {
		c.Engine = policytest.Func(verdicts)
		c.Shadow.Platform = []string{"d/1", "ok/1", "x/1"}
	})
	ctx, s := kest.StartSession(t.Context())
	r.entry(ctx)
	p := s.Passport()
	grants := []lineage.Grant{{Principal: payments, Originate: []string{"*"}}}
	for name, test := range map[string]struct {
		refuse []string
		good   bool
	}{
		"nobody looks": {nil, true}, "allowed": {[]string{"ok/1"}, true}, "not tried": {[]string{"d/2", "platform:d/1"}, true},
		"denied": {[]string{"d/1"}, false}, "undecided": {[]string{"ok/1", "x/1"}, false}, "any": {[]string{"*"}, false},
	} {
		must(t, r.verifier.SetAuthority(&lineage.Authority{Grants: grants, RefuseObserved: test.refuse}))
		_, report, err := r.verifier.Verify(t.Context(), lineage.Unverified{Entries: p.Entries(), Tips: p.Tips()})
		var failure *lineage.VerifyError
		if (err == nil) != test.good || err != nil && (!errors.As(err, &failure) || failure.Reason != lineage.Unauthorized) {
			t.Errorf("%s: %v (%t)", name, err, report.Valid())
		}
	}
	if err := (&lineage.Authority{RefuseObserved: []string{""}}).Validate(); err == nil {
		t.Error("an empty name is accepted")
	}
}

// TestObservedReadsStrictly: what is not of our form counts as a refusal, never as an allow.
func TestObservedReadsStrictly(t *testing.T) {
	for label, want := range map[string][]lineage.Observation{
		"":                     nil,
		"platform:p=allow":     {{Tier: "platform", Policy: "p", Verdict: "allow"}},
		"platform:p=Allow":     {{Tier: "platform", Policy: "p", Verdict: "error"}},
		"platform:p=allow ,x":  {{Tier: "platform", Policy: "p", Verdict: "error"}, {Tier: "x", Verdict: "error"}},
		"p=allow":              {{Tier: "p", Verdict: "error"}},
		"platform:p=deny=true": {{Tier: "platform", Policy: "p", Verdict: "error"}},
	} {
		e := lineage.Entry{Labels: map[string]string{lineage.LabelObserved: label}}
		if got := e.Observed(); !slices.Equal(got, want) {
			t.Errorf("%q: %+v", label, got)
		}
	}
}

// TestTrialsNeedRoom: labels that would push what trials say out of the entry are refused when the function is wrapped, and
// the revision of the policies yields to labels of the application.
func TestTrialsNeedRoom(t *testing.T) {
	labels := func(n int) (options []kest.Option) {
		for i := range n {
			options = append(options, kest.Label(fmt.Sprint("l", i), "x"))
		}
		return append(options, kest.Policy("p"))
	}
	r := newRig(t, func(c *kest.Config) { c.Shadow.Platform = []string{"s/1"} })
	if _, err := kest.Verified(r.Guard, ship, labels(52)...); err != nil {
		t.Errorf("52 labels: %v", err)
	}
	if _, err := kest.Verified(r.Guard, ship, labels(53)...); err == nil || !strings.Contains(err.Error(), "policies under trial") {
		t.Errorf("53 labels: %v", err)
	}
	r = newRig(t)
	if e := r.entry(t.Context(), labels(61)...); len(e.Labels) != 64 || e.Labels[lineage.LabelPolicyRevision] != "" {
		t.Errorf("61 labels: %d in all, revision %q", len(e.Labels), e.Labels[lineage.LabelPolicyRevision])
	}
}

// TestZeroGuard: a guard that New has not made is a mistake that shows when a function is wrapped.
func TestZeroGuard(t *testing.T) {
	var problems *kest.ConfigError
	if _, err := kest.Verified(new(kest.Guard), ship, kest.Policy("p")); !errors.As(err, &problems) {
		t.Errorf("%v", err)
	}
}
