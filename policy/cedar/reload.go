package cedar

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
	t, err := e.read()
	if err == nil {
		err = e.install(ctx, t)
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
func (e *Engine) read() (*tree, error) {
	fsys, root, err := e.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	r := reader{Limits: e.limits, schema: e.schema.name, entities: e.entities.name}
	if err := r.read(fsys); err != nil {
		if s, ok := errors.AsType[*SourceError](err); ok {
			s.File = e.display(s.File)
		}
		return nil, err
	}
	r.tree.revision = r.tree.hash()
	return &r.tree, nil
}

// install compiles the tree and makes it current.
func (e *Engine) install(ctx context.Context, t *tree) error {
	s, err := e.load(ctx, t)
	if err != nil {
		return err
	}
	e.current.Store(s)
	return nil
}

// Watch reloads when the contents of the tree change, until ctx ends, and returns then: call it with go. It reads
// the tree at every interval and acts when two readings in a row agree, so that a file caught half-written is not
// loaded: a Cedar file that lacks its end is good Cedar, without the forbids that follow. interval must be positive.
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
	if news, err := w.look(ctx); news {
		w.tell(ctx, err)
	}
}

// look reads the tree and loads it when it is new and has settled. It reports whether there is anything to tell.
func (w *watcher) look(ctx context.Context) (news bool, _ error) {
	e := w.engine
	e.loading.Lock()
	defer e.loading.Unlock()
	t, err := e.read()
	if err != nil {
		return true, err
	}
	settled := w.seen == t.revision
	w.seen = t.revision
	loaded := t.revision == e.Revision()
	if loaded { // nothing new, or mended by putting the old files back
		w.tried, w.complained = "", ""
	}
	if loaded || !settled || t.revision == w.tried {
		return false, nil
	}
	w.tried = t.revision
	return true, e.install(ctx, t)
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
