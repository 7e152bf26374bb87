package kest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

func tiered(c *kest.Config) {
	c.Enterprise, c.Platform, c.Application = []string{"e/1", "e/2"}, []string{"p/1"}, []string{"a/1"}
}

var tierNames = []string{"e/1", "e/2", "p/1", "a/1", "f/1"}

// TestTiersInOrder (F-PE-02, F-PE-03, F-PE-06): enterprise, platform, application, function; the first denial ends it.
func TestTiersInOrder(t *testing.T) {
	for i := range len(tierNames) + 1 {
		engine := allowOnly(tierNames[:i]...)
		r := newRig(t, tiered, func(c *kest.Config) { c.Engine = engine })
		f := kest.MustVerified(r.Guard, ship, kest.Policy("f/1"))
		_, err := f(t.Context(), order{})
		if i == len(tierNames) {
			must(t, err)
		} else if denied := wantDenied(t, err); denied.Policy != tierNames[i] || string(denied.Tier[0]) != tierNames[i][:1] {
			t.Errorf("with %q allowed: %v", tierNames[:i], err)
		}
		if want := tierNames[:min(i+1, len(tierNames))]; !slices.Equal(engine.Names(), want) {
			t.Errorf("asked %q, want %q", engine.Names(), want)
		}
		for _, call := range engine.Calls() {
			env := call.Input.Environment
			if !slices.Contains(env.PolicyNames, call.Name) || string(env.PolicyTier[0]) != call.Name[:1] || len(env.PolicyNames) != 1+strings.Count(call.Name, "e/") {
				t.Errorf("%s sees tier %s of %q", call.Name, env.PolicyTier, env.PolicyNames)
			}
		}
	}
}

// TestWithEngineCannotLift (F-PE-03): a function's own engine decides application and function policies only.
func TestWithEngineCannotLift(t *testing.T) {
	deployed, own := policytest.Deny(), policytest.Allow()
	for name, set := range map[string]func(*kest.Config){
		"enterprise": func(c *kest.Config) { c.Enterprise = []string{"x/1"} },
		"platform":   func(c *kest.Config) { c.Platform = []string{"x/1"} },
	} {
		r := newRig(t, func(c *kest.Config) { c.Engine = deployed }, set)
		err := r.call(t.Context(), kest.WithEngine(own))
		if denied := wantDenied(t, err); string(denied.Tier) != name || own.Count() != 0 {
			t.Errorf("%s: %v; the function's engine was asked %d times", name, err, own.Count())
		}
	}
	r := newRig(t, func(c *kest.Config) { c.Engine, c.Application = deployed, []string{"a/1"} })
	must(t, r.call(t.Context(), kest.WithEngine(own)))
	if got := own.Names(); !slices.Equal(got, []string{"a/1", "kest/allow_trusted"}) {
		t.Errorf("asked %q", got)
	}
}

