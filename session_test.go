package kest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/propagate"
)

// step is a guarded function that runs its argument as its body.
func step(t testing.TB, g *kest.Guard, name string, options ...kest.Option) func(context.Context, func(context.Context)) error {
	t.Helper()
	f, err := kest.Verified(g, func(ctx context.Context, body func(context.Context)) (int, error) {
		if body != nil {
			body(ctx)
		}
		return 0, nil
	}, append([]kest.Option{kest.Operation(name), kest.Policy("kest/allow_trusted"), kest.NoInputHash()}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, body func(context.Context)) error { _, err := f(ctx, body); return err }
}

// shape writes a passport as "op<parent,parent" in order; it is what the pictures of SPEC §5 describe.
func shape(p lineage.Passport) string {
	names, out := map[lineage.Hash]string{}, []string{}
	for _, s := range p.All() {
		e := s.Entry()
		names[s.Hash()] = e.Operation
		var parents []string
		for _, h := range e.Parents {
			parents = append(parents, names[h])
		}
		slices.Sort(parents)
		out = append(out, e.Operation+"<"+strings.Join(parents, ","))
	}
	return strings.Join(out, " ")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestSessionShapes (SPEC §5, F-PA-01, F-PA-03): sequences chain, parallel calls fork, the next call joins.
func TestSessionShapes(t *testing.T) {
	r := newRig(t)
	op := func(name string, o ...kest.Option) func(context.Context, func(context.Context)) error {
		return step(t, r.Guard, name, o...)
	}
	for _, test := range []struct {
		name, want string
		run        func(ctx context.Context)
	}{
		{"sequence", "a< b<a c<b", func(ctx context.Context) {
			for _, name := range []string{"a", "b", "c"} {
				must(t, op(name)(ctx, nil))
			}
		}},
		{"nested", "a< b<a c<b d<c", func(ctx context.Context) {
			must(t, op("a")(ctx, func(ctx context.Context) {
				must(t, op("b")(ctx, nil))
				must(t, op("c")(ctx, nil))
			}))
			must(t, op("d")(ctx, nil))
		}},
		{"fork and join", "a< c<a b<a d<b,c", func(ctx context.Context) {
			must(t, op("a")(ctx, nil))
			must(t, op("b")(ctx, func(context.Context) { must(t, op("c")(ctx, nil)) })) // c runs while b does
			must(t, op("d")(ctx, nil))
		}},
		{"detached", "a< c<a", func(ctx context.Context) {
			must(t, op("a")(ctx, nil))
			must(t, op("b", kest.Detached())(ctx, nil))
			must(t, op("c")(ctx, nil))
		}},
		{"detached callee of a callee", "a< c<a", func(ctx context.Context) {
			must(t, op("a")(ctx, func(ctx context.Context) { must(t, op("b", kest.Detached())(ctx, nil)) }))
			must(t, op("c")(ctx, nil))
		}},
		{"session in a body", "a< c<a", func(ctx context.Context) {
			must(t, op("a")(ctx, func(ctx context.Context) {
				branch, s := kest.StartSession(ctx)
				must(t, op("b")(branch, nil))
				if got := shape(s.Passport()); got != "a< b<a" {
					t.Errorf("branch %q", got)
				}
				if e := kest.CurrentEntry(branch).Entry(); e.Operation != "a" {
					t.Errorf("current entry of a branch %q", e.Operation)
				}
			}))
			must(t, op("c")(ctx, nil))
		}},
		{"failed body", "a< b<a c<b", func(ctx context.Context) {
			f := kest.MustVerified(r.Guard, func(ctx context.Context, _ int) (int, error) {
				must(t, op("b")(ctx, nil))
				return 0, errCause
			}, kest.Operation("a"), kest.Policy("a/b"))
			if _, err := f(ctx, 1); err != errCause {
				t.Error(err)
			}
			must(t, op("c")(ctx, nil))
		}},
	} {
		ctx, s := kest.StartSession(t.Context())
		test.run(ctx)
		if got := shape(s.Passport()); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
		r.verify(s.Passport())
		if got := kest.CurrentPassport(ctx).Len(); got != s.Passport().Len() {
			t.Errorf("%s: CurrentPassport has %d entries", test.name, got)
		}
	}
}

// TestCallTree: with the option, callers never descend from callees.
func TestCallTree(t *testing.T) {
	r := newRig(t, func(c *kest.Config) { c.CallTree = true })
	var shapes []string
	note := func(ctx context.Context) { shapes = append(shapes, shape(kest.CurrentPassport(ctx))) }
	must(t, step(t, r.Guard, "a")(t.Context(), func(ctx context.Context) {
		must(t, step(t, r.Guard, "b", kest.SourceType(lineage.SourceLLM), kest.AddTaints("x"))(ctx, note))
		must(t, step(t, r.Guard, "c")(ctx, func(ctx context.Context) {
			note(ctx)
			if e := kest.CurrentEntry(ctx).Entry(); e.TrustScore != 100 || len(e.Taints) != 0 {
				t.Errorf("c learned from its sibling: %d %q", e.TrustScore, e.Taints)
			}
		}))
		note(ctx)
	}))
	if want := []string{"a< b<a", "a< c<a", "a<"}; !slices.Equal(shapes, want) {
		t.Errorf("%q, want %q", shapes, want)
	}
}

// TestCalleeLowersCaller (F-TS-03, F-TT-01): what a callee learned comes back to its caller's later calls.
func TestCalleeLowersCaller(t *testing.T) {
	r := newRig(t)
	ctx, s := kest.StartSession(t.Context())
	must(t, step(t, r.Guard, "outer")(ctx, func(ctx context.Context) {
		must(t, step(t, r.Guard, "fetch", kest.SourceType(lineage.SourceInternet), kest.AddTaints("web"))(ctx, nil))
	}))
	e := r.entry(ctx)
	if e.TrustScore != 10 || !slices.Equal(e.Taints, []string{"web"}) {
		t.Errorf("after the fetch: trust %d, taints %q", e.TrustScore, e.Taints)
	}
	r.verify(s.Passport())
}

// TestOutsideSessions: a call outside a session is a root, and nothing flows anywhere.
func TestOutsideSessions(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	for range 2 {
		must(t, step(t, r.Guard, "a")(ctx, func(inner context.Context) {
			if got := shape(kest.CurrentPassport(inner)); got != "a<" {
				t.Errorf("%q", got)
			}
		}))
		if kest.CurrentPassport(ctx).Len() != 0 || kest.CurrentEntry(ctx) != nil || kest.CurrentIdentity(ctx) != (kest.Identity{}) {
			t.Error("something is in the caller's context")
		}
	}
}

// TestGoroutineOutlivesBody: its calls go on from what the body had, and nothing reaches the caller's session.
func TestGoroutineOutlivesBody(t *testing.T) {
	r := newRig(t)
	ctx, s := kest.StartSession(t.Context())
	release, done := make(chan bool), make(chan string)
	must(t, step(t, r.Guard, "a")(ctx, func(ctx context.Context) {
		go func() {
			<-release
			err := step(t, r.Guard, "b")(ctx, nil)
			done <- fmt.Sprint(shape(kest.CurrentPassport(ctx)), err)
		}()
	}))
	close(release)
	if got := <-done; got != "a< b<a<nil>" {
		t.Errorf("%q", got)
	}
	if got := shape(s.Passport()); got != "a< b<a" { // late, and still learned
		t.Errorf("caller's session %q", got)
	}
}

// TestParallelCalls: 200 at once, some with callees, then the join; all of it verifies with authority and tips.
func TestParallelCalls(t *testing.T) {
	r := newRig(t)
	ctx, s := kest.StartSession(t.Context())
	must(t, step(t, r.Guard, "start")(ctx, nil))
	outer, inner := step(t, r.Guard, "outer"), step(t, r.Guard, "inner", kest.AddTaints("x"))
	gate := make(chan bool)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			<-gate
			if err := outer(ctx, func(ctx context.Context) {
				if i%2 == 0 {
					if err := inner(ctx, nil); err != nil {
						t.Error(err)
					}
				}
			}); err != nil {
				t.Error(err)
			}
		})
	}
	close(gate)
	wg.Wait()
	e := r.entry(ctx)
	if len(s.Passport().Tips()) != 1 || !slices.Equal(e.Taints, []string{"x"}) || s.Passport().Len() != 302 {
		t.Errorf("%d tips, taints %q, %d entries", len(s.Passport().Tips()), e.Taints, s.Passport().Len())
	}
	r.verify(s.Passport())
}

