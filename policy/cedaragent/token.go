package cedaragent

import (
	"context"
	"log/slog"

	"github.com/kest-go/kest/policy/internal/rest"
)

// A TokenSource returns the bearer token for one request, without the word "Bearer". It is called for every
// request, so it should cache, must honour ctx and must be safe for concurrent use. Its errors are repeated in
// the engine's, so they must not contain the token. A TokenSource prints and logs as "[redacted]".
type TokenSource func(ctx context.Context) (string, error)

// StaticToken returns a source of one token that never changes.
func StaticToken(token string) TokenSource {
	return func(context.Context) (string, error) { return token, nil }
}

// TokenFile returns a source that reads a regular file for every request, so that a rotated token is used at
// once. White space around the token is dropped.
func TokenFile(path string) TokenSource { return rest.TokenFile(path) }

// String implements [fmt.Stringer] without revealing anything.
func (s TokenSource) String() string {
	if s == nil {
		return "none"
	}
	return "[redacted]"
}

// GoString implements [fmt.GoStringer] without revealing anything.
func (s TokenSource) GoString() string { return "cedaragent.TokenSource(" + s.String() + ")" }

// LogValue implements [slog.LogValuer] without revealing anything.
func (s TokenSource) LogValue() slog.Value { return slog.StringValue(s.String()) }
