// Package oidctest is for tests only: it runs a real OpenID provider, that of github.com/zitadel/oidc, on loopback. A
// workload gets its own token by client credentials (RFC 6749 §4.4) and exchanges it for one that names a session key
// (RFC 8693 §2.1, audience). A person logs in by the device flow (RFC 8628), for which [Provider.Approve] is the browser.
package oidctest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/kest-go/kest/lineage"
)

// Subject is the workload that the provider knows, and Person the subject of the person.
const (
	Subject = "sid1"
	Person  = "id1"
)

// DeviceClient is the client of the device flow. It may refresh and exchange tokens, and polls every second.
const DeviceClient = "device"

// DeviceSecret is the secret of [DeviceClient].
const DeviceSecret = "device-secret"

// The clients that the example's storage knows: a service, and an application that may exchange tokens.
const (
	service, serviceSecret = Subject, "verysecret"
	web, webSecret         = "web", "secret"
)

// A Provider is one OpenID provider. It implements identity/oidc.TokenSource. It is safe for concurrent use.
type Provider struct {
	// Issuer is its URL, with a slash at the end.
	Issuer string

	storage *store
	down    atomic.Bool
	fetches atomic.Int32
	client  *http.Client
}

// Start runs a provider until the test ends.
func Start(t testing.TB) *Provider {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	p := &Provider{Issuer: "http://" + server.Listener.Addr().String() + "/"}
	p.storage = newStore(p.Issuer)
	p.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	provider, err := op.NewProvider(&op.Config{CryptoKey: sha256.Sum256([]byte(p.Issuer)), CryptoKeyId: "test", GrantTypeRefreshToken: true,
		DeviceAuthorization: op.DeviceAuthorizationConfig{Lifetime: 5 * time.Minute, PollInterval: time.Second, UserFormPath: "/device", UserCode: op.UserCodeBase20}},
		p.storage, op.StaticIssuer(p.Issuer), op.WithAllowInsecure(),
		op.WithAccessTokenVerifierOpts(op.WithSupportedAccessTokenSigningAlgorithms("RS256", "ES256")))
	if err != nil {
		server.Listener.Close()
		t.Fatal(err)
	}
	server.Config.Handler = p.handler(provider)
	server.Start()
	t.Cleanup(server.Close)
	return p
}

func (p *Provider) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			p.fetches.Add(1)
		}
		if p.down.Load() {
			http.Error(w, "down for maintenance", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Principal is the principal of the workload.
func (p *Provider) Principal() string { return lineage.OIDCPrincipal(p.Issuer, Subject) }

// Fetches counts the requests for the key set.
func (p *Provider) Fetches() int { return int(p.fetches.Load()) }

// SetDown makes the provider answer everything with 503, or not.
func (p *Provider) SetDown(down bool) { p.down.Store(down) }

// SetLifetime is for how long tokens are valid from now on; 5 minutes at first, and in whole seconds.
func (p *Provider) SetLifetime(d time.Duration) { p.storage.lifetime.Store(int64(d)) }

// Rotate makes another key sign. The earlier ones stay in the key set. The first key is RSA, the others are ECDSA.
func (p *Provider) Rotate() { p.storage.rotate() }

// Withdraw leaves only the key that signs in the key set.
func (p *Provider) Withdraw() { p.storage.withdraw() }

// Approve is the person who enters the code of the device flow at a browser and agrees.
func (p *Provider) Approve(code string) error {
	return p.storage.CompleteDeviceAuthorization(context.Background(), code, Person)
}

// Deny is the person who does not.
func (p *Provider) Deny(code string) error {
	return p.storage.DenyDeviceAuthorization(context.Background(), code)
}

// Token returns a token whose only audience is the one given.
func (p *Provider) Token(ctx context.Context, audience string) (string, error) {
	subject, err := p.Unbound(ctx)
	if err != nil {
		return "", err
	}
	const access = "urn:ietf:params:oauth:token-type:access_token"
	return p.request(ctx, web, webSecret, url.Values{
		"grant_type":           {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":        {subject},
		"subject_token_type":   {access},
		"requested_token_type": {access},
		"audience":             {audience},
	})
}

// Unbound returns a token of the workload that names no key: its audience is [Subject].
func (p *Provider) Unbound(ctx context.Context) (string, error) {
	return p.request(ctx, service, serviceSecret, url.Values{"grant_type": {"client_credentials"}})
}

func (p *Provider) request(ctx context.Context, client, secret string, form url.Values) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Issuer+"oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(client, secret)
	resp, err := p.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("token endpoint: %s: %.200s", resp.Status, body)
	}
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Token == "" {
		return "", errors.New("token endpoint: no token")
	}
	return answer.Token, nil
}

// clients are those of the example's storage besides the service.
func clients() map[string]*storage.Client {
	return map[string]*storage.Client{web: storage.WebClient(web, webSecret, "http://127.0.0.1/callback"),
		DeviceClient: storage.DeviceClient(DeviceClient, DeviceSecret)}
}