// TestUnverifiedLineage: what arrived and was not verified stops every call, however its context was made.
func TestUnverifiedLineage(t *testing.T) {
	r := newRig(t)
	member := func(key, value string) context.Context {
		m, err := baggage.NewMemberRaw(key, value)
		must(t, err)
		bag, err := baggage.New(m)
		must(t, err)
		return baggage.ContextWithBaggage(context.Background(), bag)
	}
	broken := propagate.NewSession(lineage.Passport{}, strings.Repeat("1", 32), "")
	broken.Fail(errCause)
	contexts := map[string]context.Context{
		"passport": member(propagate.KeyPassport, "[]"), "compressed": member(propagate.KeyPassportZ, "x"),
		"claim check": member(propagate.KeyClaimCheck, "x"), "empty member": member(propagate.KeyPassport, ""),
		"tip without passport":   member(propagate.KeyChainTip, "x"),
		"refused":                propagate.Refuse(context.Background(), errCause),
		"refused without reason": propagate.Refuse(context.Background(), nil),
		"refused twice":          propagate.Refuse(propagate.Refuse(context.Background(), errCause), nil),
		"failed session":         propagate.WithSession(context.Background(), broken),
	}
	good, _ := kest.StartSession(context.Background())
	contexts["refused in a session"] = propagate.Refuse(good, errCause)
	for name, ctx := range contexts {
		started, session := kest.StartSession(ctx) // must not launder it
		for how, ctx := range map[string]context.Context{"": ctx, ", StartSession": started} {
			before := r.engine.Count()
			stopped := wantStopped(t, r.call(ctx, kest.Operation("x")), kest.StepExtract)
			if !errors.Is(stopped, kest.ErrUntrustedLineage) || strings.Count(stopped.Error(), kest.ErrUntrustedLineage.Error()) != 1 {
				t.Errorf("%s%s: %v", name, how, stopped)
			}
			if r.engine.Count() != before {
				t.Errorf("%s%s: a policy was asked", name, how)
			}
			if p, err := r.Seal(ctx); !errors.Is(err, kest.ErrUntrustedLineage) || p.Len() != 0 {
				t.Errorf("%s%s: Seal gives %d entries, %v", name, how, p.Len(), err)
			}
		}
		if session.Passport().Len() != 0 {
			t.Errorf("%s: the session has entries", name)
		}
	}
	if err := r.call(member("kest.user", "alice"), kest.Operation("x")); err != nil {
		t.Errorf("other baggage: %v", err)
	}
}

