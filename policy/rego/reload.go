package rego

import (
	"context"
	"time"

	"github.com/kest-go/kest/policy/internal/tree"
)

// Reload reads the tree again and, when everything in it is good, replaces the policies at once. On an error the
// policies that were loaded before stay. Evaluations go on during a reload, each with the policies that it began with.
func (e *Engine) Reload(ctx context.Context) error { return e.keeper.Reload(ctx) }

// Watch reloads when the contents of the tree change, until ctx ends, and returns then: call it with go. It reads
// the tree at every interval and acts when two readings in a row agree, so that a file caught half-written is not
// loaded. interval must be positive.
//
// Each success is logged. A fault is logged and handed to report, once until it changes; the last good
// policies stay. report may be nil; it is called on Watch's goroutine.
func (e *Engine) Watch(ctx context.Context, interval time.Duration, report func(error)) {
	e.keeper.Watch(ctx, interval, report)
}

// install compiles the tree and makes it current.
func (e *Engine) install(ctx context.Context, t *tree.Tree) error {
	l, err := e.loader(t.Left)
	if err != nil {
		return err
	}
	if err := l.load(ctx, t.Files); err != nil {
		return err
	}
	s, err := l.compile(ctx, t.Revision)
	if err != nil {
		return err
	}
	e.current.Store(s)
	return nil
}