// TestDeviations (F-PE-11, F-PE-12): one policy of one tier, for matching operations, signed and shown.
func TestDeviations(t *testing.T) {
	for _, test := range []struct {
		deviation policy.Deviation
		operation string
		lifted    string // the policy that is not asked
	}{
		{policy.Deviation{Policy: "e/1", Tier: policy.Enterprise, Scope: "pay.*"}, "pay.refund", "e/1"},
		{policy.Deviation{Policy: "e/1", Tier: policy.Enterprise, Scope: "pay.*"}, "ship.out", ""},
		{policy.Deviation{Policy: "p/1", Tier: policy.Platform, Scope: "ship.out"}, "ship.out", "p/1"},
		{policy.Deviation{Policy: "p/1", Tier: policy.Platform, Scope: "ship.out"}, "ship.outer", ""},
		{policy.Deviation{Policy: "a/1", Tier: policy.Application, Scope: "*"}, "ship.out", "a/1"},
	} {
		test.deviation.Reason, test.deviation.Approver = "CHG-1", "ciso"
		r := newRig(t, tiered, func(c *kest.Config) { c.Deviations = []policy.Deviation{test.deviation} })
		e := r.entry(t.Context(), kest.Operation(test.operation), kest.Policy("f/1"))
		var want []string
		for _, name := range []string{"e/1", "e/2", "p/1", "a/1", "kest/allow_trusted", "f/1"} {
			if name != test.lifted {
				want = append(want, name)
			}
		}
		if !slices.Equal(r.engine.Names(), want) {
			t.Errorf("%+v on %s: asked %q", test.deviation, test.operation, r.engine.Names())
		}
		in := r.engine.Calls()[0].Input.Environment.ActiveDeviations
		if test.lifted == "" {
			if len(e.Policies.Deviations)+len(in) != 0 {
				t.Errorf("recorded %+v, shown %+v", e.Policies.Deviations, in)
			}
			continue
		}
		signed := []lineage.Deviation{{Policy: test.lifted, Tier: string(test.deviation.Tier), Reason: "CHG-1", Approver: "ciso"}}
		if !slices.Equal(e.Policies.Deviations, signed) || !slices.Equal(in, []policy.Deviation{test.deviation}) {
			t.Errorf("recorded %+v, shown %+v", e.Policies.Deviations, in)
		}
		if !slices.Contains(slices.Concat(e.Policies.Enterprise, e.Policies.Platform, e.Policies.Application), test.lifted) {
			t.Error("the lifted policy is not in the policy context any more")
		}
	}
}

// TestDeviationKeepsTheRest: the other policies still decide, and a denial records the deviation.
func TestDeviationKeepsTheRest(t *testing.T) {
	r := newRig(t, tiered, func(c *kest.Config) {
		c.Engine = allowOnly("e/2", "a/1", "kest/allow_trusted")
		c.Deviations = []policy.Deviation{{Policy: "e/1", Tier: policy.Enterprise, Scope: "*"}}
	})
	denied := wantDenied(t, r.call(t.Context()))
	if denied.Policy != "p/1" {
		t.Errorf("%+v", denied)
	}
	record, err := r.verifier.VerifyDenial(t.Context(), denied.Record)
	if err != nil || len(record.Entry.Policies.Deviations) != 1 || record.Entry.Policies.Deviations[0].Policy != "e/1" {
		t.Errorf("%+v, %v", record.Entry.Policies, err)
	}
}

// TestDeviationOfOneTier: the same policy in another tier is still asked.
func TestDeviationOfOneTier(t *testing.T) {
	for _, tier := range []policy.Tier{policy.Enterprise, policy.Platform, policy.Application} {
		r := newRig(t, func(c *kest.Config) {
			c.Enterprise, c.Platform, c.Application = []string{"same"}, []string{"same"}, []string{"same"}
			c.Deviations = []policy.Deviation{{Policy: "same", Tier: tier, Scope: "*"}}
		})
		must(t, r.call(t.Context(), kest.Policy("same")))
		var tiers []policy.Tier
		for _, call := range r.engine.Calls() {
			if call.Name == "same" {
				tiers = append(tiers, call.Input.Environment.PolicyTier)
			}
		}
		if len(tiers) != 3 || slices.Contains(tiers, tier) || !slices.Contains(tiers, policy.Function) {
			t.Errorf("with %s deviated, asked in %q", tier, tiers)
		}
	}
}

// TestDeviationExpiry (F-PE-13): expired ones are reported once and ignored, at the start and between calls.
func TestDeviationExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(time.Hour)
		r := newRig(t, func(c *kest.Config) {
			c.Platform = []string{"p/1", "p/2"}
			c.Deviations = []policy.Deviation{
				{Policy: "p/1", Tier: policy.Platform, Scope: "*", NotAfter: end},
				{Policy: "p/2", Tier: policy.Platform, Scope: "*", NotAfter: time.Now().Add(-time.Second)},
			}
		})
		warnings := func(name string) int {
			return strings.Count(r.log.String(), `"kest: deviation has expired and is ignored","policy":"`+name+`"`)
		}
		if warnings("p/2") != 1 || warnings("p/1") != 0 {
			t.Errorf("log at the start: %s", r.log.String())
		}
		f := kest.MustVerified(r.Guard, ship, kest.Policy("f/1"))
		asked := func() []string {
			r.engine.Reset()
			if _, err := f(context.Background(), order{}); err != nil {
				t.Fatal(err)
			}
			return r.engine.Names()
		}
		if got := asked(); !slices.Equal(got, []string{"p/2", "f/1"}) {
			t.Errorf("before: %q", got)
		}
		time.Sleep(time.Hour)
		if got := asked(); !slices.Equal(got, []string{"p/2", "f/1"}) {
			t.Errorf("at the end: %q", got)
		}
		time.Sleep(time.Millisecond)
		for range 2 {
			if got := asked(); !slices.Equal(got, []string{"p/1", "p/2", "f/1"}) {
				t.Errorf("after: %q", got)
			}
		}
		if warnings("p/1") != 1 || warnings("p/2") != 1 {
			t.Errorf("log: %s", r.log.String())
		}
	})
}

