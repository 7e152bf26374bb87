package natskv_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/natskv"
)

// TestRestart kills the server under load. Every operation ends in time with an error of one class, no writer is told
// that another one wrote its key, and what was acknowledged is there afterwards.
func TestRestart(t *testing.T) {
	const timeout, workers = 500 * time.Millisecond, 8
	p := serve(t)
	s := open(t, p.addr(), natskv.Config{Timeout: timeout})
	var stop atomic.Bool
	var kept sync.Map
	var puts, failures atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for n := 0; !stop.Load(); n++ {
				key := fmt.Sprintf("load.%d.%d", w, n)
				start := time.Now()
				err := s.Put(ctx, key, []byte(key), soon)
				switch {
				case err == nil:
					kept.Store(key, true)
					puts.Add(1)
					var got []byte
					if got, err = s.Get(ctx, key); err == nil && string(got) != key {
						t.Errorf("get %s: another value", key)
					}
				case errors.Is(err, store.ErrExists):
					t.Errorf("put of a fresh key: %v", err)
				}
				if err != nil {
					classified(t, err, store.ErrUnavailable, "natskv: ", key)
					failures.Add(1)
					time.Sleep(5 * time.Millisecond)
				}
				if took := time.Since(start); took > 2*timeout+time.Second {
					t.Errorf("took %v", took)
				}
			}
		})
	}
	for range 3 {
		time.Sleep(200 * time.Millisecond)
		p.stop()
		time.Sleep(200 * time.Millisecond)
		p.start()
		for start := time.Now(); s.Put(ctx, fmt.Sprintf("again.%d", time.Now().UnixNano()), nil, soon) != nil; time.Sleep(10 * time.Millisecond) {
			if time.Since(start) > 15*time.Second {
				t.Fatal("the store does not come back")
			}
		}
	}
	stop.Store(true)
	wg.Wait()
	if puts.Load() < 100 || failures.Load() == 0 {
		t.Errorf("%d puts and %d failures: nothing was tested", puts.Load(), failures.Load())
	}
	kept.Range(func(key, _ any) bool {
		holds(t, s, key.(string), key.(string))
		return true
	})
}

