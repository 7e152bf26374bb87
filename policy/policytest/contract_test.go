package policytest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// answer is a correct engine behind a Mock.
func answer(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	switch name {
	case policytest.AllowTrusted:
		return policy.Decision{Allow: in.TrustScore >= 40}, nil
	case policytest.DenyAll:
		return policy.Decision{}, nil
	case policytest.AllowWorkload:
		return policy.Decision{Allow: in.Subject.Workload == policytest.Workload}, nil
	case policytest.Undefined, policytest.NotBoolean:
		return policy.Decision{}, policy.ErrIndefinite
	case policytest.Slow:
		select {
		case <-ctx.Done():
			return policy.Decision{}, fmt.Errorf("%w: %w", policy.ErrUnavailable, ctx.Err())
		case <-time.After(time.Minute):
			return policy.Decision{Allow: true}, nil
		}
	}
	return policy.Decision{}, fmt.Errorf("%w: %s", policy.ErrUnknownPolicy, name)
}

func TestMockPassesTheContract(t *testing.T) { // NF-TEST-02
	policytest.TestEngine(t, policytest.Harness{
		New: func(*testing.T) policy.Engine { return policytest.Func(answer) },
	})
}

// engine is a function as a bare engine, with none of the Mock's checks.
type engine policytest.Answer

func (e engine) Evaluate(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	return e(ctx, name, in)
}

// A call is what a twisted engine was asked.
type call struct {
	ctx  context.Context
	name string
	in   *policy.Input
}

// wrap is the correct engine, its answers changed by twist.
func wrap(twist func(q call, d policy.Decision, err error) (policy.Decision, error)) engine {
	right := policytest.Func(answer).Keep(0)
	return func(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
		d, err := right.Evaluate(ctx, name, in)
		return twist(call{ctx, name, in}, d, err)
	}
}

// TestContractCatches breaks one clause at a time: the kit must notice each, or passing it means nothing.
func TestContractCatches(t *testing.T) {
	type D = policy.Decision
	tests := []struct {
		name, check string
		engine      policy.Engine
	}{
		{"allows everything", "definite denial", policytest.Allow()},
		{"denies everything", "trust threshold", policytest.Deny()},
		{"threshold off by one", "trust threshold", wrap(func(q call, d D, err error) (D, error) {
			return D{Allow: d.Allow || q.in != nil && q.name == policytest.AllowTrusted && q.in.TrustScore == 39}, err
		})},
		{"ignores nested input", "nested input", wrap(func(q call, d D, err error) (D, error) {
			return D{Allow: d.Allow || q.name == policytest.AllowWorkload}, err
		})},
		{"undefined is a denial", "undefined answer", wrap(func(q call, d D, err error) (D, error) {
			if q.name == policytest.Undefined {
				return D{}, nil
			}
			return d, err
		})},
		{"truthy is true", "answer that is not boolean", wrap(func(q call, d D, err error) (D, error) {
			if q.name == policytest.NotBoolean {
				return D{Allow: true}, nil
			}
			return d, err
		})},
		{"unknown is allowed", "unknown policy", wrap(func(q call, d D, err error) (D, error) {
			if q.name == policytest.Missing {
				return D{Allow: true}, nil
			}
			return d, err
		})},
		{"cleans names", "hostile names", wrap(func(q call, d D, err error) (D, error) {
			if q.in != nil && q.ctx.Err() == nil && strings.HasPrefix(q.name, "/") {
				return answer(q.ctx, strings.TrimPrefix(q.name, "/"), q.in)
			}
			return d, err
		})},
		{"allows beside an error", "unknown policy", wrap(func(_ call, d D, err error) (D, error) {
			return D{Allow: err != nil || d.Allow}, err
		})},
		{"unclassified error", "hostile names", wrap(func(_ call, d D, err error) (D, error) {
			if err != nil {
				err = errors.New("something")
			}
			return d, err
		})},
		{"leaks the input", "unknown policy", wrap(func(q call, d D, err error) (D, error) {
			if err != nil && q.in != nil {
				err = fmt.Errorf("%w: %v", err, q.in.Attributes)
			}
			return d, err
		})},
		{"changes the input", "trust threshold", wrap(func(q call, d D, err error) (D, error) {
			if q.in != nil && q.in.TrustScore > 40 {
				q.in.Attributes["seen"] = true
			}
			return d, err
		})},
		{"ignores cancellation", "cancelled before", wrap(func(q call, _ D, _ error) (D, error) {
			return policytest.Func(answer).Evaluate(context.Background(), q.name, q.in)
		})},
		{"hides the deadline", "deadline passed before", wrap(func(q call, d D, err error) (D, error) {
			if q.ctx.Err() != nil {
				return D{}, policy.ErrUnavailable
			}
			return d, err
		})},
		{"hides a late cancellation", "cancelled during", wrap(func(q call, d D, err error) (D, error) {
			if q.name == policytest.Slow {
				return D{}, policy.ErrUnavailable
			}
			return d, err
		})},
		{"crosses answers", "concurrency", crossed()},
		{"wears out", "trust threshold after all that", worn(150)},
		{"panics without input", "no input", engine(answer)},
		{"checks nothing", "checker", lax{policytest.Func(answer)}},
	}
	if len(tests) < 19 {
		t.Fatal("the table lost rows")
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := policytest.Harness{}
			if test.check != "cancelled during" { // the slow policy only where it matters
				h.Unsupported = map[string]string{policytest.Slow: "not needed"}
			}
			failed := policytest.Failures(h, test.engine)
			if failed[test.check] == nil {
				t.Errorf("check %q passed; failed: %q", test.check, slices.Sorted(maps.Keys(failed)))
			}
		})
	}
}