// TestIngressSession: with a session, the baggage is what the session was made from.
func TestIngressSession(t *testing.T) {
	r := newRig(t)
	m, err := baggage.NewMemberRaw(propagate.KeyPassport, "[]")
	must(t, err)
	bag, err := baggage.New(m)
	must(t, err)
	ctx := baggage.ContextWithBaggage(t.Context(), bag)
	s := propagate.NewSession(lineage.Passport{}, strings.Repeat("1", 32), lineage.SourceInternet)
	ctx = propagate.WithSession(ctx, s)
	// F-TS-02: a root is no better than the origin of its session; other entries have parents for that.
	if e := r.entry(ctx); e.TrustScore != 10 || e.SourceType() != "internet" || e.TraceID() != strings.Repeat("1", 32) {
		t.Errorf("root: %+v", e)
	}
	if e := r.entry(ctx); e.TrustScore != 10 || e.SourceType() != "internal" {
		t.Errorf("second: trust %d, source %q", e.TrustScore, e.SourceType())
	}
	for _, c := range []struct {
		declared, source string
		trust            int
	}{
		{lineage.SourceInternal, "user_input", 40}, {lineage.SourceVerifiedRAG, "user_input", 40}, // a caller without lineage
		{lineage.SourceUserInput, "user_input", 40}, {lineage.SourceInternet, "internet", 10}, {lineage.SourceLLM, "llm", 0},
	} {
		edge := propagate.WithSession(ctx, propagate.NewSession(lineage.Passport{}, strings.Repeat("1", 32), "user_input"))
		if e := r.entry(edge, kest.SourceType(c.declared)); e.TrustScore != c.trust || e.SourceType() != c.source {
			t.Errorf("%s declared behind user_input: trust %d, source %q", c.declared, e.TrustScore, e.SourceType())
		}
	}
	ctx = propagate.WithSession(ctx, propagate.NewSession(lineage.Passport{}, strings.Repeat("1", 32), "nowhere"))
	wantStopped(t, r.call(ctx, kest.Operation("x")), kest.StepBuild)
	ctx = propagate.WithSession(ctx, propagate.NewSession(lineage.Passport{}, "", ""))
	wantStopped(t, r.call(ctx, kest.Operation("x")), kest.StepSign) // a session without a trace
}

