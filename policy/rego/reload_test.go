package rego_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/rego"
)

func threshold(n int) string {
	return fmt.Sprintf("package p\ndefault allow := false\nallow if input.trust_score >= %d\n", n)
}

func allows(t *testing.T, e *rego.Engine, trust int) bool {
	t.Helper()
	d, err := e.Evaluate(t.Context(), "p", call(trust))
	if err != nil {
		t.Fatal(err)
	}
	return d.Allow
}

// A reload takes the new files when all are good, and keeps the old policies when one is not (SPEC §7).
func TestReload(t *testing.T) {
	dir := disk(t, tree{"p.rego": threshold(40)})
	engine, err := rego.Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	first := engine.Revision()
	put(t, dir, "p.rego", threshold(90))
	if !allows(t, engine, 50) {
		t.Error("changed without a reload")
	}
	if err := engine.Reload(t.Context()); err != nil || engine.Revision() == first || allows(t, engine, 50) {
		t.Error("not reloaded:", err)
	}
	good := engine.Revision()
	for name, text := range map[string]string{"half": "package p\ndefault allow := false\nallow if input.trust_score >=", "empty": "", "refused": "package p\nallow if http.send({})"} {
		put(t, dir, "p.rego", text)
		err := engine.Reload(t.Context())
		var at *rego.SourceError
		if !errors.As(err, &at) || !strings.HasSuffix(at.File, "/p.rego") || name != "empty" && at.Line == 0 {
			t.Errorf("%s: %v", name, err)
		}
		if engine.Revision() != good || allows(t, engine, 50) || !allows(t, engine, 90) {
			t.Errorf("%s: the last good policies are gone", name)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := engine.Reload(t.Context()); !errors.Is(err, fs.ErrNotExist) || allows(t, engine, 50) {
		t.Error("folder gone:", err)
	}
	put(t, dir, "p.rego", threshold(40))
	cancelled, stop := context.WithCancel(t.Context())
	stop()
	if err := engine.Reload(cancelled); !errors.Is(err, context.Canceled) || engine.Revision() != good {
		t.Error("cancelled:", err)
	}
	if err := engine.Reload(t.Context()); err != nil || engine.Revision() != first {
		t.Error("the same files have another revision:", err)
	}
}

// A storm is what is told apart by its answers: each of the two trees allows what the other one denies.
type storm struct {
	engine    *rego.Engine
	inputs    map[int]*policy.Input // by trust score, shared by all goroutines
	revisions map[string]int        // of the trees, to their threshold
	current   atomic.Int64          // threshold of the tree that the last reload left
	round     atomic.Int64          // odd during a reload
	asked     atomic.Int64
}

// files of a tree: p allows from a threshold on, and q calls that follow an operation of its name.
func (*storm) files(t *testing.T, dir string, n int) {
	put(t, dir, "p.rego", threshold(n))
	put(t, dir, "q.rego", fmt.Sprintf("package q\ndefault allow := false\nallow if { some s in input.lineage.steps; s.operation == %q }\n", fmt.Sprint("op", n)))
}

// ask expects the decision of the tree that the decision says it comes from, which is the current one unless a reload
// went on.
func (s *storm) ask(n int) error {
	name, trust := []string{"p", "q"}[n%2], []int{39, 50, 60}[n/2%3]
	round, current := s.round.Load(), s.current.Load()
	d, err := s.engine.Evaluate(context.Background(), name, s.inputs[trust])
	calm := round%2 == 0 && round == s.round.Load()
	s.asked.Add(1)
	from, known := s.revisions[d.Revision]
	want := name == "p" && trust >= from || name == "q" && from == 60
	if err != nil || !known || d.Allow != want || calm && int64(from) != current {
		return fmt.Errorf("%s, trust %d, threshold %d: %+v %w", name, trust, current, d, err)
	}
	return nil
}

// 1,000 reloads while 8 goroutines call: no decision is wrong or missing, none mixes two trees, and after a reload, none
// is of the tree before. Every third tree is broken (SPEC §7).
func TestReloadStorm(t *testing.T) {
	dir := t.TempDir()
	s := &storm{revisions: map[string]int{}, inputs: map[int]*policy.Input{}}
	for _, trust := range []int{39, 50, 60} {
		s.inputs[trust] = call(trust)
		s.inputs[trust].Lineage.History = policy.NewHistory(func() []policy.Ancestor { return []policy.Ancestor{{Operation: "op60"}} })
	}
	for _, n := range []int{40, 60} {
		s.files(t, dir, n)
		engine, err := rego.Dir(dir)
		if err != nil {
			t.Fatal(err)
		}
		s.engine, s.revisions[engine.Revision()] = engine, n
		s.current.Store(int64(n))
	}
	calls := make(chan int, 64)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := range calls {
				if err := s.ask(n); err != nil {
					t.Error(err)
				}
			}
		})
	}
	const reloads, each = 1000, 16
	for n := range reloads {
		threshold, broken := []int{40, 60}[n%2], n%3 == 2
		if broken {
			put(t, dir, "p.rego", "package p\nallow if {")
		} else {
			s.files(t, dir, threshold)
		}
		for i := range each {
			calls <- i + n
		}
		s.round.Add(1)
		if err := s.engine.Reload(t.Context()); (err != nil) != broken {
			t.Error(n, err)
		}
		if !broken {
			s.current.Store(int64(threshold))
		}
		s.round.Add(1)
	}
	close(calls)
	wg.Wait()
	if s.asked.Load() != reloads*each {
		t.Errorf("%d of %d calls were answered", s.asked.Load(), reloads*each)
	}
}

