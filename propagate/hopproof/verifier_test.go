package hopproof_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/hopproof"
	"github.com/kest-go/kest/store"
)

// A proof counts once: in one process, in several that share a store, and among many requests at the same time.
func TestReplay(t *testing.T) {
	shared := &nonces{}
	a, b := verifier(t, hopproof.Config{Store: shared}), verifier(t, hopproof.Config{Store: shared})
	r := signed(t, web, request())
	if err := a.VerifyHop(t.Context(), web, r); err != nil {
		t.Fatal(err)
	}
	for _, v := range []*hopproof.Verifier{a, b} {
		err := v.VerifyHop(t.Context(), web, r)
		refused(t, err, "replayed")
		tellsNothing(t, err, r)
	}
	if err := a.VerifyHop(t.Context(), web, signed(t, web, request())); err != nil {
		t.Errorf("a second proof for the same request: %v", err)
	}

	r = signed(t, web, request())
	var passed atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if []*hopproof.Verifier{a, b}[i%2].VerifyHop(t.Context(), web, r) == nil {
				passed.Add(1)
			}
		})
	}
	wg.Wait()
	if passed.Load() != 1 {
		t.Errorf("%d of 16 replays passed", passed.Load())
	}
}

// The key of a nonce is one that every store takes, and tells nothing.
func TestNonceKey(t *testing.T) {
	seen := &nonces{}
	v := verifier(t, hopproof.Config{Store: seen, NoncePrefix: strings.Repeat("p", hopproof.MaxNoncePrefix)})
	f := forge()
	input, signature := f.make(t)
	if err := v.VerifyHop(t.Context(), web, with(f.request, input, signature)); err != nil {
		t.Fatal(err)
	}
	for key := range seen.until {
		if store.CheckKey(key) != nil || !strings.HasPrefix(key, "ppp") || strings.Contains(key, nonce) {
			t.Errorf("key %q", key)
		}
	}
	if len(seen.until) != 1 {
		t.Errorf("%d keys", len(seen.until))
	}
	// The same nonce under another key is another.
	f = forge()
	f.by = other
	f.set("keyid", `"`+thumb(other)+`"`)
	input, signature = f.make(t)
	if err := v.VerifyHop(t.Context(), other, with(f.request, input, signature)); err != nil {
		t.Error(err)
	}
}

func TestWindow(t *testing.T) {
	const age, leeway = time.Minute, 30 * time.Second
	for _, c := range []struct {
		offset time.Duration // of the verifier's clock from the signer's
		reason string
	}{
		{0, ""}, {age, ""}, {age + leeway, ""}, {age + leeway + 1, "ago"}, {time.Hour, "ago"}, {100 * 365 * 24 * time.Hour, "ago"},
		{-leeway, ""}, {-leeway - 1, "future"}, {-time.Hour, "future"},
	} {
		t.Run(c.offset.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// created is in whole seconds; the clock, which begins at one, passes to the right moment.
				ahead := (max(0, -c.offset) + time.Second - 1).Truncate(time.Second)
				f := forge()
				f.set("created", fmt.Sprint(time.Now().Add(ahead).Unix()))
				input, signature := f.make(t)
				time.Sleep(ahead + c.offset)
				err := verifier(t, hopproof.Config{}).VerifyHop(t.Context(), web, with(f.request, input, signature))
				if c.reason != "" {
					refused(t, err, c.reason)
				} else if err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A proof that expires by its own word before MaxAge.
func TestExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := forge()
		f.set("expires", fmt.Sprint(time.Now().Unix()+10))
		input, signature := f.make(t)
		r := with(f.request, input, signature)
		time.Sleep(40 * time.Second)
		if err := verifier(t, hopproof.Config{}).VerifyHop(t.Context(), web, r); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Nanosecond)
		refused(t, verifier(t, hopproof.Config{}).VerifyHop(t.Context(), web, r), "expired")
	})
}

