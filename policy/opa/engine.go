package opa

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/kest-go/kest/policy"
)

// An Engine asks one OPA server. Make it with [New]; the zero value answers every question with an error. It is
// safe for concurrent use. Close it when it is no longer needed.
type Engine struct {
	transport *http.Transport
	endpoint  *url.URL // …/v1/data
	query     string
	token     TokenSource
	decider   decider
	timeout   time.Duration

	maxRequest, maxResponse int64

	closed atomic.Bool
}

var (
	_ policy.Engine = (*Engine)(nil)
	_ io.Closer     = (*Engine)(nil)
)

// New returns an engine for the server of c. It reports every problem of c in one error and opens no
// connection: a server that is down shows up as [policy.ErrUnavailable] when it is asked.
func New(c Config) (*Engine, error) {
	c = c.filled()
	base, err := c.base()
	if err := errors.Join(err, c.check()); err != nil {
		return nil, fmt.Errorf("opa config: %w", err)
	}
	query := url.Values{}
	if !c.InsecureBuiltinErrors {
		query.Set("strict-builtin-errors", "true")
	}
	if c.Provenance {
		query.Set("provenance", "true")
	}
	return &Engine{
		transport: newTransport(&c, base), endpoint: base.JoinPath("v1", "data"), query: query.Encode(),
		token: c.BearerToken, decider: newDecider(c.DecisionPath), timeout: c.Timeout,
		maxRequest: c.MaxRequest, maxResponse: c.MaxResponse,
	}, nil
}

// Evaluate implements [policy.Engine] with one request. The package comment says what counts as an answer and
// which errors there are. [policy.Decision.Revision] is set when [Config.Provenance] asks for it, and Reason
// names the entry in the server's decision log, if it keeps one. A nil input is an error.
func (e *Engine) Evaluate(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	if err := policy.ValidateName(name); err != nil { // before anything leaves (SPEC §7: no traversal)
		return policy.Decision{}, fmt.Errorf("opa: %w: %w", policy.ErrUnknownPolicy, err)
	}
	d, err := e.ask(ctx, name, in)
	if err != nil {
		return policy.Decision{}, fmt.Errorf("opa: policy %q: %w", name, err)
	}
	return d, nil
}

func (e *Engine) ask(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	switch {
	case e == nil || e.transport == nil:
		return policy.Decision{}, unavailable(errors.New("the engine was not made by opa.New"))
	case e.closed.Load():
		return policy.Decision{}, unavailable(errors.New("the engine is closed"))
	case ctx.Err() != nil:
		return policy.Decision{}, unavailable(ctx.Err())
	}
	limited, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	req, err := e.request(limited, name, in)
	if err != nil {
		return policy.Decision{}, err
	}
	body, err := e.exchange(req)
	if e.closed.Load() { // Close ran meanwhile: leave no connection behind it
		e.transport.CloseIdleConnections()
	}
	switch {
	case err == nil:
		return e.decider.decide(body)
	case ctx.Err() != nil:
		return policy.Decision{}, unavailable(ctx.Err())
	case limited.Err() != nil:
		return policy.Decision{}, unavailable(fmt.Errorf("no complete answer within %v: %w", e.timeout, limited.Err()))
	}
	return policy.Decision{}, err
}

// request builds the question. The policy name is valid, so JoinPath has nothing to escape or to clean.
func (e *Engine) request(ctx context.Context, name string, in *policy.Input) (*http.Request, error) {
	if in == nil {
		return nil, indefinite("there is no input")
	}
	body, err := json.Marshal(map[string]*policy.Input{"input": in})
	if err != nil { // the text could repeat an attribute
		return nil, indefinite("the input cannot be encoded; attributes must hold JSON values only")
	}
	if int64(len(body)) > e.maxRequest {
		return nil, indefinite("the input has %d bytes encoded, more than MaxRequest (%d)", len(body), e.maxRequest)
	}
	authorization, err := e.token.header(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	address := e.endpoint.JoinPath(name)
	address.RawQuery = e.query
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address.String(), bytes.NewReader(body))
	if err != nil {
		return nil, unavailable(errors.New("the request cannot be built"))
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
func (e *Engine) exchange(req *http.Request) ([]byte, error) {
	resp, err := e.transport.RoundTrip(req)
	if err != nil {
		return nil, unavailable(transportFault(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 { // 101: the body is a raw connection, which knows no deadline
		return nil, unavailable(statusFault(resp.StatusCode, nil))
	}
	body, err := e.read(resp)
	switch {
	case resp.StatusCode >= 300:
		return nil, unavailable(statusFault(resp.StatusCode, body))
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, indefinite("the server answered %d, which carries no decision", resp.StatusCode)
	}
	return body, nil
}

func (e *Engine) read(resp *http.Response) ([]byte, error) {
	// We did not offer compression, and will not inflate what was not asked for.
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, indefinite("the answer is compressed, which was not asked for")
	}
	tooLarge := func() error { return indefinite("the answer is larger than MaxResponse (%d bytes)", e.maxResponse) }
	if resp.ContentLength > e.maxResponse {
		return nil, tooLarge()
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, e.maxResponse+1))
	switch {
	case err != nil:
		return nil, unavailable(transportFault(err))
	case int64(len(body)) > e.maxResponse:
		return nil, tooLarge()
	}
	return body, nil
}

// Close releases the connections. Evaluations that are under way end as usual; later ones are errors. It may be
// called more than once, and always returns nil.
func (e *Engine) Close() error {
	if e != nil && e.transport != nil {
		e.closed.Store(true)
		e.transport.CloseIdleConnections()
	}
	return nil
}

// String names the server, without credentials.
func (e *Engine) String() string {
	if e == nil || e.endpoint == nil {
		return "opa (not configured)"
	}
	return "opa at " + e.endpoint.String()
}

// GoString is String, so that %#v shows no internals.
func (e *Engine) GoString() string { return e.String() }

// LogValue implements [slog.LogValuer] as String.
func (e *Engine) LogValue() slog.Value { return slog.StringValue(e.String()) }