// A shifting file system serves what the test puts into it.
type shifting struct {
	mu sync.Mutex
	fs fs.FS
}

func (s *shifting) Open(name string) (fs.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fs.Open(name)
}

func (s *shifting) set(f fs.FS) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fs = f
}

func (s *shifting) policy(text string) { s.set(tree{"p.rego": text}.fs()) }

// unmounted is a file system that has gone away.
type unmounted struct{}

func (unmounted) Open(string) (fs.File, error) { return nil, fs.ErrPermission }

// Watch takes a change that has settled, reports each distinct fault once, and ends with its context.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		files := &shifting{}
		files.policy(threshold(40))
		engine, err := rego.Config{Logger: log.logger()}.FS(files)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var faults []string
		done := make(chan struct{})
		go func() {
			engine.Watch(ctx, time.Second, func(err error) { faults = append(faults, err.Error()) })
			close(done)
		}()
		wait := func(n int) { time.Sleep(time.Duration(n) * time.Second); synctest.Wait() }
		expect := func(when string, allow50 bool, reported int) {
			t.Helper()
			if allows(t, engine, 50) != allow50 || len(faults) != reported {
				t.Errorf("%s: allow %t, reports %q", when, !allow50, faults)
			}
		}
		time.Sleep(time.Second / 2) // between the ticks
		wait(3)
		expect("nothing changed", true, 0)
		files.policy("package p\ndefault allow := false\n") // half-written, but good Rego
		wait(1)
		expect("not settled", true, 0)
		files.policy(threshold(90))
		wait(1)
		expect("still not settled", true, 0)
		wait(1)
		expect("settled", false, 0)
		files.policy("package p\nallow if {")
		wait(10)
		expect("broken", false, 1)
		files.policy("package p\n\nallow if")
		wait(10)
		expect("broken otherwise", false, 2)
		files.set(fstest.MapFS{})
		wait(10)
		expect("empty", false, 3)
		files.policy(threshold(90))
		wait(10)
		expect("the old one again", false, 3)
		files.policy("package p\nallow if {")
		wait(10)
		expect("broken again", false, 4)
		files.policy(threshold(90))
		wait(10)
		files.policy("package p\nallow if {")
		wait(10)
		expect("mended and broken in the same way", false, 5)
		files.set(unmounted{})
		wait(10)
		expect("unreadable", false, 6)
		files.set(tree{"p.rego": "package p\nallow if {", "old.rego": "package old\nallow { input.x }"}.fs())
		wait(10)
		expect("broken beside v0", false, 7)
		if n := strings.Count(log.String(), "deprecated"); n != 1 {
			t.Errorf("a broken tree was compiled %d times", n)
		}
		files.policy(threshold(10))
		wait(10)
		expect("mended", true, 7)
		stop()
		<-done
		if !strings.Contains(faults[0], "p.rego:2") {
			t.Errorf("no file and line in %q", faults[0])
		}
		for _, want := range []string{"policies reloaded", "the last good ones stay", engine.Revision()} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("log lacks %q", want)
			}
		}
	})
}

// Watch sees a folder that is replaced by another one, as a deployment does it.
func TestWatchReplacedFolder(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "live")
	put(t, dir, "p.rego", threshold(40))
	engine, err := rego.Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(root, "next"), "p.rego", threshold(90))
	if os.Rename(dir, filepath.Join(root, "old")) != nil || os.Rename(filepath.Join(root, "next"), dir) != nil {
		t.Fatal("not renamed")
	}
	if err := engine.Reload(t.Context()); err != nil || allows(t, engine, 50) {
		t.Error("the old folder is still read:", err)
	}
}
