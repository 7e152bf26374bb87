package storetest_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/storetest"
)

const timeout = 2 * time.Second // of one operation

// A server is a correct store with an outage switch; clients share it.
type server struct {
	mu     sync.Mutex
	data   map[string]item
	outage chan struct{} // closed at its end; nil: none
	stalls bool          // the outage is silent
}

type item struct {
	value []byte
	end   time.Time
}

// answers waits for the server as a client does.
func (s *server) answers(ctx context.Context) error {
	s.mu.Lock()
	outage, stalls := s.outage, s.stalls
	s.mu.Unlock()
	if ctx.Err() == nil && outage != nil {
		if !stalls {
			return store.Unavailable(ctx, errors.New("connection refused"))
		}
		select {
		case <-ctx.Done():
		case <-outage:
		case <-time.After(timeout):
			return store.Unavailable(ctx, errors.New("no answer"))
		}
	}
	return ctx.Err()
}

func (s *server) fail(stalls bool) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage, s.stalls = make(chan struct{}), stalls
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(s.outage)
		s.outage = nil
	}
}

type client struct{ *server }

func (c *client) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := store.Check(key, value, 0, ttl); err != nil {
		return err
	}
	if err := c.answers(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().Before(c.data[key].end) {
		return store.ErrExists
	}
	c.data[key] = item{bytes.Clone(value), time.Now().Add(ttl)}
	return nil
}

func (c *client) Get(ctx context.Context, key string) ([]byte, error) {
	if err := store.CheckKey(key); err != nil {
		return nil, err
	}
	if err := c.answers(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.data[key]; time.Now().Before(i.end) {
		return append([]byte{}, i.value...), nil
	}
	return nil, store.ErrNotFound
}

// A twist is a client with one of its operations replaced.
type twist struct {
	*client
	put func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error
	get func(c *client, ctx context.Context, key string) ([]byte, error)
}

func (w *twist) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if w.put != nil {
		return w.put(w.client, ctx, key, value, ttl)
	}
	return w.client.Put(ctx, key, value, ttl)
}

func (w *twist) Get(ctx context.Context, key string) ([]byte, error) {
	if w.get != nil {
		return w.get(w.client, ctx, key)
	}
	return w.client.Get(ctx, key)
}

// harness connects a twisted store with all its parts.
func harness(w twist) storetest.Harness {
	s := &server{data: map[string]item{}}
	open := func(*testing.T) store.Store {
		w := w
		w.client = &client{s}
		return &w
	}
	return storetest.Harness{
		New: open, Second: open, Run: synctest.Test, Late: time.Nanosecond,
		Down:  func(*testing.T) func() { return s.fail(false) },
		Stall: func(*testing.T) func() { return s.fail(true) },
	}
}

func TestRightStorePasses(t *testing.T) {
	storetest.TestStore(t, harness(twist{}))
}

// TestWornOut: what a store takes at first it takes after all the other checks.
func TestWornOut(t *testing.T) {
	var puts atomic.Int32
	h := harness(putErr(func(err error, _ string, _ []byte) error {
		if puts.Add(1) > 1000 && err == nil {
			return store.ErrUnavailable
		}
		return err
	}))
	synctest.Test(t, func(t *testing.T) {
		failed := storetest.Failures(t, h)
		if failed["round trip"] != nil || failed["round trip after all that"] == nil {
			t.Error(failed)
		}
	})
}

func TestStoreWithoutServerPasses(t *testing.T) {
	h := harness(twist{})
	h.Second, h.Down, h.Stall = nil, nil, nil
	h.Unsupported = map[string]string{
		storetest.NeedsSecond: "in the process", storetest.NeedsDown: "in the process", storetest.NeedsStall: "in the process",
	}
	storetest.TestStore(t, h)
}

type putFunc = func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error

