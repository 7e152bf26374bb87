package bearer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kest-go/kest/propagate"
)

// ErrKeys says that the issuer's keys cannot be had, so that nothing is known about a token.
var ErrKeys = errors.New("keys of the token's issuer cannot be had")

// bad is a token that is not accepted. The reason is one of ours: nothing of the token may be in it.
func bad(reason string) error { return fmt.Errorf("%w: %s", propagate.ErrBadToken, reason) }

// A Verifier verifies the tokens of one issuer. It is made by [New] and safe for concurrent use. It needs no closing:
// what it leaves behind is at most one fetch, which ends within Config.Timeout.
type Verifier struct {
	config Config
	keys   *keyCache
}

// New checks the configuration and reports everything that is wrong with it. It does not ask the issuer for anything.
func New(c Config) (*Verifier, error) {
	c = c.filled()
	if err := c.check(); err != nil {
		return nil, err
	}
	f := fetcher{config: c, client: newClient(c.HTTPClient)}
	return &Verifier{config: c, keys: &keyCache{config: c, fetch: f.keys}}, nil
}

// VerifyToken implements [propagate.TokenVerifier]. Errors match [propagate.ErrBadToken] or [ErrKeys], and the
// context's error as well where that is why keys were not waited for.
func (v *Verifier) VerifyToken(ctx context.Context, text string) (propagate.Caller, error) {
	t, err := parse(text)
	if err != nil {
		return propagate.Caller{}, err
	}
	return v.verify(ctx, t)
}

func (v *Verifier) verify(ctx context.Context, t token) (propagate.Caller, error) {
	if !slices.Contains(v.config.Algorithms, t.alg) { // RFC 8725 §3.1
		return propagate.Caller{}, bad("its algorithm is not allowed")
	}
	if t.issuer() != v.config.Issuer { // RFC 8725 §3.8: the keys are this issuer's, so they are not asked about others
		return propagate.Caller{}, bad("it is not of the issuer")
	}
	k, err := v.keys.find(ctx, t.alg, t.kid)
	if err != nil {
		return propagate.Caller{}, err
	}
	if err := t.checkSignature(k); err != nil {
		return propagate.Caller{}, err
	}
	return v.config.caller(t.claims)
}

// Any returns a verifier for the tokens of several issuers, which hands each token to the verifier of the issuer that
// it claims to be of. That verifier checks the claim with the rest: a token can choose who judges it, not by what keys.
// No two verifiers may have the same issuer.
func Any(verifiers ...*Verifier) (propagate.TokenVerifier, error) {
	if len(verifiers) == 0 {
		return nil, errors.New("bearer: Any needs a verifier")
	}
	all := make(anyOf, len(verifiers))
	for _, v := range verifiers {
		if v == nil {
			return nil, errors.New("bearer: Any has a nil verifier")
		}
		if all[v.config.Issuer] != nil {
			return nil, fmt.Errorf("bearer: Any has two verifiers of %q; give one of them all audiences", v.config.Issuer)
		}
		all[v.config.Issuer] = v
	}
	return all, nil
}

type anyOf map[string]*Verifier

func (all anyOf) VerifyToken(ctx context.Context, text string) (propagate.Caller, error) {
	t, err := parse(text)
	if err != nil {
		return propagate.Caller{}, err
	}
	v := all[t.issuer()]
	if v == nil {
		return propagate.Caller{}, bad("it is of none of the issuers")
	}
	return v.verify(ctx, t)
}
