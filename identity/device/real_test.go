package device_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/kest-go/kest/identity/device"
)

// opStorage is the storage of zitadel's example, whose device clients may refresh, whose access tokens are JWTs, and which
// knows people by their id, not by their name.
type opStorage struct{ *storage.Storage }

type opClient struct{ op.Client }

func (opClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

func (c opClient) GrantTypes() []oidc.GrantType {
	return append(slices.Clone(c.Client.GrantTypes()), oidc.GrantTypeDeviceCode, oidc.GrantTypeRefreshToken)
}

func (s opStorage) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.Storage.GetClientByClientID(ctx, id)
	return opClient{c}, err
}

func (s opStorage) CompleteDeviceAuthorization(ctx context.Context, code, _ string) error {
	return s.Storage.CompleteDeviceAuthorization(ctx, code, "id1")
}

func (s opStorage) CreateAccessAndRefreshTokens(ctx context.Context, r op.TokenRequest, refresh string) (string, string, time.Time, error) {
	if d, ok := r.(*op.DeviceAuthorizationState); ok { // the example forgets whose refresh token it is
		r = &storage.RefreshTokenRequest{RefreshToken: &storage.RefreshToken{ApplicationID: d.ClientID, UserID: d.Subject, Scopes: d.Scopes, Audience: d.GetAudience()}}
	}
	return s.Storage.CreateAccessAndRefreshTokens(ctx, r, refresh)
}

// startOP runs zitadel's OpenID provider on loopback, with a public client and one that has a secret.
func startOP(t *testing.T) string {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	url := "http://" + server.Listener.Addr().String() + "/"
	clients := map[string]*storage.Client{"public": storage.NativeClient("public"), "confidential": storage.DeviceClient("confidential", "pass word/+")}
	server.Config.Handler = exampleop.SetupServer(url, opStorage{storage.NewStorageWithClients(storage.NewUserStore(url), clients)}, nil, false)
	server.Start()
	t.Cleanup(server.Close)
	return url
}

// person goes to the address at a browser, enters the code, a name and a password, and presses a button.
func person(t *testing.T, action string) func(device.Prompt) error {
	return func(p device.Prompt) error {
		jar, _ := cookiejar.New(nil)
		browser := &http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}}
		u, err := url.Parse(p.URL)
		if err != nil {
			return err
		}
		name := "test-user@" + u.Hostname()
		resp, err := browser.PostForm(p.URL+"/login", url.Values{"user_code": {p.Code}, "username": {name}, "password": {"verysecure"}})
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp, err = browser.Get(p.URL + "/confirm?action=" + action); err != nil {
			return err
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); !strings.Contains(string(body), "Device authorization "+action) {
			return fmt.Errorf("%s: %.300s", resp.Status, body)
		}
		return nil
	}
}

// claims reads a token that the test got from its issuer directly.
func claims(t *testing.T, token string) (c struct {
	Iss, Sub string
	Aud      any
}) {
	t.Helper()
	part := strings.Split(token, ".")
	if len(part) != 3 {
		t.Fatal("no JWT")
	}
	data, err := base64.RawURLEncoding.DecodeString(part[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRealProvider logs a person in at a real OpenID provider, in one polling interval, renews the login in another
// program, and exchanges its token for one that names a key.
func TestRealProvider(t *testing.T) {
	t.Parallel()
	issuer := startOP(t)
	for _, c := range []device.Config{{ClientID: "public"}, {ClientID: "confidential", ClientSecret: "pass word/+", Exchange: true}} {
		t.Run(c.ClientID, func(t *testing.T) {
			t.Parallel()
			r := &ring{secret: map[string]string{}}
			c.Issuer, c.Keyring, c.Logger, c.Show = issuer, r, quiet, person(t, "allowed")
			start := time.Now()
			src, err := device.New(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took < 5*time.Second || took > 9*time.Second {
				t.Errorf("took %v; the interval is 5s", took)
			}
			audience := c.ClientID
			if c.Exchange {
				audience = "kest-key:dGhpcyBpcyBhIGtleQ"
			}
			check := func(src *device.Source) {
				t.Helper()
				token, err := src.Token(t.Context(), "kest-key:dGhpcyBpcyBhIGtleQ")
				if err != nil {
					t.Fatal(err)
				}
				if got := claims(t, token); got.Iss != issuer || got.Sub != "id1" || fmt.Sprint(got.Aud) != fmt.Sprint([]string{audience}) {
					t.Errorf("%+v", got)
				}
			}
			check(src)
			kept := r.secret[c.ClientID+" at "+issuer]
			c.Show = func(device.Prompt) error { return errors.New("asked for a login") }
			next, err := device.New(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			check(next)
			if renewed := r.secret[c.ClientID+" at "+issuer]; renewed == "" || renewed == kept {
				t.Error("the provider replaced the refresh token, and the keyring does not know")
			}
			// The token before is of no use, and the provider says so.
			r.secret[c.ClientID+" at "+issuer] = kept
			if _, err := device.New(t.Context(), c); err == nil || !strings.Contains(err.Error(), "asked for a login") {
				t.Errorf("%v; want a login", err)
			}
		})
	}
}

func TestRealProviderDenied(t *testing.T) {
	t.Parallel()
	_, err := device.New(t.Context(), device.Config{Issuer: startOP(t), ClientID: "public", Keyring: device.Memory(), Show: person(t, "denied")})
	if !errors.Is(err, device.ErrDenied) {
		t.Error(err)
	}
}
