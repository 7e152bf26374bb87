package lineage

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// A Signer is one signing credential of a workload: a principal, and an Ed25519 key that speaks for it
// (F-ID-01…03). Its three answers belong together, so a provider that rotates keys hands out a new Signer
// instead of changing one. Implementations must be safe for concurrent use and must return an error, never a
// placeholder, when they cannot sign.
type Signer interface {
	// Principal is the workload id, for example a SPIFFE URI.
	Principal() string
	// KeyID is the RFC 7638 thumbprint of the public key; see [Thumbprint].
	KeyID() string
	// Sign returns the 64-byte Ed25519 signature over message (pure EdDSA, RFC 8032 §5.1). It must not keep or
	// change message, whose memory is used again.
	Sign(ctx context.Context, message []byte) ([]byte, error)
}

// NewSigner returns a Signer for a private key held in memory. The key is never printed: the value's formatted
// form shows the principal and the key id only.
func NewSigner(principal string, key ed25519.PrivateKey) (Signer, error) {
	if principal == "" {
		return nil, errors.New("signer: empty principal")
	}
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("signer: private key of %d bytes; Ed25519 needs %d", len(key), ed25519.PrivateKeySize)
	}
	public := key.Public().(ed25519.PublicKey)
	return &memorySigner{principal: principal, keyID: Thumbprint(public), sign: func(message []byte) []byte {
		return ed25519.Sign(key, message)
	}}, nil
}

// memorySigner keeps the key inside a closure, where no formatting verb and no reflection-based logger finds it.
type memorySigner struct {
	principal, keyID string
	sign             func([]byte) []byte
}

func (s *memorySigner) Principal() string { return s.principal }
func (s *memorySigner) KeyID() string     { return s.keyID }
func (s *memorySigner) String() string    { return s.principal + " (key " + s.keyID + ")" }

func (s *memorySigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.sign(message), nil
}

// Thumbprint is the RFC 7638 SHA-256 thumbprint, base64url, of the Ed25519 public key's JWK (RFC 8037 §2): the
// key id of every signature that Kest writes.
func Thumbprint(key ed25519.PublicKey) string {
	// RFC 7638 §3.2: required members only, in lexicographic order, no white space.
	jwk := `{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(key) + `"}`
	sum := sha256.Sum256([]byte(jwk))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
