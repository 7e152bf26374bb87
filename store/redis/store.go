package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/kest-go/kest/store"
)

// maxWaiting bounds the operations that wait for the server, and so what a silent one costs.
const maxWaiting = 1024

// A Store keeps values in one server or cluster. Make it with [Open] or [New]. It is safe for concurrent use.
type Store struct {
	client   rueidis.Client
	own      bool
	prefix   string
	maxValue int
	timeout  time.Duration
	waiting  chan struct{}
	closed   atomic.Bool
}

var (
	_ store.Store = (*Store)(nil)
	_ io.Closer   = (*Store)(nil)
)

// Open connects to the servers of c and warns when they may evict values. It returns within DialTimeout and the
// Timeout of that one question; a server that does not answer is an error that matches [store.ErrUnavailable]. A store
// that is open reconnects by itself. Close it when it is no longer needed.
func Open(c Config) (*Store, error) {
	c = c.filled()
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("redis config: %w", err)
	}
	client, err := c.connect()
	if err != nil {
		return nil, fmt.Errorf("redis: %q: %w", c.Addresses, err)
	}
	s := newStore(client, c)
	s.own = true
	s.warn(c)
	return s, nil
}

// New returns a store over a client of the caller, who closes it after the last use of the store. Of c it uses Prefix,
// MaxValue and Timeout; it sends nothing. What the package comment says about a server that breaks the protocol holds
// for clients of [Open] only. The client may retry reads; it retries no SET, whatever its options are.
func New(client rueidis.Client, c Config) (*Store, error) {
	c = c.filled()
	if err := c.checkUse(); err != nil {
		return nil, fmt.Errorf("redis config: %w", err)
	}
	if client == nil {
		return nil, errors.New("redis config: no client; make one with rueidis.NewClient, or use Open")
	}
	return newStore(client, c), nil
}

func newStore(client rueidis.Client, c Config) *Store {
	return &Store{
		client: client, prefix: c.Prefix, maxValue: c.MaxValue, timeout: c.Timeout, waiting: make(chan struct{}, maxWaiting),
	}
}

// connect makes a client within DialTimeout. rueidis bounds each step only, so one that comes too late is closed.
func (c Config) connect() (rueidis.Client, error) {
	type result struct {
		client rueidis.Client
		err    error
	}
	done := make(chan result)
	over := time.NewTimer(c.DialTimeout)
	defer over.Stop()
	late := make(chan struct{})
	go func() {
		client, err := rueidis.NewClient(c.options())
		select {
		case done <- result{client, err}:
		case <-late:
			if err == nil {
				client.Close()
			}
		}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, store.Unavailable(context.Background(), fault(r.err))
		}
		return r.client, nil
	case <-over.C:
		close(late)
		return nil, fmt.Errorf("%w: no connection within %v; check Addresses and TLS, and that the server runs",
			store.ErrUnavailable, c.DialTimeout)
	}
}

func (c Config) options() rueidis.ClientOption {
	return rueidis.ClientOption{
		InitAddress: c.Addresses, Username: c.Username, Password: c.Password,
		TLSConfig: c.TLS, DialCtxFn: c.dial, Dialer: net.Dialer{Timeout: c.DialTimeout},
		ConnWriteTimeout:   c.Timeout, // a connection without answers for so long is given up
		ReadBufferEachConn: 64 << 10, WriteBufferEachConn: 64 << 10,
		DisableCache:     true,
		AlwaysPipelining: true, // somebody reads all the time, so the end of a connection is noticed before the next Put
		ClusterOption:    rueidis.ClusterOption{MaxMovedRedirections: 8},
		RetryDelay: func(attempts int, _ rueidis.Completed, _ error) time.Duration { // asked for reads only
			if attempts > 1 {
				return -1
			}
			return 0
		},
	}
}

// Put implements [store.Store] with SET NX PX.
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := store.Check(key, value, s.maxValue, ttl); err != nil {
		return err
	}
	ms := (ttl + time.Millisecond - 1).Milliseconds()
	// string copies: after its context a command may still wait to be written.
	answer, err := s.do(ctx, s.client.B().Set().Key(s.prefix+key).Value(string(value)).Nx().PxMilliseconds(ms).Build())
	switch {
	case rueidis.IsRedisNil(err):
		return store.ErrExists
	case err != nil:
		return store.Unavailable(ctx, fault(err))
	case answer != "OK":
		return store.Unavailable(ctx, errConfused)
	}
	return nil
}

// Get implements [store.Store] with GET.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := store.CheckKey(key); err != nil {
		return nil, err
	}
	value, err := s.do(ctx, s.client.B().Get().Key(s.prefix+key).Build())
	switch {
	case rueidis.IsRedisNil(err):
		return nil, store.ErrNotFound
	case err != nil:
		return nil, store.Unavailable(ctx, fault(err))
	case len(value) > s.maxValue:
		return nil, store.Unavailable(ctx, fmt.Errorf("redis: value of %d bytes, more than MaxValue (%d)", len(value), s.maxValue))
	}
	return []byte(value), nil
}

// do returns the answer within the store's time, and within ctx. It waits for the client in a goroutine, since that
// obeys a context in most places but not in all: not while another caller dials, nor in a full queue.
func (s *Store) do(ctx context.Context, command rueidis.Completed) (string, error) {
	if s.closed.Load() {
		return "", rueidis.ErrClosing
	}
	limited, cancel := context.WithTimeoutCause(ctx, s.timeout, errSlow)
	defer cancel()
	select {
	case s.waiting <- struct{}{}:
	case <-limited.Done():
		return "", context.Cause(limited)
	}
	type result struct {
		answer string
		err    error
	}
	done := make(chan result, 1)
	go func() {
		// It does not end with the caller's context: connecting is shared, and others would get his error.
		own, stop := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
		defer stop()
		r := result{err: errConfused}
		defer func() {
			_ = recover() // rueidis indexes into MOVED without a look
			done <- r
			<-s.waiting
		}()
		r.answer, r.err = text(s.client.Do(own, command))
	}()
	select {
	case r := <-done:
		return r.answer, r.err
	case <-limited.Done():
		return "", context.Cause(limited)
	}
}

// text is a string answer. ToString alone takes booleans and numbers, too, and finds them empty.
func text(r rueidis.RedisResult) (string, error) {
	m, err := r.ToMessage()
	if err == nil && !m.IsString() {
		err = errConfused
	}
	if err != nil {
		return "", err
	}
	return m.ToString()
}

// Close ends the connections of a store that was opened, and every operation of the store; it gives a silent server up
// to a second for each connection. It may be called more than once, and returns nil.
func (s *Store) Close() error {
	if !s.closed.Swap(true) && s.own {
		s.client.Close()
	}
	return nil
}

// warn asks for the eviction policy. Managed servers often refuse to say; then there is nothing to warn about.
func (s *Store) warn(c Config) {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	answer, err := s.client.Do(ctx, s.client.B().ConfigGet().Parameter("maxmemory-policy").Build()).AsStrMap()
	if policy := answer["maxmemory-policy"]; err == nil && policy != "" && policy != "noeviction" {
		c.Logger.Warn("redis may evict values before their time: claim checks get lost, and hop proofs can be replayed",
			"addresses", c.Addresses, "maxmemory-policy", clip(policy), "fix", "set maxmemory-policy to noeviction")
	}
}
