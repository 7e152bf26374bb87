package uuid7_test

import (
	"bytes"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/kest-go/kest/internal/uuid7"
)

var form = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// F-AE-03: entry ids are UUID v7, lower case, monotonic within a process.
func TestMonotonic(t *testing.T) {
	t.Parallel()
	var s uuid7.Source
	now := time.UnixMilli(1_700_000_000_000)
	last := ""
	for i := range 20_000 { // more than the 12-bit counter holds, so it carries into the time
		if i == 10_000 {
			now = now.Add(-time.Hour) // a clock that goes back must not
		}
		id := s.New(now)
		if !form.MatchString(id) {
			t.Fatalf("id %q is not a version 7 UUID", id)
		}
		if id <= last {
			t.Fatalf("id %d: %s after %s", i, id, last)
		}
		last = id
	}
}

func TestTimePrefix(t *testing.T) {
	t.Parallel()
	var s uuid7.Source
	if id := s.New(time.UnixMilli(0x0190a5b01234)); id[:13] != "0190a5b0-1234" {
		t.Errorf("id %s does not begin with its time", id)
	}
}

func TestRandom(t *testing.T) {
	t.Parallel()
	var s uuid7.Source
	for _, n := range []int{0, 1, 24, 512, 2000} {
		a, b := make([]byte, n), make([]byte, n)
		s.Random(a)
		s.Random(b)
		if n >= 24 && (bytes.Equal(a, b) || bytes.Count(a, []byte{0}) > n/4) {
			t.Errorf("%d bytes are not random: %x, %x", n, a, b)
		}
	}
}

func TestConcurrentUnique(t *testing.T) {
	t.Parallel()
	var (
		s    uuid7.Source
		mu   sync.Mutex
		seen = map[string]bool{}
		wg   sync.WaitGroup
	)
	for range 8 {
		wg.Go(func() {
			for range 2_000 {
				id := s.New(time.Now())
				mu.Lock()
				if seen[id] {
					t.Errorf("duplicate %s", id)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func BenchmarkNew(b *testing.B) {
	var s uuid7.Source
	now := time.Now()
	for b.Loop() {
		s.New(now)
	}
}
