// Package storetest holds every [store.Store] to one contract (SPEC §9): values come back as they were written, each
// key is written once however many try, time ends, nothing that is not allowed gets in, contexts are obeyed, a store
// that cannot answer says so, and errors are classified and carry no data.
package storetest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/store"
)

// Names of the parts of a [Harness] that may be missing, for a reason.
const (
	NeedsSecond = "Second"
	NeedsDown   = "Down"
	NeedsStall  = "Stall"
)

// patience is how long an operation may take that is to end by itself or with its context, and how long a store may
// take to come back after its server did.
const patience = 15 * time.Second

// A Harness connects one implementation to [TestStore]. Keys are random, so the data may outlive a run.
type Harness struct {
	// New returns a client of the store. It is called once for every check; everything that must be closed is
	// registered with t.Cleanup.
	New func(t *testing.T) store.Store

	// Second returns another client of the same data, as another process would have it. It is called after New.
	Second func(t *testing.T) store.Store

	// Down makes the server unreachable for all clients until up is called: connections end and are refused. The data
	// may be lost.
	Down func(t *testing.T) (up func())

	// Stall makes the server leave all clients without an answer until up is called: connections stay and nothing
	// comes.
	Stall func(t *testing.T) (up func())

	// Unsupported says, for each of Second, Down and Stall that is nil, why the store cannot have it.
	Unsupported map[string]string

	// MaxValue is the longest value in bytes that the store takes as New configures it. 0: [store.MaxValue].
	MaxValue int

	// TTL is the shortest time that the store can count. 0: one second.
	TTL time.Duration

	// Late is how long after its time a value may still be seen. 0: one second.
	Late time.Duration

	// Run runs one check. nil: the function is called. A store that lives in the process gives [synctest.Test], so
	// that no time passes.
	Run func(t *testing.T, check func(t *testing.T))
}