// putErr and getErr replace the errors of a correct client.
func putErr(f func(err error, key string, value []byte) error) twist {
	return twist{put: func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error {
		return f(c.Put(ctx, key, value, ttl), key, value)
	}}
}

func getErr(f func(err error, key string) error) twist {
	return twist{get: func(c *client, ctx context.Context, key string) ([]byte, error) {
		value, err := c.Get(ctx, key)
		return value, f(err, key)
	}}
}

// putWith changes the arguments of a correct client.
func putWith(f func(ctx context.Context, key string, value []byte, ttl time.Duration) (context.Context, string, []byte, time.Duration)) twist {
	return twist{put: func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error {
		return c.Put(f(ctx, key, value, ttl))
	}}
}

// unchecked stores what it is given when skip says so.
func unchecked(skip func(err error, key string, value []byte, ttl time.Duration) bool) twist {
	return twist{put: func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error {
		err := c.Put(ctx, key, value, ttl)
		if errors.Is(err, store.ErrRefused) && skip(err, key, value, ttl) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.data[key] = item{bytes.Clone(value), time.Now().Add(min(max(ttl, time.Hour), store.MaxTTL))}
			return nil
		}
		return err
	}}
}

// checkThenSet is the classic race: two steps where there should be one.
func checkThenSet(only func(c *client, key string) bool) putFunc {
	return func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error {
		if store.Check(key, value, 0, ttl) != nil || ctx.Err() != nil || !only(c, key) {
			return c.Put(ctx, key, value, ttl)
		}
		if _, err := c.Get(ctx, key); err == nil {
			return store.ErrExists
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		time.Sleep(time.Microsecond)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.data[key] = item{bytes.Clone(value), time.Now().Add(ttl)}
		return nil
	}
}

// on returns a result for errors of a class and leaves the others.
func on(class error, instead func(key string) error) func(err error, key string) error {
	return func(err error, key string) error {
		if errors.Is(err, class) {
			return instead(key)
		}
		return err
	}
}

func constant(err error) func(string) error { return func(string) error { return err } }

// TestContractCatches breaks one clause at a time: the kit must notice each, or passing it means nothing.
func TestContractCatches(t *testing.T) {
	tests := []struct {
		name, check string
		store       twist
	}{
		{"keeps nothing", "round trip", twist{put: func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error {
			return nil
		}}},
		{"cuts at NUL", "round trip", putWith(func(ctx context.Context, key string, value []byte, ttl time.Duration) (context.Context, string, []byte, time.Duration) {
			before, _, _ := bytes.Cut(value, []byte{0})
			return ctx, key, before, ttl
		})},
		{"makes it UTF-8", "round trip", putWith(func(ctx context.Context, key string, value []byte, ttl time.Duration) (context.Context, string, []byte, time.Duration) {
			return ctx, key, bytes.ToValidUTF8(value, []byte("?")), ttl
		})},
		{"trims", "round trip", putWith(func(ctx context.Context, key string, value []byte, ttl time.Duration) (context.Context, string, []byte, time.Duration) {
			return ctx, key, bytes.TrimSpace(value), ttl
		})},
		{"empty is nothing", "round trip", twist{get: func(c *client, ctx context.Context, key string) ([]byte, error) {
			value, err := c.Get(ctx, key)
			if err == nil && len(value) == 0 {
				return nil, store.ErrNotFound
			}
			return value, err
		}}},
		{"limit off by one", "round trip", twist{put: func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error {
			if len(value) >= store.MaxValue {
				return store.ErrRefused
			}
			return c.Put(ctx, key, value, ttl)
		}}},
		{"folds case", "keys are distinct", twist{
			put: func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error {
				return c.Put(ctx, strings.ToLower(key), value, ttl)
			},
			get: func(c *client, ctx context.Context, key string) ([]byte, error) {
				return c.Get(ctx, strings.ToLower(key))
			},
		}},
		{"colon is dot", "keys are distinct", twist{
			put: func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error {
				return c.Put(ctx, strings.ReplaceAll(key, ":", "."), value, ttl)
			},
			get: func(c *client, ctx context.Context, key string) ([]byte, error) {
				return c.Get(ctx, strings.ReplaceAll(key, ":", "."))
			},
		}},
		{"short keys only", "keys are distinct", putErr(func(err error, key string, _ []byte) error {
			if len(key) == store.MaxKey {
				return store.ErrRefused
			}
			return err
		})},
		{"takes any key", "refused", unchecked(func(_ error, key string, _ []byte, _ time.Duration) bool { return store.CheckKey(key) != nil })},
		{"takes one more byte", "refused", unchecked(func(_ error, _ string, value []byte, _ time.Duration) bool {
			return len(value) == store.MaxValue+1
		})},
		{"takes no time", "refused", unchecked(func(_ error, _ string, _ []byte, ttl time.Duration) bool { return ttl == 0 })},
		{"takes negative time", "refused", unchecked(func(_ error, _ string, _ []byte, ttl time.Duration) bool { return ttl < 0 })},
		{"takes any time", "refused", unchecked(func(_ error, _ string, _ []byte, ttl time.Duration) bool { return ttl > store.MaxTTL })},
		{"refuses and keeps", "refused", twist{put: func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error {
			err := c.Put(ctx, key, value, ttl)
			if errors.Is(err, store.ErrRefused) && store.CheckKey(key) == nil {
				c.Put(ctx, key, nil, time.Hour)
			}
			return err
		}}},
		{"reads any key", "refused", getErr(on(store.ErrRefused, constant(store.ErrNotFound)))},
		{"panics", "refused", getErr(on(store.ErrRefused, func(string) error { panic("no such key") }))},
		{"finds by prefix", "not found", twist{get: func(c *client, ctx context.Context, key string) ([]byte, error) {
			value, err := c.Get(ctx, key)
			if errors.Is(err, store.ErrNotFound) {
				c.mu.Lock()
				defer c.mu.Unlock()
				for other, i := range c.data {
					if strings.HasPrefix(other, key) {
						return bytes.Clone(i.value), nil
					}
				}
			}
			return value, err
		}}},
		{"not found is no error", "not found", getErr(on(store.ErrNotFound, constant(nil)))},
		{"unclassified", "not found", getErr(on(store.ErrNotFound, constant(errors.New("nothing"))))},
		{"two classes", "not found", getErr(on(store.ErrNotFound, constant(errors.Join(store.ErrNotFound, store.ErrUnavailable))))},
		{"error with the key", "not found", getErr(on(store.ErrNotFound, func(key string) error {
			return fmt.Errorf("%w: %s", store.ErrNotFound, key)
		}))},
		{"error with the key in hex", "not found", getErr(on(store.ErrNotFound, func(key string) error {
			return fmt.Errorf("%w: %s", store.ErrNotFound, hex.EncodeToString([]byte(key)))
		}))},
		{"value beside the error", "not found", twist{get: func(c *client, ctx context.Context, key string) ([]byte, error) {
			value, err := c.Get(ctx, key)
			if err != nil {
				value = []byte{}
			}
			return value, err
		}}},
		{"error with the value", "written once", putErr(func(err error, _ string, value []byte) error {
			if errors.Is(err, store.ErrExists) {
				err = fmt.Errorf("%w: (%q)", err, value)
			}
			return err
		})},
		{"overwrites", "written once", twist{put: func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error {
			c.mu.Lock()
			delete(c.data, key)
			c.mu.Unlock()
			return c.Put(ctx, key, value, ttl)
		}}},
		{"overwrites, and says exists", "written once", putErr(func(err error, _ string, _ []byte) error { return err }).overwriting()},
		{"same value again is fine", "written once", twist{put: func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error {
			if got, err := c.Get(ctx, key); err == nil && bytes.Equal(got, value) && store.Check(key, value, 0, ttl) == nil {
				return nil
			}
			return c.Put(ctx, key, value, ttl)
		}}},
		{"empty counts as unwritten", "written once", twist{put: func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error {
			if got, err := c.Get(ctx, key); err == nil && len(got) == 0 {
				c.mu.Lock()
				delete(c.data, key)
				c.mu.Unlock()
			}
			return c.Put(ctx, key, value, ttl)
		}}},
		{"checks, then sets", "one of many writers wins", twist{put: checkThenSet(func(*client, string) bool { return true })}},
		{"nobody wins", "one of many writers wins", putErr(contended())},
		{"loser is visible", "one of many writers wins", visible()},
		{"checks, then sets what is over", "one wins when time is over", twist{put: checkThenSet(func(c *client, key string) bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			_, was := c.data[key]
			return was
		})}},
		{"remembers that it saw nothing", "two clients", forgetful()},
		{"aliases its argument", "slices are not shared", twist{put: func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error {
			err := c.Put(ctx, key, value, ttl)
			if err == nil {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.data[key] = item{value, c.data[key].end}
			}
			return err
		}}},
		{"aliases its result", "slices are not shared", twist{get: func(c *client, ctx context.Context, key string) ([]byte, error) {
			if _, err := c.Get(ctx, key); err != nil {
				return nil, err
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.data[key].value, nil
		}}},
		{"changes its argument", "slices are not shared", twist{put: func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error {
			defer clear(value)
			return c.Put(ctx, key, value, ttl)
		}}},
		{"ignores time", "time to live", withTTL(func(time.Duration) time.Duration { return store.MaxTTL })},
		{"too short", "time to live", withTTL(func(ttl time.Duration) time.Duration { return ttl * 9 / 10 })},
		{"cuts to seconds", "time to live", withTTL(func(ttl time.Duration) time.Duration { return ttl.Truncate(time.Second) })},
		{"too long", "time to live", withTTL(func(ttl time.Duration) time.Duration { return min(ttl+200*time.Millisecond, store.MaxTTL) })},
		{"one time for all", "time to live", withTTL(func(time.Duration) time.Duration { return time.Second })},
		{"key is used up", "time to live", twist{put: func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error {
			c.mu.Lock()
			_, was := c.data[key]
			c.mu.Unlock()
			if was && ctx.Err() == nil && store.Check(key, value, 0, ttl) == nil && c.answers(ctx) == nil {
				return store.ErrExists
			}
			return c.Put(ctx, key, value, ttl)
		}}},
		{"reading extends", "time to live is not extended", twist{get: func(c *client, ctx context.Context, key string) ([]byte, error) {
			value, err := c.Get(ctx, key)
			if err == nil {
				c.extend(key, time.Second)
			}
			return value, err
		}}},
		{"trying extends", "time to live is not extended", twist{put: func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error {
			err := c.Put(ctx, key, value, ttl)
			if errors.Is(err, store.ErrExists) {
				c.extend(key, ttl)
			}
			return err
		}}},
		{"get ignores the context", "context ended before", twist{get: func(c *client, _ context.Context, key string) ([]byte, error) {
			return c.Get(context.Background(), key)
		}}},
		{"put ignores the context", "context ended before", twist{put: func(c *client, _ context.Context, key string, value []byte, ttl time.Duration) error {
			return c.Put(context.Background(), key, value, ttl)
		}}},
		{"hides the context", "context ended before", getErr(on(context.Canceled, constant(store.ErrUnavailable)))},
		{"deadline and class", "context ended before", getErr(on(context.DeadlineExceeded, constant(errors.Join(context.DeadlineExceeded, store.ErrUnavailable))))},
		{"crosses values", "concurrency", crossed()},
		{"down is not found", "server down", getErr(on(store.ErrUnavailable, constant(store.ErrNotFound)))},
		{"down is exists", "server down", putErr(func(err error, key string, _ []byte) error {
			return on(store.ErrUnavailable, constant(store.ErrExists))(err, key)
		})},
		{"down is success", "server down", putErr(func(err error, key string, _ []byte) error {
			return on(store.ErrUnavailable, constant(nil))(err, key)
		})},
		{"never comes back", "server down", broken()},
		{"own deadline as the context's", "server stalls", getErr(on(store.ErrUnavailable, constant(fmt.Errorf("%w: %w", store.ErrUnavailable, context.DeadlineExceeded))))},
		{"waits for a minute", "server stalls", twist{get: func(c *client, ctx context.Context, key string) ([]byte, error) {
			value, err := c.Get(ctx, key)
			if errors.Is(err, store.ErrUnavailable) {
				time.Sleep(time.Minute)
			}
			return value, err
		}}},
		{"half a value", "server stalls", twist{put: func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error {
			err := c.Put(ctx, key, value, ttl)
			if errors.Is(err, store.ErrUnavailable) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.data[key] = item{value[:len(value)/2], time.Now().Add(ttl)}
			}
			return err
		}}},
		{"waits for its own deadline", "context ends while the server stalls", twist{get: func(c *client, ctx context.Context, key string) ([]byte, error) {
			start := time.Now()
			value, err := c.Get(ctx, key)
			if ctx.Err() != nil && time.Since(start) > 0 {
				time.Sleep(timeout)
			}
			return value, err
		}}},
		{"own error for the context's", "context ends while the server stalls", putErr(func(err error, key string, _ []byte) error {
			return on(context.Canceled, constant(store.ErrUnavailable))(err, key)
		})},
	}
	if len(tests) < 58 {
		t.Fatalf("the table lost rows: %d", len(tests))
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				if len(storetest.Failures(t, harness(test.store), test.check)) == 0 {
					t.Errorf("check %q passed", test.check)
				}
			})
		})
	}
}

