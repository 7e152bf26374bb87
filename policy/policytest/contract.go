package policytest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest/policy"
)

// The policies that the engine under test must know, each written in the engine's own language.
const (
	AllowTrusted  = "kest/allow_trusted"  // allow exactly when trust_score >= 40 (the guide's policy)
	DenyAll       = "kest/deny_all"       // a definite denial for every input
	AllowWorkload = "kest/allow_workload" // allow exactly when subject.workload == [Workload]
	Undefined     = "kest/undefined"      // exists, but its answer has no value
	NotBoolean    = "kest/not_boolean"    // answers with something that is not a boolean, for example "true" or 1
	Slow          = "kest/slow"           // would allow, but takes at least 30 s when nothing stops it
)

// Missing is a policy that the engine under test must not know.
const Missing = "kest/missing"

// Workload is the subject that [AllowWorkload] allows.
const Workload = "spiffe://example.org/payments"

// secret is in the attributes of every input; no error may repeat it.
const secret = "5105-1051-0510-5100"

// A Harness connects one engine to [TestEngine].
type Harness struct {
	// New returns the engine, which knows the policies above. It is called once; everything that must be closed
	// is registered with t.Cleanup.
	New func(t *testing.T) policy.Engine

	// Unsupported says, for each policy that the engine has no way to express, why not. AllowTrusted and DenyAll
	// cannot be left out.
	Unsupported map[string]string

	// UnknownDenies is for engines that cannot tell a policy that they do not know from one that permits nothing.
	// They may answer with a definite denial instead of an error.
	UnknownDenies bool

	// Requests counts the requests that have left the engine since it was made. nil: the engine does no I/O.
	Requests func() int
}

// TestEngine runs the contract of [policy.Engine] (SPEC §7; TC-09): only a definite allow allows, thresholds are
// exact, names cannot traverse or inject, the context is obeyed, the input is left alone, and errors are
// classified and carry no data. A harness that cannot show one allow and one denial fails.
func TestEngine(t *testing.T, h Harness) {
	t.Helper()
	if err := h.validate(); err != nil {
		t.Fatal(err)
	}
	p := &probe{Harness: h, engine: h.New(t)}
	if p.engine == nil {
		t.Fatal("harness: New returned no engine")
	}
	for _, c := range contract() {
		t.Run(c.name, func(t *testing.T) {
			if why, ok := h.Unsupported[c.needs]; ok {
				t.Skipf("%s: %s", c.needs, why)
			}
			if err := c.run(p); err != nil {
				t.Error(err)
			}
		})
	}
}

func (h Harness) validate() error {
	if h.New == nil {
		return errors.New("harness: New is nil, so nothing would be tested")
	}
	optional := []string{AllowWorkload, Undefined, NotBoolean, Slow}
	for _, name := range slices.Sorted(maps.Keys(h.Unsupported)) {
		if !slices.Contains(optional, name) {
			return fmt.Errorf("harness: %q cannot be unsupported; only %s can", name, strings.Join(optional, ", "))
		}
		if h.Unsupported[name] == "" {
			return fmt.Errorf("harness: unsupported %q needs a reason", name)
		}
	}
	return nil
}

// A check is one clause of the contract; needs names the policy without which it cannot run.
type check struct {
	name, needs string
	run         func(*probe) error
}

func contract() []check {
	return []check{
		{"trust threshold", "", (*probe).threshold},
		{"definite denial", "", (*probe).denial},
		{"nested input", AllowWorkload, (*probe).nested},
		{"undefined answer", Undefined, func(p *probe) error { return p.indefinite(Undefined) }},
		{"answer that is not boolean", NotBoolean, func(p *probe) error { return p.indefinite(NotBoolean) }},
		{"unknown policy", "", (*probe).unknown},
		{"hostile names", "", (*probe).hostileNames},
		{"no input", "", (*probe).noInput},
		{"cancelled before", "", (*probe).cancelledBefore},
		{"deadline passed before", "", (*probe).deadlineBefore},
		{"cancelled during", Slow, (*probe).cancelledDuring},
		{"deadline during", Slow, (*probe).deadlineDuring},
		{"checker", "", (*probe).checker},
		{"concurrency", "", (*probe).concurrency},
		{"trust threshold after all that", "", (*probe).threshold}, // nothing above may have worn the engine out
	}
}

// A probe asks the engine and holds every answer against the clauses that apply to all of them.
type probe struct {
	Harness
	engine policy.Engine
}

// ask evaluates name against in and reports what is wrong with the manner of the answer.
func (p *probe) ask(ctx context.Context, name string, in *policy.Input) (policy.Decision, error, error) {
	before := Copy(in)
	decision, err, bad := p.evaluate(ctx, name, in)
	return decision, err, errors.Join(bad, manner(decision, err), unchanged(before, in))
}

// evaluate turns a panic of the engine into a fault: one broken clause must not hide the others.
func (p *probe) evaluate(ctx context.Context, name string, in *policy.Input) (d policy.Decision, err, bad error) {
	defer func() {
		if r := recover(); r != nil {
			bad = fmt.Errorf("panic: %v", r)
		}
	}()
	d, err = p.engine.Evaluate(ctx, name, in)
	return d, err, nil
}

func manner(decision policy.Decision, err error) error {
	if err == nil {
		return nil
	}
	if decision.Allow {
		return fmt.Errorf("allowed together with the error %q", err)
	}
	if strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
		return errors.New("the error repeats an attribute of the input")
	}
	if classes(err) == 0 {
		return fmt.Errorf("error %q matches none of ErrUnknownPolicy, ErrUnavailable, ErrIndefinite", err)
	}
	return nil
}

func classes(err error) (n int) {
	for _, class := range []error{policy.ErrUnknownPolicy, policy.ErrUnavailable, policy.ErrIndefinite} {
		if errors.Is(err, class) {
			n++
		}
	}
	return n
}

// definite asks and expects a decision.
func (p *probe) definite(name string, in *policy.Input, allow bool) error {
	decision, err, bad := p.ask(context.Background(), name, in)
	if err != nil {
		bad = errors.Join(bad, fmt.Errorf("error %w instead of a decision", err))
	} else if decision.Allow != allow {
		bad = errors.Join(bad, fmt.Errorf("allow is %t, not %t", decision.Allow, allow))
	}
	return about(name, bad)
}

// refused asks and expects an error; sentinels are the classes it may match, any when there are none.
func (p *probe) refused(ctx context.Context, name string, in *policy.Input, sentinels ...error) error {
	decision, err, bad := p.ask(ctx, name, in)
	match := func(s error) bool { return errors.Is(err, s) }
	switch {
	case err == nil:
		bad = errors.Join(bad, fmt.Errorf("decision {Allow: %t} instead of an error", decision.Allow))
	case len(sentinels) > 0 && !slices.ContainsFunc(sentinels, match):
		bad = errors.Join(bad, fmt.Errorf("error %q matches none of %q", err, sentinels))
	}
	return about(name, bad)
}

func about(name string, err error) error {
	if err == nil {
		return nil
	}
	if len(name) > 80 {
		name = name[:80] + "…"
	}
	return fmt.Errorf("policy %q: %w", name, err)
}
