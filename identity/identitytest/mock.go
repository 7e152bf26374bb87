// Package identitytest is for tests only: identities with known keys, and the contract that every
// [identity.Provider] must pass, [TestProvider].
package identitytest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

// Key returns the Ed25519 key that belongs to seed, always the same one. Its signatures are real and verify;
// its secrecy is that of the seed, which is in the test's source.
func Key(seed string) ed25519.PrivateKey {
	sum := sha256.Sum256([]byte("kest identitytest key\x00" + seed))
	return ed25519.NewKeyFromSeed(sum[:])
}

// A Mock is a provider whose keys follow from seeds (SPEC §8 Mock). It can rotate to its next key. It is safe for
// concurrent use.
type Mock struct {
	mu      sync.RWMutex
	signers []lineage.Signer
	current int
	public  map[string]ed25519.PublicKey // by key id
}

var _ identity.Provider = (*Mock)(nil)

// New returns the identity principal with one key for each seed; the first one signs. No seed means the
// principal's name. It panics on a principal that [identity.ValidatePrincipal] refuses: both are constants of
// a test.
func New(principal string, seeds ...string) *Mock {
	if err := identity.ValidatePrincipal(principal); err != nil {
		panic("identitytest: " + err.Error())
	}
	if len(seeds) == 0 {
		seeds = []string{principal}
	}
	m := &Mock{public: map[string]ed25519.PublicKey{}}
	for _, seed := range seeds {
		key := Key(seed)
		signer, err := lineage.NewSigner(principal, key)
		if err != nil {
			panic("identitytest: " + err.Error())
		}
		m.signers = append(m.signers, signer)
		m.public[signer.KeyID()] = key.Public().(ed25519.PublicKey)
	}
	return m
}

// Signer implements [identity.Provider].
func (m *Mock) Signer(ctx context.Context) (lineage.Signer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.signers[m.current], nil
}

// Rotate makes the next key the current one; after the last comes the first.
func (m *Mock) Rotate() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current = (m.current + 1) % len(m.signers)
}

// Principal returns the principal as it was given.
func (m *Mock) Principal() string { return m.signers[0].Principal() }

// PublicKey returns the key with the given id, nil when it is not one of the mock's.
func (m *Mock) PublicKey(keyID string) ed25519.PublicKey { return slices.Clone(m.public[keyID]) }

// PublicKeys returns the keys of all seeds, in their order.
func (m *Mock) PublicKeys() []ed25519.PublicKey {
	keys := make([]ed25519.PublicKey, len(m.signers))
	for i, signer := range m.signers {
		keys[i] = m.PublicKey(signer.KeyID())
	}
	return keys
}

// String names the principal, never a key.
func (m *Mock) String() string { return "mock identity " + m.Principal() }

// ErrFailing is the default error of [Failing] and [FailingSigner].
var ErrFailing = errors.New("identity provider is out of order")

// Failing returns a provider that never has a credential: Signer returns err, or [ErrFailing] when err is nil.
func Failing(err error) identity.Provider {
	return provider(func(context.Context) (lineage.Signer, error) { return nil, orFailing(err) })
}

// FailingSigner returns a provider whose credential looks well and cannot sign: Sign returns err, or [ErrFailing]
// when err is nil. A KMS that went away behaves so.
func FailingSigner(principal string, err error) identity.Provider {
	id := lineage.Thumbprint(Key(principal).Public().(ed25519.PublicKey))
	return provider(func(context.Context) (lineage.Signer, error) {
		return &failingSigner{principal, id, orFailing(err)}, nil
	})
}

func orFailing(err error) error {
	if err == nil {
		return ErrFailing
	}
	return err
}

type provider func(context.Context) (lineage.Signer, error)

func (p provider) Signer(ctx context.Context) (lineage.Signer, error) { return p(ctx) }

type failingSigner struct {
	principal, keyID string
	err              error
}

func (s *failingSigner) Principal() string                            { return s.principal }
func (s *failingSigner) KeyID() string                                { return s.keyID }
func (s *failingSigner) Sign(context.Context, []byte) ([]byte, error) { return nil, s.err }
