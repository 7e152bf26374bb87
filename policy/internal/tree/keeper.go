package tree

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// A Keeper loads a tree for an engine. When a tree is bad, what was loaded before stays. Its fields are set before its
// use, in which it is safe for concurrent use.
type Keeper struct {
	Source Source
	Limits Limits
	Wanted func(path string) bool // whether to read the file
	Salt   []byte                 // what else the revision covers

	// Install makes a tree the one that decides, or returns why not and changes nothing. One runs at a time.
	Install func(context.Context, *Tree) error
	// Fault makes the engine's own error of a fault in a file.
	Fault func(*FileError) error
	Log   *slog.Logger

	loading  sync.Mutex // one load at a time, so that an older reading cannot replace a newer one
	revision string     // that is installed
}

// Reload reads the tree and installs it.
func (k *Keeper) Reload(ctx context.Context) error {
	k.loading.Lock()
	defer k.loading.Unlock()
	t, err := k.read(k.Wanted)
	if err == nil {
		err = k.install(ctx, t)
	}
	return k.Named(err)
}

// Read reads the files that are wanted, and installs nothing.
func (k *Keeper) Read(wanted func(path string) bool) (*Tree, error) {
	t, err := k.read(wanted)
	return t, k.Named(err)
}

func (k *Keeper) read(wanted func(path string) bool) (*Tree, error) {
	t, err := k.Source.read(k.Limits, wanted)
	if f, ok := errors.AsType[*FileError](err); ok {
		f.File = k.Source.Display(f.File)
		return nil, k.Fault(f)
	}
	if err != nil {
		return nil, err
	}
	t.Revision = revision(t.Files, k.Salt)
	return t, nil
}

func (k *Keeper) install(ctx context.Context, t *Tree) error {
	err := k.Install(ctx, t)
	if err == nil {
		k.revision = t.Revision
	}
	return err
}

// Named says of which tree an error is.
func (k *Keeper) Named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("policies of %s: %w", k.Source.name(), err)
}

// Watch installs the tree when its contents have changed, until ctx ends. It reads the tree at every interval and acts
// when two readings in a row agree, so that a file caught half-written is not loaded. A fault is logged and reported
// once until it changes. report may be nil.
func (k *Keeper) Watch(ctx context.Context, interval time.Duration, report func(error)) {
	if report == nil {
		report = func(error) {}
	}
	w := watcher{keeper: k, report: report}
	tick := time.NewTicker(max(interval, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if revision, news, err := w.look(ctx); news {
				w.tell(ctx, revision, err)
			}
		}
	}
}

// A watcher remembers what it saw last, what it tried to load last, and what it complained of last.
type watcher struct {
	keeper      *Keeper
	report      func(error)
	seen, tried string
	complained  string
}

// look reads the tree and loads it when it is new and has settled. It returns what is loaded then, and whether there
// is anything to tell.
func (w *watcher) look(ctx context.Context) (loaded string, news bool, _ error) {
	k := w.keeper
	k.loading.Lock()
	defer k.loading.Unlock()
	t, err := k.read(k.Wanted)
	if err != nil {
		return k.revision, true, err
	}
	settled := w.seen == t.Revision
	w.seen = t.Revision
	if t.Revision == k.revision { // nothing new, or mended by putting the old files back
		w.tried, w.complained = "", ""
		return k.revision, false, nil
	}
	if !settled || t.Revision == w.tried {
		return k.revision, false, nil
	}
	w.tried = t.Revision
	err = k.install(ctx, t)
	return k.revision, true, err
}

func (w *watcher) tell(ctx context.Context, revision string, err error) {
	k := w.keeper
	switch err = k.Named(err); {
	case ctx.Err() != nil:
	case err == nil:
		w.complained = ""
		k.Log.Info("policies reloaded", "from", k.Source.prefix, "revision", revision)
	case err.Error() != w.complained:
		w.complained = err.Error()
		k.Log.Error("policies not reloaded; the last good ones stay", "from", k.Source.prefix,
			"revision", revision, "error", err)
		w.report(err)
	}
}
