package oidc

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

// The variables that [Config] falls back to.
const (
	EnvTokenPath = "KEST_OIDC_TOKEN_PATH" // path of a file that holds the token
	EnvToken     = "KEST_OIDC_TOKEN"      // the token itself
	EnvIssuer    = "KEST_OIDC_ISSUER"     // see Config.Issuer
)

// Config says where the tokens come from and what is expected of them. The zero value takes all from the environment.
type Config struct {
	// Source gets the tokens. nil: the file TokenPath; when that is "" too, the file that [EnvTokenPath] names, or else the
	// token in [EnvToken]. Having both variables, or both fields, is an error.
	Source    TokenSource
	TokenPath string
	// Issuer, when set, is what "iss" of every token must be, byte for byte, and its keys, found by discovery, must verify
	// the token before it is used. An https URL. "": the value of [EnvIssuer]; when that is not set either, the claims are
	// read and nothing is verified, which is for whoever verifies the binding to do.
	Issuer string
	// Audience, when set, must be an audience of a token that does not name the key: one that was made for somebody else
	// says nothing about us. Tokens that name the key have no other audience.
	Audience string
	// RequireBound makes a token that does not name the key an error. Without it the identity is then the workload's own
	// word, see the package comment.
	RequireBound bool

	// Session is the longest time for which one key is used, 1 minute to [identity.MaxSession]; the token may end it
	// before. 0: [identity.MaxSession].
	Session time.Duration
	// Wait is how long [New] waits for the first token to be there and good. 0: it tries once.
	Wait time.Duration
	// Publish gets the binding of a new key before anything is signed with it. nil: nothing is published.
	Publish func(ctx context.Context, b *lineage.KeyBinding) error
	// Client fetches the issuer's keys, see [RootsConfig.Client].
	Client *http.Client
	// Logger gets a line for every token that cannot be used, and one warning when tokens do not name the key. nil:
	// slog.Default.
	Logger *slog.Logger
}

// A Provider is a workload that an OpenID provider knows. New entries are signed by the latest of its session keys, which
// it renews in the background until it is closed. It is safe for concurrent use.
type Provider struct {
	identity.Keyring
	config  Config
	keys    *keyCache // nil: tokens are not verified
	renewal identity.Renewal
	stop    context.CancelFunc
	running sync.WaitGroup
}

var _ identity.Binder = (*Provider)(nil)

// New gets the first token and returns when there is a credential. It fails with the reason when there is none after
// Config.Wait, or when ctx ends, which bounds the start only. The caller closes the provider.
func New(ctx context.Context, c Config) (*Provider, error) { return start(ctx, c, identity.OSEnv()) }

// Open makes the opener of the OIDC probe, for [identity.Link].
func Open(c Config) identity.Opener {
	return func(ctx context.Context, env identity.Env) (identity.Provider, error) {
		p, err := start(ctx, c, env)
		if err != nil {
			return nil, err // not p: a nil *Provider in an interface is not nil
		}
		return p, nil
	}
}

func start(ctx context.Context, c Config, env identity.Env) (*Provider, error) {
	if err := c.fill(env); err != nil {
		return nil, err
	}
	p := &Provider{config: c}
	if c.Issuer != "" {
		client := newClient(c.Client)
		p.keys = &keyCache{issuer: c.Issuer, refresh: DefaultRefresh, maxStale: DefaultMaxStale, logger: c.Logger,
			fetch: func(ctx context.Context) ([]lineage.RootKey, error) { return fetchKeys(ctx, client, c.Issuer) }}
	}
	wake := make(chan struct{}, 1)
	p.renewal = identity.Renewal{Issue: p.issue, Publish: c.Publish, Wake: wake, Logger: c.Logger}
	watch := func(context.Context, chan<- struct{}) {}
	if w, ok := c.Source.(watcher); ok {
		watch = w.watch() // before the token is read, so that no change falls in between
	}
	first := p.Renew(ctx, p.renewal)
	if first != nil && c.Wait == 0 {
		return nil, fmt.Errorf("oidc identity: %w", first)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx)) // ctx is for the start
	p.stop = stop
	p.running.Go(func() { watch(background, wake) })
	p.running.Go(func() { p.Keep(background, p.renewal) })
	if err := p.await(ctx, first); err != nil {
		_ = p.Close() // it has no error
		return nil, fmt.Errorf("oidc identity: %w", err)
	}
	if !p.Bound() {
		c.Logger.WarnContext(ctx, "kest: the OIDC token does not name the session key, so nobody but this process vouches for the key",
			"principal", p.Binding("").Principal(), "fix", "use a source that asks for the audience of the key, and Config.RequireBound")
	}
	return p, nil
}

// await gives the renewal Config.Wait to do better than the first attempt.
func (p *Provider) await(ctx context.Context, first error) error {
	if first == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.config.Wait)
	defer cancel()
	return p.Wait(ctx)
}

