package config_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// watched is a file under watch, in a bubble in which an interval passes at once.
type watched struct {
	t    *testing.T
	path string

	mu      sync.Mutex
	applied []*config.Deployment
	reports []error
	refuse  error
}

const interval = time.Second

// watch runs f beside a watch of a file that holds text.
func watch(t *testing.T, text string, f func(*watched), environ ...string) {
	watchIn(t, t.TempDir(), text, f, environ...)
}

// watchIn is watch in a folder, which is made outside the bubble.
func watchIn(t *testing.T, dir, text string, f func(*watched), environ ...string) {
	synctest.Test(t, func(t *testing.T) {
		w := &watched{t: t, path: filepath.Join(dir, "kest.yaml")}
		w.write(text)
		d, err := config.Load(w.path, config.Options{Environ: append([]string{}, environ...), Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		w.watch(d, f)
	})
}

// watch returns when the watch has ended.
func (w *watched) watch(d *config.Deployment, f func(*watched)) {
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.Watch(ctx, interval, func(_ context.Context, next *config.Deployment) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.refuse != nil {
				return w.refuse
			}
			w.applied = append(w.applied, next)
			return nil
		}, func(err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.reports = append(w.reports, err)
		})
	}()
	time.Sleep(interval / 2) // between two readings
	f(w)
	cancel()
	<-ended
}