// TestGuardInputDocument (F-PE-09): what the engine sees for a root and for a call with a history; both fit the schema.
func TestGuardInputDocument(t *testing.T) {
	r := newRig(t)
	ctx, s := kest.StartSession(kest.WithIdentity(t.Context(), kest.Identity{User: "alice"}))
	r.entry(ctx, kest.SourceType("user_input"), kest.AddTaints("web"))
	f := kest.MustVerified(r.Guard, func(context.Context, secretive) (string, error) { return "", nil },
		kest.Operation("pay.process"), kest.Policy("f/1"), kest.Resource("order/1"), kest.Attributes(map[string]any{"limit": 5}), kest.Classification("critic"))
	if _, err := f(ctx, secretive{Card: "4111-1111"}); err != nil {
		t.Fatal(err)
	}
	root, second := r.engine.Calls()[0].Input, r.engine.Calls()[1].Input
	parent := ""
	for _, signed := range s.Passport().All() {
		parent = signed.Hash().String()
		break
	}
	e := s.Passport().Last().Entry()
	want := policy.Input{
		Subject: policy.Subject{Workload: payments, User: "alice", TrustScore: 40, Taints: []string{"requires_review", "web"}},
		Object:  policy.Object{ID: "order/1"}, TrustScore: 40, Attributes: map[string]any{"limit": 5},
		Environment: policy.Environment{
			SourceType: "internal", ParentHashes: []string{parent}, PolicyNames: []string{"f/1"}, PolicyTier: policy.Function,
			Operation: "pay.process", Classification: "critic", EntryID: e.ID, TraceID: s.TraceID(),
		},
		Lineage: policy.Lineage{
			Length: 1, Principals: []string{payments}, MinTrust: 40, SourceTypes: []string{"user_input"},
			History: policy.NewHistory(func() []policy.Ancestor {
				return []policy.Ancestor{{
					Operation: "test.op", Classification: "system", SourceType: "user_input", Principal: payments, User: "alice",
					TrustScore: 40, Taints: []string{"web"}, Outcome: "ok",
				}}
			}),
		},
	}
	if got, want := fmt.Sprintf("%#v", second.Document()), fmt.Sprintf("%#v", want.Document()); got != want {
		t.Errorf("document\n got %s\nwant %s", got, want)
	}
	document := root.Document()
	env := document["environment"].(map[string]any)
	line := document["lineage"].(map[string]any)
	if env["is_root"] != true || env["parent_hash"] != "0" || line["length"] != 0 || line["min_trust"] != 100 || document["trust_score"] != 40 {
		t.Errorf("root %v", document)
	}
	for _, in := range []*policy.Input{root, second} {
		text, err := json.Marshal(in)
		must(t, err)
		if strings.Contains(string(text), "4111") {
			t.Errorf("the argument is in the document: %s", text)
		}
		var schema, value any
		must(t, json.Unmarshal([]byte(policy.InputSchema()), &schema))
		must(t, json.Unmarshal(text, &value))
		for _, fault := range closed(schema, schema, value, "$") {
			t.Error(fault)
		}
	}
}

type secretive struct{ Card string }

