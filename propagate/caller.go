package propagate

import (
	"context"
	"errors"
	"slices"
)

// A Caller is what a verified credential of a request says about who asks (SPEC §9, identity interceptor).
type Caller struct {
	Identity          // user, agent and task by the configured claims
	Issuer   string   // who vouches for it
	Actors   []string // RFC 8693 §4.1 act chain, the current actor first; the subject stays the user
}

// A TokenVerifier checks a bearer token. propagate/bearer has one for JWTs.
type TokenVerifier interface {
	// VerifyToken returns who the token speaks of. Errors match [ErrBadToken] when the token is no good; anything else
	// means that it could not be decided, for example because the issuer's keys cannot be had. No error repeats the
	// token or a claim of it.
	VerifyToken(ctx context.Context, token string) (Caller, error)
}

// ErrBadToken says that a credential is not accepted, whatever the reason.
var ErrBadToken = errors.New("token is not accepted")

type callerKey struct{}

// WithCaller returns a context with a verified caller, whose identity becomes the ambient one.
func WithCaller(ctx context.Context, c Caller) context.Context {
	c.Actors = slices.Clone(c.Actors)
	return WithIdentity(context.WithValue(ctx, callerKey{}, c), c.Identity)
}

// CallerFrom returns the verified caller of the request that ctx belongs to. ok is false when it carried no
// credential.
func CallerFrom(ctx context.Context) (c Caller, ok bool) {
	c, ok = ctx.Value(callerKey{}).(Caller)
	c.Actors = slices.Clone(c.Actors)
	return c, ok
}