// conflicting returns two passports that disagree about one entry id.
func conflicting(t *testing.T) (p, q lineage.Passport) {
	t.Helper()
	s, err := identitytest.New(payments).Signer(t.Context())
	must(t, err)
	e := lineage.Entry{
		Runtime: lineage.Runtime{Name: "x"}, ID: "0190e2b0-7b3a-7c3e-8a53-6f1c8a5f0001", Operation: "p", Classification: "system",
		TrustScore: 100, Labels: map[string]string{"principal": payments, "trace_id": strings.Repeat("2", 32), "kest.source_type": "internal"},
	}
	for _, out := range []*lineage.Passport{&p, &q} {
		signed, err := lineage.Sign(t.Context(), s, e, lineage.Limits{})
		must(t, err)
		*out, err = lineage.Passport{}.Append(signed)
		must(t, err)
		e.Operation = "q"
	}
	return p, q
}

// TestConflictPoisonsSession: after a contradiction nothing goes on, in the session or in its callers'.
func TestConflictPoisonsSession(t *testing.T) {
	r := newRig(t)
	p, q := conflicting(t)
	ctx, s := kest.StartSession(t.Context())
	must(t, step(t, r.Guard, "a")(ctx, func(inner context.Context) {
		must(t, kest.Join(inner, p))
		err := kest.Join(inner, q)
		if failed := wantStopped(t, err, kest.StepExtract); !errors.Is(err, lineage.ErrConflict) || failed.Operation != kest.JoinOperation {
			t.Errorf("%v", err)
		}
		err = r.call(inner, kest.Operation("x"))
		if wantStopped(t, err, kest.StepExtract); !errors.Is(err, kest.ErrUntrustedLineage) || !errors.Is(err, lineage.ErrConflict) {
			t.Errorf("%v", err)
		}
		branch, _ := kest.StartSession(inner)
		wantStopped(t, r.call(branch, kest.Operation("x")), kest.StepExtract)
	}))
	if s.Err() == nil {
		t.Error("the caller's session goes on without what its callee learned")
	}
	wantStopped(t, r.call(ctx, kest.Operation("x")), kest.StepExtract)

	// The contradiction may also appear when the callee's lineage flows back.
	ctx, s = kest.StartSession(t.Context())
	must(t, step(t, r.Guard, "a")(ctx, func(inner context.Context) {
		must(t, kest.Join(inner, p))
		must(t, kest.Join(ctx, q))
	}))
	if !errors.Is(s.Err(), lineage.ErrConflict) || !strings.Contains(r.log.String(), "cannot flow back") {
		t.Errorf("session %v, log %s", s.Err(), r.log.String())
	}
	wantStopped(t, r.call(ctx, kest.Operation("x")), kest.StepExtract)
}

// foreign is a passport of another process, with its own trace.
func foreign(t *testing.T, taint string) lineage.Passport {
	t.Helper()
	r := newRig(t)
	ctx, s := kest.StartSession(t.Context())
	must(t, step(t, r.Guard, "foreign", kest.AddTaints(taint), kest.SourceType(lineage.SourceUserInput))(ctx, nil))
	return s.Passport()
}

