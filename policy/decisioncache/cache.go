package decisioncache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kest-go/kest/policy"
)

// Defaults of [Config].
const (
	DefaultMaxEntries = 4096
	DefaultTTL        = time.Minute
)

// maxAnswer bounds what one entry keeps of an answer, in bytes.
const maxAnswer = 4 << 10

// Config says what is cached. Only Engine has to be set.
type Config struct {
	// Engine answers what is not in the cache.
	Engine policy.Engine

	// Revision returns what [policy.Decision.Revision] would be if the engine was asked now. It is called at each
	// evaluation, from several goroutines. nil: the engine's own method Revision() string, which the engines of
	// policies in the process have. An engine without revisions cannot be cached.
	Revision func() string

	// Ignore names members of the input that do not count when an answer is looked up. Each is a promise that no
	// policy of the engine reads that member, now or later: a policy that does gets the answer for another call.
	//
	// Entry ids differ in each call, trace ids in each request, and parent hashes in each call that has parents, so
	// without these nothing is found again. They can be ignored:
	//
	//	environment.entry_id
	//	environment.trace_id
	//	environment.parent_hashes (and parent_hash, which repeats one of them)
	//	attributes.NAME, object.attributes.NAME: one member, not its parts
	//
	// Everything else says who acts, on what or how trusted, and cannot.
	Ignore []string

	// MaxEntries bounds the answers that are kept; the least recently used goes first. 0 means [DefaultMaxEntries].
	// An answer takes some 300 bytes, and at most 5 KiB.
	MaxEntries int

	// TTL bounds the age of an answer, from the moment at which the engine was asked. 0 means [DefaultTTL].
	TTL time.Duration
}

// New returns the engine of c behind a cache, or an error that joins every problem of c. It is safe for concurrent
// use. Calls that miss at the same time each ask the engine: one caller's deadline must not decide for another.
//
// The result is a [policy.Checker] or a [policy.Batcher] when the engine is one, and has the methods Revision() string, Policies()
// []string and Close() error, which lead to the engine's. Policies returns nil and Close does nothing when the
// engine has no such method.
func New(c Config) (policy.Engine, error) {
	revision := c.Revision
	if own, ok := c.Engine.(interface{ Revision() string }); ok && revision == nil {
		revision = own.Revision
	}
	fields, err := parseIgnore(c.Ignore)
	if err := errors.Join(c.check(revision), err); err != nil {
		return nil, fmt.Errorf("decision cache config: %w", err)
	}
	e := &engine{inner: c.Engine, revision: revision, ignored: fields, answers: newAnswers(c.MaxEntries, c.TTL)}
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

func (c *Config) check(revision func() string) error {
	var errs []error
	switch {
	case c.Engine == nil:
		errs = append(errs, errors.New("no Engine"))
	case revision == nil:
		errs = append(errs, fmt.Errorf("engine %T has no revisions, so a change of policy would go unnoticed; "+
			"set Revision, or do without a cache", c.Engine))
	case revision() == "": // a wrapper has the method whether or not what it wraps has revisions
		errs = append(errs, fmt.Errorf("the revision of engine %T is empty; load its policies first, or do without a cache", c.Engine))
	}
	if c.MaxEntries < 0 || c.TTL < 0 {
		errs = append(errs, errors.New("negative MaxEntries or TTL; zero means the default"))
	}
	return errors.Join(errs...)
}

type engine struct {
	inner    policy.Engine
	revision func() string
	ignored  ignored
	answers  *answers
}

type checked struct {
	*engine
	policy.Checker
}

type checkedBatch struct {
	*batched
	policy.Checker
}

// Evaluate implements [policy.Engine].
func (e *engine) Evaluate(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	q := e.look(ctx, name, in)
	if q.found {
		return q.decision, nil
	}
	d, err := e.inner.Evaluate(ctx, name, in)
	e.keep(&q, d, err)
	return d, err
}

// query is what became of one look into the cache.
type query struct {
	decision policy.Decision
	found    bool

	key      key
	revision string // "" when the answer cannot be kept
	asked    time.Time
}

func (e *engine) look(ctx context.Context, name string, in *policy.Input) (q query) {
	revision := e.revision() // before the look-up: what was current then may be answered, nothing older
	if in == nil || revision == "" || ctx.Err() != nil {
		return query{}
	}
	var ok bool
	if q.key, ok = keyOf(revision, name, in, &e.ignored); !ok {
		return query{}
	}
	q.revision, q.asked = revision, time.Now()
	q.decision, q.found = e.answers.get(q.key, q.asked)
	return q
}

func (e *engine) keep(q *query, d policy.Decision, err error) {
	// Only the decision knows which policies made it: a reload may have come since revision was read, and gone again.
	if q.revision != "" && err == nil && d.Revision == q.revision && len(d.Revision)+len(d.Reason) <= maxAnswer {
		e.answers.put(q.key, d, q.asked)
	}
}

// Revision leads to the engine's, or to [Config.Revision].
func (e *engine) Revision() string { return e.revision() }

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