// From the first moment at which a proof is good, by any clock, to the last one, its nonce is remembered.
func TestNonceIsKept(t *testing.T) {
	const leeway = 5 * time.Second
	for _, early := range []time.Duration{0, leeway, time.Minute + leeway} { // when it is used, after created−leeway
		synctest.Test(t, func(t *testing.T) {
			shared := &nonces{}
			v := verifier(t, hopproof.Config{Store: shared, Leeway: leeway})
			f := forge()
			created := time.Now().Add(leeway)
			f.set("created", fmt.Sprint(created.Unix()))
			input, signature := f.make(t)
			r := with(f.request, input, signature)
			time.Sleep(early)
			if err := v.VerifyHop(t.Context(), web, r); err != nil {
				t.Fatal(err)
			}
			until := created.Add(time.Minute + leeway) // by this clock
			behind := until.Add(2 * leeway)            // by that of a verifier that is behind
			for _, kept := range shared.until {
				if kept.Before(behind) {
					t.Errorf("used after %s: kept until %s after creation; want %s", early, kept.Sub(created), behind.Sub(created))
				}
			}
			for time.Now().Before(until) {
				time.Sleep(min(leeway, time.Until(until)))
				refused(t, v.VerifyHop(t.Context(), web, r), "replayed")
			}
			time.Sleep(time.Nanosecond)
			refused(t, v.VerifyHop(t.Context(), web, r), "ago")
		})
	}
}

// A lifetime below a second is one that every store takes.
func TestShortLife(t *testing.T) {
	seen := &nonces{}
	v := verifier(t, hopproof.Config{Store: seen, MaxAge: time.Hour, Leeway: 1})
	f := forge()
	f.set("created", fmt.Sprint(time.Now().Add(-time.Hour).Unix()+1))
	input, signature := f.make(t)
	before := time.Now()
	if err := v.VerifyHop(t.Context(), web, with(f.request, input, signature)); err != nil {
		t.Fatal(err)
	}
	for _, kept := range seen.until {
		if kept.Before(before.Add(time.Second)) {
			t.Errorf("kept for %s", kept.Sub(before))
		}
	}
}

type keyFunc func(ctx context.Context, principal, keyID string) ([]ed25519.PublicKey, error)

func (f keyFunc) Keys(ctx context.Context, principal, keyID string) ([]ed25519.PublicKey, error) {
	return f(ctx, principal, keyID)
}

// undecided expects an error that is neither: ingress answers 503.
func undecided(t *testing.T, err, cause error) {
	t.Helper()
	if err == nil || errors.Is(err, propagate.ErrBadProof) || errors.Is(err, propagate.ErrNoProof) || cause != nil && !errors.Is(err, cause) {
		t.Errorf("error %v; want %v and neither ErrBadProof nor ErrNoProof", err, cause)
	}
	if err != nil {
		tellsNothing(t, err, request())
	}
}

func TestStoreDown(t *testing.T) {
	for _, cause := range []error{store.ErrUnavailable, store.ErrRefused, store.ErrNotFound, context.DeadlineExceeded} {
		v := verifier(t, hopproof.Config{Store: &nonces{err: fmt.Errorf("%w: down", cause)}})
		undecided(t, v.VerifyHop(t.Context(), web, signed(t, web, request())), cause)
		bad := signed(t, web, request())
		bad.Path = "/other"
		refused(t, v.VerifyHop(t.Context(), web, bad), "does not match") // decided without the store
	}
}

