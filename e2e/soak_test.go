package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/memory"
)

// trio is the three services in this process, over loopback sockets.
func trio(t *testing.T, claims, nonces store.Store, threshold int, ran func(string, lineage.Passport)) (gate string) {
	t.Helper()
	next := ""
	for _, name := range []string{"ledger", "shop", "gate"} {
		listener := must(listen())(t)
		s := setting{
			Listener: propagate.Internal, Proofs: propagate.ProofRequire, Nonces: nonces, MaxAge: 5 * time.Second, Address: listener.Addr().String(),
			Propagate: propagate.Config{Store: claims, Threshold: threshold, ClaimTTL: 2 * time.Second},
		}
		if name == "gate" {
			s.Listener, s.Proofs = propagate.Edge, propagate.ProofOff
		}
		w := must(newWorkload(name, s))(t)
		t.Cleanup(w.transport.CloseIdleConnections)
		switch name {
		case "ledger":
			server := must(w.ledger(ran))(t)
			go server.Serve(listener)
			t.Cleanup(server.Stop)
		case "shop":
			conn := must(w.dial(next))(t)
			t.Cleanup(func() { conn.Close() })
			serve(t, listener, must(w.wrap(w.shop(conn)))(t))
		case "gate":
			serve(t, listener, must(w.wrap(w.gate(next)))(t))
		}
		if next = listener.Addr().String(); name != "ledger" {
			next = "http://" + next
		}
	}
	return next
}

func serve(t *testing.T, listener net.Listener, h http.Handler) {
	server := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
}

// usage is what must not grow.
type usage struct {
	heap       uint64
	goroutines int
	files      int
}

func (u usage) least(v usage) usage {
	return usage{min(u.heap, v.heap), min(u.goroutines, v.goroutines), min(u.files, v.files)}
}

func measure() usage {
	runtime.GC()
	runtime.GC() // what the first one finalised
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, _ := os.ReadDir("/proc/self/fd") // elsewhere there are none to count
	return usage{m.HeapAlloc, runtime.NumGoroutine(), len(files)}
}

// TestSoak keeps three services under load, with claim checks, hop proofs and return lineage. Once stores and caches
// have filled, heap, goroutines and open files stay as they are. KEST_SOAK is how long it lasts, by default 4 s.
func TestSoak(t *testing.T) {
	length := 4 * time.Second
	if text := os.Getenv("KEST_SOAK"); text != "" {
		length = must(time.ParseDuration(text))(t)
	}
	claims, nonces := must(memory.New(memory.Config{}))(t), must(memory.New(memory.Config{}))(t)
	var booked atomic.Int64
	gate := trio(t, claims, nonces, 1024, func(string, lineage.Passport) { booked.Add(1) }) // two entries are too long for a header
	verifier := must(newVerifier())(t)
	var requests, faults atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var load sync.WaitGroup
	for worker := range 4 {
		load.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for i := 0; ctx.Err() == nil; i++ {
				if err := pay(t.Context(), client, verifier, gate, fmt.Sprintf("%d-%d", worker, i)); err != nil && faults.Add(1) < 5 {
					t.Error(err)
				}
				requests.Add(1)
				time.Sleep(2 * time.Millisecond) // a steady load, so that what is in flight is about the same at every look
			}
		})
	}
	// What waits for its time, and the verifiers' caches, are full after a third. Then the least of one half is compared
	// with the least of the other, so that what happens to be in flight does not count.
	time.Sleep(length / 3)
	var before, after usage
	for step := range 8 {
		time.Sleep(length / 12)
		now := measure()
		switch step {
		case 0:
			before = now
		case 4:
			after = now
		case 1, 2, 3:
			before = before.least(now)
		default:
			after = after.least(now)
		}
	}
	stop()
	load.Wait()
	t.Logf("%d requests, %d booked: heap %d to %d KiB, goroutines %d to %d, files %d to %d", requests.Load(), booked.Load(),
		before.heap>>10, after.heap>>10, before.goroutines, after.goroutines, before.files, after.files)
	if requests.Load() == 0 || booked.Load() != requests.Load() {
		t.Error("not every request was booked once")
	}
	if after.heap > before.heap+before.heap/4+(4<<20) {
		t.Errorf("the heap grows: %d to %d KiB", before.heap>>10, after.heap>>10)
	}
	if after.goroutines > before.goroutines+10 || after.files > before.files+5 {
		t.Errorf("goroutines %d to %d, files %d to %d", before.goroutines, after.goroutines, before.files, after.files)
	}
}

// pay sends one order and verifies the lineage that comes back.
func pay(ctx context.Context, client *http.Client, verifier *lineage.Verifier, gate, order string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, gate+"/pay", strings.NewReader(order))
	if err != nil {
		return err
	}
	resp, err := client.Do(request)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, text)
	}
	if err != nil {
		return err
	}
	return whole(ctx, verifier, text)
}
