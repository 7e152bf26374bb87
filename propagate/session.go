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
// A Session is safe for concurrent use. Use [NewSession]; the zero value has no trace.
type Session struct {
	trace  string
	origin string
	entry  *lineage.Signed

	mu       sync.Mutex
	passport lineage.Passport
	err      error
}

// NewSession begins a scope with lineage that is already verified. trace is the W3C trace id that the session's
// entries share. origin is what the ingress says of a root in the session: "internet" for whoever comes without
// lineage. A root is no better than that. "" says nothing.
func NewSession(p lineage.Passport, trace, origin string) *Session {
	return &Session{passport: p, trace: trace, origin: origin}
}

// NewBody begins the scope of a guarded call's body: p ends in the call's own entry.
func NewBody(p lineage.Passport, trace, origin string) *Session {
	return &Session{passport: p, trace: trace, origin: origin, entry: p.Last()}
}

// Branch begins a scope with what s has learned so far. Nothing flows back.
func (s *Session) Branch() *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Session{passport: s.passport, trace: s.trace, origin: s.origin, entry: s.entry, err: s.err}
}

// Entry is the guarded call whose body this session, or the one it branched from, belongs to; nil outside a body.
func (s *Session) Entry() *lineage.Signed { return s.entry }

// WithSession returns a context that carries s.
func WithSession(ctx context.Context, s *Session) context.Context {
	return context.WithValue(ctx, sessionKey{}, s)
}

// SessionFrom returns the session of the context, nil when there is none.
func SessionFrom(ctx context.Context) *Session {
	s, _ := ctx.Value(sessionKey{}).(*Session)
	return s
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	merged, err := lineage.Merge(s.passport, p)
	if err != nil {
		s.err = err
		return err
	}
	s.passport = merged
	return nil
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
