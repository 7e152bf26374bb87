package binding

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/store"
)

// Prefix begins the key under which a store keeps a binding; the key id follows.
const Prefix = "kest.binding."

// Publish puts a binding into a store until it ends, at most for [store.MaxTTL]: a session key is used for less. To
// publish it again is no error; to find another document in its place is one.
func Publish(ctx context.Context, s store.Store, b *lineage.KeyBinding) error {
	ttl := min(time.Until(b.NotAfter()), store.MaxTTL)
	if ttl <= 0 {
		return fmt.Errorf("%s has ended", b)
	}
	err := s.Put(ctx, Prefix+b.KeyID(), []byte(b.Text()), ttl)
	if !errors.Is(err, store.ErrExists) {
		return err
	}
	there, err := s.Get(ctx, Prefix+b.KeyID())
	if err != nil {
		return err
	}
	if string(there) != b.Text() {
		return fmt.Errorf("the store has another document in the place of the %s; somebody else writes to it", b)
	}
	return nil
}

// Publisher is [Publish] as providers take it, in identity.Renewal and their own configurations.
func Publisher(s store.Store) func(context.Context, *lineage.KeyBinding) error {
	return func(ctx context.Context, b *lineage.KeyBinding) error { return Publish(ctx, s, b) }
}

// fetch reads the binding of a key from a store. nil: there is none. What the store returns is parsed and not verified.
func fetch(ctx context.Context, s store.Store, keyID string) (*lineage.KeyBinding, error) {
	text, err := s.Get(ctx, Prefix+keyID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	b, err := lineage.ParseBinding(string(text))
	if err != nil {
		return nil, fmt.Errorf("in the store: %w", err)
	}
	return b, nil
}

// isKeyID reports whether a key id is a SHA-256 thumbprint in base64url. Others are nobody's session key, and may hold
// anything.
func isKeyID(id string) bool {
	if len(id) != 43 {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
