package kest_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
)

// pasts is an engine that allows, and keeps what the last call's past was when it was asked.
type pasts struct{ last policy.Past }

func (p *pasts) Evaluate(_ context.Context, _ string, in *policy.Input) (policy.Decision, error) {
	p.last = *in.Lineage.History.Past()
	return policy.Decision{Allow: true}, nil
}

// TestAncestors: what policies see of calls before, in one process: who, what, how it ended, and its place.
func TestAncestors(t *testing.T) {
	engine := &pasts{}
	r := newRig(t, func(c *kest.Config) { c.Engine = engine })
	ctx, _ := kest.StartSession(kest.WithIdentity(t.Context(), kest.Identity{User: "alice", Task: "t1"}))
	run := func(name string, body func(context.Context) error, options ...kest.Option) {
		t.Helper()
		f := kest.MustVerified(r.Guard, func(ctx context.Context, _ order) (int, error) { return 0, body(ctx) },
			append(options, kest.Operation(name), kest.Policy("p"))...)
		defer func() { _ = recover() }()
		_, _ = f(ctx, order{})
	}
	fine := func(context.Context) error { return nil }
	run("fetch", fine, kest.SourceType("internet"), kest.AddTaints("web"), kest.Resource("page/1"), kest.Label("level", "public"))
	run("clean", fine, kest.RemoveTaints("web"), kest.Sanitizer("strip"), kest.TrustOverride(50))
	run("fails", func(context.Context) error { return errors.New("no") }, kest.WithProvider(identitytest.New("spiffe://example.org/other")))
	run("panics", func(context.Context) error { panic("no") }, kest.User(""))
	var inside policy.Past
	run("outer", func(ctx context.Context) error {
		must(t, step(t, r.Guard, "inner")(ctx, nil))
		inside = engine.last
		return nil
	})
	if n := len(inside.Ancestors); n != 5 || inside.Ancestors[4].Operation != "outer" || inside.Ancestors[4].Outcome != "unknown" {
		t.Errorf("inside the body: %+v", inside.Ancestors)
	}
	run("last", fine)
	got := engine.last
	var lines []string
	for _, a := range got.Ancestors {
		lines = append(lines, fmt.Sprintf("%s %s %d %v %s%s %s %v", a.Operation, a.SourceType, a.TrustScore, a.Taints, a.User, a.Task, a.Outcome, a.Parents))
	}
	want := []string{
		"fetch internet 10 [web] alicet1 ok []", "clean internal 50 [] alicet1 ok [0]", "fails internal 50 [] alicet1 error [1]",
		"panics internal 50 [] t1 panic [2]", "outer internal 50 [] alicet1 ok [3]", "inner internal 50 [] alicet1 ok [4]",
	}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("ancestors\n got %q\nwant %q", lines, want)
	}
	a := got.Ancestors
	if a[0].Resource != "page/1" || a[0].Labels["level"] != "public" || a[1].Labels != nil || !a[1].Overridden || a[0].Overridden ||
		a[1].Sanitizer != "strip" || fmt.Sprint(a[1].RemovedTaints) != "[web]" || a[2].Principal != "spiffe://example.org/other" {
		t.Errorf("%+v", a[:3])
	}
	if strings.Contains(fmt.Sprint(got.Unsanitized), "internet") || got.Omitted != 0 {
		t.Errorf("unsanitized %q, omitted %d", got.Unsanitized, got.Omitted)
	}
	if !strings.Contains(fmt.Sprint(got.Steps), "{fails spiffe://example.org/other error}") {
		t.Errorf("steps %v", got.Steps)
	}
}

// TestOutcomesAreOurs: nobody but this process says how a call ended: what arrived is unknown, and so is what another
// scope learned.
func TestOutcomesAreOurs(t *testing.T) {
	engine := &pasts{}
	r := newRig(t, func(c *kest.Config) { c.Engine = engine })
	ctx, s := kest.StartSession(t.Context())
	r.entry(ctx, kest.Operation("here"))
	report := r.verify(s.Passport())
	elsewhere, _ := kest.StartSession(t.Context())
	must(t, kest.Join(elsewhere, report.Passport))
	r.entry(elsewhere)
	if got := fmt.Sprint(engine.last.Steps); got != "[{here "+payments+" unknown}]" {
		t.Errorf("after a join: %s", got)
	}
	r.entry(ctx, kest.Detached(), kest.Operation("detached"))
	r.entry(ctx)
	if got := fmt.Sprint(engine.last.Steps); got != "[{here "+payments+" ok}]" {
		t.Errorf("in the scope itself: %s", got)
	}
}

// TestHistoryIsLazy: a call whose policies do not ask does not read the passport.
func TestHistoryIsLazy(t *testing.T) {
	r := newRig(t)
	ctx, _ := kest.StartSession(t.Context())
	r.entry(ctx)
	if in := r.engine.Calls()[0].Input; in.Lineage.History != nil {
		t.Error("a root has a history")
	}
	r.entry(ctx, kest.Label("level", "secret"), kest.TrustOverride(70), kest.AddTaints("a"))
	in := r.engine.Calls()[1].Input
	if in.Lineage.History == nil || in.Labels["level"] != "secret" || in.Environment.TrustOverride == nil || *in.Environment.TrustOverride != 70 {
		t.Errorf("%+v", in)
	}
}

// TestInputOf: what can be rebuilt from an entry is what the policies were shown, but for what is not signed.
func TestInputOf(t *testing.T) {
	r := newRig(t, tiered, func(c *kest.Config) {
		c.Deviations = []policy.Deviation{{Policy: "p/1", Tier: policy.Platform, Scope: "*", Reason: "CHG-1", Approver: "ciso"}}
	})
	ctx, s := kest.StartSession(kest.WithIdentity(t.Context(), kest.Identity{User: "alice", Agent: "a", Task: "t"}))
	r.entry(ctx, kest.SourceType("llm"), kest.AddTaints("web"))
	before := s.Passport()
	e := r.entry(ctx, kest.Policy("f/1"), kest.Resource("order/1"), kest.ResourceAttributes(map[string]any{"n": 1, "f": 1.5, "l": []any{"x"}}),
		kest.Label("level", "secret"), kest.RemoveTaints("web"), kest.Sanitizer("strip"), kest.TrustOverride(60))
	calls := r.engine.Calls()
	asked := calls[len(calls)-1].Input
	got := kest.InputOf(e, before, policy.Function)
	shown := asked.Document()
	for _, a := range shown["lineage"].(map[string]any)["ancestors"].([]any) {
		a.(map[string]any)["outcome"] = "unknown" // nobody signs it
	}
	for _, a := range shown["lineage"].(map[string]any)["steps"].([]any) {
		a.(map[string]any)["outcome"] = "unknown"
	}
	if rebuilt := got.Document(); !reflect.DeepEqual(rebuilt, shown) {
		t.Errorf("rebuilt\n got %v\nwant %v", rebuilt, shown)
	}
	foreign := e
	foreign.Labels = map[string]string{lineage.LabelIdentity: `{"user": 7}`, lineage.LabelResourceAttributes: `[`, lineage.LabelTrustOverride: "x"}
	in := kest.InputOf(foreign, lineage.Passport{}, policy.Enterprise)
	if in.Subject.User != "" || in.Object.Attributes != nil || in.Environment.TrustOverride != nil || in.Lineage.Length != 0 {
		t.Errorf("of labels that are not ours: %+v", in)
	}
}

var _ policy.Engine = (*pasts)(nil)
