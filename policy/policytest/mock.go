// Package policytest is for tests only: a mock policy engine (NF-TEST-02, SPEC §7) and the contract that every
// [policy.Engine] must pass, [TestEngine].
package policytest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/kest-go/kest/policy"
)

// DefaultKeep is how many calls a new [Mock] keeps.
const DefaultKeep = 1000

// A Mock is a policy engine that answers from a constant or a function and remembers what it was asked. Like a
// real engine it refuses a stopped context and a name that [policy.ValidateName] refuses, so a test cannot pass
// with a call that production would stop. It is safe for concurrent use, and is made by [Allow], [Deny] or
// [Func]; the zero value denies.
type Mock struct {
	answer Answer

	mu    sync.Mutex
	calls []Call // oldest first, at most keep
	count int
	keep  int
}

// An Answer is what a [Mock] does when it is asked. It must not change in, and must be safe for concurrent use
// when the mock is used so.
type Answer func(ctx context.Context, name string, in *policy.Input) (policy.Decision, error)

// A Call is one question that a [Mock] was asked, whatever it answered.
type Call struct {
	Name  string
	Input *policy.Input // a deep copy, taken when the call came in
}

// Allow returns a mock that allows everything.
func Allow() *Mock { return constant(policy.Decision{Allow: true, Revision: "mock"}) }

// Deny returns a mock that definitely denies everything.
func Deny() *Mock {
	return constant(policy.Decision{Revision: "mock", Reason: "the mock denies everything"})
}

// Func returns a mock that answers with f.
func Func(f Answer) *Mock { return &Mock{answer: f, keep: DefaultKeep} }

func constant(d policy.Decision) *Mock {
	return Func(func(context.Context, string, *policy.Input) (policy.Decision, error) { return d, nil })
}

// Keep sets how many calls are kept, the latest ones; 0 keeps none, which makes the mock cheap enough for
// benchmarks. It returns m.
func (m *Mock) Keep(n int) *Mock {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keep = max(n, 0)
	m.trim()
	return m
}

// Evaluate implements [policy.Engine].
func (m *Mock) Evaluate(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	m.record(name, in)
	if err := ctx.Err(); err != nil {
		return policy.Decision{}, fmt.Errorf("%w: %w", policy.ErrUnavailable, err)
	}
	if err := policy.ValidateName(name); err != nil {
		return policy.Decision{}, fmt.Errorf("%w: %w", policy.ErrUnknownPolicy, err)
	}
	if in == nil {
		return policy.Decision{}, fmt.Errorf("%w: no input", policy.ErrIndefinite)
	}
	if m.answer == nil {
		return policy.Decision{}, nil
	}
	return m.answer(ctx, name, in)
}

func (m *Mock) record(name string, in *policy.Input) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count++
	if m.keep == 0 {
		return
	}
	m.calls = append(m.calls, Call{Name: name, Input: Copy(in)})
	m.trim()
}

func (m *Mock) trim() {
	if extra := len(m.calls) - m.keep; extra > 0 {
		m.calls = slices.Delete(m.calls, 0, extra)
	}
}

// Calls returns the kept calls, oldest first. The inputs are shared with the mock: treat them as read-only.
func (m *Mock) Calls() []Call {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.calls)
}

// Names returns the policy names of the kept calls, oldest first.
func (m *Mock) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make([]string, len(m.calls))
	for i, call := range m.calls {
		names[i] = call.Name
	}
	return names
}

// Count returns how often the mock was asked since it was made or reset, kept or not.
func (m *Mock) Count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count
}

// Reset forgets all calls.
func (m *Mock) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls, m.count = nil, 0
}