func withTTL(f func(time.Duration) time.Duration) twist {
	return putWith(func(ctx context.Context, key string, value []byte, ttl time.Duration) (context.Context, string, []byte, time.Duration) {
		if ttl > 0 && ttl <= store.MaxTTL {
			ttl = f(ttl)
		}
		return ctx, key, value, ttl
	})
}

// overwriting keeps the value although it answers ErrExists.
func (w twist) overwriting() twist {
	return twist{put: func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error {
		err := w.put(c, ctx, key, value, ttl)
		if errors.Is(err, store.ErrExists) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.data[key] = item{bytes.Clone(value), c.data[key].end}
		}
		return err
	}}
}

func (s *server) extend(key string, by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.data[key]
	s.data[key] = item{i.value, time.Now().Add(by)}
}

// contended says ErrExists to everybody who comes while another is there.
func contended() func(err error, key string, _ []byte) error {
	var busy atomic.Int32
	return func(err error, _ string, _ []byte) error {
		defer busy.Add(-1)
		first := busy.Add(1) == 1
		time.Sleep(time.Microsecond)
		if err == nil && (!first || busy.Load() > 1) {
			return store.ErrExists
		}
		return err
	}
}

// visible shows a value for a moment before it finds out that the key is taken.
func visible() twist {
	return twist{put: func(c *client, ctx context.Context, key string, value []byte, ttl time.Duration) error {
		err := c.Put(ctx, key, value, ttl)
		if errors.Is(err, store.ErrExists) {
			c.mu.Lock()
			before := c.data[key]
			c.data[key] = item{bytes.Clone(value), before.end}
			c.mu.Unlock()
			time.Sleep(time.Microsecond)
			c.mu.Lock()
			c.data[key] = before
			c.mu.Unlock()
		}
		return err
	}}
}

