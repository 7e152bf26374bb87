package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kest-go/kest/store"
)

// down: without a server every answer is ErrUnavailable, never "no such key" and never success. Afterwards the same
// client works again.
func (p *probe) down() error { return p.without("down", p.Down) }

// stalled: the store ends its operations itself when the context has no deadline.
func (p *probe) stalled() error { return p.without("stalled", p.Stall) }

func (p *probe) without(how string, outage func(*testing.T) func()) error {
	there := p.key()
	if err := put(background, p.first, there, []byte("a value from before"), long, nil); err != nil {
		return err
	}
	up := once(outage(p.t))
	defer up()
	var errs []error
	lost := p.key()
	for range 2 { // the second finds what the first left
		_, err := get(background, p.first, there, store.ErrUnavailable)
		errs = append(errs, err, put(background, p.first, lost, []byte("a value for later"), long, store.ErrUnavailable))
	}
	_, err := get(background, p.first, "not a key", store.ErrRefused)
	errs = append(errs, err)
	for i, err := range errs {
		if err != nil {
			errs[i] = fmt.Errorf("server %s: %w", how, err)
		}
	}
	up()
	return errors.Join(append(errs, p.back(lost, "a value for later"))...)
}

// back waits until the store answers again. What was put during the outage may be there, whole, or not.
func (p *probe) back(lost, value string) error {
	start := time.Now()
	for {
		key := p.key()
		err := put(background, p.first, key, []byte("a value after it"), long, nil)
		if err == nil {
			err = holds(p.first, key, []byte("a value after it"))
		}
		if err == nil {
			break
		}
		if time.Since(start) > patience {
			return fmt.Errorf("%v after the server came back: %w", patience, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	got, err := p.first.Get(background, lost)
	switch {
	case err == nil && string(got) != value:
		return errors.New("a value that was put during the outage is there, but not whole")
	case err != nil:
		return fault(err, store.ErrNotFound, lost, nil)
	}
	return nil
}

// endedDuring: while the server is silent the context decides, and its error is the answer.
func (p *probe) endedDuring() error {
	there := p.key()
	if err := put(background, p.first, there, []byte("a value from before"), long, nil); err != nil {
		return err
	}
	up := once(p.Stall(p.t))
	defer up()
	const soon = 100 * time.Millisecond
	var errs []error
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		for _, op := range []func(context.Context) error{
			func(ctx context.Context) error { _, err := get(ctx, p.first, there, cause); return err },
			func(ctx context.Context) error {
				return put(ctx, p.first, p.key(), []byte("a value in vain"), long, cause)
			},
		} {
			ctx, cancel := ending(cause, soon)
			start := time.Now()
			errs = append(errs, op(ctx))
			cancel()
			if took := time.Since(start); took > soon+prompt {
				errs = append(errs, fmt.Errorf("%v after the context ended", took-soon))
			}
		}
	}
	up()
	return errors.Join(append(errs, p.back(p.key(), ""))...)
}

// ending returns a context that ends with cause.
func ending(cause error, after time.Duration) (context.Context, context.CancelFunc) {
	if errors.Is(cause, context.DeadlineExceeded) {
		return context.WithTimeout(background, after)
	}
	ctx, cancel := context.WithCancel(background)
	time.AfterFunc(after, cancel)
	return ctx, cancel
}

// prompt is how soon an operation ends after its context, on a machine that has other things to do.
const prompt = time.Second

func once(f func()) func() {
	done := false
	return func() {
		if !done {
			done = true
			f()
		}
	}
}