// A value outlives a restart, not its time, and that is not cut: the server counts whole seconds.
func TestTTL(t *testing.T) {
	p := serve(t)
	s := open(t, p.addr(), natskv.Config{})
	start := time.Now()
	for key, ttl := range map[string]time.Duration{"ns": 1, "ms": 1500 * time.Millisecond, "s": 2 * time.Second} {
		if err := s.Put(ctx, key, []byte(key), ttl); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, "day", "stays")
	p.stop()
	p.start()
	for ; time.Since(start) < 2*time.Second; time.Sleep(20 * time.Millisecond) {
		if got, err := s.Get(ctx, "s"); string(got) != "s" && time.Since(start) < 2*time.Second && !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("after %v: %v", time.Since(start), err)
		}
	}
	for _, key := range []string{"ns", "ms", "s"} {
		for {
			_, err := s.Get(ctx, key)
			if errors.Is(err, store.ErrNotFound) {
				break
			}
			if time.Since(start) > 2*time.Second+late {
				t.Fatalf("%s after %v: %v", key, time.Since(start), err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		put(t, s, key, "next")
	}
	holds(t, s, "day", "stays")
}

// Markers, of keys that were deleted by hand and of keys whose time is over in a bucket that keeps such, are no values,
// and one of many writers takes their place.
func TestMarkers(t *testing.T) {
	p := serve(t)
	js := connect(t, p.addr())
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "kest", LimitMarkerTTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, p.addr(), natskv.Config{})
	for _, key := range []string{"deleted", "purged", "expired"} {
		if err := s.Put(ctx, key, []byte("value"), time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(kv.Delete(ctx, "deleted"), kv.Purge(ctx, "purged")); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if _, err := s.Get(ctx, "expired"); errors.Is(err, store.ErrNotFound) {
			break
		}
		if time.Since(start) > time.Second+late {
			t.Fatal("still there")
		}
	}
	stream, err := js.Stream(ctx, "KV_kest")
	if err != nil || stream.CachedInfo().State.Msgs != 3 {
		t.Fatalf("%v; want three markers, or nothing is tested: %+v", err, stream.CachedInfo().State)
	}
	for _, key := range []string{"deleted", "purged", "expired"} {
		_, err := s.Get(ctx, key)
		classified(t, err, store.ErrNotFound, "", key)
		var won atomic.Int32
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				if err := s.Put(ctx, key, []byte("again"), soon); err == nil {
					won.Add(1)
				} else if !errors.Is(err, store.ErrExists) {
					t.Errorf("%s: %v", key, err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%s: %d writers won", key, won.Load())
		}
		holds(t, s, key, "again")
	}
}

// A full bucket refuses what is new and drops nothing.
func TestFull(t *testing.T) {
	s := open(t, serve(t).addr(), natskv.Config{MaxBytes: 64 << 10})
	value := strings.Repeat("v", 4<<10)
	n := 0
	var err error
	for ; n < 100 && err == nil; n++ {
		err = s.Put(ctx, fmt.Sprintf("full.%d", n), []byte(value), soon)
	}
	classified(t, err, store.ErrUnavailable, "max_bytes", "full.", "vvvv")
	if n < 10 || n > 16 {
		t.Errorf("%d values of 4 KiB in 64 KiB", n)
	}
	for i := range n - 1 {
		holds(t, s, fmt.Sprintf("full.%d", i), value)
	}
	_, err = s.Get(ctx, fmt.Sprintf("full.%d", n-1))
	classified(t, err, store.ErrNotFound, "")
}

// The server takes less than it did when the store was made.
func TestPayloadShrinks(t *testing.T) {
	p := serve(t)
	js := connect(t, p.addr())
	s, err := natskv.New(ctx, js, natskv.Config{Bucket: "kest"})
	if err != nil {
		t.Fatal(err)
	}
	value := strings.Repeat("v", 100<<10)
	put(t, s, "before", value)
	p.stop()
	p.opts.MaxPayload = 64 << 10
	p.start()
	for start := time.Now(); js.Conn().MaxPayload() != 64<<10; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatal("not connected again")
		}
	}
	classified(t, s.Put(ctx, "after", []byte(value), soon), store.ErrRefused, "max_payload", "after", "vvvv")
	holds(t, s, "before", value)
}

// A value that another one wrote, longer than MaxValue.
func TestLongValue(t *testing.T) {
	p := serve(t)
	put(t, open(t, p.addr(), natskv.Config{}), "long", strings.Repeat("v", 2000))
	_, err := open(t, p.addr(), natskv.Config{MaxValue: 1000}).Get(ctx, "long")
	classified(t, err, store.ErrUnavailable, "2000 bytes", "long", "vvvv")
}

// While the connection is away nothing waits and nothing is kept back, and after it was closed nothing works.
func TestAway(t *testing.T) {
	p := serve(t)
	js := connect(t, p.addr())
	s, err := natskv.New(ctx, js, natskv.Config{Bucket: "kest", Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	p.stop()
	for start := time.Now(); js.Conn().IsConnected(); time.Sleep(time.Millisecond) {
		if time.Since(start) > 5*time.Second {
			t.Fatal("still connected")
		}
	}
	start := time.Now()
	classified(t, s.Put(ctx, "late", []byte("value"), soon), store.ErrUnavailable, "not connected")
	_, err = natskv.New(ctx, js, natskv.Config{Bucket: "kest"})
	classified(t, err, store.ErrUnavailable, "not connected")
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	p.start()
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if _, err := s.Get(ctx, "late"); errors.Is(err, store.ErrNotFound) {
			break
		} else if err == nil || time.Since(start) > 10*time.Second {
			t.Fatalf("get: %v; want ErrNotFound", err)
		}
	}
	js.Conn().Close()
	classified(t, s.Put(ctx, "late", []byte("value"), soon), store.ErrUnavailable, "not connected")
}

// The server takes nothing more, so that writing blocks in the library, under its lock. Operations and New end in time,
// the caller's too, and those beyond the limit of waiting ones do, too.
func TestStalledWriters(t *testing.T) {
	p := serve(t)
	between := newProxy(t, p.addr())
	const timeout = 500 * time.Millisecond
	js := connect(t, between.addr, nats.FlusherTimeout(8*time.Second)) // longer than anybody waits
	s, err := natskv.New(ctx, js, natskv.Config{Bucket: "kest", Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	between.silence(true)
	value := bytes.Repeat([]byte("v"), 500<<10)
	var wg sync.WaitGroup
	for n := range 1100 {
		wg.Go(func() {
			start := time.Now()
			mine, cancel := context.WithTimeout(ctx, timeout/5)
			defer cancel()
			if n%2 == 0 {
				if err := s.Put(mine, fmt.Sprint(n), value[:1+n%8*60<<10], soon); err != context.DeadlineExceeded {
					t.Errorf("put: %v", err)
				}
			} else if _, err := s.Get(ctx, fmt.Sprint(n)); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("get: %v", err)
			}
			if took := time.Since(start); took > timeout+3*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
	wg.Wait()
	copy(value, bytes.Repeat([]byte("x"), len(value))) // the caller's again
	start := time.Now()
	if _, err = natskv.New(ctx, js, natskv.Config{Bucket: "kest", Timeout: timeout}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("new: %v", err)
	}
	if took := time.Since(start); took > timeout+3*time.Second {
		t.Errorf("new took %v", took)
	}
	between.silence(false)
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if s.Put(ctx, fmt.Sprintf("back.%d", time.Now().UnixNano()), nil, soon) == nil {
			break
		}
		if time.Since(start) > 15*time.Second {
			t.Fatal("the store does not come back")
		}
	}
	for n := 0; n < 1100; n += 2 { // kept as it was, or not
		if got, err := s.Get(ctx, fmt.Sprint(n)); err == nil && bytes.Contains(got, []byte("x")) {
			t.Errorf("value %d was kept as it was changed later", n)
		}
	}
}
