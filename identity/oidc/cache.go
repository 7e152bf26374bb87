package oidc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kest-go/kest/lineage"
)

// Ages of the keys of an issuer.
const (
	// DefaultRefresh is the age at which keys are fetched anew. A key that the issuer withdrew is believed for about so
	// long.
	DefaultRefresh = 10 * time.Minute
	// DefaultMaxStale is how long keys are believed while their issuer cannot be asked.
	DefaultMaxStale = time.Hour

	minFetchPause = 10 * time.Second // from the begin of one fetch to the begin of the next
	fetchTimeout  = 5 * time.Second  // of discovery and key set together
)

// A keyCache keeps the keys of one issuer. Whatever asks for them, there is one fetch at a time, and none within
// minFetchPause of the last: bindings with made-up key ids cannot make us flood the issuer. A fetch belongs to nobody:
// whoever waits for it does so as long as its own context lets it.
type keyCache struct {
	issuer            string
	refresh, maxStale time.Duration
	logger            *slog.Logger
	fetch             func(context.Context) ([]lineage.RootKey, error) // errors match ErrKeys

	mu      sync.Mutex
	keys    *keySet       // replaced, never changed
	fetched time.Time     // when the fetch that brought keys began; zero: there was none
	begun   time.Time     // when the last fetch began
	err     error         // of the last fetch that ended
	flight  chan struct{} // closed when the fetch under way ends; nil: there is none
}

// A keySet is what one fetch brought. nil has no keys.
type keySet []lineage.RootKey

func (s *keySet) list() []lineage.RootKey {
	if s == nil {
		return nil
	}
	return *s
}

// known returns the keys, nil when there are none that are fresh enough, and sees to it that old ones are renewed. It
// returns the same pointer until a fetch brought others.
func (c *keyCache) known() *keySet {
	keys, _, _ := c.look("", false)
	return keys
}

// find returns the keys after waiting for newer ones when it is not known which key the id names. An id that remains
// unknown is no error.
func (c *keyCache) find(ctx context.Context, id string) ([]lineage.RootKey, error) {
	keys, flight, err := c.look(id, true)
	if flight == nil {
		return keys.list(), err
	}
	select {
	case <-flight:
		keys, _, err = c.look(id, false)
		return keys.list(), err
	case <-ctx.Done(): // the fetch goes on, for the others
		return nil, fmt.Errorf("%w: issuer %q: not waited for: %w", ErrKeys, c.issuer, context.Cause(ctx))
	}
}

// look returns what is known, or a flight after which to look again when the caller may wait.
func (c *keyCache) look(id string, mayWait bool) (*keySet, <-chan struct{}, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	age := time.Since(c.fetched) // of the zero time: centuries
	usable := age < c.maxStale
	found := usable && slices.ContainsFunc(c.keys.list(), func(k lineage.RootKey) bool { return k.ID == id })
	if age >= c.refresh/2 || mayWait && !found {
		c.begin()
	}
	// Keys of that age may have been withdrawn, so new ones are waited for once. After that failed, nobody stands in line
	// for an issuer that is down.
	wait := !found || age >= c.refresh && c.err == nil
	switch {
	case mayWait && wait && c.flight != nil:
		return nil, c.flight, nil
	case usable:
		return c.keys, nil, nil
	case c.err != nil:
		return nil, nil, c.err
	}
	return nil, nil, fmt.Errorf("%w: issuer %q: they are too old, and were asked for just now", ErrKeys, c.issuer)
}

// begin starts a fetch, unless one is under way or was just now. mu is held.
func (c *keyCache) begin() {
	now := time.Now()
	if c.flight != nil || now.Sub(c.begun) < minFetchPause {
		return
	}
	flight := make(chan struct{})
	c.begun, c.flight = now, flight
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout) // of no caller: all of them share it
		defer cancel()
		keys, err := c.fetch(ctx)
		if err != nil {
			c.logger.Warn("kest: keys of an OIDC issuer cannot be fetched", "issuer", c.issuer, "reason", err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.err, c.flight = err, nil; err == nil {
			c.keys, c.fetched = (*keySet)(&keys), now
		}
		close(flight)
	}()
}

// wait returns when the fetch under way has ended, or ctx has.
func (c *keyCache) wait(ctx context.Context) {
	c.mu.Lock()
	flight := c.flight
	c.mu.Unlock()
	if flight == nil {
		return
	}
	select {
	case <-flight:
	case <-ctx.Done():
	}
}

// checkAges reports what is wrong with the ages of a configuration.
func checkAges(refresh, maxStale time.Duration) error {
	if refresh < time.Minute || refresh > time.Hour {
		return fmt.Errorf("refresh of keys after %v; use 1m to 1h, or 0 for the default", refresh)
	}
	if maxStale < refresh || maxStale > 24*time.Hour {
		return errors.New("MaxStale must be between Refresh and 24h; use 0 for the default")
	}
	return nil
}
