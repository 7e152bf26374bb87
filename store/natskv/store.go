package natskv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kest-go/kest/store"
)

// maxWaiting bounds the operations that wait for the server, and so what a silent one costs.
const maxWaiting = 1024

// A Store keeps values in one bucket. Make it with [New]. It is safe for concurrent use, and holds nothing that must be
// closed.
type Store struct {
	bucket
	nc      *nats.Conn
	timeout time.Duration
	waiting chan struct{}
}

var _ store.Store = (*Store)(nil)

// New opens the bucket of c, and makes it if there is none. It reports everything that is wrong with c, or with the
// settings of a bucket that exists; when the server does not answer in time, or has no JetStream, the error matches
// [store.ErrUnavailable]. The connection of js belongs to the caller, who closes it after the last use of the store.
func New(ctx context.Context, js jetstream.JetStream, c Config) (*Store, error) {
	if js == nil || js.Conn() == nil {
		return nil, errors.New("natskv config: no JetStream; make it with jetstream.New")
	}
	c = c.filled()
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("natskv config: %w", err)
	}
	s := &Store{nc: js.Conn(), timeout: c.Timeout, waiting: make(chan struct{}, maxWaiting)}
	b, err := do(ctx, s, func(ctx context.Context) (bucket, error) { return c.bucket(ctx, js) })
	switch {
	case errors.As(err, new(unfitError)):
		return nil, fmt.Errorf("natskv: %w", err)
	case err != nil:
		return nil, store.Unavailable(ctx, fault(err))
	}
	s.bucket = b
	return s, nil
}

// Put implements [store.Store] with a create: a message that must be the first of its subject, or follow a marker.
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := store.Check(key, value, s.maxValue, ttl); err != nil {
		return err
	}
	value = bytes.Clone(value) // it may still wait to be written when Put is over
	_, err := do(ctx, s, func(ctx context.Context) (uint64, error) {
		return s.kv.Create(ctx, subject(key), value, jetstream.KeyTTL(seconds(ttl)))
	})
	switch {
	case err == nil:
		return nil
	case exists(err):
		return store.ErrExists
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum):
		return fmt.Errorf("%w: value of %d bytes, more than the server takes now; raise its max_payload and the bucket's max_msg_size",
			store.ErrRefused, len(value))
	}
	return store.Unavailable(ctx, fault(err))
}

// exists tells the two answers of a server that has a message of that subject: one without replicas, and one with.
func exists(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// Get implements [store.Store] with the last message of the key's subject.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := store.CheckKey(key); err != nil {
		return nil, err
	}
	entry, err := do(ctx, s, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return s.kv.Get(ctx, subject(key)) })
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return nil, store.ErrNotFound
	case err != nil:
		return nil, store.Unavailable(ctx, fault(err))
	case len(entry.Value()) > s.maxValue:
		return nil, store.Unavailable(ctx, fmt.Errorf("natskv: value of %d bytes, more than MaxValue (%d)", len(entry.Value()), s.maxValue))
	}
	return entry.Value(), nil
}

// do returns the answer within the store's time, and within ctx. It waits in a goroutine, since the client library holds
// its lock, without a look at contexts, while it writes to a connection that takes nothing.
func do[T any](ctx context.Context, s *Store, ask func(context.Context) (T, error)) (T, error) {
	var none T
	limited, cancel := context.WithTimeoutCause(ctx, s.timeout, errSlow)
	defer cancel()
	select {
	case s.waiting <- struct{}{}:
	case <-limited.Done():
		return none, context.Cause(limited)
	}
	type result struct {
		answer T
		err    error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-s.waiting }()
		r := result{err: errAway}
		if s.nc.IsConnected() { // else the library would keep the message, and send it whenever the server is back
			r.answer, r.err = ask(limited)
		}
		done <- r
	}()
	select {
	case r := <-done:
		return r.answer, r.err
	case <-limited.Done():
		return none, context.Cause(limited)
	}
}

var (
	errSlow = errors.New("natskv: no answer in time; raise Timeout, or look why the server is slow, or whether the user may use the bucket")
	errAway = errors.New("natskv: not connected to a server")
)

// hint says what to do about the error codes of JetStream that operators meet.
func hint(code jetstream.ErrorCode) string {
	switch code {
	case 10002, 10023, 10028, 10047, 10122:
		return "the server or the account has no room; lower MaxBytes of a new bucket, or raise the limits of JetStream"
	case 10008, 10009:
		return "the cluster has no leader now"
	case 10039, 10076:
		return "JetStream is not enabled for this account; enable it in the server's configuration"
	case 10052:
		return "the server takes no such bucket; use nats-server 2.11 or later"
	case 10059:
		return "the bucket is gone; make a new store"
	case 10074:
		return "the server is no cluster; set Replicas to 1"
	case 10077:
		return "the bucket is full; raise its max_bytes"
	case 10109:
		return "the bucket is sealed; use another one"
	case 10166:
		return "the bucket counts no time per key any more; set allow_msg_ttl to true"
	}
	return "look into the server's log"
}

// fault returns an error without the server's words, which may be anything, and without its cause, which may be the end
// of another caller's context.
func fault(err error) error {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, errSlow), errors.Is(err, context.DeadlineExceeded): // the latter from the library, of the same context
		return errSlow
	case errors.As(err, &api):
		return fmt.Errorf("natskv: error %d of the server: %s", api.ErrorCode, hint(api.ErrorCode))
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return errors.New("natskv: nobody serves the bucket; is JetStream enabled, and does the bucket exist and have a leader?")
	case errors.Is(err, nats.ErrPermissionViolation):
		return errors.New("natskv: the user may not do that; see the package comment for the permissions")
	case errors.Is(err, errAway), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrDisconnected),
		errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionDraining):
		return errAway
	}
	return errors.New("natskv: an answer that does not fit the question, or none")
}