// closed checks the part of JSON Schema that says which members an object has; package policy's own test does the
// rest.
func closed(root, schema, value any, path string) (faults []string) {
	s, _ := schema.(map[string]any)
	if ref, ok := s["$ref"].(string); ok {
		target := root
		for _, name := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
			target = target.(map[string]any)[name]
		}
		return closed(root, target, value, path)
	}
	object, ok := value.(map[string]any)
	properties, described := s["properties"].(map[string]any)
	if !ok || !described {
		return nil
	}
	for name, member := range object {
		if _, known := properties[name]; !known {
			faults = append(faults, path+"."+name+" is not in the schema")
		}
		faults = append(faults, closed(root, properties[name], member, path+"."+name)...)
	}
	required, _ := s["required"].([]any)
	if len(required) == 0 {
		faults = append(faults, path+": the schema requires nothing")
	}
	for _, name := range required {
		if _, there := object[name.(string)]; !there {
			faults = append(faults, path+"."+name.(string)+" is missing")
		}
	}
	return faults
}

// TestEngineContext: the context of an evaluation behaves as contexts do, for engines that use all of it.
func TestEngineContext(t *testing.T) {
	type key struct{}
	var late context.Context
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *kest.Config) {
			c.PolicyTimeout = 0 // the default
			c.Engine = policytest.Func(func(ctx context.Context, name string, _ *policy.Input) (policy.Decision, error) {
				late = ctx //nolint:fatcontext // what an engine must not do
				if at, ok := ctx.Deadline(); !ok || time.Until(at) != time.Second {
					t.Errorf("deadline in %v", time.Until(at))
				}
				if ctx.Value(key{}) != "v" || ctx.Err() != nil {
					t.Errorf("value %v, error %v", ctx.Value(key{}), ctx.Err())
				}
				switch name {
				case "child":
					child, cancel := context.WithCancel(ctx)
					defer cancel()
					<-child.Done()
					return policy.Decision{}, child.Err()
				case "polls":
					for ctx.Err() == nil {
						time.Sleep(time.Millisecond)
					}
					return policy.Decision{Allow: true}, nil
				case "waits":
					done := ctx.Done()
					<-done
					if ctx.Err() == nil || ctx.Done() != done {
						t.Errorf("done, and the error is %v", ctx.Err())
					}
					return policy.Decision{}, context.Cause(ctx)
				}
				return policy.Decision{Allow: true}, nil
			})
		})
		ctx := context.WithValue(t.Context(), key{}, "v")
		for _, name := range []string{"child", "polls", "waits"} {
			start := time.Now()
			err := r.call(ctx, kest.Policy(name), kest.Operation("x"))
			if wantDenied(t, err); name != "polls" && !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 1001*time.Millisecond {
				t.Errorf("%s: after %v, %v", name, time.Since(start), err)
			}
			// The evaluation is over, so its context is.
			select {
			case <-late.Done():
			default:
				t.Errorf("%s: the context goes on", name)
			}
		}
		must(t, r.call(ctx, kest.Policy("quick")))
		if late.Err() == nil {
			t.Error("the context of a finished evaluation has not ended")
		}
		<-late.Done()
		// The caller's cancellation is seen at once, also by an engine that only asks.
		gone, leave := context.WithCancel(ctx)
		asking := policytest.Func(func(ctx context.Context, _ string, _ *policy.Input) (policy.Decision, error) {
			leave()
			if ctx.Err() != context.Canceled {
				t.Errorf("after cancellation: %v", ctx.Err())
			}
			return policy.Decision{Allow: true}, nil
		})
		wantStopped(t, r.call(gone, kest.Policy("quick"), kest.WithEngine(asking)), kest.StepExecute)
		// The call's own, earlier deadline is the caller's.
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		r2 := newRig(t, func(c *kest.Config) {
			c.Engine = policytest.Func(func(ctx context.Context, _ string, _ *policy.Input) (policy.Decision, error) {
				<-ctx.Done()
				return policy.Decision{Allow: true}, nil
			})
			c.Identity = identitytest.New(payments)
		})
		if err := r2.call(short, kest.Operation("x")); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kest.ErrDenied) {
			t.Errorf("%v", err)
		}
	})
}
