// Package kest guards functions with zero-trust execution lineage. Before the body of a guarded function runs,
// the guard reads the call's history from the context, computes trust and taints, asks the policies of four tiers,
// signs a canonical entry with the workload's identity, and chains it into the passport that the context carries.
// Anybody with the workloads' public keys can later prove what happened, in what order, under which policy.
//
//	guard, err := kest.New(kest.Config{Engine: engine})
//	...
//	pay, err := kest.Verified(guard, processPayment,
//		kest.Policy("kest/allow_trusted"), kest.SourceType(lineage.SourceInternal))
//	...
//	receipt, err := pay(ctx, Payment{Order: "ORD-123", Amount: 99.95})
//
// # The lifecycle of a call
//
// A guarded call does these steps in this order (F-PE-01). Whatever goes wrong before step 12 stops the call: the
// body does not run, and the caller gets a [*DeniedError] when a policy refused or could not decide, and a
// [*CallError] otherwise.
//
//	 1    extract    lineage, identity, engine and evaluator
//	 2    trust      score from source type and parents
//	 3    taints     inherited ∪ added − removed
//	 4    input      SHA-256 of the argument's canonical JSON
//	 5    build      every field of the entry
//	6–9   policies   enterprise, platform, application, function: each on its own, all must allow
//	 10   sign       RFC 8785 bytes, EdDSA
//	 11   append     the entry joins the passport that the body sees; the sink has it in writing
//	 12   execute    the body, once
//	 13   outcome    output hashed, receipt signed, span ended, the caller's session advanced
//
// # Sessions
//
// The context carries lineage. Within a session, calls in sequence chain, calls in parallel fork, and the next
// call after them joins, because what a callee learned comes back with it: its caller's later calls inherit its
// taints and its loss of trust. Calls that a body leaves behind, in an iterator that it returns or in a goroutine,
// flow back when they are made. Every body runs in a session of its own; [StartSession] opens one by hand.
// A call outside any session begins a lineage.
package kest

import (
	"context"
	"errors"
	"fmt"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// Version of this module, as signed entries name it.
const Version = "0.1.0-dev"

// A Session is one causal scope. See [StartSession].
type Session = propagate.Session

// Identity is who acts through the workload: user, agent, task.
type Identity = propagate.Identity

// StartSession returns a context with a new session in which later calls share lineage: a root script or an agent
// loop starts one. The session begins with what the session of ctx has learned, if there is one, and nothing
// flows back to it.
func StartSession(ctx context.Context) (context.Context, *Session) {
	if outer := propagate.SessionFrom(ctx); outer != nil {
		s := outer.Branch()
		if refused := untrusted(ctx, outer); refused != nil {
			s.Fail(refused) // what came over the wire since is not what the outer session stands for
		}
		return propagate.WithSession(ctx, s), s
	}
	refused := untrusted(ctx, nil)
	ctx, trace := ensureTrace(ctx)
	s := propagate.NewSession(lineage.Passport{}, trace, "")
	if refused != nil {
		s.Fail(refused) // opening a session by hand verifies nothing
	}
	return propagate.WithSession(ctx, s), s
}

// untrusted says why no call may go on under ctx, whose session is s. Lineage comes from the session of the context
// and from nowhere else. Lineage that is in the baggage without a session came over the wire and was not verified:
// going on would turn it into a fresh root.
func untrusted(ctx context.Context, s *Session) error {
	reason := propagate.Refusal(ctx)
	switch {
	case reason != nil:
	case propagate.CarriesUnverified(ctx):
		reason = errCarried
	case s != nil:
		reason = s.Err()
	}
	if reason == nil || errors.Is(reason, ErrUntrustedLineage) {
		return reason
	}
	return fmt.Errorf("%w: %w", ErrUntrustedLineage, reason)
}

// Join brings verified lineage from elsewhere into the session of ctx: a queue message, a response, a stored
// document. The next call has its tips among its parents. Without a session the error is a [*CallError].
func Join(ctx context.Context, p lineage.Passport) error {
	s := propagate.SessionFrom(ctx)
	if s == nil {
		return &CallError{Step: StepExtract, Operation: JoinOperation, Err: errNoSession}
	}
	if err := s.Absorb(p); err != nil {
		return &CallError{Step: StepExtract, Operation: JoinOperation, Err: err}
	}
	return nil
}

// CurrentPassport returns the verified lineage that the context carries: inside a body, everything up to and
// including the call's own entry. It is empty outside a session.
func CurrentPassport(ctx context.Context) lineage.Passport {
	if s := propagate.SessionFrom(ctx); s != nil {
		return s.Passport()
	}
	return lineage.Passport{}
}

// CurrentEntry returns the signed entry of the guarded call whose body ctx belongs to, nil outside a body.
func CurrentEntry(ctx context.Context) *lineage.Signed {
	if s := propagate.SessionFrom(ctx); s != nil {
		return s.Entry()
	}
	return nil
}

// CurrentIdentity returns the user, agent and task that act: inside a body, those that the call's entry names.
func CurrentIdentity(ctx context.Context) Identity { return propagate.IdentityFrom(ctx) }

// WithIdentity returns a context in which calls act for id unless they name their own user, agent or task. The
// caller vouches for it: it is signed into entries and shown to policies.
func WithIdentity(ctx context.Context, id Identity) context.Context {
	return propagate.WithIdentity(ctx, id)
}
