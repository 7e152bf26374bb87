package memory_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/memory"
	"github.com/kest-go/kest/store/storetest"
)

func Example() {
	claims, err := memory.New(memory.Config{MaxBytes: 256 << 20})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	fmt.Println(claims.Put(ctx, "kest.claim.1", []byte("a large passport"), 300*time.Second))
	fmt.Println(claims.Put(ctx, "kest.claim.1", []byte("another one"), 300*time.Second))
	passport, err := claims.Get(ctx, "kest.claim.1")
	fmt.Printf("%s %v\n", passport, err)
	// Output:
	// <nil>
	// store: key was written before
	// a large passport <nil>
}

var ctx = context.Background()

func open(t testing.TB, c memory.Config) *memory.Store {
	t.Helper()
	s, err := memory.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// SPEC §9 "Claim-check store interface".
func TestContract(t *testing.T) {
	for _, maxValue := range []int{0, 1000} {
		t.Run(fmt.Sprint(maxValue), func(t *testing.T) {
			storetest.TestStore(t, storetest.Harness{
				New: func(t *testing.T) store.Store { return open(t, memory.Config{MaxValue: maxValue}) },
				Run: synctest.Test, Late: time.Nanosecond, MaxValue: maxValue,
				Unsupported: map[string]string{
					storetest.NeedsSecond: "it is in the process", storetest.NeedsDown: "it is in the process",
					storetest.NeedsStall: "it is in the process",
				},
			})
		})
	}
}

// TestContractInRealTime is the contract with goroutines that truly run at once.
func TestContractInRealTime(t *testing.T) {
	storetest.TestStore(t, storetest.Harness{
		New:  func(t *testing.T) store.Store { return open(t, memory.Config{}) },
		TTL:  200 * time.Millisecond,
		Late: time.Second, // of a busy machine; TestContract is exact
		Unsupported: map[string]string{
			storetest.NeedsSecond: "it is in the process", storetest.NeedsDown: "it is in the process",
			storetest.NeedsStall: "it is in the process",
		},
	})
}

func TestConfig(t *testing.T) {
	const smallest = store.MaxKey + 10 + memory.Overhead
	for _, good := range []memory.Config{
		{}, {MaxEntries: 1}, {MaxValue: store.MaxValue}, {MaxBytes: smallest, MaxValue: 10}, {MaxBytes: 1 << 62},
	} {
		if s, err := memory.New(good); err != nil || s == nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, bad := range []struct {
		config memory.Config
		wants  []string
	}{
		{memory.Config{MaxBytes: smallest - 1, MaxValue: 10}, []string{"MaxBytes of 457, but one value may take 458"}},
		{memory.Config{MaxBytes: 1 << 20}, []string{"MaxBytes of 1048576", "lower MaxValue"}},
		{memory.Config{MaxBytes: -1}, []string{"MaxBytes of -1"}},
		{memory.Config{MaxEntries: -1, MaxValue: -1}, []string{"MaxEntries of -1", "MaxValue of -1"}}, // all at once
		{memory.Config{MaxValue: store.MaxValue + 1}, []string{"MaxValue of 4194305"}},
	} {
		s, err := memory.New(bad.config)
		if err == nil || s != nil {
			t.Errorf("%+v is taken", bad.config)
			continue
		}
		for _, want := range bad.wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: error %q without %q", bad.config, err, want)
			}
		}
	}
}

func put(t testing.TB, s store.Store, key string, size int, ttl time.Duration) {
	t.Helper()
	if err := s.Put(ctx, key, bytes.Repeat([]byte("v"), size), ttl); err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
}

// full expects that there is no room, and that the refusal carries no data.
func full(t testing.TB, s store.Store, size int) {
	t.Helper()
	const key = "one-too-many"
	err := s.Put(ctx, key, bytes.Repeat([]byte("w"), size), time.Second)
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "raise MaxBytes") || strings.Contains(err.Error(), key) {
		t.Fatalf("put into a full store: %v", err)
	}
	if _, err := s.Get(ctx, key); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("what was refused: %v", err)
	}
}