// TestStore runs the contract of [store.Store].
func TestStore(t *testing.T, h Harness) {
	t.Helper()
	if err := h.validate(); err != nil {
		t.Fatal(err)
	}
	h = h.filled()
	for _, c := range contract() {
		t.Run(c.name, func(t *testing.T) {
			if why, ok := h.Unsupported[c.needs]; ok {
				t.Skipf("%s: %s", c.needs, why)
			}
			h.Run(t, func(t *testing.T) {
				p, err := h.probe(t)
				if err != nil {
					t.Fatal(err)
				}
				if err := c.run(p); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func (h Harness) validate() error {
	if h.New == nil {
		return errors.New("harness: New is nil, so nothing would be tested")
	}
	if h.TTL < 0 || h.TTL > time.Minute || h.Late < 0 || h.Late > time.Minute {
		return errors.New("harness: TTL and Late are from 0 to a minute; the checks wait for them")
	}
	if h.MaxValue < 0 || h.MaxValue > store.MaxValue {
		return fmt.Errorf("harness: MaxValue of %d; want at most %d", h.MaxValue, store.MaxValue)
	}
	missing := map[string]bool{NeedsSecond: h.Second == nil, NeedsDown: h.Down == nil, NeedsStall: h.Stall == nil}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		if why, given := h.Unsupported[name]; missing[name] != given || given && why == "" {
			return fmt.Errorf("harness: set %s, or say in Unsupported why the store cannot have it", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(h.Unsupported)) {
		if _, known := missing[name]; !known {
			return fmt.Errorf("harness: %q cannot be unsupported", name)
		}
	}
	return nil
}

func (h Harness) filled() Harness {
	if h.MaxValue == 0 {
		h.MaxValue = store.MaxValue
	}
	if h.TTL == 0 {
		h.TTL = time.Second
	}
	if h.Late == 0 {
		h.Late = time.Second
	}
	if h.Run == nil {
		h.Run = func(t *testing.T, check func(*testing.T)) { check(t) }
	}
	return h
}

// probe makes the clients of one check.
func (h Harness) probe(t *testing.T) (*probe, error) {
	p := &probe{Harness: h, t: t, first: h.New(t)}
	if p.first == nil {
		return nil, errors.New("harness: New returned no store")
	}
	p.second = p.first
	if h.Second != nil {
		p.second = h.Second(t)
		if p.second == nil || p.second == p.first {
			return nil, errors.New("harness: Second returned no other client, so nothing would be shared")
		}
	}
	random := make([]byte, 12)
	rand.Read(random) // never fails (crypto/rand, Go 1.24)
	p.random = hex.EncodeToString(random)
	return p, nil
}

// A check is one clause of the contract; needs names the part of the harness without which it cannot run.
type check struct {
	name, needs string
	run         func(*probe) error
}

func contract() []check {
	return []check{
		{"round trip", "", (*probe).roundTrip},
		{"keys are distinct", "", (*probe).distinct},
		{"refused", "", (*probe).refused},
		{"not found", "", (*probe).notFound},
		{"written once", "", (*probe).writtenOnce},
		{"one of many writers wins", "", (*probe).oneWins},
		{"two clients", NeedsSecond, (*probe).shared},
		{"slices are not shared", "", (*probe).unshared},
		{"time to live", "", (*probe).expires},
		{"time to live is not extended", "", (*probe).notExtended},
		{"one wins when time is over", "", (*probe).oneWinsLater},
		{"context ended before", "", (*probe).endedBefore},
		{"concurrency", "", (*probe).concurrent},
		{"server down", NeedsDown, (*probe).down},
		{"server stalls", NeedsStall, (*probe).stalled},
		{"context ends while the server stalls", NeedsStall, (*probe).endedDuring},
		{"round trip after all that", "", (*probe).roundTrip},
	}
}

// A probe asks the store and holds every answer against the clauses that apply to all of them.
type probe struct {
	Harness
	t             *testing.T
	first, second store.Store
	random        string
	keys          int
}

// key returns a key that was never used.
func (p *probe) key() string {
	p.keys++
	return fmt.Sprintf("storetest.%s:%d", p.random, p.keys)
}

func sentinels() []error {
	return []error{store.ErrNotFound, store.ErrExists, store.ErrUnavailable, store.ErrRefused}
}

// put and get call the store and expect an error that matches want, none when it is nil.
func put(ctx context.Context, s store.Store, key string, value []byte, ttl time.Duration, want error) error {
	start := time.Now()
	return about("put", fault(guarded(func() error { return s.Put(ctx, key, value, ttl) }), want, key, value), start)
}

func get(ctx context.Context, s store.Store, key string, want error) ([]byte, error) {
	var value []byte
	start := time.Now()
	err := guarded(func() (err error) { value, err = s.Get(ctx, key); return err })
	bad := fault(err, want, key, value)
	if err != nil && value != nil {
		bad = errors.Join(bad, errors.New("a value beside an error"))
	}
	return value, about("get", bad, start)
}

// guarded turns a panic of the store into an error: one broken clause must not hide the others.
func guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return f()
}

func about(what string, err error, start time.Time) error {
	if took := time.Since(start); took > patience {
		err = errors.Join(err, fmt.Errorf("took %v", took))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// fault says what is wrong with an error: the wrong one, of no class or of several, or one that carries data.
func fault(err, want error, key string, value []byte) error {
	switch {
	case err == nil && want == nil:
		return nil
	case err == nil:
		return fmt.Errorf("no error; want %q", want)
	}
	if repeats(err, key, value) {
		return errors.New("the error repeats the key or the value")
	}
	classes := 0
	for _, class := range sentinels() {
		if errors.Is(err, class) {
			classes++
		}
	}
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	switch {
	case want == nil:
		return err
	case !errors.Is(err, want):
		return fmt.Errorf("error %q; want %q", err, want)
	case ended && classes > 0:
		return fmt.Errorf("error %q is of a class and also that of an ended context", err)
	case !ended && classes != 1:
		return fmt.Errorf("error %q matches %d of the four classes", err, classes)
	}
	return nil
}

// repeats looks for key and value in everything that prints of an error, as text and in the usual encodings. Short
// ones are left out: a short word is in many texts by chance.
func repeats(err error, key string, value []byte) bool {
	text := fmt.Sprintf("%v %+v %#v", err, err, err)
	for _, secret := range []string{key, string(value[:min(len(value), 64)])} {
		if len(secret) < 8 {
			continue
		}
		for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprintf("%q", secret)} {
			if strings.Contains(text, strings.Trim(form, `"`)) {
				return true
			}
		}
	}
	return false
}
