package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/store/sqlstore"
)

// stubborn is a driver that does not look at contexts, as SQLite's does not while it waits for a lock.
func stubborn(answer <-chan struct{}) (*fake, *atomic.Int64) {
	var running atomic.Int64
	return &fake{answer: func(_ context.Context, statement string, _ []driver.NamedValue) (any, error) {
		if strings.HasPrefix(statement, "SELECT EXISTS") || strings.Contains(statement, "version") {
			return nil, nil
		}
		running.Add(1)
		<-answer
		running.Add(-1)
		return nil, nil
	}}, &running
}

// TestTimeout: an operation ends after its time, or with its context, although the driver does not.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		f, _ := stubborn(answer)
		s := f.open(t, sqlstore.Config{})
		for name, op := range map[string]func(context.Context) error{
			"put":   func(ctx context.Context) error { return s.Put(ctx, secretKey, []byte(secretValue), time.Hour) },
			"get":   func(ctx context.Context) error { _, err := s.Get(ctx, secretKey); return err },
			"sweep": func(ctx context.Context) error { _, err := s.Sweep(ctx); return err },
		} {
			start := time.Now()
			unavailable(t, op(ctx), "no answer in time; raise Timeout")
			if took := time.Since(start); took != sqlstore.DefaultTimeout {
				t.Errorf("%s took %v", name, took)
			}
			for _, want := range []error{context.Canceled, context.DeadlineExceeded} {
				ending, cancel := context.WithTimeout(ctx, time.Second)
				if errors.Is(want, context.Canceled) {
					time.AfterFunc(time.Second, cancel)
				}
				start = time.Now()
				err := op(ending)
				cancel()
				if took := time.Since(start); took != time.Second || err != ending.Err() {
					t.Errorf("%s, context ends: %v after %v", name, err, took)
				}
			}
		}
		close(answer)
	})
}

// TestOpenTimeout: Open has a time of its own.
func TestOpenTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		f := &fake{answer: func(context.Context, string, []driver.NamedValue) (any, error) {
			<-answer
			return nil, nil
		}}
		start := time.Now()
		_, err := sqlstore.Open(ctx, f.connect(t), sqlstore.Config{Dialect: sqlstore.SQLite})
		unavailable(t, err, "no answer in time")
		if took := time.Since(start); took != sqlstore.OpenTimeout {
			t.Errorf("took %v", took)
		}
		close(answer)
	})
}

// TestCrowd: a silent database has a bounded number of operations to work on, and the others end in time as well.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		f, running := stubborn(answer)
		s := f.open(t, sqlstore.Config{})
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				_, err := s.Get(ctx, secretKey)
				unavailable(t, err, "no answer in time")
			})
		}
		synctest.Wait()
		if n := running.Load(); n != 256 {
			t.Errorf("%d operations at once; want 256", n)
		}
		wg.Wait()
		close(answer)
		synctest.Wait()
		if err := s.Put(ctx, "k", nil, time.Hour); err != nil {
			t.Errorf("put after it: %v", err)
		}
	})
}

// TestValueIsCopied: the driver may look at the value after Put has returned it to the caller.
func TestValueIsCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer, sent := make(chan struct{}), make(chan string, 1)
		f := &fake{answer: func(_ context.Context, statement string, args []driver.NamedValue) (any, error) {
			if strings.HasPrefix(statement, "INSERT") {
				<-answer
				sent <- string(args[1].Value.([]byte))
			}
			return nil, nil
		}}
		s := f.open(t, sqlstore.Config{})
		value := []byte(secretValue)
		unavailable(t, s.Put(ctx, "k", value, time.Hour), "no answer")
		clear(value)
		close(answer)
		if got := <-sent; got != secretValue {
			t.Errorf("the driver saw %q", got)
		}
	})
}

// TestSweeper: one run each minute, batch by batch, until Close.
func TestSweeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rows atomic.Int64
		f := &fake{answer: func(_ context.Context, statement string, args []driver.NamedValue) (any, error) {
			if !strings.HasPrefix(statement, "DELETE") {
				return nil, nil
			}
			deleted := min(rows.Load(), args[0].Value.(int64))
			rows.Add(-deleted)
			return deleted, nil
		}}
		s, err := sqlstore.Open(ctx, f.connect(t), sqlstore.Config{Dialect: sqlstore.PostgreSQL})
		if err != nil {
			t.Fatal(err)
		}
		rows.Store(120)
		time.Sleep(time.Minute - time.Nanosecond)
		synctest.Wait()
		if n := f.statements("DELETE"); n != 0 {
			t.Errorf("%d batches before the interval was over", n)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if n := f.statements("DELETE"); n != 3 || rows.Load() != 0 {
			t.Errorf("%d batches, %d rows are left", n, rows.Load())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := f.statements("DELETE"); n != 4 {
			t.Errorf("%d batches after two intervals", n)
		}
		s.Close()
		s.Close()
		time.Sleep(time.Hour) // a sweeper that is left would also fail the bubble
		if n := f.statements("DELETE"); n != 4 {
			t.Errorf("%d batches after Close", n)
		}
		unavailable(t, s.Put(ctx, secretKey, nil, time.Hour), "the store was closed")
		_, err = s.Sweep(ctx)
		unavailable(t, err, "the store was closed")
	})
}

// TestNoSweeper: a negative interval is none.
func TestNoSweeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.open(t, sqlstore.Config{SweepInterval: -1})
		time.Sleep(time.Hour)
		if n := f.statements("DELETE"); n != 0 {
			t.Errorf("%d batches", n)
		}
	})
}

// TestSweeperFails: it says so, without the driver's words, and goes on. Close does not wait for a stubborn driver.
func TestSweeperFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		answer := make(chan struct{})
		var stall atomic.Bool
		f := &fake{answer: func(_ context.Context, statement string, _ []driver.NamedValue) (any, error) {
			if !strings.HasPrefix(statement, "DELETE") {
				return nil, nil
			}
			if stall.Load() {
				<-answer
			}
			return nil, stateError("42501")
		}}
		s := f.open(t, sqlstore.Config{SweepInterval: time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		time.Sleep(3500 * time.Millisecond)
		synctest.Wait()
		text := log.String()
		if strings.Count(text, "SQLSTATE 42501: the role may not do that") != 3 || !strings.Contains(text, "table=kest_store") ||
			strings.Contains(text, secretKey) || strings.Contains(text, secretValue) {
			t.Errorf("log %q", text)
		}
		stall.Store(true)
		time.Sleep(time.Second)
		synctest.Wait()
		start := time.Now()
		s.Close()
		if took := time.Since(start); took != 0 || log.String() != text {
			t.Errorf("close took %v; log %q", took, log.String())
		}
		close(answer)
	})
}
