package oidctest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// store is the storage of zitadel's example, with access tokens that are JWTs, keys that rotate, and an exchange that
// asks for nobody's leave to be oneself.
type store struct {
	*storage.Storage
	lifetime atomic.Int64

	mu   sync.Mutex
	keys []op.Key // as in the key set; the last one signs
	by   op.SigningKey
}

func newStore(issuer string) *store {
	s := &store{Storage: storage.NewStorageWithClients(storage.NewUserStore(issuer), clients())}
	s.lifetime.Store(int64(5 * time.Minute))
	s.keys, _ = s.Storage.KeySet(context.Background()) // it cannot fail
	s.by, _ = s.Storage.SigningKey(context.Background())
	return s
}

func (s *store) rotate() {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{id: fmt.Sprintf("ec%d-%d", len(s.keys), time.Now().UnixNano()), private: private}
	s.by, s.keys = k, append(slices.Clone(s.keys), publicKey{k})
}

func (s *store) withdraw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = s.keys[len(s.keys)-1:]
}

func (s *store) SigningKey(context.Context) (op.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by, nil
}

func (s *store) KeySet(context.Context) ([]op.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys, nil
}

func (s *store) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256, jose.ES256}, nil
}

// key is an [op.SigningKey], and its public half an [op.Key].
type key struct {
	id      string
	private *ecdsa.PrivateKey
}

func (k key) ID() string                                  { return k.id }
func (k key) Key() any                                    { return k.private }
func (k key) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }

type publicKey struct{ key }

func (k publicKey) Key() any                           { return &k.private.PublicKey }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.ES256 }

// client makes access tokens JWTs, which as they are mean something to the provider only, and lets clients refresh them.
type client struct{ op.Client }

func (client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

func (c client) GrantTypes() []oidc.GrantType {
	return append(slices.Clone(c.Client.GrantTypes()), oidc.GrantTypeRefreshToken)
}

func (s *store) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.Storage.GetClientByClientID(ctx, id)
	return client{c}, err
}

func (s *store) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	c, err := s.Storage.ClientCredentials(ctx, id, secret)
	return client{c}, err
}

func (s *store) CreateAccessToken(ctx context.Context, r op.TokenRequest) (string, time.Time, error) {
	id, _, err := s.Storage.CreateAccessToken(ctx, r)
	return id, time.Now().Add(time.Duration(s.lifetime.Load())), err
}

func (s *store) CreateAccessAndRefreshTokens(ctx context.Context, r op.TokenRequest, refresh string) (id, next string, end time.Time, err error) {
	if d, ok := r.(*op.DeviceAuthorizationState); ok { // the example forgets whose refresh token it is
		r = &storage.RefreshTokenRequest{RefreshToken: &storage.RefreshToken{
			ApplicationID: d.ClientID, UserID: d.Subject, Scopes: d.Scopes, Audience: d.GetAudience()}}
	}
	id, next, _, err = s.Storage.CreateAccessAndRefreshTokens(ctx, r, refresh)
	return id, next, time.Now().Add(time.Duration(s.lifetime.Load())), err
}

// ValidateTokenExchangeRequest lets everybody have a token of themselves, for any audience.
func (s *store) ValidateTokenExchangeRequest(_ context.Context, r op.TokenExchangeRequest) error {
	if r.GetExchangeActor() != "" || r.GetSubject() != r.GetExchangeSubject() {
		return oidc.ErrInvalidRequest().WithDescription("nobody acts for somebody else here")
	}
	r.SetCurrentScopes(nil)
	return nil
}
