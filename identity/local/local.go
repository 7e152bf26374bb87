// Package local is the identity of last resort: an Ed25519 key that lives and dies with the process, and a
// principal that nobody vouches for (SPEC §8 Local, F-ID-04). It is for development, demos and tests of whole
// programs. It warns when it is made.
package local

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

// MaxName is the longest [Config.Name] in bytes.
const MaxName = 64

// Config says how the identity is named. The zero value is usable.
type Config struct {
	// Name makes the principal readable: "local:<name>:<random>" instead of "local:<random>". Up to [MaxName]
	// letters, digits, '_', '.' and '-'. The random part stays: two processes are never the same workload.
	Name string

	// Logger receives the warning. nil: slog.Default.
	Logger *slog.Logger
}

// A Provider is one local identity. It is safe for concurrent use and needs no closing.
type Provider struct {
	signer lineage.Signer
	public ed25519.PublicKey
}

var _ identity.Provider = (*Provider)(nil)

// New makes a fresh key and principal and logs one warning. The private key cannot be read back.
func New(config Config) (*Provider, error) {
	principal, err := principal(config.Name)
	if err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("local identity: key: %w", err)
	}
	signer, err := lineage.NewSigner(principal, private)
	if err != nil {
		return nil, fmt.Errorf("local identity: %w", err)
	}
	logger := config.Logger
	if logger == nil {
		logger = slog.Default()
	}
	logger.Warn("LOCAL IDENTITY: nobody vouches for this workload, and its key is lost when the process ends; "+
		"use it for development only",
		"principal", principal, "key_id", signer.KeyID(),
		"fix", "set Config.Identity to a platform identity, for example SPIFFE")
	return &Provider{signer: signer, public: public}, nil
}

// Probe is the last entry for [identity.Detect]: it is chosen when no platform gave a signal.
func Probe(config Config) identity.Probe {
	return identity.Probe{
		Name:   identity.Local,
		Import: "github.com/kest-go/kest/identity/local",
		Open: func(context.Context, identity.Env) (identity.Provider, error) {
			p, err := New(config)
			if err != nil {
				return nil, err // not p: a nil *Provider in an interface is not nil
			}
			return p, nil
		},
	}
}

func principal(name string) (string, error) {
	if len(name) > MaxName {
		return "", fmt.Errorf("local identity: name of %d bytes is longer than %d", len(name), MaxName)
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return !nameRune(r) }); i >= 0 {
		return "", fmt.Errorf("local identity: name %q: only letters, digits, '_', '.' and '-' are allowed", name)
	}
	random := make([]byte, 16)
	rand.Read(random) // never fails (crypto/rand, Go 1.24)
	if name != "" {
		name += ":"
	}
	return "local:" + name + hex.EncodeToString(random), nil
}

func nameRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '.' || r == '-'
}

// Signer implements [identity.Provider]. It returns the same Signer every time.
func (p *Provider) Signer(ctx context.Context) (lineage.Signer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return p.signer, nil
}

// Principal returns "local:" and a random name that is unique to this provider.
func (p *Provider) Principal() string { return p.signer.Principal() }

// PublicKey returns the key that verifies this provider's signatures. Processes that are to verify each other
// exchange it by hand, for example as the JWKS of [lineage.KeySet.AppendJSON].
func (p *Provider) PublicKey() ed25519.PublicKey { return slices.Clone(p.public) }

// String names the principal and the key id, never the key.
func (p *Provider) String() string { return p.Principal() + " (key " + p.signer.KeyID() + ")" }
