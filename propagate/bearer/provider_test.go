package bearer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/bearer"
)

// jwtStorage makes the example's access tokens JWTs; as they are they mean something to the provider only.
type jwtStorage struct{ *storage.Storage }

type jwtClient struct{ op.Client }

func (jwtClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

func (s jwtStorage) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.Storage.GetClientByClientID(ctx, id)
	return jwtClient{c}, err
}

func (s jwtStorage) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	c, err := s.Storage.ClientCredentials(ctx, id, secret)
	return jwtClient{c}, err
}

const callback = "http://127.0.0.1/callback"

// A provider is zitadel's OpenID provider on loopback.
type provider struct {
	t      *testing.T
	issuer string
	client *http.Client
}

func startProvider(t *testing.T) *provider {
	t.Helper()
	before := slog.Default() // the example logs there
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(before) })
	s := httptest.NewUnstartedServer(nil)
	issuer := "http://" + s.Listener.Addr().String() + "/"
	clients := map[string]*storage.Client{"web": storage.WebClient("web", "secret", callback)}
	store := jwtStorage{storage.NewStorageWithClients(storage.NewUserStore(issuer), clients)}
	s.Config.Handler = exampleop.SetupServer(issuer, store, nil, false)
	s.Start()
	t.Cleanup(s.Close)
	client := *s.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &provider{t: t, issuer: issuer, client: &client}
}

// location is where the provider sends a browser that asks for, or posts form to, an address.
func (p *provider) location(address string, form url.Values) *url.URL {
	p.t.Helper()
	req, _ := http.NewRequest(http.MethodGet, address, nil)
	if form != nil {
		req, _ = http.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := p.client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	u, err := resp.Location()
	if err != nil {
		body, _ := io.ReadAll(resp.Body)
		p.t.Fatalf("%s: %s: %v: %.300s", address, resp.Status, err, body)
	}
	return u
}

// tokens asks the token endpoint.
func (p *provider) tokens(client string, form url.Values) (access, id string) {
	p.t.Helper()
	name, secret, _ := strings.Cut(client, ":")
	req, _ := http.NewRequest(http.MethodPost, p.issuer+"oauth/token", strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(name, secret)
	resp, err := p.client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	var answer struct {
		Access string `json:"access_token"`
		ID     string `json:"id_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Access == "" {
		p.t.Fatalf("%s: %s", resp.Status, body)
	}
	return answer.Access, answer.ID
}

// login is a person at a browser: authorization code flow, with the user name and the password typed in.
func (p *provider) login() (access, id string) {
	p.t.Helper()
	u := p.location(p.issuer+"auth?"+url.Values{
		"client_id": {"web"}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid profile"}, "state": {"s"},
	}.Encode(), nil)
	host := strings.Split(strings.TrimPrefix(p.issuer, "http://"), ":")[0]
	u = p.location(p.issuer+"login/username", url.Values{
		"id": {u.Query().Get("authRequestID")}, "username": {"test-user@" + host}, "password": {"verysecure"},
	})
	u = p.location(u.String(), nil)
	return p.tokens("web:secret", url.Values{"grant_type": {"authorization_code"}, "code": {u.Query().Get("code")}, "redirect_uri": {callback}})
}

// TestRealProvider verifies what a real OpenID provider issues, found by discovery.
func TestRealProvider(t *testing.T) {
	p := startProvider(t)
	access, id := p.login()
	exchanged, _ := p.tokens("web:secret", url.Values{
		"grant_type":           {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":        {access},
		"subject_token_type":   {"urn:ietf:params:oauth:token-type:access_token"},
		"requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		"audience":             {"orders"},
		"scope":                {"openid custom_scope:impersonate:id2"},
	})
	service, _ := p.tokens("sid1:verysecret", url.Values{"grant_type": {"client_credentials"}, "scope": {"openid"}})
	v := newVerifier(t, bearer.Config{Issuer: p.issuer, Audiences: []string{"web", "orders", "sid1"}})
	for name, test := range map[string]struct {
		token string
		want  propagate.Caller
	}{
		"access token of a person":            {access, propagate.Caller{Identity: propagate.Identity{User: "id1", Agent: "web"}}},
		"ID token":                            {id, propagate.Caller{Identity: propagate.Identity{User: "id1", Agent: "web"}}},
		"one person for another, RFC 8693":    {exchanged, propagate.Caller{Identity: propagate.Identity{User: "id2", Agent: "web"}, Actors: []string{"id1"}}},
		"access token of a service by itself": {service, propagate.Caller{Identity: propagate.Identity{User: "sid1", Agent: "sid1"}}},
	} {
		test.want.Issuer = p.issuer
		got, err := v.VerifyToken(t.Context(), test.token)
		if got.Task = ""; err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", test.want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, test.want)
		}
		refused(t, v, test.token[:len(test.token)-2], propagate.ErrBadToken)
	}
	stranger := newVerifier(t, bearer.Config{Issuer: p.issuer, Audiences: []string{"billing"}})
	if text := refused(t, stranger, access, propagate.ErrBadToken); !strings.Contains(text, "audience") {
		t.Error(text)
	}
	// The issuer is compared to the last slash, and without it discovery finds a document of another.
	misspelt := newVerifier(t, bearer.Config{Issuer: strings.TrimSuffix(p.issuer, "/"), Audiences: []string{"web"}, Logger: slog.New(slog.DiscardHandler)})
	refused(t, misspelt, access, propagate.ErrBadToken)
	// Another provider of the same kind has other keys.
	other := startProvider(t)
	foreign := newVerifier(t, bearer.Config{Issuer: p.issuer, Audiences: []string{"web"}, JWKS: other.issuer + "keys"})
	refused(t, foreign, access, propagate.ErrBadToken)
}
