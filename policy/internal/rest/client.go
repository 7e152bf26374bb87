package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
)

// A Client asks the server of one [Config]. Make it with [New]. It is safe for concurrent use.
type Client struct {
	config    Config
	transport *http.Transport
	closed    atomic.Bool
}

// New returns a client for the server at base, which is c.Base() or has passed c.CheckPlain. It opens no
// connection. The caller has had c checked.
func New(c Config, base *url.URL) *Client {
	return &Client{config: c, transport: newTransport(&c, base)}
}

// An IndefiniteError says that the server can be reached, but that the question cannot be put or the answer holds
// no decision. All other errors of this package say that there was no answer.
type IndefiniteError struct{ text string }

func (e *IndefiniteError) Error() string { return e.text }

func indefinite(format string, args ...any) error {
	return &IndefiniteError{text: fmt.Sprintf(format, args...)}
}

// Post sends a JSON text to the address and returns the body of the answer if its status is 200. The timeout of
// the configuration covers everything from getting the token to the last byte.
func (c *Client) Post(ctx context.Context, address string, body []byte) ([]byte, error) {
	switch {
	case c.closed.Load():
		return nil, errors.New("the engine is closed")
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case int64(len(body)) > c.config.MaxRequest:
		return nil, indefinite("the input has %d bytes encoded, more than MaxRequest (%d)", len(body), c.config.MaxRequest)
	}
	limited, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	req, err := c.request(limited, address, body)
	if err != nil {
		return nil, err
	}
	answer, err := c.exchange(req)
	if c.closed.Load() { // Close ran meanwhile: leave no connection behind it
		c.transport.CloseIdleConnections()
	}
	switch {
	case err == nil:
		return answer, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil:
		return nil, fmt.Errorf("no complete answer within %v: %w", c.config.Timeout, limited.Err())
	}
	return nil, err
}

func (c *Client) request(ctx context.Context, address string, body []byte) (*http.Request, error) {
	authorization, err := c.config.authorization(ctx)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the request cannot be built")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "kest-go")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	return req, nil
}

// exchange returns the body of a 200 answer. It uses the transport itself, not an http.Client: a transport knows
// no redirects and no cookies. The body is read to its end where that is short, so that the connection can be
// used again; closing it early ends the connection.
func (c *Client) exchange(req *http.Request) ([]byte, error) {
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, c.transportFault(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 { // 101: the body is a raw connection, which knows no deadline
		return nil, c.statusFault(resp.StatusCode, nil)
	}
	body, err := c.read(resp)
	switch {
	case resp.StatusCode >= 300:
		return nil, c.statusFault(resp.StatusCode, body)
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, indefinite("the server answered %d, which carries no decision", resp.StatusCode)
	}
	return body, nil
}

func (c *Client) read(resp *http.Response) ([]byte, error) {
	// We did not offer compression, and will not inflate what was not asked for.
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, indefinite("the answer is compressed, which was not asked for")
	}
	limit := c.config.MaxResponse
	tooLarge := func() error { return indefinite("the answer is larger than MaxResponse (%d bytes)", limit) }
	if resp.ContentLength > limit {
		return nil, tooLarge()
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, c.transportFault(err)
	case int64(len(body)) > limit:
		return nil, tooLarge()
	}
	return body, nil
}

// Close releases the connections. Questions that are under way end as usual; later ones are errors. It may be
// called more than once.
func (c *Client) Close() {
	c.closed.Store(true)
	c.transport.CloseIdleConnections()
}
