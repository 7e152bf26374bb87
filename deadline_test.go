package kest_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// underDeadline makes one guarded call whose engine does what probe does with its context, under a policy timeout
// of one second.
func underDeadline(t *testing.T, ctx context.Context, probe func(ctx context.Context) error) error {
	t.Helper()
	engine := policytest.Func(func(ctx context.Context, _ string, _ *policy.Input) (policy.Decision, error) {
		return policy.Decision{Allow: true}, probe(ctx)
	})
	guard, err := kest.New(kest.Config{
		Engine: engine, Identity: identitytest.New("svc", "seed"), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	call, err := kest.Verified(guard, func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil },
		kest.Policy("p"), kest.Operation("deadline"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = call(ctx, struct{}{})
	return err
}

// SPEC §7: the context of an evaluation ends after the timeout, whichever way an engine looks at it.
func TestPolicyDeadlineContext(t *testing.T) {
	for name, probe := range map[string]func(ctx context.Context) error{
		"waits on Done": func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		},
		"polls Err": func(ctx context.Context) error {
			for ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
			}
			return ctx.Err()
		},
		"waits on a child": func(ctx context.Context) error {
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			<-child.Done()
			return child.Err()
		},
		"ends, then Done is closed": func(ctx context.Context) error {
			time.Sleep(2 * time.Second)
			if ctx.Err() == nil {
				return errors.New("no error after the deadline")
			}
			<-ctx.Done()
			return ctx.Err()
		},
		"answers late without asking": func(context.Context) error {
			time.Sleep(2 * time.Second)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				err := underDeadline(t, t.Context(), probe)
				if !errors.Is(err, kest.ErrDenied) {
					t.Fatalf("call under an expired deadline: %v, want a denial", err)
				}
				if elapsed := time.Since(start); elapsed < time.Second || elapsed > 2*time.Second {
					t.Errorf("denied after %v", elapsed)
				}
			})
		})
	}
}

// The caller's own end comes through, as the caller's error, and an earlier deadline of the caller counts.
func TestPolicyDeadlineOfTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(100 * time.Millisecond)
		ctx, cancel := context.WithDeadline(t.Context(), end)
		defer cancel()
		err := underDeadline(t, ctx, func(ctx context.Context) error {
			at, ok := ctx.Deadline()
			if !ok || !at.Equal(end) {
				t.Errorf("deadline %v, %v; want the caller's, %v", at, ok, end)
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kest.ErrDenied) {
			t.Errorf("got %v, want the caller's deadline and no denial", err)
		}
	})
}

// A context that an engine keeps has ended once the evaluation is over, so what hangs on it stops.
func TestPolicyDeadlineReleased(t *testing.T) {
	for name, wait := range map[string]bool{"with a timer": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var kept context.Context
				err := underDeadline(t, t.Context(), func(ctx context.Context) error {
					kept = ctx //nolint:fatcontext // what an engine must not do
					if wait {
						select {
						case <-ctx.Done():
						default:
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				<-kept.Done() // deadlocks the bubble when nothing closes it
				if !errors.Is(kept.Err(), context.Canceled) {
					t.Errorf("kept context has error %v", kept.Err())
				}
			})
		})
	}
}
