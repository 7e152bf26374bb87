// Package store is the vocabulary of short-lived values that processes share: passports too large for a header
// (claim checks, SPEC §9), and the nonces of hop proofs, which must not be seen twice.
//
// A store is not trusted. Whoever reads a passport from it compares it with the signed tip that was announced, so a
// store that lies, loses or swaps values can stop a request and do nothing else.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Store keeps values for a while, each written once.
//
// Every error but that of an ended context matches exactly one of the four sentinels below. Implementations bound
// the time of every operation by a deadline of their own, besides the context's, and are safe for concurrent use.
type Store interface {
	// Put keeps value under key for ttl, at least. Writing is once and atomic: of any number of processes that put
	// the same key, one succeeds and the others get [ErrExists], until ttl is over. After an error that is neither
	// ErrExists nor [ErrRefused] the value may have been kept or not. Put does not keep value itself.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) error

	// Get returns the value, which belongs to the caller, or [ErrNotFound] for a key that was never written or whose
	// time is over.
	Get(ctx context.Context, key string) ([]byte, error)
}

var (
	// ErrNotFound says that there is no value, or none any more.
	ErrNotFound = errors.New("store: no such key")
	// ErrExists says that the key was written before and still holds.
	ErrExists = errors.New("store: key was written before")
	// ErrUnavailable says that the store could not answer: it is down, slow, full or confused.
	ErrUnavailable = errors.New("store: unavailable")
	// ErrRefused says that the store takes no such key, value or time. See [Check].
	ErrRefused = errors.New("store: refused")
)

// Limits of what every store takes.
const (
	MaxKey   = 256            // bytes
	MaxValue = 4 << 20        // bytes; stores may be configured to take less
	MaxTTL   = 24 * time.Hour // values are for requests in flight, not for archives
)

// Check reports whether a store takes the arguments of Put: a key of at most [MaxKey] letters, digits, '.', '_', '-'
// and ':', a value of at most maxValue bytes (0 means [MaxValue]), and a time above zero and up to [MaxTTL]. The error
// matches [ErrRefused] and does not repeat key or value.
func Check(key string, value []byte, maxValue int, ttl time.Duration) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if maxValue <= 0 || maxValue > MaxValue {
		maxValue = MaxValue
	}
	if len(value) > maxValue {
		return fmt.Errorf("%w: value of %d bytes, more than the limit of %d", ErrRefused, len(value), maxValue)
	}
	if ttl <= 0 || ttl > MaxTTL {
		return fmt.Errorf("%w: time to live of %s; want more than 0 and at most %s", ErrRefused, ttl, MaxTTL)
	}
	return nil
}

// CheckKey is the part of [Check] that concerns the key.
func CheckKey(key string) error {
	if len(key) == 0 || len(key) > MaxKey {
		return fmt.Errorf("%w: key of %d bytes; want 1 to %d", ErrRefused, len(key), MaxKey)
	}
	for _, c := range []byte(key) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-', c == ':':
		default:
			return fmt.Errorf("%w: key has the byte %#02x; want . _ - : letters and digits", ErrRefused, c)
		}
	}
	return nil
}

// Unavailable is the error of an operation that failed with err: that of ctx when it has ended, else one that matches
// [ErrUnavailable] and nothing else, because a timeout of the store's own must not look like an end of the caller's
// context. The text of err is kept; it must not hold keys or values.
func Unavailable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %v", ErrUnavailable, err)
}
