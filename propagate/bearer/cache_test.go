package bearer_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/bearer"
)

func unknown(i int) string {
	return sign("EdDSA", keys().ed, fmt.Sprintf(`{"alg":"EdDSA","kid":"made-up-%d"}`, i), goodClaims().text())
}

// A flood of made-up key ids causes a bounded number of fetches, and none of them blocks a good token.
func TestKidFlood(t *testing.T) {
	keys() // outside of the bubble
	synctest.Test(t, func(t *testing.T) {
		f := serving(allKeys())
		v := newVerifier(t, config(f))
		accepted(t, v, edToken(nil))
		for i := range 600 { // a minute of it
			refused(t, v, unknown(i), propagate.ErrBadToken)
			accepted(t, v, edToken(nil))
			time.Sleep(100 * time.Millisecond)
		}
		if n := f.count.Load(); n < 5 || n > 7 {
			t.Errorf("%d fetches in a minute; want one in 10 s", n)
		}
	})
}

func TestRotation(t *testing.T) {
	keys()
	synctest.Test(t, func(t *testing.T) {
		f := serving(keySet(jwk(keys().rsa, "rsa")))
		v := newVerifier(t, config(f))
		refused(t, v, edToken(nil), propagate.ErrBadToken)
		f.serve(allKeys())
		refused(t, v, edToken(nil), propagate.ErrBadToken) // too soon to ask again
		time.Sleep(bearer.DefaultKeysMinRefresh)
		accepted(t, v, edToken(nil))
		if n := f.count.Load(); n != 2 {
			t.Errorf("%d fetches; want 2", n)
		}
	})
}

// A key that was withdrawn does not count after KeysMaxAge, even when nothing was asked in between.
func TestWithdrawnKey(t *testing.T) {
	keys()
	for name, withdrawn := range map[string]string{"one": keySet(jwk(keys().rsa, "rsa")), "all": `{"keys":[]}`} {
		for _, idle := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " idle ", idle), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := serving(allKeys())
					v := newVerifier(t, config(f))
					accepted(t, v, edToken(nil))
					f.serve(withdrawn)
					for range 10 {
						time.Sleep(time.Minute)
						if !idle {
							v.VerifyToken(t.Context(), edToken(nil))
						}
					}
					refused(t, v, edToken(nil), propagate.ErrBadToken)
				})
			})
		}
	}
}

// New keys are fetched before the old ones are too old, and without making anybody wait.
func TestRefreshInTheBackground(t *testing.T) {
	keys()
	synctest.Test(t, func(t *testing.T) {
		f := serving(allKeys())
		v := newVerifier(t, config(f))
		accepted(t, v, edToken(nil))
		f.set(func(*http.Request) (int, string, error) {
			time.Sleep(3 * time.Second)
			return 200, allKeys(), nil
		})
		for range 60 {
			time.Sleep(time.Minute)
			begin := time.Now()
			accepted(t, v, edToken(nil))
			if d := time.Since(begin); d != 0 {
				t.Errorf("waited %v", d)
			}
		}
		time.Sleep(5 * time.Second)
		if n := f.count.Load(); n < 10 || n > 14 {
			t.Errorf("%d fetches in an hour; want one in 5 minutes", n)
		}
	})
}

