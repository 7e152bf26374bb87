package kest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/telemetry"
)

// call is one execution of a guarded function.
type call struct {
	*binding
	ctx      context.Context // what the body gets
	span     trace.Span
	signer   lineage.Signer
	outer    *propagate.Session // of the caller; nil outside any session
	history  lineage.Passport   // before this call
	parents  []*lineage.Signed
	identity Identity
	entry    lineage.Entry
	object   resource
	facts    facts // for policies only
	input    policy.Input
	trace    string
	source   string

	signed  *lineage.Signed
	body    *propagate.Session // in which the body runs
	started time.Time
	outcome outcome
}

// begin does steps 1 to 11. On an error the body must not run.
func (f *function) begin(ctx context.Context, in any) (*call, error) {
	b := f.bound.Load()
	if b == nil {
		return nil, &CallError{Step: StepExtract, Operation: f.settings.operation, Err: ErrNotConfigured}
	}
	tracer := b.guard.currentTracer()
	ctx, span := tracer.Start(ctx, b.spanName)
	c := &call{binding: b, ctx: policy.WithTrial(ctx, false), span: span, started: time.Now()}
	ready := false
	defer func() {
		if !ready {
			span.End() // also when an engine, a signer or a resolver panics
		}
	}()
	if err := c.prepare(in); err != nil {
		c.refuse(err)
		return nil, err
	}
	ready = true
	return c, nil
}

func (c *call) prepare(in any) error {
	if err := c.extract(); err != nil {
		return c.stop(StepExtract, err)
	}
	if err := c.resolve(in); err != nil {
		return c.stop(StepResolve, err)
	}
	hash, err := c.hashInput(in)
	if err != nil {
		return c.stop(StepInput, err)
	}
	if err := c.ancestry(); err != nil {
		return c.stop(StepExtract, err)
	}
	if err := c.build(hash); err != nil {
		return c.stop(StepBuild, err)
	}
	if err := c.authorize(); err != nil {
		return err
	}
	c.observe()
	if c.signed, err = lineage.Sign(c.ctx, c.signer, c.entry, c.guard.config.Limits); err != nil {
		if errors.Is(err, lineage.ErrLimit) {
			err = fmt.Errorf("%w; labels, attributes and %d parents count: shorten them, bring parallel calls together in "+
				"smaller groups, or raise Config.Limits here and in every verifier", err, len(c.parents))
		}
		return c.stop(StepSign, err)
	}
	if err := c.append(); err != nil {
		return c.stop(StepAppend, err)
	}
	if err := c.record(); err != nil {
		return c.stop(StepRecord, err)
	}
	if err := ended(c.ctx); err != nil {
		return c.stop(StepExecute, err)
	}
	c.describe()
	return nil
}

// stop makes the typed error of a step. The cause may be the error of another guarded call, made by a resolver.
func (c *call) stop(step Step, err error) error {
	return &CallError{Step: step, Operation: c.operation, Err: err}
}

// extract is step 1.
func (c *call) extract() error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	c.outer = propagate.SessionFrom(c.ctx)
	if err := untrusted(c.ctx, c.outer); err != nil {
		return err
	}
	if c.outer == nil {
		c.ctx, c.trace = ensureTrace(c.ctx)
	} else {
		c.trace = c.outer.TraceID()
	}
	signer, err := c.provider.Signer(c.ctx)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	if signer == nil {
		return errNoSigner
	}
	c.signer = signer
	return nil
}

// ancestry completes step 1 after resolvers and encoders ran: what they learned through guarded calls of their own
// shaped this call, so it is among its ancestors.
func (c *call) ancestry() error {
	if c.outer == nil {
		return nil
	}
	if err := untrusted(c.ctx, c.outer); err != nil {
		return err
	}
	c.history = c.outer.Passport()
	c.parents = c.history.Leaves()
	return nil
}

// build is steps 2, 3 and 5.
func (c *call) build(inputHash string) error {
	scores, taints := make([]int, len(c.parents)), make([][]string, len(c.parents))
	hashes := make([]lineage.Hash, len(c.parents))
	for i, p := range c.parents {
		e := p.Entry()
		hashes[i], scores[i], taints[i] = p.Hash(), e.TrustScore, e.Taints
	}
	var self int
	var err error
	if c.source, self, err = c.sourceOf(); err != nil {
		return err
	}
	score := c.binding.trust.Trust(self, scores)
	if c.override != nil {
		score = *c.override
	}
	if score < 0 || score > 100 {
		return fmt.Errorf("trust evaluator %T: score %d is outside 0…100", c.binding.trust, score)
	}
	labels, err := c.labelsFor()
	if err != nil {
		return err
	}
	c.entry = lineage.Entry{
		Runtime:        lineage.Runtime{Name: "kest-go", Version: Version},
		ID:             ids.New(c.started),
		Operation:      c.operation,
		Classification: c.classification,
		TrustScore:     score,
		Parents:        hashes,
		AddedTaints:    c.added,
		RemovedTaints:  c.removed,
		Taints:         lineage.MergeTaints(taints, c.added, c.removed),
		Labels:         labels,
		Policies:       c.policies,
		Environment:    c.environment,
		OTelContext:    traceparent(c.span),
		InputHash:      inputHash,
		TimestampMS:    c.started.UnixMilli(),
	}
	return nil
}

