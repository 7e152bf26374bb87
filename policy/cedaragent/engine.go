package cedaragent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/internal/rest"
)

// An Engine asks one Cedar Agent. Make it with [New]; the zero value answers every question with an error. It is
// safe for concurrent use. Close it when it is no longer needed.
type Engine struct {
	client   *rest.Client
	endpoint string // …/is_authorized
	asker    asker
}

var (
	_ policy.Engine = (*Engine)(nil)
	_ io.Closer     = (*Engine)(nil)
)

// New returns an engine for the agent of c. It reports every problem of c in one error and opens no connection: an
// agent that is down shows up as [policy.ErrUnavailable] when it is asked.
func New(c Config) (*Engine, error) {
	client := c.client()
	base, err := c.base(&client)
	if err := errors.Join(err, client.Check()); err != nil {
		return nil, fmt.Errorf("cedaragent config: %w", err)
	}
	return &Engine{
		client: rest.New(client, base), endpoint: base.JoinPath("is_authorized").String(),
		asker: asker{plain: c.Plain, max: int(client.MaxRequest)},
	}, nil
}

// Evaluate implements [policy.Engine] with one request. The package comment says what counts as an answer and
// which errors there are. [policy.Decision.Reason] names the policies that determined the decision, if the agent
// does. A nil input is an error.
func (e *Engine) Evaluate(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	if err := policy.ValidateName(name); err != nil { // before anything leaves
		return policy.Decision{}, fmt.Errorf("cedaragent: %w: %w", policy.ErrUnknownPolicy, err)
	}
	d, err := e.ask(ctx, name, in)
	if err != nil {
		return policy.Decision{}, fmt.Errorf("cedaragent: policy %q: %w", name, err)
	}
	return d, nil
}

func (e *Engine) ask(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	if e == nil || e.client == nil {
		return policy.Decision{}, fmt.Errorf("%w: the engine was not made by cedaragent.New", policy.ErrUnavailable)
	}
	question, err := e.asker.question(name, in)
	if err != nil {
		return policy.Decision{}, err
	}
	answer, err := e.client.Post(ctx, e.endpoint, question)
	if err != nil {
		return policy.Decision{}, classed(err)
	}
	return decide(answer)
}

// classed gives an error of the client its class.
func classed(err error) error {
	if _, ok := errors.AsType[*rest.IndefiniteError](err); ok {
		return fmt.Errorf("%w: %w", policy.ErrIndefinite, err)
	}
	return fmt.Errorf("%w: %w", policy.ErrUnavailable, err)
}

func indefinite(format string, args ...any) error {
	return fmt.Errorf("%w: %s", policy.ErrIndefinite, fmt.Sprintf(format, args...))
}

// Close releases the connections. Evaluations that are under way end as usual; later ones are errors. It may be
// called more than once, and always returns nil.
func (e *Engine) Close() error {
	if e != nil && e.client != nil {
		e.client.Close()
	}
	return nil
}

// String names the agent, without credentials.
func (e *Engine) String() string {
	if e == nil || e.endpoint == "" {
		return "cedar agent (not configured)"
	}
	return "cedar agent at " + e.endpoint
}

// GoString is String, so that %#v shows no internals.
func (e *Engine) GoString() string { return e.String() }

// LogValue implements [slog.LogValuer] as String.
func (e *Engine) LogValue() slog.Value { return slog.StringValue(e.String()) }