// TestJoin (SPEC §5): the next call has the joined lineage among its parents and names its trace.
func TestJoin(t *testing.T) {
	r := newRig(t)
	ctx, s := kest.StartSession(t.Context())
	must(t, step(t, r.Guard, "a")(ctx, nil))
	p, q := foreign(t, "p"), foreign(t, "q")
	must(t, kest.Join(ctx, p))
	must(t, kest.Join(ctx, q))
	e := r.entry(ctx)
	pe, qe := p.Last().Entry(), q.Last().Entry()
	traces := []string{pe.TraceID(), qe.TraceID()}
	slices.Sort(traces)
	if len(e.Parents) != 3 || e.Labels[lineage.LabelJoined] != strings.Join(traces, ",") || e.TrustScore != 40 || !slices.Equal(e.Taints, []string{"p", "q"}) {
		t.Errorf("%d parents, joined %q, trust %d, taints %q", len(e.Parents), e.Labels[lineage.LabelJoined], e.TrustScore, e.Taints)
	}
	if e := r.entry(ctx); e.Labels[lineage.LabelJoined] != "" {
		t.Errorf("the call after names %q", e.Labels[lineage.LabelJoined])
	}
	r.verify(s.Passport())
	// Several parents of one trace name it once.
	far, forked := kest.StartSession(t.Context())
	must(t, step(t, r.Guard, "b")(far, func(context.Context) { must(t, step(t, r.Guard, "c")(far, nil)) }))
	must(t, kest.Join(ctx, forked.Passport()))
	if e := r.entry(ctx); len(e.Parents) != 3 || e.Labels[lineage.LabelJoined] != forked.TraceID() {
		t.Errorf("%d parents, joined %q", len(e.Parents), e.Labels[lineage.LabelJoined])
	}
	r.verify(s.Passport())
	if err := kest.Join(t.Context(), p); wantStopped(t, err, kest.StepExtract).Operation != "kest.join" || !strings.Contains(err.Error(), "StartSession") {
		t.Errorf("%v", err)
	}
}

