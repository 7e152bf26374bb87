package decisionlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/kest-go/kest/policy"
)

// DefaultMaxInput is the default of [Config.MaxInput].
const DefaultMaxInput = 64 << 10

// Config says what is logged. Only Engine has to be set.
type Config struct {
	// Engine decides.
	Engine policy.Engine

	// Logger receives the records. nil is [slog.Default] at the time of the decision.
	Logger *slog.Logger

	// SampleAllows N logs the allows of one trace in N; 0 and 1 log all. The trace id alone says which, so a trace is
	// logged whole, by every process with the same N. Denials and errors are always logged. Whoever chooses a trace id,
	// chooses whether allows are logged: what must be on record for every call is the signed entry.
	SampleAllows int

	// Input adds what the policy saw to the record. The package comment says why it is off.
	Input bool

	// Mask hides parts of the input, in this order. It does not touch the other members of the record.
	Mask []Mask

	// MaxInput bounds the input in bytes, after masking, and the attributes before it, too; a longer one is dropped. 0
	// means [DefaultMaxInput], which holds a lineage of about 100 entries; where there are longer ones, mask
	// lineage.ancestors.
	MaxInput int
}

// New returns the engine of c with a log, or an error that joins every problem of c. It is safe for concurrent use if
// the functions in Mask are.
//
// The result is a [policy.Checker] or a [policy.Batcher] when the engine is one, and has the methods Revision() string, Policies()
// []string and Close() error, which lead to the engine's. They return "", nil and nil when the engine has no such
// method.
func New(c Config) (policy.Engine, error) {
	var errs []error
	if c.Engine == nil {
		errs = append(errs, errors.New("no Engine"))
	}
	if c.SampleAllows < 0 || c.MaxInput < 0 {
		errs = append(errs, errors.New("negative SampleAllows or MaxInput; zero means the default"))
	}
	rules, err := newRules(c.Mask)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, fmt.Errorf("decision log config: %w", err)
	}
	e := &engine{
		inner: c.Engine, logger: c.Logger, oneIn: uint64(max(c.SampleAllows, 1)),
		input: c.Input, rules: rules, maxInput: cmp.Or(c.MaxInput, DefaultMaxInput),
	}
	return e.as(c.Engine), nil
}

// as gives the engine the optional interfaces that the one behind it has, and no others: a Check would accept names
// that nobody knows, and a batch would ask behind a denial where that saves nothing.
func (e *engine) as(inner policy.Engine) policy.Engine {
	checker, checks := inner.(policy.Checker)
	batcher, batches := inner.(policy.Batcher)
	switch {
	case checks && batches:
		return &checkedBatch{&batched{e, batcher}, checker}
	case checks:
		return &checked{e, checker}
	case batches:
		return &batched{e, batcher}
	}
	return e
}

type engine struct {
	inner    policy.Engine
	logger   *slog.Logger
	oneIn    uint64
	input    bool
	rules    []rule
	maxInput int
}

type checked struct {
	*engine
	policy.Checker
}

type checkedBatch struct {
	*batched
	policy.Checker
}

var errPanic = errors.New("the engine panicked")

// Evaluate implements [policy.Engine].
func (e *engine) Evaluate(ctx context.Context, name string, in *policy.Input) (d policy.Decision, err error) {
	a := answer{policy: name, start: time.Now(), err: errPanic, trial: policy.OnTrial(ctx)}
	defer func() { // also when the engine panics, which goes on to the caller
		a.took = time.Since(a.start)
		attempt(func() { e.note(ctx, in, &a) })
	}()
	d, err = e.inner.Evaluate(ctx, name, in)
	a.decision, a.err = d, err
	return d, err
}

// note writes one record, unless it is not wanted.
func (e *engine) note(ctx context.Context, in *policy.Input, a *answer) {
	if a.result() == allow && !e.sampled(in) {
		return
	}
	logger := e.logger
	if logger == nil {
		logger = slog.Default()
	}
	// A denial may be there because the context has ended, and that must not keep its record from being written.
	ctx = context.WithoutCancel(ctx)
	span, wanted := trace.SpanFromContext(ctx), false
	attempt(func() { wanted = logger.Enabled(ctx, a.level()) })
	if !wanted && !span.IsRecording() {
		return
	}
	record := e.record(in, a)
	attempt(func() { logger.LogAttrs(ctx, a.level(), "kest: policy decision", record...) })
	addEvent(span, record) // also when the handler panicked
}

// attempt runs what must not change a decision (SPEC §10). What it panics with is not shown: there is nowhere safe
// to show it.
func attempt(f func()) {
	defer func() { _ = recover() }()
	f()
}

// sampled reports whether the allows of the trace are logged. Those without a trace are.
func (e *engine) sampled(in *policy.Input) bool {
	if e.oneIn == 1 || in == nil || in.Environment.TraceID == "" {
		return true
	}
	h := fnv.New64a() // W3C: not all bits of a trace id need be random
	_, _ = io.WriteString(h, in.Environment.TraceID)
	return h.Sum64()%e.oneIn == 0
}

// Revision leads to the engine's.
func (e *engine) Revision() string {
	if inner, ok := e.inner.(interface{ Revision() string }); ok {
		return inner.Revision()
	}
	return ""
}

// Policies leads to the engine's.
func (e *engine) Policies() []string {
	if inner, ok := e.inner.(interface{ Policies() []string }); ok {
		return inner.Policies()
	}
	return nil
}

// Close closes the engine.
func (e *engine) Close() error {
	if inner, ok := e.inner.(io.Closer); ok {
		return inner.Close()
	}
	return nil
}
