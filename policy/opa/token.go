package opa

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// maxToken bounds a bearer token in bytes.
const maxToken = 16 << 10

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
func TokenFile(path string) TokenSource {
	return func(context.Context) (string, error) {
		info, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		if !info.Mode().IsRegular() { // a FIFO would block for ever
			return "", fmt.Errorf("token file %q is not a regular file", path)
		}
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxToken+2)) // a line end may follow the longest token
		return strings.TrimSpace(string(b)), err
	}
}

// String implements [fmt.Stringer] without revealing anything.
func (s TokenSource) String() string {
	if s == nil {
		return "none"
	}
	return "[redacted]"
}

// GoString implements [fmt.GoStringer] without revealing anything.
func (s TokenSource) GoString() string { return "opa.TokenSource(" + s.String() + ")" }

// LogValue implements [slog.LogValuer] without revealing anything.
func (s TokenSource) LogValue() slog.Value { return slog.StringValue(s.String()) }

// header returns the value of the Authorization header, "" for none.
func (s TokenSource) header(ctx context.Context) (string, error) {
	if s == nil {
		return "", nil
	}
	token, err := s(ctx)
	switch {
	case err != nil:
		return "", fmt.Errorf("bearer token: %w", err)
	case token == "":
		return "", errors.New("bearer token: the source returned an empty one")
	case len(token) > maxToken:
		return "", fmt.Errorf("bearer token: longer than %d bytes", maxToken)
	case !isToken(token):
		return "", errors.New("bearer token: holds characters that RFC 6750 does not allow; give it without the word Bearer and without quotes")
	}
	return "Bearer " + token, nil
}

// isToken accepts b64token of RFC 6750 §2.1, so a token cannot smuggle in a header.
func isToken(s string) bool {
	s = strings.TrimRight(s, "=")
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~+/", r)
	})
}
