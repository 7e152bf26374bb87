package kest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/baggage"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/telemetry"
)

// fetch is a guarded call that reads from the internet.
func fetch(t *testing.T, g *kest.Guard) func(context.Context, string) (string, error) {
	t.Helper()
	return kest.MustVerified(g, func(_ context.Context, url string) (string, error) { return "from " + url, nil },
		kest.Operation("fetch"), kest.Policy("a/b"), kest.SourceType(lineage.SourceInternet), kest.AddTaints("web"))
}

// TestLateCalleesFlowBack: a body that returns an iterator leaves calls for later. What they learn still reaches the
// caller's session, through every body in between.
func TestLateCalleesFlowBack(t *testing.T) {
	r := newRig(t)
	read := fetch(t, r.Guard)
	type next = func() (string, error)
	stream := kest.MustVerified(r.Guard, func(ctx context.Context, url string) (next, error) {
		return func() (string, error) { return read(ctx, url) }, nil
	}, kest.Operation("stream"), kest.Policy("a/b"))
	outer := kest.MustVerified(r.Guard, func(ctx context.Context, url string) (next, error) { return stream(ctx, url) },
		kest.Operation("outer"), kest.Policy("a/b"))

	ctx, s := kest.StartSession(t.Context())
	lazy, err := outer(ctx, "https://example.com")
	must(t, err)
	if e := r.entry(ctx); e.TrustScore != 100 || len(e.Taints) != 0 {
		t.Errorf("before the stream is read: trust %d, taints %v", e.TrustScore, e.Taints)
	}
	_, err = lazy()
	must(t, err)
	if e := r.entry(ctx); e.TrustScore != 10 || !slices.Equal(e.Taints, []string{"web"}) {
		t.Errorf("after it: trust %d, taints %v", e.TrustScore, e.Taints)
	}
	r.verify(s.Passport())
}

// TestResolversAreAncestors: what a resolver learns through a guarded call shapes the call, so policies and the entry
// know of it.
func TestResolversAreAncestors(t *testing.T) {
	r := newRig(t)
	read := fetch(t, r.Guard)
	for name, option := range map[string]kest.Option{
		"resource": kest.ResourceFrom(func(ctx context.Context, o order) (string, error) { return read(ctx, o.ID) }),
		"user":     kest.UserFrom(func(ctx context.Context, o order) (string, error) { return read(ctx, o.ID) }),
		"digest": kest.InputDigestFrom(func(ctx context.Context, o order) (string, error) {
			_, err := read(ctx, o.ID)
			return strings.Repeat("0", 64), err
		}),
	} {
		ctx, s := kest.StartSession(t.Context())
		e := r.entry(ctx, option)
		if e.TrustScore != 10 || !slices.Equal(e.Taints, []string{"web"}) || e.IsRoot() {
			t.Errorf("%s: trust %d, taints %v, root %t", name, e.TrustScore, e.Taints, e.IsRoot())
		}
		calls := r.engine.Calls()
		if in := calls[len(calls)-1].Input; in.TrustScore != 10 || in.Environment.IsRoot || in.Lineage.Length != 1 {
			t.Errorf("%s: policies see %+v", name, in)
		}
		r.verify(s.Passport())
	}
}

// TestBaggageAfterSession: a session stands for the baggage that it was opened with, and for no other. A session in a
// server's base context does not make what arrives with a request believed.
func TestBaggageAfterSession(t *testing.T) {
	r := newRig(t)
	arrives := func(ctx context.Context, value string) context.Context {
		m, err := baggage.NewMemberRaw(propagate.KeyPassport, value)
		must(t, err)
		bag, err := baggage.New(m)
		must(t, err)
		return baggage.ContextWithBaggage(ctx, bag)
	}
	base, _ := kest.StartSession(t.Context())
	request := arrives(base, `["forged"]`)
	branched, _ := kest.StartSession(request)
	verified := propagate.WithSession(request, propagate.NewSession(lineage.Passport{}, strings.Repeat("1", 32), "internet"))
	inside, _ := kest.StartSession(verified)
	for _, test := range []struct {
		name    string
		ctx     context.Context
		refused bool
	}{
		{"session, then baggage", request, true},
		{"a branch of it", branched, true},
		{"ingress opened a session for it", verified, false},
		{"a branch of that", inside, false},
		{"other baggage after the ingress", arrives(verified, `["another"]`), true},
		{"the baggage is gone", baggage.ContextWithoutBaggage(verified), false},
	} {
		err := r.call(test.ctx)
		if refused := errors.Is(err, kest.ErrUntrustedLineage); refused != test.refused || !refused && err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if _, err := r.Seal(test.ctx); errors.Is(err, kest.ErrUntrustedLineage) != test.refused {
			t.Errorf("%s: sealed with %v", test.name, err)
		}
	}
}

// TestDenialAfterCancellation: the caller gets its own error, and the refusal is on record all the same (NF-OBS-01), so
// nobody can try policies unseen.
func TestDenialAfterCancellation(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := newRig(t, func(c *kest.Config) {
		c.Engine = policytest.Func(func(context.Context, string, *policy.Input) (policy.Decision, error) {
			cancel()
			return policy.Decision{Reason: "no"}, nil
		})
	})
	err := r.call(ctx)
	if !errors.Is(err, context.Canceled) || errors.Is(err, kest.ErrDenied) {
		t.Errorf("error %v", err)
	}
	if _, err := r.verifier.VerifyDenial(t.Context(), r.sink.last(t, telemetry.Denial).JWS); err != nil {
		t.Errorf("denial on record: %v", err)
	}
	if !strings.Contains(r.log.String(), "call denied") {
		t.Errorf("the denial is not in the log: %s", r.log)
	}
}

type box[T any] struct{ _ T }

func (*box[T]) Read(context.Context, order) (string, error) { return "", nil }
func (*box[T]) Wipe(context.Context, order) (string, error) { return "", nil }

func inside[T any]() func(context.Context, order) (string, error) {
	return func(context.Context, order) (string, error) { return "", nil }
}

// TestOperationNamesOfGenerics (F-AE-04, F-PE-11): methods of a generic type keep their own names, so a deviation for one
// does not reach the other; a literal inside a generic function has no stable name.
func TestOperationNamesOfGenerics(t *testing.T) {
	b := &box[int]{}
	names := map[string]bool{}
	for _, fn := range []func(context.Context, order) (string, error){b.Read, b.Wipe} {
		r := newRig(t)
		f, err := kest.Verified(r.Guard, fn, kest.Policy("a/b"))
		must(t, err)
		_, err = f(t.Context(), order{})
		must(t, err)
		names[r.engine.Calls()[0].Input.Environment.Operation] = true
	}
	if !names["kest_test.box.Read"] || !names["kest_test.box.Wipe"] {
		t.Errorf("names %v", names)
	}
	_, err := kest.Verified(newRig(t).Guard, inside[int](), kest.Policy("a/b"))
	if wantConfig(t, err); !strings.Contains(err.Error(), "kest.Operation") {
		t.Errorf("literal in a generic function: %v", err)
	}
}