// TestFullRefuses: a full store forgets nothing early (docs/decisions/0007) and takes values again when some are over.
func TestFullRefuses(t *testing.T) {
	for name, config := range map[string]memory.Config{
		"by number": {MaxEntries: 10},
		"by bytes":  {MaxBytes: 10 * (1000 + 2 + memory.Overhead), MaxValue: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, config)
				for i := range 10 {
					put(t, s, fmt.Sprintf("k%d", i), 1000, time.Duration(10-i)*time.Minute) // the last is over first
				}
				full(t, s, 1000)
				if err := s.Put(ctx, "k3", nil, time.Hour); !errors.Is(err, store.ErrExists) {
					t.Errorf("a key of a full store: %v", err)
				}
				for i := range 10 {
					if _, err := s.Get(ctx, fmt.Sprintf("k%d", i)); err != nil {
						t.Errorf("k%d was evicted: %v", i, err)
					}
				}
				time.Sleep(time.Minute - time.Nanosecond)
				full(t, s, 1000)
				time.Sleep(time.Nanosecond)
				put(t, s, "n", 1000, time.Hour)
				full(t, s, 1000)
				if _, err := s.Get(ctx, "k8"); err != nil {
					t.Errorf("a value that was not over made room: %v", err)
				}
			})
		})
	}
}

// TestMakesRoom: one large value may need many small ones to go, more than an operation drops otherwise.
func TestMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const small = 100
		s := open(t, memory.Config{MaxBytes: small * (1000 + memory.Overhead), MaxValue: small * 900})
		for i := range small {
			put(t, s, fmt.Sprintf("k%02d", i), 997, time.Second)
		}
		full(t, s, small*900)
		time.Sleep(time.Second)
		put(t, s, "large", small*900, time.Second)
		if n, bytes := s.Usage(); bytes > small*(1000+memory.Overhead) {
			t.Errorf("%d values, %d bytes", n, bytes)
		}
	})
}

// TestReleases: what is over leaves memory although nobody asks for its key again, and the count returns to zero.
func TestReleases(t *testing.T) {
	for _, test := range []struct {
		name    string
		n, size int
		stays   bool // one value has more time
	}{
		{"all", 300, 100_000, false},
		{"all but one", 300, 100_000, true},
		{"many", 100_000, 0, false}, // here the map itself weighs
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, memory.Config{})
				var left int
				var leftBytes int64
				if test.stays {
					put(t, s, "stays", 0, time.Hour)
					left, leftBytes = 1, int64(len("stays")+memory.Overhead)
				}
				before, want := heapInUse(), leftBytes
				for i := range test.n {
					key := fmt.Sprintf("key.%d", i)
					put(t, s, key, test.size, time.Duration(1000+i%7)*time.Second)
					want += int64(len(key) + test.size + memory.Overhead)
				}
				if n, bytes := s.Usage(); n != test.n+left || bytes != want {
					t.Errorf("%d values, %d bytes; want %d, %d", n, bytes, test.n+left, want)
				}
				time.Sleep(1006 * time.Second)
				for range (test.n + 7) / 8 {
					s.Get(ctx, "another-key")
				}
				if n, bytes := s.Usage(); n != left || bytes != leftBytes {
					t.Errorf("%d values, %d bytes are left", n, bytes)
				}
				if grown := heapInUse() - before; grown > 2<<20 {
					t.Errorf("%d bytes of memory are left", grown)
				}
				runtime.KeepAlive(s)
			})
		})
	}
}

// TestReplacesWhatIsOver: the key of a value that is over but was not dropped yet is free, and that value is the one
// that goes.
func TestReplacesWhatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, memory.Config{})
		for i := range 100 {
			put(t, s, fmt.Sprintf("k%02d", i), 0, time.Duration(1+i)*time.Second)
		}
		time.Sleep(60 * time.Second)
		put(t, s, "k50", 10, time.Hour) // eight go, and k50
		if n, bytes := s.Usage(); n != 92 || bytes != 92*(3+memory.Overhead)+10 {
			t.Errorf("%d values, %d bytes", n, bytes)
		}
		for i := range 100 {
			_, err := s.Get(ctx, fmt.Sprintf("k%02d", i))
			if want := i == 50 || i >= 60; (err == nil) != want {
				t.Errorf("k%02d: %v", i, err)
			}
		}
	})
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestWritesAloneRelease: a store that is only written to, as a memory of nonces is, holds what is in its time and
// little more.
func TestWritesAloneRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, memory.Config{})
		for i := range 10_000 {
			put(t, s, fmt.Sprintf("nonce-%d", i), 0, time.Second)
			time.Sleep(10 * time.Millisecond)
			if n, _ := s.Usage(); n > 101 {
				t.Fatalf("%d values after %d puts; 100 are in their time", n, i)
			}
		}
	})
}

