package identity_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k identity.Keyring
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := k.Renew(ctx, identity.Renewal{Issue: func(context.Context) (identity.Credential, error) {
			return identity.Credential{}, errors.New("no such socket")
		}}); err == nil {
			t.Fatal("no error")
		}
		err := k.Wait(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, identity.ErrNotReady) || !strings.Contains(err.Error(), "no such socket") {
			t.Errorf("without a credential: %v", err)
		}
		var ready atomic.Int32
		for range 20 {
			go func() {
				if err := k.Wait(t.Context()); err != nil {
					t.Error(err)
				}
				signerOf(t, &k)
				ready.Add(1)
			}()
		}
		synctest.Wait()
		if ready.Load() != 0 {
			t.Errorf("%d are ready without a credential", ready.Load())
		}
		use(t, &k, issued(t, workload, time.Hour))
		synctest.Wait()
		if ready.Load() != 20 {
			t.Errorf("%d of 20 are ready", ready.Load())
		}
		if err := k.Wait(ctx); err != nil { // ready already, so the end of ctx does not matter
			t.Error(err)
		}
		time.Sleep(time.Hour)
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if err := k.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with an expired credential: %v", err)
		}
		k.Revoke(errors.New("permission denied"))
		if err := k.Wait(short); !errors.Is(err, identity.ErrRevoked) {
			t.Errorf("after a revocation: %v", err)
		}
	})
}

// A Wait that begins while a credential arrives does not miss it.
func TestWaitRacesWithUse(t *testing.T) {
	c := issued(t, workload, time.Hour)
	for range 500 {
		var k identity.Keyring
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := k.Wait(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Go(func() {
			if err := k.Use(c); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
	}
}

func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k identity.Keyring
		old := use(t, &k, issued(t, workload, time.Hour))
		hang := identity.Renewal{Timeout: time.Minute, Issue: func(ctx context.Context) (identity.Credential, error) {
			<-ctx.Done()
			return identity.Credential{}, ctx.Err()
		}}
		for want := range map[time.Duration]bool{time.Minute: true, 0: true} {
			hang.Timeout = want
			start := time.Now()
			if err := k.Renew(t.Context(), hang); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("hanging: %v", err)
			}
			if want == 0 {
				want = 30 * time.Second
			}
			if took := time.Since(start); took != want {
				t.Errorf("a hanging platform took %v", took)
			}
		}
		signerOf(t, &k) // still the old one
		published := 0
		renewal := identity.Renewal{Issue: func(context.Context) (identity.Credential, error) {
			return issued(t, "spiffe://example.org/web", time.Hour), nil
		},
			Publish: func(context.Context, *lineage.KeyBinding) error { published++; return nil }}
		if err := k.Renew(t.Context(), renewal); err == nil || published != 0 {
			t.Errorf("another principal: %v, published %d times", err, published)
		}
		renewal.Issue = func(context.Context) (identity.Credential, error) { return identity.Credential{}, nil }
		if err := k.Renew(t.Context(), renewal); err == nil || published != 0 {
			t.Errorf("nothing: %v, published %d times", err, published)
		}
		renewal.Issue = func(context.Context) (identity.Credential, error) { return issued(t, workload, time.Hour), nil }
		renewal.Publish = func(_ context.Context, b *lineage.KeyBinding) error {
			if k.Binding(b.KeyID()) != nil {
				t.Error("used before it was published")
			}
			published++
			return nil
		}
		if err := k.Renew(t.Context(), renewal); err != nil || published != 1 || signerOf(t, &k) == old {
			t.Errorf("%v, published %d times", err, published)
		}
		denied := errors.New("permission denied")
		renewal.Issue = func(context.Context) (identity.Credential, error) {
			return identity.Credential{}, fmt.Errorf("%w: %w", identity.ErrRevoked, denied)
		}
		if err := k.Renew(t.Context(), renewal); !errors.Is(err, denied) {
			t.Error(err)
		}
		stopped(t, &k, old, identity.ErrRevoked, denied)
	})
}

func TestKeyringRaces(t *testing.T) {
	var k identity.Keyring
	var all sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	for _, work := range []func(){
		func() { _ = k.Use(issued(t, workload, time.Hour)) },
		func() { k.Revoke(errors.New("denied")) },
		func() { _ = k.Wait(ctx) },
		func() { k.Binding(""); k.Binding("x") },
		func() {
			_ = k.Renew(ctx, identity.Renewal{Issue: func(context.Context) (identity.Credential, error) { return issued(t, workload, time.Hour), nil }})
		},
		func() {
			if s, err := k.Signer(ctx); err == nil {
				_, err = s.Sign(ctx, []byte("m"))
				if err != nil && !errors.Is(err, identity.ErrRevoked) && ctx.Err() == nil {
					t.Error(err)
				}
			}
		},
	} {
		for range 2 {
			all.Go(func() {
				for ctx.Err() == nil {
					work()
				}
			})
		}
	}
	all.Wait()
}
