package tree_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A shifting file system serves what the test puts into it.
type shifting struct {
	mu sync.Mutex
	fs fs.FS
}

func (s *shifting) Open(name string) (fs.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fs == nil {
		return nil, fs.ErrPermission
	}
	return s.fs.Open(name)
}

func (s *shifting) set(f fs.FS) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fs = f
}

// Watch installs a change that has settled, tries a bad tree once, reports each distinct fault once, and ends with its
// context. What is installed changes in no other way.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		source := &shifting{fs: files("a.p", "1")}
		e := &engine{}
		k := keep(e, of(t, source))
		k.Log = slog.New(slog.NewTextHandler(&log, nil))
		if err := k.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var faults []error
		done := make(chan struct{})
		go func() {
			k.Watch(ctx, time.Second, func(err error) { faults = append(faults, err) })
			close(done)
		}()
		time.Sleep(time.Second / 2) // between the ticks
		for i, step := range []struct {
			tree                         fs.FS
			refuse                       error
			seconds, installed, reported int
		}{
			{files("a.p", "1"), nil, 5, 1, 0},                     // nothing new
			{files("a.p", "2"), nil, 1, 1, 0},                     // not settled
			{files("a.p", "3"), nil, 1, 1, 0},                     // still not
			{files("a.p", "3"), nil, 1, 2, 0},                     // settled
			{nil, nil, 5, 2, 1},                                   // unreadable, said once
			{files("a.p", strings.Repeat("x", 11)), nil, 5, 2, 2}, // otherwise unreadable
			{files("a.p", "3"), nil, 5, 2, 2},                     // mended, nothing to load
			{files("a.p", "4"), errors.New("bad rule"), 5, 2, 3},  // refused, tried once
			{files("a.p", "5"), errors.New("bad rule"), 5, 2, 3},  // refused for the same reason
			{files("a.p", "5"), errors.New("worse"), 5, 2, 3},     // not tried again
			{files("a.p", "6"), errors.New("worse"), 5, 2, 4},     // refused for another reason
			{files("a.p", "3"), errors.New("not asked"), 5, 2, 4}, // mended
			{files("a.p", "6"), errors.New("worse"), 5, 2, 5},     // broken again
			{files("a.p", "7"), nil, 5, 3, 5},                     // good
			{files("a.p", "7", "b.txt", "other"), nil, 5, 3, 5},   // not wanted
		} {
			e.mu.Lock()
			e.refuse = step.refuse
			e.mu.Unlock()
			source.set(step.tree)
			time.Sleep(time.Duration(step.seconds) * time.Second)
			synctest.Wait()
			if len(e.installed) != step.installed || len(faults) != step.reported {
				t.Errorf("step %d: installed %d, reports %q", i, len(e.installed), faults)
			}
		}
		stop()
		<-done
		if n := strings.Count(log.String(), "policies reloaded"); n != 2 {
			t.Errorf("%d reloads logged", n)
		}
		if n := strings.Count(log.String(), "the last good ones stay"); n != len(faults) {
			t.Errorf("%d faults logged, %d reported", n, len(faults))
		}
		if !strings.Contains(faults[0].Error(), "policies of file system: ") || !errors.Is(faults[0], fs.ErrPermission) {
			t.Error(faults[0])
		}
	})
}

// A reload that fails is not remembered as what is installed: the same tree is tried again when asked.
func TestReloadAgain(t *testing.T) {
	e := &engine{refuse: errors.New("bad rule")}
	k := keep(e, of(t, files("a.p", "1")))
	if err := k.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "bad rule") {
		t.Error(err)
	}
	e.refuse = nil
	if err := k.Reload(t.Context()); err != nil || len(e.installed) != 1 {
		t.Error(err)
	}
	other, err := k.Read(func(name string) bool { return true })
	if err != nil || len(other.Files) != 1 || len(e.installed) != 1 {
		t.Error("reading alone:", other, err)
	}
}

// Reloads, readings and a watch at once are one after the other.
func TestConcurrentReloads(t *testing.T) {
	e := &engine{}
	source := &shifting{fs: files("a.p", "1")}
	k := keep(e, of(t, source))
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { k.Watch(ctx, time.Millisecond, nil) })
	for i := range 4 {
		wg.Go(func() {
			for range 50 {
				source.set(files("a.p", strings.Repeat("x", i)))
				if err := k.Reload(ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	time.AfterFunc(50*time.Millisecond, stop)
	wg.Wait()
	if len(e.installed) < 200 {
		t.Error(len(e.installed))
	}
}
