package binding

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/store"
)

// flight is one look into the store, which everybody who needs the key waits for.
type flight struct {
	done  chan struct{}   // closed when known and err are there
	ended <-chan struct{} // closed when its time is over
	known *known          // nil: there is no binding, or none that holds
	err   error
}

var (
	errRate = errors.New("too many unknown keys are being looked for; see binding.Config.FetchRate")
	errLate = fmt.Errorf("bindings in the store: %w: no answer in time", store.ErrUnavailable)
)

// lookUp fetches and verifies. nil: the store has no binding of the key to the principal that holds.
func (s *Source) lookUp(ctx context.Context, c claim, roots *lineage.Roots) (*known, error) {
	f, err := s.flight(ctx, c, roots)
	if f == nil || err != nil {
		return nil, err
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-f.ended: // a store that does not heed its context holds up its own goroutine, and no more
		select {
		case <-f.done:
		default:
			return nil, errLate
		}
	}
	if f.known == nil || f.known.claim() != c {
		return nil, f.err
	}
	return s.current(ctx, f.known, roots) // it may have begun before the roots changed
}

// flight joins the look-up of a key, or begins one. nil: there is no need to.
func (s *Source) flight(ctx context.Context, c claim, roots *lineage.Roots) (*flight, error) {
	keyID := c.keyID
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[keyID]; f != nil { // first: it is noted as asked before its answer is there
		return f, nil
	}
	if s.asked.has(keyID, roots) {
		return landed(s.known[c]), nil // which another may have found since the caller looked
	}
	if len(s.flights) >= s.config.MaxKeys || !s.rate.allow(time.Now()) {
		return nil, errRate
	}
	keyID = strings.Clone(keyID) // it may be part of a passport, which a map must not keep
	// For all who wait, so no one of them ends it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.FetchTimeout)
	f := &flight{done: make(chan struct{}), ended: ctx.Done()}
	s.flights[keyID] = f
	go func() {
		defer cancel()
		defer close(f.done)
		s.fly(ctx, keyID, f, roots)
	}()
	return f, nil
}

// landed is a flight that has found k.
func landed(k *known) *flight {
	if k == nil {
		return nil
	}
	f := &flight{done: make(chan struct{}), known: k}
	close(f.done)
	return f
}

// fly looks once. The store is not asked again for a while when it has answered, whatever the answer: what holds is known
// by then. A store that does not answer is.
func (s *Source) fly(ctx context.Context, keyID string, f *flight, roots *lineage.Roots) {
	b, err := fetch(ctx, s.config.Store, keyID)
	if err == nil && b != nil && b.KeyID() != keyID {
		b, err = nil, fmt.Errorf("in the store: %w: it is the %s", lineage.ErrBinding, b)
	}
	switch {
	case errors.Is(err, lineage.ErrBinding):
		s.config.Logger.WarnContext(ctx, "kest: a key binding cannot be used", "key_id", keyID, "reason", err)
	case err != nil && ctx.Err() != nil:
		f.err = errLate // must not look like the end of the context of those who wait
	case err != nil:
		f.err = fmt.Errorf("bindings in the store: %w", err)
	}
	if f.err == nil {
		s.mu.Lock()
		// Before the key is known, because it may be forgotten at once, and must then be looked for again: see drop.
		s.asked.add(keyID, s.config.MaxKeys, s.miss(roots))
		s.mu.Unlock()
		if b != nil {
			f.known, f.err = s.verify(ctx, b, roots)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.err != nil {
		delete(s.asked, keyID)
	}
	delete(s.flights, keyID)
}

// rate is a token bucket.
type rate struct {
	perSecond float64

	mu     sync.Mutex
	tokens float64
	last   time.Time
}

func (r *rate) allow(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if since := now.Sub(r.last); since > 0 { // also the first time, when it is full
		r.tokens = min(2*r.perSecond, r.tokens+since.Seconds()*r.perSecond)
		r.last = now
	}
	if r.tokens < 1 {
		return false
	}
	r.tokens--
	return true
}