// crossed answers correctly unless another call is under way.
func crossed() policy.Engine {
	var busy atomic.Int32
	return wrap(func(_ call, d policy.Decision, err error) (policy.Decision, error) {
		defer busy.Add(-1)
		if busy.Add(1) > 1 {
			d.Allow = !d.Allow
		}
		time.Sleep(time.Millisecond) // real overlap, on one processor too
		return d, err
	})
}

// worn answers n calls and then no more.
func worn(n int32) policy.Engine {
	var calls atomic.Int32
	return wrap(func(_ call, d policy.Decision, err error) (policy.Decision, error) {
		if calls.Add(1) > n {
			return policy.Decision{}, policy.ErrUnavailable
		}
		return d, err
	})
}

type lax struct{ policy.Engine }

func (lax) Check(string) error { return nil }

func TestContractCountsRequests(t *testing.T) {
	var sent atomic.Int32
	h := policytest.Harness{
		Requests:    func() int { return int(sent.Load()) },
		Unsupported: map[string]string{policytest.Slow: "not needed"},
	}
	failed := policytest.Failures(h, wrap(func(_ call, d policy.Decision, err error) (policy.Decision, error) {
		sent.Add(1) // asks its server whatever the name
		return d, err
	}))
	if len(failed) != 1 || failed["hostile names"] == nil {
		t.Fatalf("failed checks: %v", failed)
	}
}

func TestUnknownMayDenyOnlyWhenDeclared(t *testing.T) {
	denying := wrap(func(q call, d policy.Decision, err error) (policy.Decision, error) {
		if errors.Is(err, policy.ErrUnknownPolicy) && policy.ValidateName(q.name) == nil {
			return policy.Decision{}, nil
		}
		return d, err
	})
	h := policytest.Harness{Unsupported: map[string]string{policytest.Slow: "not needed"}}
	if policytest.Failures(h, denying)["unknown policy"] == nil {
		t.Error("a denial of an unknown policy passed without UnknownDenies")
	}
	h.UnknownDenies = true
	if failed := policytest.Failures(h, denying); len(failed) != 0 {
		t.Errorf("with UnknownDenies: %v", failed)
	}
	if policytest.Failures(h, policytest.Allow())["unknown policy"] == nil {
		t.Error("UnknownDenies lets an allow pass")
	}
}

// TestEmptyHarnessFails: a harness that would run nothing, or leave out the heart, is refused.
func TestEmptyHarnessFails(t *testing.T) {
	newEngine := func(*testing.T) policy.Engine { return policytest.Func(answer) }
	for name, h := range map[string]policytest.Harness{
		"no engine":     {},
		"no heart":      {New: newEngine, Unsupported: map[string]string{policytest.AllowTrusted: "hard"}},
		"no reason":     {New: newEngine, Unsupported: map[string]string{policytest.Slow: ""}},
		"unknown check": {New: newEngine, Unsupported: map[string]string{"kest/slwo": "misspelt"}},
	} {
		if policytest.Validate(h) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := policytest.Validate(policytest.Harness{New: newEngine}); err != nil {
		t.Error(err)
	}
}