// TestSeal: parts that nothing ties yet are tied by a signed entry before they leave the process.
func TestSeal(t *testing.T) {
	for _, callTree := range []bool{false, true} {
		r := newRig(t, func(c *kest.Config) { c.CallTree = callTree })
		if p, err := r.Seal(t.Context()); err != nil || p.Len() != 0 {
			t.Errorf("no session: %d entries, %v", p.Len(), err)
		}
		ctx, s := kest.StartSession(t.Context())
		if p, err := r.Seal(ctx); err != nil || p.Len() != 0 {
			t.Errorf("empty session: %d entries, %v", p.Len(), err)
		}
		must(t, kest.Join(ctx, foreign(t, "p")))
		if p, err := r.Seal(ctx); err != nil || p.Len() != 1 {
			t.Errorf("one part: %d entries, %v", p.Len(), err)
		}
		must(t, kest.Join(ctx, foreign(t, "q")))
		p, err := r.Seal(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got := shape(p); got != "foreign< foreign< kest.join<foreign,foreign" {
			t.Errorf("%q", got)
		}
		r.verify(p)
		if e := p.Last().Entry(); e.InputHash != "" || e.Labels[lineage.LabelJoined] == "" || len(e.Policies.Function) != 0 {
			t.Errorf("%+v", e)
		}
		if grown := s.Passport().Len() == 3; grown == callTree {
			t.Errorf("call tree %t: session has %d entries", callTree, s.Passport().Len())
		}
		if p, err := r.Seal(ctx); err != nil || p.Len() != 3 {
			t.Errorf("again: %d entries, %v", p.Len(), err)
		}
	}
	// Enterprise policies apply to it as to every call.
	r := newRig(t, func(c *kest.Config) { c.Engine, c.Enterprise = policytest.Deny(), []string{"org/e"} })
	ctx, _ := kest.StartSession(t.Context())
	must(t, kest.Join(ctx, foreign(t, "p")))
	must(t, kest.Join(ctx, foreign(t, "q")))
	p, err := r.Seal(ctx)
	if denied := wantDenied(t, err); denied.Operation != "kest.join" || denied.Tier != policy.Enterprise || p.Len() != 0 {
		t.Errorf("%+v, %d entries", denied, p.Len())
	}
}

// TestPassportLimit (SPEC §12): the limit stops the call that would pass it, with a way out in the text.
func TestPassportLimit(t *testing.T) {
	r := newRig(t, func(c *kest.Config) { c.Limits.PassportEntries = 5 })
	ctx, s := kest.StartSession(t.Context())
	ran := 0
	f := step(t, r.Guard, "a")
	for range 5 {
		must(t, f(ctx, func(context.Context) { ran++ }))
	}
	err := f(ctx, func(context.Context) { ran++ })
	if stopped := wantStopped(t, err, kest.StepAppend); !errors.Is(err, lineage.ErrLimit) || !strings.Contains(stopped.Error(), "Config.Limits") {
		t.Error(err)
	}
	if ran != 5 || s.Passport().Len() != 5 {
		t.Errorf("%d bodies, %d entries", ran, s.Passport().Len())
	}
	r.verify(s.Passport())
}

// TestTooManyForks: more open ends than one entry can name are refused with a way out, and the bodies had run.
func TestTooManyForks(t *testing.T) {
	r := newRig(t, func(c *kest.Config) { c.Limits.EntryBytes = 2 << 10 })
	ctx, s := kest.StartSession(t.Context())
	f := step(t, r.Guard, "p")
	var fork func(n int)
	fork = func(n int) { // each starts before the one around it has come back, so none is another's parent
		if n > 0 {
			must(t, f(ctx, func(context.Context) { fork(n - 1) }))
		}
	}
	fork(20)
	err := r.call(ctx, kest.Operation("x"))
	if stopped := wantStopped(t, err, kest.StepSign); !errors.Is(err, lineage.ErrLimit) || !strings.Contains(stopped.Error(), "20 parents") || !strings.Contains(err.Error(), "Config.Limits") {
		t.Error(err)
	}
	if s.Passport().Len() != 20 {
		t.Errorf("%d entries", s.Passport().Len())
	}
}

// TestLongSession: a thousand calls, as far as the default limit allows, and the next is refused.
func TestLongSession(t *testing.T) {
	r := newRig(t, func(c *kest.Config) { c.NoReceipts, c.Sink, c.TracerProvider = true, nil, nil })
	ctx, s := kest.StartSession(t.Context())
	f := step(t, r.Guard, "a")
	for range 1024 {
		must(t, f(ctx, nil))
	}
	wantStopped(t, f(ctx, nil), kest.StepAppend)
	r.verify(s.Passport())
}

// TestTraceIsShared (F-AE-11): made once when there is none, and put into the context.
func TestTraceIsShared(t *testing.T) {
	for name, tp := range map[string]trace.TracerProvider{"global": nil, "own": &recorder{}} {
		r := newRig(t, func(c *kest.Config) { c.TracerProvider = tp })
		ctx, s := kest.StartSession(context.Background())
		if sc := trace.SpanContextFromContext(ctx); !sc.IsSampled() || sc.TraceID().String() != s.TraceID() {
			t.Errorf("%s: context has trace %s, session %s", name, sc.TraceID(), s.TraceID())
		}
		a, b := r.entry(ctx), r.entry(ctx)
		if a.TraceID() != s.TraceID() || b.TraceID() != a.TraceID() {
			t.Errorf("%s: traces %s %s %s", name, s.TraceID(), a.TraceID(), b.TraceID())
		}
		var nested []string
		must(t, step(t, r.Guard, "a")(context.Background(), func(ctx context.Context) {
			e := kest.CurrentEntry(ctx).Entry()
			n := r.entry(ctx)
			nested = append(nested, e.TraceID(), n.TraceID(), trace.SpanContextFromContext(ctx).TraceID().String())
		}))
		if len(slices.Compact(nested)) != 1 || nested[0] == s.TraceID() {
			t.Errorf("%s: root, callee and context have %q", name, nested)
		}
	}
}

// TestTC12UserFromBaggage (F-IC-01, F-IC-05): admitted baggage is visible in the body, raw baggage is not believed.
func TestTC12UserFromBaggage(t *testing.T) {
	r := newRig(t)
	var members []baggage.Member
	for key, value := range map[string]string{propagate.KeyUser: "alice ä", propagate.KeyAgent: "bot", propagate.KeyTask: "refund"} {
		m, err := baggage.NewMemberRaw(key, value)
		must(t, err)
		members = append(members, m)
	}
	bag, err := baggage.New(members...)
	must(t, err)
	raw := baggage.ContextWithBaggage(t.Context(), bag)
	for _, test := range []struct {
		ctx  context.Context
		want kest.Identity
		text string
	}{
		{raw, kest.Identity{}, ""},
		{propagate.AdmitBaggage(raw), kest.Identity{User: "alice ä", Agent: "bot", Task: "refund"}, `{"agent":"bot","task":"refund","user":"alice ä"}`},
	} {
		must(t, step(t, r.Guard, "a")(test.ctx, func(ctx context.Context) {
			if got := kest.CurrentIdentity(ctx); got != test.want {
				t.Errorf("in the body %+v, want %+v", got, test.want)
			}
			if e := kest.CurrentEntry(ctx).Entry(); e.Labels[lineage.LabelIdentity] != test.text {
				t.Errorf("label %q, want %q", e.Labels[lineage.LabelIdentity], test.text)
			}
		}))
		calls := r.engine.Calls()
		if in := calls[len(calls)-1].Input; in.Subject.User != test.want.User || in.Subject.Agent != test.want.Agent || in.Subject.Task != test.want.Task {
			t.Errorf("policy sees %+v", in.Subject)
		}
	}
}

// TestIdentityOfCalls (F-IC-02, F-IC-03, F-IC-04): named, resolved, ambient, and nobody.
func TestIdentityOfCalls(t *testing.T) {
	r := newRig(t)
	ctx := kest.WithIdentity(t.Context(), kest.Identity{User: "u", Agent: "a", Task: "t"})
	from := func(v string) func(context.Context, order) (string, error) {
		return func(_ context.Context, o order) (string, error) { return v + o.ID, nil }
	}
	for _, test := range []struct {
		options []kest.Option
		want    string
	}{
		{nil, `{"agent":"a","task":"t","user":"u"}`},
		{[]kest.Option{kest.User("U"), kest.Task("")}, `{"agent":"a","user":"U"}`},
		{[]kest.Option{kest.UserFrom(from("x")), kest.AgentFrom(from("y")), kest.TaskFrom(from("z"))}, `{"agent":"yo-1","task":"zo-1","user":"xo-1"}`},
		{[]kest.Option{kest.User(""), kest.Agent(""), kest.Task("")}, ``},
		{[]kest.Option{kest.User("\"\\\x01<é\u2028"), kest.Agent(""), kest.Task("")}, "{\"user\":\"\\\"\\\\\\u0001<é\u2028\"}"},
	} {
		if e := r.entry(ctx, test.options...); e.Labels[lineage.LabelIdentity] != test.want {
			t.Errorf("label %q, want %q", e.Labels[lineage.LabelIdentity], test.want)
		}
	}
	// What the call names holds for its callees too, "" included.
	must(t, step(t, r.Guard, "a", kest.User("U"), kest.Agent(""))(ctx, func(ctx context.Context) {
		if got := kest.CurrentIdentity(ctx); got != (kest.Identity{User: "U", Task: "t"}) {
			t.Errorf("%+v", got)
		}
		if e := r.entry(ctx); e.Labels[lineage.LabelIdentity] != `{"task":"t","user":"U"}` {
			t.Errorf("%q", e.Labels[lineage.LabelIdentity])
		}
	}))
}

// TestSharedGuardSessions: two guards with their own identities share a session.
func TestSharedGuardSessions(t *testing.T) {
	r := newRig(t)
	other := newRig(t, func(c *kest.Config) { c.Identity = identitytest.New("spiffe://example.org/other") })
	ctx, s := kest.StartSession(t.Context())
	must(t, step(t, r.Guard, "a")(ctx, func(ctx context.Context) { must(t, step(t, other.Guard, "b")(ctx, nil)) }))
	e := r.entry(ctx)
	if got := shape(s.Passport()); got != "a< b<a test.op<b" {
		t.Errorf("%q", got)
	}
	r.verify(s.Passport())
	calls := r.engine.Calls()
	if got := calls[len(calls)-1].Input.Lineage; got.Length != 2 || len(got.Principals) != 2 || e.Principal() != payments {
		t.Errorf("%+v", got)
	}
}
