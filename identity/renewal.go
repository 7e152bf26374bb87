package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"time"

	"github.com/kest-go/kest/lineage"
)

// A Renewal says how a [Keyring] gets its credentials.
type Renewal struct {
	// Issue makes a credential with a new session key. An error that matches [ErrRevoked] takes the present one away,
	// any other leaves it until its end.
	Issue func(ctx context.Context) (Credential, error)
	// Publish gets the binding of a new key before anything is signed with it, so that verifiers find it, and only when
	// the key can be used. When it fails, the key is not used. nil: nothing is published.
	Publish func(ctx context.Context, b *lineage.KeyBinding) error
	// Wake asks for a new credential ahead of time, as when the platform's own has changed: a channel with room for
	// one, since nobody receives from it during an attempt and for a second after. nil, and closed: never.
	Wake <-chan struct{}
	// Timeout bounds one attempt; 0 means 30 s.
	Timeout time.Duration
	// Logger gets one line for every failure; nil means slog.Default.
	Logger *slog.Logger
}

// Pauses of a [Renewal]: at least so long between two attempts, and at most so long after failures.
const (
	minPause = time.Second
	maxPause = 30 * time.Second
)

// Renew gets one credential. It is what [Keyring.Keep] repeats.
func (k *Keyring) Renew(ctx context.Context, r Renewal) error {
	timeout := r.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	g := k.asking() // before the platform is
	c, err := r.Issue(ctx)
	if errors.Is(err, ErrRevoked) {
		k.Revoke(err)
		return err
	}
	if err == nil {
		err = k.publishAndUse(ctx, r, c, g)
	}
	if err != nil {
		k.fail(err)
	}
	return err
}

func (k *Keyring) publishAndUse(ctx context.Context, r Renewal, c Credential, g *grant) error {
	s, err := k.candidate(c, g)
	if err != nil {
		return err
	}
	if r.Publish != nil {
		if err := r.Publish(ctx, c.Binding); err != nil {
			return fmt.Errorf("publish the binding of the new key: %w", err)
		}
	}
	return k.adopt(s)
}

// Keep renews the credential until ctx ends: at half of the time that is left, when woken, and after failures with
// growing pauses. One goroutine calls it; it returns when ctx ends.
func (k *Keyring) Keep(ctx context.Context, r Renewal) {
	logger := r.Logger
	if logger == nil {
		logger = slog.Default()
	}
	least, pause := time.Duration(0), k.halfLife()
	for failures := 0; ; {
		// Whoever wakes, and however often, there is a pause between two attempts.
		if !sleep(ctx, least, nil) || !sleep(ctx, pause-least, r.Wake) {
			return
		}
		least = minPause
		if err := k.Renew(ctx, r); err != nil {
			if ctx.Err() != nil {
				return
			}
			logger.WarnContext(ctx, "kest: identity was not renewed", "reason", err, "attempts", failures+1)
			pause = min(minPause<<min(failures, 5), maxPause)
			failures++
			pause += mathrand.N(pause / 2) //nolint:gosec // so that replicas do not come all at once
			continue
		}
		failures, pause = 0, k.halfLife()
	}
}

// sleep waits for a time, or until it is woken. It returns false when ctx has ended.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case _, open := <-wake:
			if open {
				return ctx.Err() == nil
			}
			wake = nil // a closed channel would wake for ever
		case <-timer.C:
			return ctx.Err() == nil
		}
	}
}

// halfLife is half of what is left of the credential in use, and nothing when there is none to use.
func (k *Keyring) halfLife() time.Duration {
	s := k.current.Load()
	if s == nil || s.usable() != nil {
		return 0
	}
	return time.Until(s.until) / 2
}