func TestKeySource(t *testing.T) {
	down := errors.New("key source is down")
	small := ed25519.PublicKey{0: 1, 31: 0} // the neutral element, under which anybody signs anything
	answer := func(keys ...ed25519.PublicKey) keyFunc {
		return func(context.Context, string, string) ([]ed25519.PublicKey, error) { return keys, nil }
	}
	r := func(t *testing.T) propagate.HopRequest { return signed(t, web, request()) }
	t.Run("down", func(t *testing.T) {
		v := verifier(t, hopproof.Config{Keys: keyFunc(func(context.Context, string, string) ([]ed25519.PublicKey, error) { return nil, down })})
		undecided(t, v.VerifyHop(t.Context(), web, r(t)), down)
	})
	t.Run("65 keys", func(t *testing.T) {
		undecided(t, verifier(t, hopproof.Config{Keys: answer(make([]ed25519.PublicKey, 65)...)}).VerifyHop(t.Context(), web, r(t)), nil)
	})
	t.Run("64 keys", func(t *testing.T) {
		many := make([]ed25519.PublicKey, 63, 64)
		if err := verifier(t, hopproof.Config{Keys: answer(append(many, publicKey(web))...)}).VerifyHop(t.Context(), web, r(t)); err != nil {
			t.Error(err)
		}
	})
	t.Run("other keys", func(t *testing.T) {
		refused(t, verifier(t, hopproof.Config{Keys: answer(nil, publicKey(other))}).VerifyHop(t.Context(), web, r(t)), "no such key")
	})
	t.Run("weak key", func(t *testing.T) {
		f := forge()
		f.set("keyid", `"`+lineage.Thumbprint(small)+`"`)
		input, _ := f.make(t)
		signature := "kest=:AQ" + strings.Repeat("A", 84) + "==:" // R is the neutral element, s is 0
		undecided(t, verifier(t, hopproof.Config{Keys: answer(small)}).VerifyHop(t.Context(), web, with(f.request, input, signature)), nil)
	})
	t.Run("asked for", func(t *testing.T) {
		v := verifier(t, hopproof.Config{Keys: keyFunc(func(_ context.Context, principal, keyID string) ([]ed25519.PublicKey, error) {
			if principal != web || keyID != thumb(web) {
				t.Errorf("asked for %q of %q", keyID, principal)
			}
			return []ed25519.PublicKey{publicKey(web)}, nil
		})})
		if err := v.VerifyHop(t.Context(), web, r(t)); err != nil {
			t.Error(err)
		}
	})
}

func TestContextEnded(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	r, seen := signed(t, web, request()), &nonces{}
	cancel()
	undecided(t, verifier(t, hopproof.Config{Store: seen}).VerifyHop(ended, web, r), context.Canceled)
	undecided(t, verifier(t, hopproof.Config{Store: seen}).VerifyHop(ended, web, propagate.HopRequest{}), context.Canceled)
	if seen.puts != 0 {
		t.Error("a request that nobody waits for uses up its proof")
	}
	if _, _, err := (hopproof.Signer{}).SignHop(ended, signerOf(t, web), request()); !errors.Is(err, context.Canceled) {
		t.Errorf("signed after the context ended: %v", err)
	}
}

func TestConfig(t *testing.T) {
	good := hopproof.Config{Keys: keys(t), Store: &nonces{}}
	for name, c := range map[string]struct {
		change func(*hopproof.Config)
		want   []string // a part of each problem
	}{
		"good":        {func(*hopproof.Config) {}, nil},
		"longest":     {func(c *hopproof.Config) { c.MaxAge, c.Leeway = 20*time.Hour, time.Hour }, nil},
		"zero":        {func(c *hopproof.Config) { *c = hopproof.Config{} }, []string{"Keys", "Store"}},
		"negative":    {func(c *hopproof.Config) { c.MaxAge, c.Leeway = -1, -1 }, []string{"MaxAge", "Leeway"}},
		"too long":    {func(c *hopproof.Config) { c.MaxAge, c.Leeway = 20*time.Hour, time.Hour+1 }, []string{"24h0m0s"}},
		"overflow":    {func(c *hopproof.Config) { c.MaxAge, c.Leeway = time.Hour, 1<<62 }, []string{"24h0m0s"}},
		"prefix":      {func(c *hopproof.Config) { c.NoncePrefix = "a b" }, []string{"NoncePrefix"}},
		"long prefix": {func(c *hopproof.Config) { c.NoncePrefix = strings.Repeat("p", 65) }, []string{"NoncePrefix"}},
		"everything": {func(c *hopproof.Config) { *c = hopproof.Config{MaxAge: -1, Leeway: -1, NoncePrefix: "/"} },
			[]string{"Keys", "Store", "MaxAge", "Leeway", "NoncePrefix"}},
	} {
		t.Run(name, func(t *testing.T) {
			config := good
			c.change(&config)
			v, err := hopproof.NewVerifier(config)
			if len(c.want) == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || v != nil {
				t.Fatal("accepted")
			}
			if lines := strings.Split(err.Error(), "\n"); len(lines) != len(c.want) {
				t.Errorf("problems %q; want %q", lines, c.want)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("problems %q do not name %s", err, part)
				}
			}
		})
	}
}
