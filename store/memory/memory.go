// Package memory keeps values in the process: claim checks and nonces (SPEC §9) of a service that is one process, and
// of tests. Processes do not share it: two replicas behind a load balancer need one of the other stores, since what
// one has written the other does not find, and a hop proof could be replayed to each of them once.
//
// Nothing is evicted before its time (docs/decisions/0007). A store that is full drops what is over; when that is not
// enough, Put is refused with [store.ErrUnavailable]. The limits must therefore be above what arrives within the
// longest time to live.
//
// There is no goroutine, and nothing to close. Every operation drops up to eight values whose time is over, whatever
// key it is about; as each adds one at most, they are gone soon. A store that nobody uses keeps its bytes, never more
// than the limit. Time is the monotonic clock of the process, which setting the machine's clock does not change.
package memory

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/kest-go/kest/store"
)

const (
	// DefaultMaxBytes is the default of [Config].MaxBytes.
	DefaultMaxBytes = 64 << 20

	// Overhead is what a value counts for besides its own bytes and those of its key: about what it takes in the map
	// and in the heap, each with room to grow.
	Overhead = 192

	sweep = 8 // values whose time is over that one operation drops without need
)

// Config bounds a store. The zero value is a good one.
type Config struct {
	// MaxBytes bounds keys and values together, in bytes, with [Overhead] for each. 0: [DefaultMaxBytes]. At least
	// one value of MaxValue must fit.
	MaxBytes int64

	// MaxEntries bounds their number. 0: MaxBytes alone decides.
	MaxEntries int

	// MaxValue bounds each value in bytes. 0: [store.MaxValue].
	MaxValue int
}

// check reports everything that is wrong with a filled config.
func (c Config) check() error {
	var errs []error
	if c.MaxEntries < 0 {
		errs = append(errs, fmt.Errorf("MaxEntries of %d; use a positive number, or 0 for no limit of its own", c.MaxEntries))
	}
	if c.MaxValue < 0 || c.MaxValue > store.MaxValue {
		errs = append(errs, fmt.Errorf("MaxValue of %d; use 1 to %d, or 0 for that", c.MaxValue, store.MaxValue))
	} else if least := int64(store.MaxKey + c.MaxValue + Overhead); c.MaxBytes < least {
		errs = append(errs, fmt.Errorf("MaxBytes of %d, but one value may take %d; raise it, or lower MaxValue", c.MaxBytes, least))
	}
	return errors.Join(errs...)
}

// A Store is a bounded map with times. Make it with [New]. It is safe for concurrent use.
type Store struct {
	config Config

	mu    sync.Mutex
	items map[string]*item
	ends  queue // the same items, the first to end first
	bytes int64
}

type item struct {
	key   string
	value []byte // never written to after it is in the map
	end   time.Time
	index int // in the queue
}

func (i *item) cost() int64 { return int64(len(i.key) + len(i.value) + Overhead) }

var _ store.Store = (*Store)(nil)

// New returns an empty store. It reports everything that is wrong with c.
func New(c Config) (*Store, error) {
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.MaxValue == 0 {
		c.MaxValue = store.MaxValue
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("memory store config: %w", err)
	}
	return &Store{config: c, items: map[string]*item{}}, nil
}

// Put implements [store.Store] in O(log n); a full store takes longer when one large value replaces many small ones
// whose time is over.
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := store.Check(key, value, s.config.MaxValue, ttl); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// Copied before the lock, which others wait for. The key is copied too: it may be a small part of a large header,
	// which must not stay in memory because of it.
	i := &item{key: strings.Clone(key), value: append([]byte(nil), value...)}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now() // within the lock, so that of two operations the later one does not have the earlier time
	s.sweep(now, sweep)
	if old := s.items[key]; old != nil {
		if now.Before(old.end) {
			return store.ErrExists
		}
		s.remove(old)
	}
	for !s.fits(i) {
		if s.sweep(now, 1) == 0 {
			return fmt.Errorf("%w: the memory store is full with %d values that count for %d bytes; raise MaxBytes or MaxEntries, "+
				"or use shorter times", store.ErrUnavailable, len(s.items), s.bytes)
		}
	}
	i.end = now.Add(ttl)
	s.items[i.key] = i
	heap.Push(&s.ends, i)
	s.bytes += i.cost()
	return nil
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := store.CheckKey(key); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	value, ok := s.find(key)
	if !ok {
		return nil, store.ErrNotFound
	}
	return append(make([]byte, 0, len(value)), value...), nil // outside the lock: nobody changes it
}

func (s *Store) find(key string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.sweep(now, sweep)
	if i := s.items[key]; i != nil && now.Before(i.end) {
		return i.value, true
	}
	return nil, false
}

// Usage returns how many values there are and how many bytes they count for, with those whose time is over that no
// operation has dropped yet.
func (s *Store) Usage() (entries int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.items), s.bytes
}

func (s *Store) fits(i *item) bool {
	return s.bytes+i.cost() <= s.config.MaxBytes && (s.config.MaxEntries == 0 || len(s.items) < s.config.MaxEntries)
}

// sweep drops up to limit items whose time is over, and returns how many.
func (s *Store) sweep(now time.Time, limit int) (n int) {
	for n < limit && len(s.ends) > 0 && !now.Before(s.ends[0].end) {
		s.remove(s.ends[0])
		n++
	}
	return n
}

func (s *Store) remove(i *item) {
	heap.Remove(&s.ends, i.index)
	delete(s.items, i.key)
	s.bytes -= i.cost()
	if len(s.items) == 0 { // maps and slices do not shrink; what a burst has left goes at the first quiet moment
		s.items, s.ends = map[string]*item{}, nil
	}
}

// A queue is a heap by end.
type queue []*item

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].end.Before(q[j].end) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements [heap.Interface].
func (q *queue) Push(x any) {
	i := x.(*item)
	i.index = len(*q)
	*q = append(*q, i)
}

// Pop implements [heap.Interface].
func (q *queue) Pop() any {
	last := len(*q) - 1
	i := (*q)[last]
	(*q)[last] = nil // or the array would keep the value alive
	*q = (*q)[:last]
	return i
}
