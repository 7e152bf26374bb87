package deploy

import (
	"context"
	"crypto/tls"
	"log/slog"
	"os"

	"github.com/kest-go/kest/auto"
	"github.com/kest-go/kest/aws"
	"github.com/kest-go/kest/aws/avp"
	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/device"
	"github.com/kest-go/kest/identity/oidc"
	"github.com/kest-go/kest/identity/spiffe"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedar"
	"github.com/kest-go/kest/policy/rego"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/bearer"
	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/redis"
)

// Kinds is what the builders of [Options] have in common. The zero value is usable.
type Kinds struct {
	// Publish gets the binding of every new session key before anything is signed with it. nil: nothing is published.
	Publish func(ctx context.Context, b *lineage.KeyBinding) error
	// Show tells a person how to log in, for identity.device. nil: on standard error.
	Show func(device.Prompt) error
	// Logger gets what parts warn about; nil means slog.Default.
	Logger *slog.Logger
}

// Options has a builder for every kind of the configuration file that package config does not make by itself, for
// those who put the parts together by hand. Each engine with a folder of policies follows it as its setting reload
// says, until it is closed.
func Options(k Kinds) config.Options {
	return config.Options{
		Logger: k.Logger,
		Engines: map[string]config.Builder[policy.Engine]{
			"rego": config.Build(k.rego), "cedar": config.Build(k.cedar), "avp": config.Build(openAVP),
		},
		Identities: map[string]config.Builder[identity.Provider]{
			"spiffe": config.Build(k.spiffe), "aws": config.Build(k.aws), "bedrock": config.Build(k.bedrock),
			"oidc": config.Build(k.oidc), "device": config.Build(k.device), "auto": config.Build(k.auto),
		},
		Stores: map[string]config.Builder[store.Store]{
			"redis": config.Build(k.redis), "sql": config.Build(k.sql), "nats": config.Build(k.nats),
		},
		Tokens: map[string]config.Builder[propagate.TokenVerifier]{"bearer": config.Build(k.bearer)},
	}
}

// made keeps a nil pointer from becoming an interface that is not nil.
func made[I any, P any](p *P, err error, as func(*P) I) (I, error) {
	if err != nil {
		var none I
		return none, err
	}
	return as(p), nil
}

func (k Kinds) rego(_ context.Context, s config.Rego) (policy.Engine, error) {
	e, err := rego.Config{
		Timeout: s.Timeout, Prefix: s.Prefix, CheckInput: s.CheckInput, InsecureBuiltins: s.InsecureBuiltins, Logger: k.Logger,
	}.Dir(string(s.Dir))
	if err != nil {
		return nil, err
	}
	return followedRego{e, follow(s.Reload, e.Watch)}, nil
}

func (k Kinds) cedar(_ context.Context, s config.Cedar) (policy.Engine, error) {
	e, err := cedar.Config{Schema: s.Schema, CheckInput: s.CheckInput, Entities: s.Entities, Logger: k.Logger}.Dir(string(s.Dir))
	if err != nil {
		return nil, err
	}
	return followedCedar{e, follow(s.Reload, e.Watch)}, nil
}

func openAVP(ctx context.Context, s config.AVP) (policy.Engine, error) {
	e, err := avp.New(ctx, avp.Config{
		PolicyStoreID: s.PolicyStore, Timeout: s.Timeout, Namespace: s.Namespace, PrincipalType: s.PrincipalType,
		ResourceType: s.ResourceType,
	})
	return made(e, err, func(e *avp.Engine) policy.Engine { return e })
}

func (k Kinds) spiffe(ctx context.Context, s config.SPIFFE) (identity.Provider, error) {
	p, err := spiffe.New(ctx, spiffe.Config{
		SocketPath: s.SocketPath, Form: form(s.Form), Principal: s.Principal, Wait: s.Wait, Publish: k.Publish, Logger: k.Logger,
	})
	return made(p, err, func(p *spiffe.Provider) identity.Provider { return p })
}

// form is the form of a binding by its name in the file.
func form(name string) lineage.BindingForm {
	switch name {
	case "x509":
		return lineage.FormX509
	case "jwt":
		return lineage.FormJWT
	}
	return ""
}

