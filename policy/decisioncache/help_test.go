package decisioncache_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/decisioncache"
	"github.com/kest-go/kest/policy/policytest"
)

// perCall is what differs in each call.
var perCall = []string{"environment.entry_id", "environment.trace_id", "environment.parent_hashes"}

// rules is an engine with revisions, as the ones in the process are: the current set is replaced whole, and each
// answer is of the set with which it began.
type rules struct {
	current atomic.Pointer[ruleset]
	asked   atomic.Int64
	during  func() // called in the middle of an evaluation, when set
}

// A ruleset answers by a hash of itself and of what question varies, but for what differs in each call.
type ruleset struct{ revision string }

func (s *ruleset) decide(name string, in *policy.Input) policy.Decision {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s %d %q %q %v", s.revision, name, in.TrustScore, in.Subject.User, in.Subject.Agent, in.Attributes)
	for _, name := range slices.Sorted(maps.Keys(in.Attributes)) {
		fmt.Fprintf(h, "%T", in.Attributes[name]) // 1 is not 1.0
	}
	return policy.Decision{Allow: h.Sum64()&2 == 0, Revision: s.revision, Reason: strconv.FormatUint(h.Sum64(), 16)}
}

func newRules(revision string) *rules {
	r := &rules{}
	r.load(revision)
	return r
}

func (r *rules) load(revision string) { r.current.Store(&ruleset{revision}) }

func (r *rules) Revision() string { return r.current.Load().revision }

func (r *rules) Evaluate(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	set := r.current.Load()
	r.asked.Add(1)
	if r.during != nil {
		r.during()
	}
	switch {
	case ctx.Err() != nil:
		return policy.Decision{}, fmt.Errorf("%w: %w", policy.ErrUnavailable, ctx.Err())
	case in == nil || name == policytest.Undefined:
		return policy.Decision{}, policy.ErrIndefinite
	case name == policytest.Missing:
		return policy.Decision{Allow: true, Revision: set.revision}, policy.ErrUnknownPolicy
	}
	return set.decide(name, in), nil
}

func open(t testing.TB, c decisioncache.Config) policy.Engine {
	t.Helper()
	e, err := decisioncache.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// ask expects the answer that the engine's current set gives.
func ask(t testing.TB, e policy.Engine, r *rules, name string, in *policy.Input) {
	t.Helper()
	want := r.current.Load().decide(name, in)
	if d, err := e.Evaluate(context.Background(), name, in); err != nil || d != want {
		t.Fatalf("%+v, %v; want %+v", d, err, want)
	}
}

// asks expects that f asks the engine n times.
func asks(t testing.TB, r *rules, n int64, f func()) {
	t.Helper()
	before := r.asked.Load()
	f()
	if got := r.asked.Load() - before; got != n {
		t.Errorf("the engine was asked %d times, want %d", got, n)
	}
}

// answer is an engine that passes the contract.
func answer(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	switch name {
	case policytest.AllowTrusted:
		return policy.Decision{Allow: in.TrustScore >= 40, Revision: "r1"}, nil
	case policytest.DenyAll:
		return policy.Decision{Revision: "r1"}, nil
	case policytest.AllowWorkload:
		return policy.Decision{Allow: in.Subject.Workload == policytest.Workload, Revision: "r1"}, nil
	case policytest.Undefined, policytest.NotBoolean:
		return policy.Decision{}, policy.ErrIndefinite
	case policytest.Slow:
		select {
		case <-ctx.Done():
			return policy.Decision{}, fmt.Errorf("%w: %w", policy.ErrUnavailable, ctx.Err())
		case <-time.After(time.Minute):
			return policy.Decision{Allow: true, Revision: "r1"}, nil
		}
	}
	return policy.Decision{}, fmt.Errorf("%w: %s", policy.ErrUnknownPolicy, name)
}

// full has everything that an engine may offer beside answers.
type full struct {
	policy.Engine
	closed int
}

func (f *full) Check(name string) error {
	if name != policytest.AllowTrusted && name != policytest.DenyAll {
		return policy.ErrUnknownPolicy
	}
	return nil
}
func (f *full) Revision() string   { return "r1" }
func (f *full) Policies() []string { return []string{policytest.AllowTrusted, policytest.DenyAll} }
func (f *full) Close() error       { f.closed++; return nil }

// question makes one of a few questions, so that they come again, with fresh ids each time.
func question(r *rand.Rand) (string, *policy.Input) {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	in := policytest.Input(r.IntN(3) * 20)
	in.Subject.User = pick("", "alice")
	in.Subject.Agent = pick("", "alice")
	in.Attributes = map[string]any{pick("a", "b"): []any{nil, 1, 1.0, "1", true, []any{}, map[string]any{"a": nil}}[r.IntN(7)]}
	in.Environment.EntryID = strconv.FormatUint(r.Uint64(), 16)
	in.Environment.TraceID = strconv.FormatUint(r.Uint64(), 16)
	in.Environment.ParentHashes = []string{strconv.FormatUint(r.Uint64(), 16)}
	return pick("a", "a/b"), in
}
