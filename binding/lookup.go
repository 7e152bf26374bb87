package binding

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kest-go/kest/lineage"
)

// flight is one look into the store, which everybody who needs the key waits for.
type flight struct {
	done    chan struct{}
	binding *lineage.KeyBinding
	err     error
}

var errRate = errors.New("too many unknown keys are being looked for")

// lookUp fetches and verifies. nil: the store has no binding that holds.
func (s *Source) lookUp(ctx context.Context, keyID string, now time.Time) (*known, error) {
	s.mu.Lock()
	if until, ok := s.missing[keyID]; ok && now.Before(until) {
		s.mu.Unlock()
		return nil, nil
	}
	f, shared := s.flights[keyID]
	if !shared {
		if !s.rate.allow(now) {
			s.mu.Unlock()
			return nil, errRate
		}
		f = &flight{done: make(chan struct{})}
		s.flights[keyID] = f
		go s.fly(context.WithoutCancel(ctx), keyID, f) // for all who wait, so no one of them ends it
	}
	s.mu.Unlock()
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f.err != nil || f.binding == nil {
		return nil, f.err
	}
	k, err := s.verify(ctx, f.binding, now)
	if k == nil && err == nil {
		s.miss(keyID)
	}
	return k, err
}

// fly looks once. A binding that is not there, or cannot be read, is not looked for again for a while; a store that does
// not answer is.
func (s *Source) fly(ctx context.Context, keyID string, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, s.config.FetchTimeout)
	defer cancel()
	b, err := fetch(ctx, s.config.Store, keyID)
	switch {
	case errors.Is(err, lineage.ErrBinding):
		s.config.Logger.WarnContext(ctx, "kest: a key binding cannot be read", "key_id", keyID, "reason", err)
	case err != nil:
		f.err = fmt.Errorf("bindings in the store: %w", err)
	case b != nil && b.KeyID() == keyID:
		f.binding = b
	}
	if f.err == nil && f.binding == nil {
		s.miss(keyID)
	}
	s.mu.Lock()
	delete(s.flights, keyID)
	s.mu.Unlock()
	close(f.done)
}

// miss remembers that a key was not found. The memory for that is bounded by forgetting all of it.
func (s *Source) miss(keyID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.missing) >= s.config.MaxKeys {
		clear(s.missing)
	}
	s.missing[keyID] = time.Now().Add(s.config.NegativeTTL)
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
	if !r.last.IsZero() {
		r.tokens = min(2*r.perSecond, r.tokens+max(0, now.Sub(r.last).Seconds())*r.perSecond)
	}
	r.last = now
	if r.tokens < 1 {
		return false
	}
	r.tokens--
	return true
}
