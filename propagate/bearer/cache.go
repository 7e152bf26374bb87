package bearer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A key is one of the issuer's that may have signed.
type key struct {
	id     string   // "" for none
	algs   []string // by which it signs
	public any      // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// A keyCache keeps the issuer's keys, as the package comment says.
type keyCache struct {
	config Config
	fetch  func(context.Context) ([]key, error) // errors match ErrKeys

	mu      sync.Mutex
	keys    []key         // replaced, never changed
	fetched time.Time     // when the fetch that brought keys began; zero: there was none
	begun   time.Time     // when the last fetch began
	err     error         // of the last fetch that ended
	flight  chan struct{} // closed when the fetch under way ends; nil: there is none
}

// find returns the one key that fits.
func (s *keyCache) find(ctx context.Context, alg, kid string) (key, error) {
	k, flight, err := s.look(alg, kid, true)
	if flight == nil {
		return k, err
	}
	select {
	case <-flight:
		k, _, err = s.look(alg, kid, false)
		return k, err
	case <-ctx.Done(): // the fetch goes on, for the others
		return key{}, fmt.Errorf("%w: not waited for: %w", ErrKeys, context.Cause(ctx))
	}
}

// look returns the key, or why there is none, or a flight after which to look again when the caller may wait.
func (s *keyCache) look(alg, kid string, mayWait bool) (key, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := time.Since(s.fetched) // of the zero time: centuries
	found := s.fitting(alg, kid)
	known := len(found) == 1 && age < s.config.KeysMaxStale
	if !known || age >= s.config.KeysMaxAge/2 {
		s.refresh()
	}
	// Keys of MaxAge may have been withdrawn, so new ones are waited for once. After that failed, requests must not
	// stand in line for an endpoint that is down.
	wait := !known || age >= s.config.KeysMaxAge && s.err == nil
	switch {
	case wait && mayWait && s.flight != nil:
		return key{}, s.flight, nil
	case known:
		return found[0], nil, nil
	case s.err != nil:
		return key{}, nil, s.err // it might be of a key that we could not fetch
	case len(found) > 1:
		return key{}, nil, bad("several keys of the issuer fit it; the issuer must give them different kids")
	}
	return key{}, nil, bad(fmt.Sprintf("none of the %d usable keys of the issuer fits it", len(s.keys)))
}

// fitting returns the keys that may have signed. RFC 7517 §4.5: two keys may share a kid when no algorithm fits both.
func (s *keyCache) fitting(alg, kid string) []key {
	var out []key
	for _, k := range s.keys {
		if (kid == "" || k.id == kid) && slices.Contains(k.algs, alg) {
			out = append(out, k)
		}
	}
	return out
}

// refresh begins a fetch, unless one is under way or was just now. mu is held.
func (s *keyCache) refresh() {
	now := time.Now()
	if s.flight != nil || now.Sub(s.begun) < s.config.KeysMinRefresh {
		return
	}
	flight := make(chan struct{})
	s.begun, s.flight = now, flight
	go func() {
		// Not the context of a caller: all of them share the fetch.
		ctx, cancel := context.WithTimeout(context.Background(), s.config.Timeout)
		defer cancel()
		keys, err := s.fetch(ctx)
		if err != nil {
			s.config.Logger.Warn("kest: keys for bearer tokens cannot be fetched", "issuer", s.config.Issuer, "reason", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.err, s.flight = err, nil; err == nil {
			s.keys, s.fetched = keys, now
		}
		close(flight)
	}()
}
