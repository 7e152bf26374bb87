package hopproof

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/store"
)

// Defaults and bounds of [Config].
const (
	DefaultMaxAge      = 60 * time.Second
	DefaultLeeway      = 30 * time.Second
	DefaultNoncePrefix = "kest.nonce."
	MaxNoncePrefix     = 64 // bytes

	maxKeys = 64 // looked at for one proof, as in lineage
)

// Config configures a [Verifier]. Keys and Store are required; the zero value of every other field is a safe default.
type Config struct {
	// Keys knows the keys of principals: usually the source that verifies lineage.
	Keys lineage.KeySource

	// Store remembers nonces. All processes that serve the same names must share it, with the same MaxAge, Leeway and
	// NoncePrefix, or a proof counts once in each of them.
	Store store.Store

	// MaxAge is how long after its creation a proof is good. It must cover the time that a request is on its way, and
	// bounds how long a nonce is kept. 0: [DefaultMaxAge].
	MaxAge time.Duration

	// Leeway is how far the clocks of senders and receivers may be apart, in either direction. 0: [DefaultLeeway].
	Leeway time.Duration

	// NoncePrefix goes before the keys of nonces in Store: up to [MaxNoncePrefix] letters, digits, '.', '_', '-' and
	// ':'. Empty: [DefaultNoncePrefix].
	NoncePrefix string
}

// A Verifier checks hop proofs. It is safe for concurrent use and needs no closing.
type Verifier struct{ config Config }

var _ propagate.HopVerifier = (*Verifier)(nil)

// NewVerifier checks the configuration and reports everything that is wrong with it.
func NewVerifier(c Config) (*Verifier, error) {
	if c.MaxAge == 0 {
		c.MaxAge = DefaultMaxAge
	}
	if c.Leeway == 0 {
		c.Leeway = DefaultLeeway
	}
	if c.NoncePrefix == "" {
		c.NoncePrefix = DefaultNoncePrefix
	}
	var problems []error
	problem := func(wrong bool, text string) {
		if wrong {
			problems = append(problems, errors.New("hop proof verifier: "+text))
		}
	}
	problem(c.Keys == nil, "Keys is nil; give the key source that verifies lineage")
	problem(c.Store == nil, "Store is nil; give one that all replicas of the service share, or a replayed request passes")
	problem(c.MaxAge < 0, "MaxAge is negative; use a positive time, or 0 for the default")
	problem(c.Leeway < 0, "Leeway is negative; use a positive time, or 0 for the default")
	// The longest time that a nonce is kept is MaxAge+4·Leeway. The first two conditions keep the sum in range.
	problem(c.MaxAge > store.MaxTTL || c.Leeway > store.MaxTTL || c.MaxAge+4*c.Leeway > store.MaxTTL,
		"MaxAge and four times Leeway are more than the "+store.MaxTTL.String()+" for which a store keeps values")
	problem(len(c.NoncePrefix) > MaxNoncePrefix || store.CheckKey(c.NoncePrefix) != nil,
		"NoncePrefix is not made of up to 64 letters, digits and . _ - :")
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return &Verifier{c}, nil
}

// VerifyHop implements [propagate.HopVerifier]. It uses up the proof: the second call with the same one fails. Errors
// match [propagate.ErrNoProof] when there is no signature with the tag of hop proofs, and [propagate.ErrBadProof] when
// there is one that does not hold, or when the fields of signatures cannot be read. The others are those of the context,
// the key source and the store, wrapped: whether the proof holds is then not known, and it may be used up. No error
// repeats a nonce, a signature or baggage.
func (v *Verifier) VerifyHop(ctx context.Context, principal string, r propagate.HopRequest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p, err := readProof(r.Fields)
	if errors.Is(err, propagate.ErrNoProof) {
		return err
	}
	if err != nil {
		return bad(err)
	}
	now := time.Now()
	if err := v.checkTime(p, now); err != nil {
		return bad(err)
	}
	want, err := covered(r)
	if err != nil {
		return bad(err)
	}
	if !p.covers(want) {
		return bad(fmt.Errorf("it does not cover exactly %q", want))
	}
	base, err := signatureBase(p.components, p.params, r)
	if err != nil {
		return bad(err)
	}
	key, err := v.key(ctx, principal, p.keyID)
	if err != nil {
		return err
	}
	if !ed25519.Verify(key, base, p.signature) { // false for a signature of a wrong length, too
		return bad(errors.New("the signature does not match; the request was changed, or signed by another key"))
	}
	return v.use(ctx, p, now) // last: what nobody signed must not fill the store
}

func bad(err error) error { return fmt.Errorf("%w: %v", propagate.ErrBadProof, err) }

// checkTime holds the proof to the window that the package comment gives.
func (v *Verifier) checkTime(p *proof, now time.Time) error {
	switch {
	case p.created.After(now.Add(v.config.Leeway)):
		return fmt.Errorf("it was created %s in the future; compare the clocks", p.created.Sub(now).Round(time.Second))
	case now.After(v.end(p)):
		return fmt.Errorf("it was created %s ago and is good for %s; compare the clocks", now.Sub(p.created).Round(time.Second), v.config.MaxAge)
	case !p.expires.IsZero() && now.After(p.expires.Add(v.config.Leeway)):
		return errors.New("it has expired by its own word")
	}
	return nil
}

// end is when the proof stops being good, by any clock.
func (v *Verifier) end(p *proof) time.Time {
	return p.created.Add(v.config.MaxAge + v.config.Leeway)
}

// key returns the key of principal whose thumbprint is keyID, which leaves one signature to try.
func (v *Verifier) key(ctx context.Context, principal, keyID string) (ed25519.PublicKey, error) {
	keys, err := v.config.Keys.Keys(ctx, principal, keyID)
	if err != nil {
		return nil, fmt.Errorf("keys of %.200q: %w", principal, err)
	}
	if len(keys) > maxKeys {
		return nil, fmt.Errorf("keys of %.200q: %d match; at most %d are looked at", principal, len(keys), maxKeys)
	}
	for _, key := range keys {
		if lineage.Thumbprint(key) != keyID {
			continue // found by another name, under which its nonces would count a second time
		}
		if err := lineage.CheckKey(key); err != nil { // a key source that admits weak keys must not weaken the verifier
			return nil, fmt.Errorf("keys of %.200q: %w", principal, err)
		}
		return key, nil
	}
	return nil, bad(fmt.Errorf("%.200q has no such key", principal))
}

// use remembers the nonce until no verifier takes the proof any more. Another verifier's clock may be behind this one
// by twice the leeway: each is at most one from the signer's.
func (v *Verifier) use(ctx context.Context, p *proof, now time.Time) error {
	sum := sha256.Sum256([]byte(p.keyID + "." + p.nonce)) // neither has a dot
	ttl := max(time.Second, v.end(p).Sub(now)+2*v.config.Leeway)
	err := v.config.Store.Put(ctx, v.config.NoncePrefix+hex.EncodeToString(sum[:]), nil, ttl)
	switch {
	case errors.Is(err, store.ErrExists):
		return bad(errors.New("it was replayed: its nonce has been used"))
	case err != nil:
		return fmt.Errorf("replay cache: %w", err)
	}
	return nil
}