// sourceOf is the source type of the call and its score: the declared one, else internal. A root behind ingress is
// no better than what the ingress says, whatever the function declares: otherwise a caller who leaves the passport
// out would be worth more than one who shows it.
func (c *call) sourceOf() (source string, score int, err error) {
	source = c.sourceType
	if source == "" {
		source = lineage.SourceInternal
	}
	score, _ = c.guard.origins.Score(source) // checked when the function was wrapped
	if len(c.parents) > 0 || c.outer == nil || c.outer.Origin() == "" {
		return source, score, nil
	}
	origin, known := c.guard.origins.Score(c.outer.Origin())
	if !known {
		return "", 0, fmt.Errorf("source type %q of the session is not known; register it in Config.Origins", c.outer.Origin())
	}
	if c.sourceType == "" || origin < score {
		return c.outer.Origin(), origin, nil
	}
	return source, score, nil
}

// labelsFor is the call's own copy of the labels; the library's come last, so nothing replaces them.
func (c *call) labelsFor() (map[string]string, error) {
	labels := make(map[string]string, len(c.labels)+5)
	if more, ok := c.signer.(identity.Labeler); ok {
		for name, value := range more.Labels() {
			if !lineage.ReservedLabel(name) || name == lineage.LabelIssuer || name == lineage.LabelSubject {
				labels[name] = value
			}
		}
	}
	maps.Copy(labels, c.labels) // an override or a sanitizer among them, which no provider may change
	if c.identity != (Identity{}) {
		text, err := identityLabel(c.identity)
		if err != nil {
			return nil, fmt.Errorf("identity: %w", err)
		}
		labels[lineage.LabelIdentity] = text
	}
	if c.object.id != "" {
		labels[lineage.LabelResourceID] = c.object.id
	}
	if c.object.attributes.text != "" {
		labels[lineage.LabelResourceAttributes] = c.object.attributes.text
	}
	if joined := c.joined(); joined != "" {
		labels[lineage.LabelJoined] = joined
	}
	labels[lineage.LabelPrincipal] = c.signer.Principal()
	labels[lineage.LabelTraceID] = c.trace
	labels[lineage.LabelSourceType] = c.source
	return labels, nil
}

// joined names the traces of parents that came from elsewhere.
func (c *call) joined() string {
	var traces []string
	for _, p := range c.parents {
		e := p.Entry()
		if t := e.TraceID(); t != "" && t != c.trace && !slices.Contains(traces, t) {
			traces = append(traces, t)
		}
	}
	slices.Sort(traces)
	return strings.Join(traces, ",")
}

// append is the first half of step 11: the body's session begins with the lineage that ends in the new entry.
func (c *call) append() error {
	passport, err := c.history.Append(c.signed)
	if err != nil {
		return err
	}
	if err := passport.Check(c.guard.config.Limits); err != nil {
		return fmt.Errorf("%w; begin a new lineage from a context without a session, or raise Config.Limits here and in every verifier", err)
	}
	if c.outer != nil {
		c.body = c.outer.Body(passport, c.flows())
	} else {
		c.body = propagate.NewBody(passport, c.trace, "")
	}
	c.ctx = propagate.WithSession(c.ctx, c.body)
	if c.identity != propagate.IdentityFrom(c.ctx) {
		c.ctx = propagate.WithIdentity(c.ctx, c.identity)
	}
	return nil
}

// record is the second half of step 11: with a sink, nothing runs that was not written down.
func (c *call) record() error {
	if c.guard.config.Sink == nil {
		return nil
	}
	return c.guard.config.Sink.Record(c.ctx, c.recordOf(telemetry.Entry, c.signed.JWS()))
}

func (c *call) recordOf(kind telemetry.Kind, jws string) telemetry.Record {
	r := telemetry.Record{
		Kind: kind, JWS: jws, EntryID: c.entry.ID, TraceID: c.trace, Operation: c.operation, Principal: c.signer.Principal(),
	}
	if c.signed != nil {
		r.Hash = c.signed.Hash()
	}
	return r
}
