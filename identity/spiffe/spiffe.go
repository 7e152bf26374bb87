package spiffe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

// Config says which Workload API to use, and how. The zero value is usable.
type Config struct {
	// SocketPath is the endpoint: a path, unix:///path or tcp://ip:port. "" means SPIFFE_ENDPOINT_SOCKET, or else the
	// first of [identity.SPIFFESockets] that exists.
	SocketPath string

	// Form is what certifies session keys: [lineage.FormX509], which "" means too, or [lineage.FormJWT]. A JWT-SVID is a
	// bearer token that proves less; see [lineage.BindingForm.Proves].
	Form lineage.BindingForm

	// Principal is the SPIFFE ID to use when the workload has several. "" means the first one that the agent names.
	Principal string

	// Wait is how long New may wait for the socket, the agent and the workload's registration to appear; its context
	// bounds it, too. 0 means 10 s. Nothing is signed meanwhile.
	Wait time.Duration

	// Publish gets the binding of every new session key before anything is signed with that key, for example
	// to put it into a store for verifiers. When it fails, the key is not used and the attempt is repeated. nil: bindings
	// are not published.
	Publish func(ctx context.Context, b *lineage.KeyBinding) error

	// Logger gets a line for every failure to renew. nil means slog.Default.
	Logger *slog.Logger
}

const defaultWait = 10 * time.Second

// complete fills in what is not set, and reports everything that is wrong at once.
func (c Config) complete(env identity.Env) (Config, error) {
	var problems []error
	problem := func(field, format string, args ...any) {
		problems = append(problems, fmt.Errorf(field+": "+format, args...))
	}
	uri, err := endpoint(c.SocketPath, env)
	if err != nil {
		problems = append(problems, err)
	}
	c.SocketPath = uri
	switch c.Form {
	case "":
		c.Form = lineage.FormX509
	case lineage.FormX509, lineage.FormJWT:
	default:
		problem("Form", "%q; use %q or %q", clip(string(c.Form)), lineage.FormX509, lineage.FormJWT)
	}
	if _, ok := lineage.SPIFFEDomain(c.Principal); !ok && c.Principal != "" {
		problem("Principal", "%q is not a SPIFFE ID with a path, as spiffe://example.org/payments", clip(c.Principal))
	}
	if c.Wait < 0 {
		problem("Wait", "%s; it cannot be negative, and 0 means %s", c.Wait, defaultWait)
	} else if c.Wait == 0 {
		c.Wait = defaultWait
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if len(problems) > 0 {
		return c, fmt.Errorf("spiffe: %w", errors.Join(problems...))
	}
	return c, nil
}

// A Provider signs as the workload that a Workload API knows. It implements [identity.Binder] and [lineage.RootSource]
// and is safe for concurrent use. Close ends it.
type Provider struct {
	// Pointers only, and no key behind one of them alone: formatting a copy must not race or show anything.
	config *Config
	ring   *identity.Keyring
	agent  *agent
	feed   *feed
	trust  *trust
}

var (
	_ identity.Binder    = (*Provider)(nil)
	_ lineage.RootSource = (*Provider)(nil)
)

// New returns when there is a key that the workload's SVID certifies, or fails within [Config.Wait]. An endpoint that
// cannot be right, such as a directory or a host name, fails at once. ctx bounds New only.
func New(ctx context.Context, config Config) (*Provider, error) {
	return open(ctx, config, identity.OSEnv())
}

// Open makes a provider for [identity.Detect]: it is what to give to [identity.Link]. It looks for the endpoint in the
// environment that Detect looks at.
func Open(config Config) identity.Opener {
	return func(ctx context.Context, env identity.Env) (identity.Provider, error) {
		p, err := open(ctx, config, env)
		if err != nil {
			return nil, err // not p: a nil *Provider in an interface is not nil
		}
		return p, nil
	}
}

func open(ctx context.Context, config Config, env identity.Env) (*Provider, error) {
	config, err := config.complete(env)
	if err != nil {
		return nil, err
	}
	a, err := dial(ctx, config.SocketPath)
	if err != nil {
		return nil, fmt.Errorf("spiffe: %w", err)
	}
	p := &Provider{config: &config, ring: &identity.Keyring{}, agent: a, trust: newTrust(config.Logger)}
	p.feed = &feed{agent: a, ring: p.ring, trust: p.trust, wake: make(chan struct{}, 1)}
	a.follow(func(ctx context.Context) error { return a.WatchX509Context(ctx, p.feed) })
	a.follow(func(ctx context.Context) error { return a.WatchJWTBundles(ctx, bundleWatcher{p.trust, a}) })
	a.watches.Go(p.keep)

	ctx, cancel := context.WithTimeout(ctx, config.Wait)
	defer cancel()
	if err := p.ring.Wait(ctx); err != nil {
		trouble := p.feed.problem()
		_ = p.Close()
		if trouble != nil || p.trust.roots.Load() == nil {
			err = fmt.Errorf("%w; %w", err, a.orSilent(trouble))
		}
		return nil, fmt.Errorf("spiffe: %w", err)
	}
	p.trust.settle(ctx)
	return p, nil
}

// keep renews the session key from the first word of the agent on.
func (p *Provider) keep() {
	select {
	case <-p.agent.ctx.Done():
		return
	case <-p.feed.wake:
	}
	p.ring.Keep(p.agent.ctx, identity.Renewal{
		Issue: p.issue, Publish: p.config.Publish, Wake: p.feed.wake, Logger: p.config.Logger,
	})
}

// Signer implements [identity.Provider]. It calls nobody. Errors match [identity.ErrExpired] or [identity.ErrRevoked].
func (p *Provider) Signer(ctx context.Context) (lineage.Signer, error) { return p.ring.Signer(ctx) }

// Binding implements [identity.Binder].
func (p *Provider) Binding(keyID string) *lineage.KeyBinding { return p.ring.Binding(keyID) }

// Roots implements [lineage.RootSource] without waiting: the workload's own trust domain and those federated with it,
// whatever the binding. While the agent is away, and after Close, it is what the agent said last.
func (p *Provider) Roots(context.Context, *lineage.KeyBinding) (*lineage.Roots, error) {
	return p.trust.get()
}

var errClosed = fmt.Errorf("%w: the provider is closed", identity.ErrRevoked)

// Close ends the watches and returns when they have ended. It takes the keys away, because nobody would notice any more
// that the platform does.
func (p *Provider) Close() error {
	err := p.agent.close()
	p.feed.mu.Lock()
	defer p.feed.mu.Unlock()
	p.feed.deny(errClosed)
	return err
}

// String names the principal, the key in use, its form and the endpoint. It has a value as its receiver so that copies, too,
// print like this.
func (p Provider) String() string {
	b := p.ring.Binding("")
	if b == nil {
		return "SPIFFE identity from " + p.agent.endpoint
	}
	return fmt.Sprintf("%s (key %s, %s from %s)", b.Principal(), b.KeyID(), b.Form(), p.agent.endpoint)
}

// GoString is String.
func (p Provider) GoString() string { return p.String() }
