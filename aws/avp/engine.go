package avp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions"
	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions/types"

	"github.com/kest-go/kest/policy"
)

// An Engine asks one policy store. Make it with [New]; the zero value answers every question with an error. It is
// safe for concurrent use, and holds no goroutine and nothing that must be closed; connections are the SDK's.
type Engine struct {
	client  *verifiedpermissions.Client
	store   string
	types   typeNames
	timeout time.Duration
}

var _ policy.Engine = (*Engine)(nil)

// New returns an engine for the policy store of c. It reports every problem of c in one error and sends nothing: a
// store that does not exist shows up as [policy.ErrUnavailable] when it is asked. The context bounds the reading of
// the SDK's configuration.
func New(ctx context.Context, c Config) (*Engine, error) {
	sdk, err := c.sdk(ctx)
	if err := errors.Join(c.check(), err); err != nil {
		return nil, fmt.Errorf("avp config: %w", err)
	}
	client := verifiedpermissions.NewFromConfig(sdk, func(o *verifiedpermissions.Options) {
		o.APIOptions = append(o.APIOptions, limitQuestion, strictAnswer)
	})
	if err := checkEndpoint(client.Options()); err != nil {
		return nil, fmt.Errorf("avp config: %w", err)
	}
	return &Engine{client: client, store: c.PolicyStoreID, types: c.types(), timeout: cmp.Or(c.Timeout, DefaultTimeout)}, nil
}

// Evaluate implements [policy.Engine] with one IsAuthorized. The package comment says what counts as an answer and
// which errors there are. [policy.Decision.Reason] names the policies that determined the decision. A nil input is
// an error.
func (e *Engine) Evaluate(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	if err := policy.ValidateName(name); err != nil { // before anything leaves
		return policy.Decision{}, fmt.Errorf("avp: %w: %w", policy.ErrUnknownPolicy, err)
	}
	d, err := e.ask(ctx, name, in)
	if err != nil {
		return policy.Decision{}, about(name, err)
	}
	return d, nil
}

func (e *Engine) ask(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	q, err := e.question(in)
	if err != nil {
		return policy.Decision{}, err
	}
	out, err := call(ctx, e.timeout, e.client.IsAuthorized, &verifiedpermissions.IsAuthorizedInput{
		PolicyStoreId: &e.store, Principal: q.principal, Action: e.action(name), Resource: q.resource, Context: q.context,
	})
	if err != nil {
		return policy.Decision{}, err
	}
	return decide(out.Decision, out.DeterminingPolicies, out.Errors)
}

func (e *Engine) action(name string) *types.ActionIdentifier {
	return &types.ActionIdentifier{ActionType: &e.types.action, ActionId: &name}
}

// call runs one operation within the timeout. The SDK retries it as its configuration says; nothing is retried here.
func call[I, O any](ctx context.Context, timeout time.Duration,
	operation func(context.Context, *I, ...func(*verifiedpermissions.Options)) (*O, error), in *I,
) (*O, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", policy.ErrUnavailable, err)
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var last error
	out, err := operation(limited, in, noteFailures(&last))
	switch {
	case err == nil:
		return out, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w: %w%s", policy.ErrUnavailable, ctx.Err(), since(last))
	case limited.Err() != nil:
		return nil, fmt.Errorf("%w: no complete answer within %v%s: %w", policy.ErrUnavailable, timeout, since(last), limited.Err())
	}
	return nil, classed(err)
}

func about(name string, err error) error { return fmt.Errorf("avp: policy %q: %w", name, err) }

// String names the policy store and the region.
func (e *Engine) String() string {
	if e == nil || e.client == nil {
		return "verified permissions (not configured)"
	}
	return "verified permissions, policy store " + e.store + " in " + e.client.Options().Region
}

// GoString is String, so that %#v shows no internals.
func (e *Engine) GoString() string { return e.String() }

// LogValue implements [slog.LogValuer] as String.
func (e *Engine) LogValue() slog.Value { return slog.StringValue(e.String()) }
