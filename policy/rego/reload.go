package rego

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Reload reads the tree again and, when everything in it is good, replaces the policies at once. On an error the
// policies that were loaded before stay. Evaluations go on during a reload, each with the policies that it began with.
func (e *Engine) Reload(ctx context.Context) error {
	e.loading.Lock()
	defer e.loading.Unlock()
	t, b, err := e.read()
	if err == nil {
		err = e.install(ctx, t, b)
	}
	return e.named(err)
}

func (e *Engine) named(err error) error {
	if err == nil {
		return nil
	}
	name := e.prefix
	if name == "" {
		name = "file system"
	}
	return fmt.Errorf("policies of %s: %w", name, err)
}

// read reads the tree. File names in errors get the prefix here.
func (e *Engine) read() (*tree, budget, error) {
	b := budget{e.limits}
	fsys, root, err := e.open()
	if err != nil {
		return nil, b, err
	}
	defer root.Close()
	t, err := readTree(fsys, &b)
	if s := (*SourceError)(nil); errors.As(err, &s) {
		s.File = (&loader{prefix: e.prefix}).display(s.File)
	}
	if err == nil {
		t.revision = revision(t.files, e.data)
	}
	return t, b, err
}

// install compiles the tree and makes it current.
func (e *Engine) install(ctx context.Context, t *tree, b budget) error {
	l, err := e.loader(b)
	if err != nil {
		return err
	}
	if err := l.load(ctx, t); err != nil {
		return err
	}
	s, err := l.compile(ctx, t.revision)
	if err != nil {
		return err
	}
	e.current.Store(s)
	return nil
}

// Watch reloads when the contents of the tree change, until ctx ends, and returns then: call it with go. It reads
// the tree at every interval and acts when two readings in a row agree, so that a file caught half-written is not
// loaded. interval must be positive.
//
// Each success is logged. A fault is logged and handed to report, once until it changes; the last good
// policies stay. report may be nil; it is called on Watch's goroutine.
func (e *Engine) Watch(ctx context.Context, interval time.Duration, report func(error)) {
	if report == nil {
		report = func(error) {}
	}
	w := watcher{engine: e, report: report}
	tick := time.NewTicker(max(interval, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.poll(ctx)
		}
	}
}

// A watcher remembers what it saw last, what it tried to load last, and what it complained of last.
type watcher struct {
	engine      *Engine
	report      func(error)
	seen, tried string
	complained  string
}

func (w *watcher) poll(ctx context.Context) {
	e := w.engine
	e.loading.Lock()
	t, b, err := e.read()
	if err == nil {
		settled := w.seen == t.revision
		w.seen = t.revision
		loaded := t.revision == e.Revision()
		if loaded { // nothing new, or mended by putting the old files back
			w.tried, w.complained = "", ""
		}
		if loaded || !settled || t.revision == w.tried {
			e.loading.Unlock()
			return
		}
		w.tried = t.revision
		err = e.install(ctx, t, b)
	}
	e.loading.Unlock()
	w.tell(ctx, err)
}

func (w *watcher) tell(ctx context.Context, err error) {
	e := w.engine
	switch err = e.named(err); {
	case ctx.Err() != nil:
	case err == nil:
		w.complained = ""
		e.log.Info("policies reloaded", "from", e.prefix, "revision", e.Revision())
	case err.Error() != w.complained:
		w.complained = err.Error()
		e.log.Error("policies not reloaded; the last good ones stay", "from", e.prefix,
			"revision", e.Revision(), "error", err)
		w.report(err)
	}
}
