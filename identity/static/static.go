// Package static is an identity that the caller supplies whole: a fixed principal and an Ed25519 key (SPEC §8
// Static). It is for embedded devices with a provisioned key, and for tests.
package static

import (
	"context"
	"crypto/ed25519"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

// A Provider is one fixed identity. It is safe for concurrent use and needs no closing.
type Provider struct {
	signer lineage.Signer
	public ed25519.PublicKey
}

var _ identity.Provider = (*Provider)(nil)

// New returns the identity principal, signing with key. It copies key, so the caller may erase its own. It refuses
// a principal that [identity.ValidatePrincipal] refuses and a key whose halves do not belong together. Errors say
// what is wrong with the key and never repeat any of it.
func New(principal string, key ed25519.PrivateKey) (*Provider, error) {
	if err := identity.ValidatePrincipal(principal); err != nil {
		return nil, fmt.Errorf("static identity: %w", err)
	}
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("static identity: private key of %d bytes, not %d (seed and public key); "+
			"use ed25519.NewKeyFromSeed for a seed of %d", len(key), ed25519.PrivateKeySize, ed25519.SeedSize)
	}
	// RFC 8032 §5.1.6 hashes the public key into the signature. Signing with one that is not the seed's gives
	// signatures that do not verify, and two such signatures with different ones give the private key away.
	own := ed25519.NewKeyFromSeed(key.Seed())
	if subtle.ConstantTimeCompare(own, key) != 1 {
		return nil, errors.New("static identity: the public half of the private key does not belong to its seed")
	}
	signer, err := lineage.NewSigner(principal, own)
	if err != nil {
		return nil, fmt.Errorf("static identity: %w", err)
	}
	return &Provider{signer: signer, public: slices.Clone(own.Public().(ed25519.PublicKey))}, nil
}

// Signer implements [identity.Provider]. It returns the same Signer every time.
func (p *Provider) Signer(ctx context.Context) (lineage.Signer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return p.signer, nil
}

// Principal returns the principal as it was given.
func (p *Provider) Principal() string { return p.signer.Principal() }

// PublicKey returns the key that verifies this provider's signatures.
func (p *Provider) PublicKey() ed25519.PublicKey { return slices.Clone(p.public) }

// String names the principal and the key id, never the key.
func (p *Provider) String() string { return p.Principal() + " (key " + p.signer.KeyID() + ")" }