// TestKeyIsCopied: a key that is part of a large header must not keep the header in memory.
func TestKeyIsCopied(t *testing.T) {
	s := open(t, memory.Config{})
	before := heapInUse()
	for i := range 50 {
		header := strings.Repeat(string(rune('a'+i%26)), 1<<20)
		if err := s.Put(ctx, header[:20+i], nil, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if grown := heapInUse() - before; grown > 10<<20 {
		t.Errorf("%d bytes of memory for 50 short keys", grown)
	}
	runtime.KeepAlive(s)
}

// TestModel compares with a plain model over random operations and random steps of time.
func TestModel(t *testing.T) {
	type held struct {
		value string
		end   time.Time
	}
	synctest.Test(t, func(t *testing.T) {
		s := open(t, memory.Config{})
		model := map[string]held{}
		random := rand.New(rand.NewPCG(1, 2))
		for step := range 50_000 {
			key := fmt.Sprintf("k%d", random.IntN(200))
			known, now := model[key], time.Now()
			holds := now.Before(known.end)
			if random.IntN(2) == 0 {
				got, err := s.Get(ctx, key)
				if holds && (err != nil || string(got) != known.value) || !holds && !errors.Is(err, store.ErrNotFound) {
					t.Fatalf("step %d: get %q, %v; the model has %+v at %v", step, got, err, known, now)
				}
			} else {
				next := held{fmt.Sprint(step), now.Add(time.Duration(1 + random.IntN(1000)))}
				err := s.Put(ctx, key, []byte(next.value), next.end.Sub(now))
				if holds != errors.Is(err, store.ErrExists) || !holds && err != nil {
					t.Fatalf("step %d: put %v; the model has %+v at %v", step, err, known, now)
				}
				if err == nil {
					model[key] = next
				}
			}
			time.Sleep(time.Duration(random.IntN(20)))
		}
		time.Sleep(time.Second)
		for range 200 {
			s.Get(ctx, "x")
		}
		if n, bytes := s.Usage(); n != 0 || bytes != 0 {
			t.Errorf("%d values, %d bytes are left", n, bytes)
		}
	})
}

// TestCrowd: many writers over few keys and a small store. No key is won twice in its time, the limits hold at every
// moment, and nothing is lost.
func TestCrowd(t *testing.T) {
	const limit = 40
	s := open(t, memory.Config{MaxEntries: limit})
	var wg sync.WaitGroup
	var refused atomic.Int64
	won := make([]atomic.Int64, 100)
	for w := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(3, uint64(w)))
			for range 3000 {
				n := random.IntN(len(won))
				key := fmt.Sprintf("k%d", n)
				switch err := s.Put(ctx, key, []byte(key), time.Hour); {
				case err == nil:
					won[n].Add(1)
				case errors.Is(err, store.ErrUnavailable):
					refused.Add(1)
				case !errors.Is(err, store.ErrExists):
					t.Errorf("put: %v", err)
				}
				if got, err := s.Get(ctx, key); err == nil && string(got) != key {
					t.Errorf("get %q: %q", key, got)
				}
				if entries, _ := s.Usage(); entries > limit {
					t.Errorf("%d values; the limit is %d", entries, limit)
				}
			}
		})
	}
	wg.Wait()
	total := int64(0)
	for n := range won {
		if won[n].Load() > 1 {
			t.Errorf("k%d was written %d times", n, won[n].Load())
		}
		total += won[n].Load()
	}
	if total != limit || refused.Load() == 0 {
		t.Errorf("%d keys were written and %d refused; want %d and some", total, refused.Load(), limit)
	}
}

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{0, 4096} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			s, value := open(b, memory.Config{MaxBytes: 1 << 30}), make([]byte, size)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := s.Put(ctx, fmt.Sprintf("kest.claim.%d", i), value, 10*time.Millisecond); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s := open(b, memory.Config{})
	for i := range 1000 {
		put(b, s, fmt.Sprintf("kest.claim.%d", i), 4096, time.Hour)
	}
	get := func(b *testing.B) {
		if _, err := s.Get(ctx, "kest.claim.500"); err != nil {
			b.Error(err)
		}
	}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			get(b)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				get(b)
			}
		})
	})
}