func (w *watched) write(text string) {
	if err := os.WriteFile(w.path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// replace is what careful writers do.
func (w *watched) replace(text string) {
	if err := os.WriteFile(w.path+".new", []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(w.path+".new", w.path); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) pass(intervals int) {
	time.Sleep(time.Duration(intervals) * interval)
	synctest.Wait()
}

// want checks how often the callbacks were called so far.
func (w *watched) want(what string, applied, reports int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.applied) != applied || len(w.reports) != reports {
		w.t.Fatalf("%s: applied %d times, want %d; reports %q, want %d", what, len(w.applied), applied, w.reports, reports)
	}
}

func (w *watched) last() *config.Deployment {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.applied[len(w.applied)-1]
}

func (w *watched) report(i int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reports[i]
}

func (w *watched) refusing(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse = err
}

const watchedText = "policies: {enterprise: [base]}\norigins: {feed: 70}\n"

// TestWatchReplace: a file that is replaced by rename takes effect after two equal readings, once.
func TestWatchReplace(t *testing.T) {
	watch(t, watchedText, func(w *watched) {
		w.pass(3)
		w.want("no change", 0, 0)
		w.replace("policies: {enterprise: [base, more]}\norigins: {feed: 70} # the same\n" +
			"deviations: [{policy: more, tier: enterprise, scope: x}]\nauthority: {grants: []}\n")
		w.pass(1)
		w.want("one reading", 0, 0)
		w.pass(5)
		w.want("two readings", 1, 0)
		c := w.last().Guard()
		if !slices.Equal(c.Enterprise, []string{"base", "more"}) || len(c.Deviations) != 1 || w.last().Authority() == nil {
			t.Errorf("%+v", c)
		}
		w.replace(watchedText)
		w.pass(3)
		w.want("back", 2, 0)
		if c := w.last().Guard(); len(c.Enterprise) != 1 || c.Deviations != nil || w.last().Authority() != nil {
			t.Errorf("%+v", c)
		}
		w.replace("# another comment\n" + watchedText)
		w.pass(3)
		w.want("a comment", 2, 0)
	})
}

// TestWatchLink: Kubernetes points a link to another folder.
func TestWatchLink(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"1": watchedText, "2": "policies: {enterprise: [base, more]}\norigins: {feed: 70}\n"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "kest.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	point := func(to string) {
		if err := errors.Join(os.Symlink(to, filepath.Join(dir, "new")), os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	point("1")
	if err := os.Symlink(filepath.Join("..data", "kest.yaml"), filepath.Join(dir, "kest.yaml")); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		d, err := config.Load(filepath.Join(dir, "kest.yaml"), config.Options{Environ: []string{}, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		(&watched{t: t}).watch(d, func(w *watched) {
			w.pass(3)
			point("2")
			w.pass(3)
			w.want("swapped", 1, 0)
			if c := w.last().Guard(); len(c.Enterprise) != 2 {
				t.Errorf("%+v", c)
			}
		})
	})
}

// TestWatchHalfWritten: half a file can be a good one with fewer policies.
func TestWatchHalfWritten(t *testing.T) {
	watch(t, "policies:\n  enterprise: [base]\n  platform: [plat]\n", func(w *watched) {
		w.pass(2)
		for _, half := range []string{"policies:\n", "policies:\n  enterprise: [base]\n", "policies:\n  enterprise: [base]\n  platform: [pl]\n"} {
			w.write(half)
			w.pass(1)
		}
		w.write("policies:\n  enterprise: [base]\n  platform: [plat, more]\n")
		w.pass(3)
		w.want("written in pieces", 1, 0)
		if c := w.last().Guard(); len(c.Platform) != 2 {
			t.Errorf("%+v", c)
		}
	})
}

// TestWatchFaults: the last good configuration stays, and each fault is told once.
func TestWatchFaults(t *testing.T) {
	watch(t, watchedText, func(w *watched) {
		w.pass(2)
		w.replace("policies: {enterprise: [base, ../up]}\n")
		w.pass(5)
		w.want("bad name", 0, 1)
		if got := w.report(0).Error(); !strings.Contains(got, `kest.yaml:1:31: policies.enterprise[1]: policy name "../up"`) {
			t.Error(got)
		}
		w.replace("")
		w.pass(5)
		w.want("cut down to nothing", 0, 2)
		if err := os.Remove(w.path); err != nil {
			t.Fatal(err)
		}
		w.pass(5)
		w.want("removed", 0, 3)
		w.replace(watchedText)
		w.pass(5)
		w.want("mended as it was", 0, 3)
		if err := os.Remove(w.path); err != nil {
			t.Fatal(err)
		}
		w.pass(5)
		w.want("removed again", 0, 4)
		w.replace(watchedText)
		w.pass(5)
		if err := os.Remove(w.path); err != nil {
			t.Fatal(err)
		}
		w.pass(5)
		w.want("removed once more", 0, 5)
		w.replace("policies: {enterprise: [base, ../up]}\n")
		w.pass(5)
		w.want("broken again", 0, 6)
		w.replace("policies: {enterprise: [other]}\norigins: {feed: 70}\n")
		w.pass(5)
		w.want("mended", 1, 6)
	})
}

// TestWatchRestart: sections that are not reloaded say so, and stay as they are.
func TestWatchRestart(t *testing.T) {
	watch(t, watchedText, func(w *watched) {
		w.pass(2)
		w.replace("policies: {enterprise: [base, more]}\norigins: {feed: 90}\nstore: {memory: {}}\n")
		w.pass(5)
		w.want("changed both", 1, 1)
		var restart *config.RestartError
		if !errors.As(w.report(0), &restart) || !slices.Equal(restart.Sections, []string{"origins", "store"}) {
			t.Errorf("%v", w.report(0))
		}
		if got := w.report(0).Error(); !strings.HasSuffix(got, "kest.yaml: changed, but takes effect when the program is started again: origins, store") {
			t.Error(got)
		}
		kv, err := w.last().Store(t.Context())
		if c := w.last().Guard(); c.Origins["feed"] != 70 || len(c.Enterprise) != 2 || kv != nil || err != nil {
			t.Errorf("%+v %v %v", c, kv, err)
		}
		w.replace("policies: {enterprise: [base]}\norigins: {feed: 90}\nstore: {memory: {}}\n")
		w.pass(5)
		w.want("changed policies only", 2, 1)
		w.replace(watchedText)
		w.pass(5)
		w.want("taken back", 2, 1)
	})
}

// TestWatchRefused: a program that cannot take the change yet, since an engine has not loaded a new policy for example,
// is asked again.
func TestWatchRefused(t *testing.T) {
	watch(t, watchedText, func(w *watched) {
		w.refusing(errors.New("unknown policy"))
		w.replace("policies: {enterprise: [base, more]}\norigins: {feed: 70}\n")
		w.pass(5)
		w.want("refused", 0, 1)
		w.refusing(nil)
		w.pass(1)
		w.want("asked again", 1, 1)
		w.pass(5)
		w.want("taken", 1, 1)
	})
}

// TestWatchEnvironment: what the variables add stays.
func TestWatchEnvironment(t *testing.T) {
	watch(t, watchedText, func(w *watched) {
		w.replace("policies: {enterprise: [other]}\norigins: {feed: 70}\n")
		w.pass(3)
		w.want("replaced", 1, 0)
		if c := w.last().Guard(); !slices.Equal(c.Enterprise, []string{"other", "outside"}) {
			t.Errorf("%+v", c)
		}
	}, "KEST_POLICIES_ENTERPRISE=outside")
}

// TestWatchNoFile: without a file it says so and returns.
func TestWatchNoFile(t *testing.T) {
	t.Parallel()
	d, err := config.Load("", config.Options{Environ: []string{}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	var reports []error
	d.Watch(t.Context(), interval, nil, func(err error) { reports = append(reports, err) })
	if len(reports) != 1 || reports[0].Error() != "the configuration has no file to watch" {
		t.Error(reports)
	}
}

// TestWatchGuard: functions that follow the process default are under the new policies, without a restart.
func TestWatchGuard(t *testing.T) {
	defer kest.Reset()
	engine := policytest.Func(func(_ context.Context, name string, _ *policy.Input) (policy.Decision, error) {
		return policy.Decision{Allow: name != "freeze"}, nil
	})
	watch(t, "policies: {enterprise: [base]}\nidentity: {local: {}}\n", func(w *watched) {
		d, err := config.Load(w.path, config.Options{Environ: []string{}, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		id, err := d.Identity(w.t.Context())
		if err != nil {
			t.Fatal(err)
		}
		configure := func(d *config.Deployment) error {
			c, err := d.Apply(kest.Config{Engine: engine, Identity: id, Logger: quiet})
			if err != nil {
				return err
			}
			return kest.Configure(c)
		}
		if err := configure(d); err != nil {
			t.Fatal(err)
		}
		call, err := kest.Verified(nil, func(context.Context, struct{}) (int, error) { return 1, nil }, kest.Operation("pay"), kest.Policy("app/pay"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := call(w.t.Context(), struct{}{}); err != nil {
			t.Error(err)
		}
		w.replace("policies: {enterprise: [base, freeze]}\nidentity: {local: {}}\n")
		w.pass(3)
		w.want("frozen", 1, 0)
		if err := configure(w.last()); err != nil {
			t.Fatal(err)
		}
		if _, err := call(w.t.Context(), struct{}{}); !errors.Is(err, kest.ErrDenied) {
			t.Errorf("after the reload: %v", err)
		}
	})
}

// TestReloadStorm: while the configuration changes a thousand times, every call is decided by one of them as a whole.
func TestReloadStorm(t *testing.T) {
	defer kest.Reset()
	engine := policytest.Func(func(_ context.Context, name string, _ *policy.Input) (policy.Decision, error) {
		return policy.Decision{Allow: name != "never"}, nil
	}).Keep(1)
	texts := []string{
		"policies: {enterprise: [base]}\nidentity: {local: {}}\n",
		"policies: {enterprise: [base, more], platform: [never]}\ndeviations: [{policy: never, tier: platform, scope: pay}]\n",
	}
	id, err := must(t, texts[0]).Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var configs []kest.Config
	for _, text := range texts {
		c, err := must(t, text).Apply(kest.Config{Engine: engine, Identity: id, Logger: quiet, NoReceipts: true, PolicyTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		configs = append(configs, c)
	}
	if err := kest.Configure(configs[0]); err != nil {
		t.Fatal(err)
	}
	call, err := kest.Verified(nil, func(ctx context.Context, _ struct{}) (string, error) {
		c := kest.CurrentPassport(ctx).Last().Entry().Policies
		return fmt.Sprint(c.Enterprise, c.Platform, len(c.Deviations)), nil
	}, kest.Operation("pay"), kest.Policy("app/pay"))
	if err != nil {
		t.Fatal(err)
	}
	var seen [2]atomic.Int64
	var callers sync.WaitGroup
	done := make(chan struct{})
	for range 8 {
		callers.Go(func() {
			for {
				switch got, err := call(t.Context(), struct{}{}); {
				case err != nil:
					t.Error(err)
					return
				case got == "[base] [] 0":
					seen[0].Add(1)
				case got == "[base more] [never] 1":
					seen[1].Add(1)
				default:
					t.Errorf("half of one and half of the other: %s", got)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := 0; i < 1000 || seen[0].Load() == 0 || seen[1].Load() == 0; i++ {
		if t.Failed() {
			break
		}
		if err := kest.Configure(configs[i%2]); err != nil {
			t.Error(err)
			break
		}
	}
	close(done)
	callers.Wait()
}
