package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kest-go/kest/store"
)

// maxRunning bounds the operations that the database works on or that wait for a connection, and so what a silent
// server costs. More wait for these, within their own time.
const maxRunning = 256

// A Store keeps values in one table. Make it with [Open]. It is safe for concurrent use.
type Store struct {
	db       *sql.DB
	sql      dialect
	prefix   string
	maxValue int
	timeout  time.Duration
	running  chan struct{}

	closed  atomic.Bool
	stop    context.CancelFunc // of the sweeper
	sweeper sync.WaitGroup
}

var (
	_ store.Store = (*Store)(nil)
	_ io.Closer   = (*Store)(nil)
)

// Open makes or upgrades the tables and starts the sweeper. It gives up after [OpenTimeout] or when ctx ends, which has
// no meaning for the store later on. Everything that is wrong with c is reported at once; a database that cannot answer
// is an error that matches [store.ErrUnavailable]; tables of a newer program are refused. Many processes may open a
// store at once. The store must be closed, and db by its owner after that.
func Open(ctx context.Context, db *sql.DB, c Config) (*Store, error) {
	c = c.filled()
	err := c.check()
	if db == nil {
		err = errors.Join(err, errors.New("no database; open one with sql.Open"))
	}
	if err != nil {
		return nil, fmt.Errorf("sqlstore config: %w", err)
	}
	statements, _ := dialects(c.Dialect) // check has looked
	s := &Store{
		db: db, sql: statements.with(c.Prefix), prefix: c.Prefix, maxValue: c.MaxValue, timeout: c.Timeout,
		running: make(chan struct{}, maxRunning),
	}
	err = s.within(ctx, OpenTimeout, s.migrate)
	if unfit, ok := errors.AsType[*schemaError](err); ok {
		return nil, fmt.Errorf("sqlstore: %w", unfit)
	}
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	s.startSweeper(c.SweepInterval, c.Logger)
	return s, nil
}

// Put implements [store.Store] with one INSERT, which is its own transaction.
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := store.Check(key, value, s.maxValue, ttl); err != nil {
		return err
	}
	// A copy, since the driver may still read it after the context ended; never nil, which would be NULL.
	value = append([]byte{}, value...)
	micros := ttl.Microseconds() + 1 // rounded up, and the clocks down
	var rows int64
	err := s.within(ctx, s.timeout, func(ctx context.Context) error {
		result, err := s.db.ExecContext(ctx, s.sql.put, s.args(key, value, micros)...)
		if err != nil {
			return err
		}
		rows, err = result.RowsAffected()
		return err
	})
	switch {
	case err != nil:
		return unavailable(ctx, err)
	case rows == 0:
		return store.ErrExists
	case rows != 1:
		return unavailable(ctx, errConfused)
	}
	return nil
}

// Get implements [store.Store] with one SELECT.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := store.CheckKey(key); err != nil {
		return nil, err
	}
	var value []byte
	var size int64
	err := s.within(ctx, s.timeout, func(ctx context.Context) error {
		return s.db.QueryRowContext(ctx, s.sql.get, s.args(key, s.maxValue)...).Scan(&size, &value)
	})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, store.ErrNotFound
	case err != nil:
		return nil, unavailable(ctx, err)
	case size > int64(s.maxValue):
		return nil, unavailable(ctx, fmt.Errorf("%w: value of %d bytes, more than MaxValue (%d)", errOurs, size, s.maxValue))
	case size != int64(len(value)):
		return nil, unavailable(ctx, errConfused)
	}
	return append([]byte{}, value...), nil
}

// args adds the time where the database does not tell it.
func (s *Store) args(args ...any) []any {
	if s.sql.clock {
		args = append(args, time.Now().UnixMicro())
	}
	return args
}

// within runs f and waits for it until limit is over or ctx ends. f has a goroutine of its own, because drivers obey
// contexts in most places but not in all: SQLite's wait for a lock ends when its busy timeout does. What f assigns may
// be read after a nil error or one that f returned.
func (s *Store) within(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if s.closed.Load() {
		return errClosed
	}
	limited, cancel := context.WithTimeoutCause(ctx, limit, errSlow)
	defer cancel()
	select {
	case s.running <- struct{}{}:
	case <-limited.Done():
		return context.Cause(limited)
	}
	done := make(chan error, 1)
	go func() {
		err := errPanic
		defer func() {
			_ = recover() // a panic of the driver; here nobody else could stop it
			<-s.running
			done <- err
		}()
		err = f(limited)
	}()
	select {
	case err := <-done:
		if err != nil && limited.Err() != nil {
			return context.Cause(limited)
		}
		return err
	case <-limited.Done():
		return context.Cause(limited)
	}
}

// Close stops the sweeper, waits for its end, and fails the operations that come later. It does not close the
// database. It may be called more than once, and returns nil.
func (s *Store) Close() error {
	s.closed.Store(true)
	s.stop()
	s.sweeper.Wait()
	return nil
}
