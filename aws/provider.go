package aws

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

// A Provider signs as a workload or agent on AWS. It is safe for concurrent use. In mode [Certified] a goroutine renews
// the session key until [Provider.Close].
type Provider struct {
	ring    identity.Keyring // mode Certified
	direct  *directSigner    // mode Direct, else nil
	trust   *trust
	renewal identity.Renewal
	stop    context.CancelFunc
	done    chan struct{}
}

var (
	_ identity.Binder    = (*Provider)(nil)
	_ lineage.RootSource = (*Provider)(nil)
)

// New asks STS who the workload is and KMS for the key, and in mode [Certified] has the key certify a first session key.
// ctx bounds that, not the life of the provider. Problems of the configuration are reported all at once; errors of AWS
// match smithy.APIError with errors.As, say what to change, and show no secret.
func New(ctx context.Context, c Config) (*Provider, error) { return open(ctx, c, identity.OSEnv()) }

// NewBedrock is [New] for a Bedrock agent: without a Config.Agent, AWS_BEDROCK_AGENT_ID and, when it is set,
// AWS_BEDROCK_AGENT_ALIAS_ID name it.
func NewBedrock(ctx context.Context, c Config) (*Provider, error) {
	return open(ctx, c.agent(identity.OSEnv()), identity.OSEnv())
}

// Open is for the probe [identity.AWS] of [identity.Detect].
func Open(c Config) identity.Opener {
	return func(ctx context.Context, env identity.Env) (identity.Provider, error) {
		return provider(open(ctx, c, env))
	}
}

// OpenBedrock is for the probe [identity.Bedrock] of [identity.Detect].
func OpenBedrock(c Config) identity.Opener {
	return func(ctx context.Context, env identity.Env) (identity.Provider, error) {
		return provider(open(ctx, c.agent(env), env))
	}
}

// provider keeps a nil *Provider out of the interface, where it would not be nil.
func provider(p *Provider, err error) (identity.Provider, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (c Config) agent(env identity.Env) Config {
	if c.Agent == nil {
		c.Agent = &BedrockAgent{}
		c.Agent.ID, _ = env.Lookup(EnvAgentID)
		c.Agent.Alias, _ = env.Lookup(EnvAgentAlias)
	}
	return c
}

func open(ctx context.Context, c Config, env identity.Env) (*Provider, error) {
	c, err := c.complete(env)
	if err != nil {
		return nil, err
	}
	w, err := connect(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("aws identity: %w", err)
	}
	p := &Provider{trust: &w.trust, stop: func() {}, done: make(chan struct{}), renewal: identity.Renewal{
		Issue: w.issue, Publish: c.Publish, Logger: c.Logger,
		Timeout: 4 * c.Timeout, // STS, two operations of KMS, and Publish
	}}
	if err := patiently(ctx, c.Wait, func(ctx context.Context) error { return p.start(ctx, w) }); err != nil {
		return nil, fmt.Errorf("aws identity: %w", err)
	}
	if p.direct != nil {
		close(p.done)
		return p, nil
	}
	ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(p.done)
		p.ring.Keep(ctx, p.renewal)
	}()
	return p, nil
}

func (p *Provider) start(ctx context.Context, w *workload) (err error) {
	if w.config.Mode == Certified {
		return p.ring.Renew(ctx, p.renewal)
	}
	p.direct, err = w.direct(ctx)
	return err
}

// Signer implements [identity.Provider]. It calls no platform. In mode [Certified] its errors match
// [identity.ErrExpired] or [identity.ErrRevoked].
func (p *Provider) Signer(ctx context.Context) (lineage.Signer, error) {
	if p.direct == nil {
		return p.ring.Signer(ctx)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return p.direct, nil
}

// Binding implements [identity.Binder]. It is nil in mode [Direct].
func (p *Provider) Binding(keyID string) *lineage.KeyBinding { return p.ring.Binding(keyID) }

// PublicKey is the KMS key of mode [Direct], as verifiers must know it. It is nil in mode [Certified], where they learn
// session keys from bindings.
func (p *Provider) PublicKey() ed25519.PublicKey {
	if p.direct == nil {
		return nil
	}
	return slices.Clone(p.direct.public)
}

// KMSKey is the ARN of the KMS key that certified the key in use, or that signs entries. An alias that was moved shows
// here after a renewal; mode [Direct] stays with the key that it started with.
func (p *Provider) KMSKey() string {
	if p.direct != nil {
		return p.direct.key.arn
	}
	return p.ring.Binding("").ProofKeyID()
}

// Roots implements [lineage.RootSource] without calling AWS: the workload's own KMS key, for its own principal. After an
// alias was moved the keys before it are among them too, as long as their bindings may hold.
func (p *Provider) Roots(context.Context, *lineage.KeyBinding) (*lineage.Roots, error) {
	return p.trust.roots.Load(), nil
}

// Renew makes a new session key now, ahead of time. Mode [Direct] has none, and Renew does nothing.
func (p *Provider) Renew(ctx context.Context) error {
	if p.direct != nil {
		return nil
	}
	return p.ring.Renew(ctx, p.renewal)
}

// Close stops the renewal and waits for its end. The present session key can be used until it ends. Close may be called
// more than once and returns nil.
func (p *Provider) Close() error {
	p.stop()
	<-p.done
	return nil
}

// String names the principal and the key in use, and the KMS key behind it.
func (p *Provider) String() string {
	if p.direct != nil {
		return p.direct.String() + " of " + p.KMSKey()
	}
	b := p.ring.Binding("")
	return b.Principal() + " (key " + b.KeyID() + ") certified by " + b.ProofKeyID()
}

// GoString is String, so that %#v shows no more.
func (p *Provider) GoString() string { return p.String() }
