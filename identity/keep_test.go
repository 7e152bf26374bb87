package identity_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

// attempts is a platform that notes when it was asked.
type attempts struct {
	mu    sync.Mutex
	at    []time.Duration
	start time.Time
	life  time.Duration
	fail  error
}

func (a *attempts) issue(t testing.TB) func(context.Context) (identity.Credential, error) {
	a.start = time.Now()
	return func(context.Context) (identity.Credential, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.at = append(a.at, time.Since(a.start))
		if a.fail != nil {
			return identity.Credential{}, a.fail
		}
		return issued(t, workload, a.life), nil
	}
}

func (a *attempts) set(fail error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail = fail
}

func (a *attempts) take() []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() { a.at = nil }()
	return a.at
}

// keep runs Keep until the test ends, and fails when it does not end then.
func keep(t *testing.T, k *identity.Keyring, r identity.Renewal) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); k.Keep(ctx, r) }()
	t.Cleanup(func() { cancel(); <-done })
}

var quiet = slog.New(slog.DiscardHandler)

func TestKeepRenewsAtHalfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k identity.Keyring
		a := &attempts{life: time.Hour}
		wake := make(chan struct{}, 1)
		keep(t, &k, identity.Renewal{Issue: a.issue(t), Wake: wake, Logger: quiet})
		time.Sleep(70 * time.Minute)
		if got := fmt.Sprint(a.take()); got != "[0s 30m0s 1h0m0s]" {
			t.Errorf("asked at %s", got)
		}
		wake <- struct{}{}
		time.Sleep(25 * time.Minute)
		if got := fmt.Sprint(a.take()); got != "[1h10m0s]" {
			t.Errorf("woken, asked at %s", got)
		}
		signerOf(t, &k)
	})
}

// Whoever wakes without end gets one attempt a second; a closed channel wakes nobody.
func TestKeepWithstandsWakeStorms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k identity.Keyring
		a := &attempts{life: time.Hour}
		wake := make(chan struct{}, 1)
		keep(t, &k, identity.Renewal{Issue: a.issue(t), Wake: wake, Logger: quiet})
		for range 10_000 {
			select {
			case wake <- struct{}{}:
			default:
			}
			time.Sleep(time.Millisecond)
		}
		if n := len(a.take()); n < 9 || n > 12 {
			t.Errorf("%d attempts in 10 s", n)
		}
		close(wake)
		time.Sleep(10 * time.Minute)
		if n := len(a.take()); n > 1 {
			t.Errorf("%d attempts by a closed channel", n)
		}
	})
}

// A platform that only has credentials near their end is asked once a second, not faster.
func TestKeepDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, life := range []time.Duration{2 * time.Second, 0} {
			var k identity.Keyring
			a := &attempts{life: life}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
			k.Keep(ctx, identity.Renewal{Issue: a.issue(t), Logger: quiet})
			cancel()
			if n := len(a.take()); n < 3 || n > 101 {
				t.Errorf("life %v: %d attempts in 100 s", life, n)
			}
		}
	})
}

func TestKeepBacksOffAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k identity.Keyring
		var log bytes.Buffer
		down := errors.New("connection refused")
		a := &attempts{life: time.Hour, fail: down}
		keep(t, &k, identity.Renewal{Issue: a.issue(t), Logger: slog.New(slog.NewTextHandler(&log, nil))})
		time.Sleep(30 * time.Minute)
		at := a.take()
		spread := map[time.Duration]bool{}
		for i := 1; i < len(at); i++ {
			spread[at[i]-at[i-1]] = true
			least := min(time.Second<<min(i-1, 5), 30*time.Second)
			if gap := at[i] - at[i-1]; gap < least || gap > least*3/2 {
				t.Errorf("pause %d is %v, want %v to %v", i, gap, least, least*3/2)
			}
		}
		if len(spread) < len(at)/2 {
			t.Errorf("replicas that fail at once come back at once: %v", at)
		}
		if len(at) < 40 || len(at) > 70 {
			t.Errorf("%d attempts in 30 minutes", len(at))
		}
		_, err := k.Signer(t.Context())
		if !errors.Is(err, identity.ErrNotReady) || !errors.Is(err, down) || len(err.Error()) > 200 {
			t.Errorf("after %d failures: %v", len(at), err)
		}
		a.set(nil)
		time.Sleep(45 * time.Second)
		s := signerOf(t, &k)
		if got := a.take(); len(got) != 1 {
			t.Errorf("recovered at %v", got)
		}
		a.set(down)
		time.Sleep(59 * time.Minute)
		signerOf(t, &k) // until its end
		if at := a.take(); len(at) < 2 || at[1]-at[0] > 3*time.Second/2 {
			t.Errorf("the first pauses after a good time: %v", at[:2])
		}
		time.Sleep(time.Minute)
		stopped(t, &k, s, identity.ErrExpired)
		if _, err := k.Signer(t.Context()); !errors.Is(err, down) {
			t.Errorf("without the reason: %v", err)
		}
		synctest.Wait()
		if text := log.String(); !strings.Contains(text, `reason="connection refused"`) || strings.Count(text, "\n") > 200 {
			t.Errorf("log: %.2000s", text)
		}
	})
}

// When the binding cannot be published the old key signs until its end, and then nothing does.
func TestKeepWithoutPublishing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k identity.Keyring
		old := use(t, &k, issued(t, workload, time.Hour))
		full := errors.New("store is full")
		a := &attempts{life: time.Hour}
		keep(t, &k, identity.Renewal{Issue: a.issue(t), Logger: quiet, Publish: func(context.Context, *lineage.KeyBinding) error { return full }})
		time.Sleep(time.Hour - time.Second)
		if signerOf(t, &k) != old || len(a.take()) < 3 {
			t.Error("not the old key, or nothing was tried")
		}
		time.Sleep(time.Second)
		stopped(t, &k, old, identity.ErrExpired, full)
	})
}

// Revoked and then woken: the platform knows the workload again.
func TestKeepAfterRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k identity.Keyring
		a := &attempts{life: time.Hour}
		keep(t, &k, identity.Renewal{Issue: a.issue(t), Logger: quiet})
		time.Sleep(time.Minute)
		old := signerOf(t, &k)
		a.set(identity.ErrRevoked)
		time.Sleep(30 * time.Minute)
		stopped(t, &k, old, identity.ErrRevoked)
		a.set(nil)
		time.Sleep(46 * time.Second)
		signerOf(t, &k)
		if _, err := old.Sign(t.Context(), nil); !errors.Is(err, identity.ErrRevoked) {
			t.Errorf("the old key signs again: %v", err)
		}
	})
}

// Keep that begins with a credential that is of no use does not wait for half of its life.
func TestKeepBeginsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k identity.Keyring
		use(t, &k, issued(t, workload, time.Hour))
		k.Revoke(nil)
		keep(t, &k, identity.Renewal{Issue: (&attempts{life: time.Hour}).issue(t), Logger: quiet})
		synctest.Wait()
		signerOf(t, &k)
	})
}