// forgetful answers from what it saw the first time.
func forgetful() twist {
	var seen sync.Map
	return twist{get: func(c *client, ctx context.Context, key string) ([]byte, error) {
		type asked struct {
			*client
			key string
		}
		if _, absent := seen.Load(asked{c, key}); absent && ctx.Err() == nil {
			return nil, store.ErrNotFound
		}
		value, err := c.Get(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			seen.Store(asked{c, key}, true)
		}
		return value, err
	}}
}

// crossed gives the value of whoever came last.
func crossed() twist {
	var last atomic.Pointer[string]
	return twist{get: func(c *client, ctx context.Context, key string) ([]byte, error) {
		last.Store(&key)
		time.Sleep(time.Microsecond)
		return c.Get(ctx, *last.Load())
	}}
}

// broken stays down once it was.
func broken() twist {
	var down atomic.Bool
	return putErr(func(err error, _ string, _ []byte) error {
		if errors.Is(err, store.ErrUnavailable) {
			down.Store(true)
		}
		if down.Load() && err == nil {
			return store.ErrUnavailable
		}
		return err
	})
}

// TestEmptyHarnessFails: a harness that would run nothing, or leave out something without saying why, is refused.
func TestEmptyHarnessFails(t *testing.T) {
	for name, change := range map[string]func(*storetest.Harness){
		"empty":              func(h *storetest.Harness) { *h = storetest.Harness{} },
		"no store":           func(h *storetest.Harness) { h.New = nil },
		"no second":          func(h *storetest.Harness) { h.Second = nil },
		"no outage":          func(h *storetest.Harness) { h.Down = nil },
		"no stall":           func(h *storetest.Harness) { h.Stall = nil },
		"no reason":          func(h *storetest.Harness) { h.Down, h.Unsupported = nil, map[string]string{storetest.NeedsDown: ""} },
		"reason and hook":    func(h *storetest.Harness) { h.Unsupported = map[string]string{storetest.NeedsDown: "why"} },
		"misspelt":           func(h *storetest.Harness) { h.Unsupported = map[string]string{"Dwon": "why"} },
		"the heart left out": func(h *storetest.Harness) { h.Unsupported = map[string]string{"New": "why"} },
		"negative limit":     func(h *storetest.Harness) { h.MaxValue = -1 },
		"limit too high":     func(h *storetest.Harness) { h.MaxValue = store.MaxValue + 1 },
		"endless":            func(h *storetest.Harness) { h.TTL = time.Hour },
		"very late":          func(h *storetest.Harness) { h.Late = time.Hour },
	} {
		h := harness(twist{})
		change(&h)
		if storetest.Validate(h) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := storetest.Validate(harness(twist{})); err != nil {
		t.Error(err)
	}
}

// TestHarnessThatProvesNothingFails: clients that are none, or that are one.
func TestHarnessThatProvesNothingFails(t *testing.T) {
	one := &client{&server{data: map[string]item{}}}
	for name, h := range map[string]storetest.Harness{
		"no client":        {New: func(*testing.T) store.Store { return nil }},
		"no second client": {New: func(*testing.T) store.Store { return one }, Second: func(*testing.T) store.Store { return nil }},
		"same client":      {New: func(*testing.T) store.Store { return one }, Second: func(*testing.T) store.Store { return one }},
	} {
		if storetest.Failures(t, h)["harness"] == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	apart := harness(twist{})
	apart.Second = harness(twist{}).New
	synctest.Test(t, func(t *testing.T) {
		if len(storetest.Failures(t, apart, "two clients")) == 0 {
			t.Error("two clients of different data pass")
		}
	})
}

// TestOutageThatIsNoneFails: hooks that do nothing.
func TestOutageThatIsNoneFails(t *testing.T) {
	h := harness(twist{})
	nothing := func(*testing.T) func() { return func() {} }
	h.Down, h.Stall = nothing, nothing
	synctest.Test(t, func(t *testing.T) {
		for _, name := range []string{"server down", "server stalls", "context ends while the server stalls"} {
			if len(storetest.Failures(t, h, name)) == 0 {
				t.Errorf("check %q passed", name)
			}
		}
	})
}