// Keys survive an outage for KeysMaxStale and not longer. Nobody waits for an endpoint that is known to be down.
func TestOutage(t *testing.T) {
	keys()
	synctest.Test(t, func(t *testing.T) {
		f := serving(allKeys())
		v := newVerifier(t, config(f))
		accepted(t, v, edToken(nil))
		f.set(func(r *http.Request) (int, string, error) { // it hangs
			<-r.Context().Done()
			return 0, "", r.Context().Err()
		})
		start := time.Now()
		for time.Since(start) < bearer.DefaultKeysMaxStale-time.Second {
			begin := time.Now()
			accepted(t, v, edToken(nil))
			if d := time.Since(begin); d != 0 {
				t.Fatalf("after %v: waited %v", time.Since(start), d)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(time.Second)
		refused(t, v, edToken(nil), bearer.ErrKeys)
		if n := f.count.Load(); n > 340 {
			t.Errorf("%d fetches in an hour; want one in 10 s at most", n)
		}
		f.serve(allKeys())
		time.Sleep(bearer.DefaultKeysMinRefresh)
		accepted(t, v, edToken(nil))
	})
}

// After a night without requests the first one waits for an answer, and then the old keys have to do, or do not.
func TestIdleThenOutage(t *testing.T) {
	keys()
	for idle, class := range map[time.Duration]error{30 * time.Minute: nil, 8 * time.Hour: bearer.ErrKeys} {
		synctest.Test(t, func(t *testing.T) {
			f := serving(allKeys())
			v := newVerifier(t, config(f))
			accepted(t, v, edToken(nil))
			f.down()
			time.Sleep(idle)
			for range 3 {
				if class == nil {
					accepted(t, v, edToken(nil))
				} else {
					refused(t, v, edToken(nil), class)
				}
			}
			if n := f.count.Load(); n != 2 {
				t.Errorf("%d fetches; want 2", n)
			}
		})
	}
}

// While keys cannot be fetched, nobody can say that a key is unknown.
func TestUnknownKeyInOutage(t *testing.T) {
	keys()
	synctest.Test(t, func(t *testing.T) {
		f := serving(allKeys())
		v := newVerifier(t, config(f))
		accepted(t, v, edToken(nil))
		f.down()
		time.Sleep(time.Minute)
		for i := range 100 {
			refused(t, v, unknown(i), bearer.ErrKeys)
			accepted(t, v, edToken(nil))
		}
		if n := f.count.Load(); n != 2 {
			t.Errorf("%d fetches; want 2", n)
		}
	})
}

// A caller that goes away does not take the fetch with it, and a slow fetch holds nobody longer than they want.
func TestFetchIsShared(t *testing.T) {
	keys()
	synctest.Test(t, func(t *testing.T) {
		f := &transport{}
		f.set(func(*http.Request) (int, string, error) {
			time.Sleep(3 * time.Second)
			return 200, allKeys(), nil
		})
		v := newVerifier(t, config(f))
		token := edToken(nil)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				patience := time.Duration(i) * 100 * time.Millisecond
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				begin := time.Now()
				_, err := v.VerifyToken(ctx, token)
				waited := time.Since(begin)
				switch {
				case patience < 3*time.Second:
					if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, bearer.ErrKeys) || waited != patience {
						t.Errorf("patience %v: %v after %v", patience, err, waited)
					}
				case patience > 3*time.Second && (err != nil || waited != 3*time.Second):
					t.Errorf("patience %v: %v after %v", patience, err, waited)
				}
			})
		}
		wg.Wait()
		if n := f.count.Load(); n != 1 {
			t.Errorf("%d fetches; want 1", n)
		}
	})
}

// However long a fetch takes, there is no second one beside it.
func TestOneFetchAtATime(t *testing.T) {
	keys()
	synctest.Test(t, func(t *testing.T) {
		f := &transport{}
		f.set(func(*http.Request) (int, string, error) {
			time.Sleep(20 * time.Second)
			return 200, allKeys(), nil
		})
		c := config(f)
		c.Timeout, c.KeysMinRefresh = 30*time.Second, time.Second
		v := newVerifier(t, c)
		var wg sync.WaitGroup
		for range 19 {
			wg.Go(func() { accepted(t, v, edToken(nil)) })
			time.Sleep(time.Second)
		}
		wg.Wait()
		if n := f.count.Load(); n != 1 {
			t.Errorf("%d fetches; want 1", n)
		}
	})
}

// Config.Timeout bounds the fetch for those who would wait forever.
func TestFetchTimeout(t *testing.T) {
	keys()
	synctest.Test(t, func(t *testing.T) {
		f := &transport{}
		f.set(func(r *http.Request) (int, string, error) {
			<-r.Context().Done()
			return 0, "", r.Context().Err()
		})
		v := newVerifier(t, config(f))
		begin := time.Now()
		text := refused(t, v, edToken(nil), bearer.ErrKeys)
		if d := time.Since(begin); d != bearer.DefaultTimeout || !strings.Contains(text, "in time") {
			t.Errorf("%s after %v", text, d)
		}
	})
}

func TestConcurrency(t *testing.T) {
	f := serving(allKeys())
	v := newVerifier(t, config(f))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				accepted(t, v, edToken(nil))
				refused(t, v, unknown(100*i+j), propagate.ErrBadToken)
			}
		})
	}
	wg.Wait()
	if n := f.count.Load(); n != 1 {
		t.Errorf("%d fetches; want 1", n)
	}
}