func (k Kinds) aws(ctx context.Context, s config.AWS) (identity.Provider, error) {
	c := aws.Config{KeyID: s.KeyID, Session: s.Session, Wait: s.Wait, Timeout: s.Timeout, Publish: k.Publish, Logger: k.Logger}
	mode(&c, s.Mode)
	p, err := aws.New(ctx, c)
	return made(p, err, func(p *aws.Provider) identity.Provider { return p })
}

func (k Kinds) bedrock(ctx context.Context, s config.Bedrock) (identity.Provider, error) {
	c := aws.Config{
		KeyID: s.KeyID, Session: s.Session, Wait: s.Wait, Timeout: s.Timeout, Publish: k.Publish, Logger: k.Logger,
		Agent: &aws.BedrockAgent{ID: s.AgentID, Alias: s.Alias},
	}
	mode(&c, s.Mode)
	p, err := aws.NewBedrock(ctx, c)
	return made(p, err, func(p *aws.Provider) identity.Provider { return p })
}

// mode sets what the KMS key signs. One that signs entries itself has no bindings to publish.
func mode(c *aws.Config, name string) {
	if name == "direct" {
		c.Mode, c.Publish = aws.Direct, nil
	}
}

func (k Kinds) oidc(ctx context.Context, s config.OIDC) (identity.Provider, error) {
	p, err := oidc.New(ctx, oidc.Config{
		TokenPath: string(s.TokenPath), Issuer: s.Issuer, Audience: s.Audience, RequireBound: s.RequireBound, Session: s.Session,
		Wait: s.Wait, Publish: k.Publish, Logger: k.Logger,
	})
	return made(p, err, func(p *oidc.Provider) identity.Provider { return p })
}

// device waits for a person, at most half an hour.
func (k Kinds) device(ctx context.Context, s config.Device) (identity.Provider, error) {
	secret, err := s.ClientSecret.Read()
	if err != nil {
		return nil, err
	}
	c := device.Config{
		Issuer: s.Issuer, ClientID: s.ClientID, ClientSecret: secret, Scopes: s.Scopes, Exchange: s.Exchange, Show: k.Show,
		Logger: k.Logger,
	}
	if c.Show == nil {
		c.Show = device.Terminal(os.Stderr)
	}
	if s.Keyring == "memory" {
		c.Keyring = device.Memory()
	}
	login, err := device.New(ctx, c)
	if err != nil {
		return nil, err
	}
	p, err := oidc.New(ctx, oidc.Config{
		Source: login, Issuer: s.Issuer, RequireBound: s.Exchange, Session: s.Session, Publish: k.Publish, Logger: k.Logger,
	})
	return made(p, err, func(p *oidc.Provider) identity.Provider { return p })
}

func (k Kinds) auto(ctx context.Context, s config.Auto) (identity.Provider, error) {
	p, _, err := auto.Identity(ctx, auto.Config{Wait: s.Wait, Publish: k.Publish, Name: s.Name, Logger: k.Logger})
	return p, err
}

func (k Kinds) redis(_ context.Context, s config.Redis) (store.Store, error) {
	password, err := s.Password.Read()
	if err != nil {
		return nil, err
	}
	var t *tls.Config
	if t, err = s.TLS.Config(); err != nil {
		return nil, err
	}
	kv, err := redis.Open(redis.Config{
		Addresses: s.Addresses, Username: s.Username, Password: password, TLS: t, InsecurePlaintext: s.InsecurePlaintext,
		Prefix: s.Prefix, Timeout: s.Timeout, Logger: k.Logger,
	})
	return made(kv, err, func(kv *redis.Store) store.Store { return kv })
}

func (k Kinds) bearer(_ context.Context, s config.Bearer) (propagate.TokenVerifier, error) {
	v, err := bearer.New(bearer.Config{
		Issuer: s.Issuer, Audiences: s.Audiences, JWKS: s.JWKS, Algorithms: s.Algorithms, Leeway: s.Leeway,
		UserClaim: s.UserClaim, AgentClaims: s.AgentClaims, TaskClaim: s.TaskClaim, Logger: k.Logger,
	})
	return made(v, err, func(v *bearer.Verifier) propagate.TokenVerifier { return v })
}
