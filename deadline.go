package kest

import (
	"context"
	"sync"
	"time"
)

// deadline is context.WithTimeout for engines that answer in microseconds: the timer is made when somebody first
// waits on Done. Err looks at the clock, so an engine that only asks pays nothing for a timer.
type deadline struct {
	context.Context // the call's
	at              time.Time
	own             bool // at is earlier than the call's own deadline

	mu     sync.Mutex
	timed  context.Context // with the timer; nil until Done is called
	cancel context.CancelFunc
	over   error // why it ended, once it has
}

func withDeadline(parent context.Context, timeout time.Duration) *deadline {
	at := time.Now().Add(timeout)
	if earlier, ok := parent.Deadline(); ok && earlier.Before(at) {
		return &deadline{Context: parent, at: earlier}
	}
	return &deadline{Context: parent, at: at, own: true}
}

// Deadline implements [context.Context].
func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }

// Done implements [context.Context].
func (d *deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed == nil {
		d.timed, d.cancel = context.WithDeadline(d.Context, d.at)
		if d.over != nil {
			d.cancel()
		}
	}
	return d.timed.Done()
}

// Err implements [context.Context]. Once it has returned an error it returns the same one for ever.
func (d *deadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over == nil {
		d.over = d.state()
		if d.over != nil && d.cancel != nil {
			d.cancel() // Done must be closed when Err is not nil
		}
	}
	return d.over
}

func (d *deadline) state() error {
	switch {
	case d.Context.Err() != nil:
		return d.Context.Err()
	case d.timed != nil && d.timed.Err() != nil:
		return d.timed.Err()
	case d.own && !time.Now().Before(d.at):
		return context.DeadlineExceeded
	}
	return nil
}

// end releases the timer. The engine must not use the context afterwards; if it does, the context has ended.
func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over == nil {
		d.over = context.Canceled
	}
	if d.cancel != nil {
		d.cancel()
	}
}

// ended is ctx.Err by the clock: an engine that compares with ctx's deadline may notice its end before ctx's own
// timer does.
func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if at, ok := ctx.Deadline(); ok && !time.Now().Before(at) {
		return context.DeadlineExceeded
	}
	return nil
}
