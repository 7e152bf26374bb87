package opa

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/internal/rest"
)

// An Engine asks one OPA server. Make it with [New]; the zero value answers every question with an error. It is
// safe for concurrent use. Close it when it is no longer needed.
type Engine struct {
	client   *rest.Client
	endpoint *url.URL // …/v1/data
	query    string
	decider  decider
	limit    int // bytes of a question
}

var (
	_ policy.Engine = (*Engine)(nil)
	_ io.Closer     = (*Engine)(nil)
)

// New returns an engine for the server of c. It reports every problem of c in one error and opens no
// connection: a server that is down shows up as [policy.ErrUnavailable] when it is asked.
func New(c Config) (*Engine, error) {
	client := c.client()
	path := cmp.Or(c.DecisionPath, DefaultDecisionPath)
	base, err := c.base(&client)
	if err := errors.Join(err, client.Check(), checkPath(path), c.checkPrefix()); err != nil {
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
		client: rest.New(client, base), endpoint: base.JoinPath("v1", "data", c.Prefix), query: query.Encode(), decider: newDecider(path),
		limit: int(client.MaxRequest),
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
	if e == nil || e.client == nil {
		return policy.Decision{}, fmt.Errorf("%w: the engine was not made by opa.New", policy.ErrUnavailable)
	}
	body, err := question(in, e.limit)
	if err != nil {
		return policy.Decision{}, err
	}
	address := e.endpoint.JoinPath(name) // the name is valid, so there is nothing to escape or to clean
	address.RawQuery = e.query
	answer, err := e.client.Post(ctx, address.String(), body)
	if err != nil {
		return policy.Decision{}, classed(err)
	}
	return e.decider.decide(answer)
}

// faults are OPA's words for a policy that was evaluated and has no value because of what it says itself: the server is
// there, and would say the same again.
var faults = [...]string{"eval_conflict_error", "eval_builtin_error", "eval_type_error", "eval_with_merge_error"}

// classed gives an error of the client its class.
func classed(err error) error {
	if _, ok := errors.AsType[*rest.IndefiniteError](err); ok {
		return fmt.Errorf("%w: %w", policy.ErrIndefinite, err)
	}
	if status, ok := errors.AsType[*rest.StatusError](err); ok && slices.Contains(faults[:], status.Word) {
		return fmt.Errorf("%w: %w", policy.ErrIndefinite, err)
	}
	return fmt.Errorf("%w: %w", policy.ErrUnavailable, err)
}

// Close releases the connections. Evaluations that are under way end as usual; later ones are errors. It may be
// called more than once, and always returns nil.
func (e *Engine) Close() error {
	if e != nil && e.client != nil {
		e.client.Close()
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