// fill replaces zero values and reports everything that is wrong.
func (c *Config) fill(env identity.Env) error {
	var problems []error
	problem := func(wrong bool, text string) {
		if wrong {
			problems = append(problems, errors.New("oidc identity: "+text))
		}
	}
	problem(c.Source != nil && c.TokenPath != "", "Source and TokenPath are both set; set one")
	if c.Source == nil && c.TokenPath == "" {
		path, hasPath := env.Lookup(EnvTokenPath)
		_, hasToken := env.Lookup(EnvToken)
		problem(hasPath && hasToken, EnvTokenPath+" and "+EnvToken+" are both set; unset one")
		problem(!hasPath && !hasToken, "there is no token; set Source, TokenPath, "+EnvTokenPath+" or "+EnvToken)
		problem(hasPath && path == "", EnvTokenPath+" is empty; give it the path of the token or unset it")
		if c.TokenPath = path; !hasPath {
			c.Source = envSource{EnvToken, env}
		}
	}
	if c.Source == nil {
		c.Source = File(c.TokenPath)
	}
	if c.Issuer == "" {
		issuer, set := env.Lookup(EnvIssuer)
		problem(set && issuer == "", EnvIssuer+" is empty; give it the URL of the issuer or unset it") // it would verify nothing
		c.Issuer = issuer
	}
	if c.Issuer != "" {
		if err := issuerURL(c.Issuer); err != nil {
			problems = append(problems, fmt.Errorf("oidc identity: Issuer %w", err))
		}
	}
	c.Session = cmp.Or(c.Session, identity.MaxSession)
	problem(c.Session < time.Minute || c.Session > identity.MaxSession, "Session must be between 1m and "+identity.MaxSession.String())
	problem(c.Wait < 0, "Wait is negative")
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return errors.Join(problems...)
}

// issue makes a session key and asks for a token that certifies it. The key comes first, because the token has to name
// it.
func (p *Provider) issue(ctx context.Context) (identity.Credential, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return identity.Credential{}, err
	}
	keyID := lineage.Thumbprint(public)
	text, err := p.config.Source.Token(ctx, lineage.BindingAudience(keyID))
	if err != nil {
		return identity.Credential{}, fmt.Errorf("token: %w", err)
	}
	t, bound, err := p.accept(ctx, text, keyID)
	if err != nil {
		return identity.Credential{}, err
	}
	principal := lineage.OIDCPrincipal(t.issuer, t.subject)
	if err := identity.ValidatePrincipal(principal); err != nil {
		return identity.Credential{}, bad("its iss and sub make no principal")
	}
	signer, err := lineage.NewSigner(principal, private)
	if err != nil {
		return identity.Credential{}, err
	}
	end := earliest(t.ends, time.Now().Add(p.config.Session))
	binding, err := certify(ctx, t, bound, signer, public, end)
	if err != nil {
		return identity.Credential{}, err
	}
	return identity.Credential{Signer: signer, Binding: binding, NotAfter: end,
		Labels: map[string]string{lineage.LabelIssuer: t.issuer, lineage.LabelSubject: t.subject}}, nil
}

// accept says whether the token may be this workload's identity, and whether it names the key.
func (p *Provider) accept(ctx context.Context, text, keyID string) (*token, bool, error) {
	t, err := parseToken(text)
	if err != nil {
		return nil, false, err
	}
	if want := p.config.Issuer; want != "" && t.issuer != want {
		return nil, false, bad("it is of another issuer than " + want)
	}
	if err := t.checkTime(time.Now()); err != nil {
		return nil, false, err
	}
	bound, err := t.bound(keyID)
	switch {
	case err != nil:
		return nil, false, err
	case !bound && p.config.RequireBound:
		return nil, false, bad("its only audience is not that of the session key, which RequireBound demands")
	case !bound && !t.isFor(p.config.Audience):
		return nil, false, bad("it is for another audience than " + p.config.Audience)
	case p.keys == nil:
		return t, bound, nil
	}
	keys, err := p.keys.find(ctx, t.kid)
	if err != nil {
		return nil, false, err
	}
	return t, bound, t.checkSignature(keys)
}

// certify makes the binding. A token that does not name the key is good elsewhere, too: it stays in this process, and
// the session key speaks for itself.
func certify(ctx context.Context, t *token, bound bool, signer lineage.Signer, key ed25519.PublicKey, end time.Time) (*lineage.KeyBinding, error) {
	if bound {
		return lineage.CertifyToken(lineage.FormOIDC, signer.Principal(), key, t.text)
	}
	return lineage.CertifySelf(ctx, lineage.Statement{Principal: signer.Principal(), Key: key, NotBefore: time.Now(), NotAfter: end}, signer)
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Bound reports whether the key in use is certified by a token that names it, which others can verify. Otherwise the
// binding is the workload's own word ([lineage.FormSelf]).
func (p *Provider) Bound() bool {
	b := p.Binding("")
	return b != nil && b.Form() == lineage.FormOIDC
}

// Rotate gets a new token and key now. When that fails the present one stays in use until its end.
func (p *Provider) Rotate(ctx context.Context) error { return p.Renew(ctx, p.renewal) }

// Close ends the renewal and returns when it has ended. The credential in use stays usable until its end. It may be
// called more than once.
func (p *Provider) Close() error {
	p.stop()
	p.running.Wait()
	return nil
}
