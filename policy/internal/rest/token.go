package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxToken bounds a token in bytes.
const maxToken = 16 << 10

// TokenFile returns a source that reads a regular file for every request, so that a rotated token is used at
// once. White space around the token is dropped.
func TokenFile(path string) func(context.Context) (string, error) {
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

// authorization returns the value of the Authorization header, "" for none.
func (c *Config) authorization(ctx context.Context) (string, error) {
	if c.Token == nil {
		return "", nil
	}
	token, err := c.Token(ctx)
	switch {
	case err != nil:
		return "", fmt.Errorf("bearer token: %w", err)
	case token == "":
		return "", errors.New("bearer token: the source returned an empty one")
	case len(token) > maxToken:
		return "", fmt.Errorf("bearer token: longer than %d bytes", maxToken)
	case !isToken(token):
		return "", errors.New("bearer token: holds characters that RFC 6750 does not allow; give it without the word Bearer and without quotes")
	case c.BareToken:
		return token, nil
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
