package propagate

import (
	"context"
	"sync"

	"github.com/kest-go/kest/lineage"
)

// A Session is one causal scope: what was learned in it so far, as a verified passport. A protected call takes
// the passport's leaves as its parents; what it and its callees learned comes back when it returns. So calls in
// sequence chain, calls in parallel fork, and the next call after them joins (SPEC §5).
//
// A Session is safe for concurrent use. Use [NewSession]; the zero value is not usable.
type Session struct {
	trace  string
	origin string
	entry  *lineage.Signed

	outcomes *outcomes // shared by the sessions of one scope and of the bodies in it
	own      outcomes

	mu       sync.Mutex
	passport lineage.Passport
	onward   *Session // of the caller, once the body has returned
	err      error
}

// NewSession begins a scope with lineage that is already verified. trace is the W3C trace id that the session's
// entries share. origin is what the ingress says of a root in the session: "internet" for whoever comes without
// lineage. A root is no better than that. "" says nothing.
func NewSession(p lineage.Passport, trace, origin string) *Session {
	s := &Session{passport: p, trace: trace, origin: origin}
	s.outcomes = &s.own
	return s
}

// NewBody begins the scope of a guarded call's body: p ends in the call's own entry.
func NewBody(p lineage.Passport, trace, origin string) *Session {
	s := NewSession(p, trace, origin)
	s.entry = p.Last()
	return s
}

// Body begins the scope of the body of a guarded call in s: p ends in the call's own entry. returns says whether what is
// learned in it will flow back; if not, s keeps no outcomes of it, or a long scope of such calls would grow without bound.
func (s *Session) Body(p lineage.Passport, returns bool) *Session {
	b := &Session{passport: p, trace: s.trace, origin: s.origin, entry: p.Last(), outcomes: s.outcomes}
	if !returns {
		b.outcomes = &outcomes{outer: s.outcomes}
	}
	return b
}

// outcomes are how calls ended.
type outcomes struct {
	outer *outcomes // of the scope from which this one began, and to which nothing flows back; nil when there is none

	mu sync.Mutex
	of map[lineage.Hash]settled
}

type settled struct {
	outcome lineage.Outcome
	receipt string
}

// Settle notes how the call of an entry ended, for policies that ask about the ancestors of later calls in the scope, and
// the receipt that says so, "" for none. The first word on an entry stays. Whoever calls Settle vouches for it.
func (s *Session) Settle(entry lineage.Hash, o lineage.Outcome, receipt string) {
	if o != lineage.OutcomeOK && o != lineage.OutcomeError && o != lineage.OutcomePanic {
		return // no word that policies know
	}
	s.outcomes.mu.Lock()
	defer s.outcomes.mu.Unlock()
	if s.outcomes.of == nil {
		s.outcomes.of = map[lineage.Hash]settled{}
	}
	if _, known := s.outcomes.of[entry]; !known {
		s.outcomes.of[entry] = settled{o, receipt}
	}
}

// Outcome is what Settle noted, "" when there is no word of it.
func (s *Session) Outcome(entry lineage.Hash) lineage.Outcome { return s.outcomes.get(entry).outcome }

// Receipt is what Settle noted beside the outcome.
func (s *Session) Receipt(entry lineage.Hash) string { return s.outcomes.get(entry).receipt }

func (o *outcomes) get(entry lineage.Hash) settled {
	for ; o != nil; o = o.outer {
		o.mu.Lock()
		found, known := o.of[entry]
		o.mu.Unlock()
		if known {
			return found
		}
	}
	return settled{}
}

// Branch begins a scope with what s has learned so far. Nothing flows back.
func (s *Session) Branch() *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Session{passport: s.passport, trace: s.trace, origin: s.origin, entry: s.entry, err: s.err, outcomes: &outcomes{outer: s.outcomes}}
}

// Entry is the guarded call whose body this session, or the one it branched from, belongs to; nil outside a body.
func (s *Session) Entry() *lineage.Signed { return s.entry }

// WithSession returns a context that carries s. Whoever calls it vouches for the lineage that arrived with the context
// until this moment: s is what it was verified as. See [CarriesUnverified].
func WithSession(ctx context.Context, s *Session) context.Context {
	if carried, arrival := carried(ctx), presented(ctx); carried != "" || arrival != nil {
		return context.WithValue(ctx, sessionKey{}, attached{s, carried, arrival})
	}
	return context.WithValue(ctx, sessionKey{}, s)
}

// attached is a session together with the lineage that it stands for.
type attached struct {
	session *Session
	carried string // in the baggage
	arrival *Arrival
}

// SessionFrom returns the session of the context, nil when there is none.
func SessionFrom(ctx context.Context) *Session { return attachedTo(ctx).session }

func attachedTo(ctx context.Context) attached {
	switch v := ctx.Value(sessionKey{}).(type) {
	case *Session:
		return attached{session: v}
	case attached:
		return v
	}
	return attached{}
}

// TraceID is the trace that the session's entries share.
func (s *Session) TraceID() string { return s.trace }

// Origin is the source type that no root in the session is better than, or "".
func (s *Session) Origin() string { return s.origin }

// Passport returns what the session has learned so far. It is immutable: later calls do not change it.
func (s *Session) Passport() lineage.Passport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.passport
}

// Err is the reason why the session can no longer be used, or nil.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Absorb adds the entries of p. When p contradicts what is known, see [lineage.ErrConflict], the session is
// unusable from then on: going on without what a callee learned could make later calls look better than they are.
func (s *Session) Absorb(p lineage.Passport) error {
	merged, onward, err := s.absorb(p)
	switch {
	case onward == nil:
		return err
	case err != nil:
		onward.Fail(err)
		return err
	}
	return onward.Absorb(merged) // outside the lock: sessions are locked one at a time
}

func (s *Session) absorb(p lineage.Passport) (merged lineage.Passport, onward *Session, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		if merged, s.err = lineage.Merge(s.passport, p); s.err == nil {
			s.passport = merged
		}
	}
	return s.passport, s.onward, s.err
}

// Return ends the scope of a body: what it learned flows into the caller's session, and so does what is learned
// later by calls that the body left behind in an iterator, a lazy reader or a goroutine.
func (s *Session) Return(to *Session) error {
	s.mu.Lock()
	s.onward = to
	passport, err := s.passport, s.err
	s.mu.Unlock()
	if err != nil {
		to.Fail(err)
		return nil // said where it happened
	}
	return to.Absorb(passport)
}

// Fail makes the session unusable: every later call in it is refused with err. The first error stays; nil counts
// as an error without a reason.
func (s *Session) Fail(err error) {
	if err == nil {
		err = errNoReason
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}
