package device_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/identity/device"
)

// bubble runs a test in which time passes only when everybody waits.
func bubble(t *testing.T, f func(t *testing.T, i *fakeIssuer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newIssuer()) })
}

func nothing() (int, object) { return 0, nil }

func TestPolling(t *testing.T) { // RFC 8628 §3.5
	const s = time.Second
	for name, test := range map[string]struct {
		interval any // of the issuer; nil: it gives none
		answers  []func() (int, object)
		want     []time.Duration
		err      error
	}{
		"at once":                {5, nil, []time.Duration{5 * s}, nil},
		"no interval":            {nil, nil, []time.Duration{5 * s}, nil},
		"interval 0":             {0, nil, []time.Duration{5 * s}, nil},
		"interval as text":       {"7", nil, []time.Duration{7 * s}, nil},
		"long interval":          {30, nil, []time.Duration{30 * s}, nil},
		"pending":                {2, []func() (int, object){saying("authorization_pending"), saying("authorization_pending")}, []time.Duration{2 * s, 2 * s, 2 * s}, nil},
		"slow down":              {5, []func() (int, object){saying("slow_down"), saying("authorization_pending"), saying("slow_down")}, []time.Duration{5 * s, 10 * s, 10 * s, 15 * s}, nil},
		"no answer":              {5, []func() (int, object){nothing, nothing}, []time.Duration{5 * s, 10 * s, 20 * s}, nil},
		"server error":           {5, []func() (int, object){func() (int, object) { return 503, nil }}, []time.Duration{5 * s, 10 * s}, nil},
		"denied":                 {5, []func() (int, object){saying("authorization_pending"), saying("access_denied")}, []time.Duration{5 * s, 5 * s}, device.ErrDenied},
		"expired":                {5, []func() (int, object){saying("expired_token")}, []time.Duration{5 * s}, device.ErrExpired},
		"another error":          {5, []func() (int, object){saying("invalid_client")}, []time.Duration{5 * s}, errAny},
		"an error of its own":    {5, []func() (int, object){saying("\x1b[31mred")}, []time.Duration{5 * s}, errAny},
		"nothing that is a code": {5, []func() (int, object){func() (int, object) { return 400, nil }}, []time.Duration{5 * s}, errAny},
		"redirect":               {5, []func() (int, object){func() (int, object) { return 307, nil }}, []time.Duration{5 * s}, errAny},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *fakeIssuer) {
				i.authorize["interval"] = test.interval
				if test.interval == nil {
					delete(i.authorize, "interval")
				}
				i.token = then(append(slices.Clone(test.answers), func() (int, object) { return 200, granted("1") })...)
				start := time.Now()
				src, err := device.New(t.Context(), i.config())
				if got := i.pauses(start); !slices.Equal(got, test.want) {
					t.Errorf("asked after %v, want %v", got, test.want)
				}
				if (test.err == nil) != (err == nil) || test.err != errAny && !errors.Is(err, test.err) || (src == nil) != (err != nil) {
					t.Errorf("%v, want %v", err, test.err)
				}
				noSecrets(t, "error", fmt.Sprint(err))
			})
		})
	}
}

var errAny = errors.New("any error")

// TestPollingEnds: with the code, with half an hour whatever the issuer says, and with the context.
func TestPollingEnds(t *testing.T) {
	for name, test := range map[string]struct {
		expires any
		timeout time.Duration
		want    time.Duration
		err     error
	}{
		"code":         {600, time.Hour, 10 * time.Minute, device.ErrExpired},
		"for ever":     {1e9, time.Hour, 30 * time.Minute, device.ErrExpired},
		"context":      {600, time.Minute, time.Minute, context.DeadlineExceeded},
		"no end":       {nil, time.Hour, 0, errAny},
		"end in words": {"soon", time.Hour, 0, errAny},
		"not a number": {"NaN", time.Hour, 0, errAny},
		"negative":     {-5, time.Hour, 0, errAny},
		"overflow":     {1e18, time.Hour, 0, errAny},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *fakeIssuer) {
				i.authorize["expires_in"] = test.expires
				i.token = func(url.Values) (int, object) { return refused("authorization_pending") }
				ctx, cancel := context.WithTimeout(t.Context(), test.timeout)
				defer cancel()
				start := time.Now()
				_, err := device.New(ctx, i.config())
				if err == nil || test.err != errAny && !errors.Is(err, test.err) || time.Since(start) != test.want {
					t.Errorf("%v after %v; want %v after %v", err, time.Since(start), test.err, test.want)
				}
			})
		})
	}
}

// TestShow: what a person is shown is what it looks like.
func TestShow(t *testing.T) {
	for name, change := range map[string]object{
		"escape in the code":                  {"user_code": "AB\x1b[2J"},
		"line end in the code":                {"user_code": "AB\nhttps://mallory.example"},
		"right to left code":                  {"user_code": "AB\u202eCD"},
		"letters that look like":              {"user_code": "АВСЕ"},
		"long code":                           {"user_code": strings.Repeat("A", 65)},
		"no code":                             {"user_code": ""},
		"code is a number":                    {"user_code": 7},
		"no address":                          {"verification_uri": ""},
		"plain HTTP":                          {"verification_uri": "http://issuer.example/go"},
		"script":                              {"verification_uri": "javascript:alert(1)"},
		"name before the host":                {"verification_uri": "https://bank.example@mallory.example/"},
		"letters that look alike in the host": {"verification_uri": "https://bаnk.example/"},
		"escape in the address":               {"verification_uri": "https://issuer.example/\x1b[2J"},
		"long address":                        {"verification_uri": "https://issuer.example/" + strings.Repeat("a", 2048)},
		"escape in the link":                  {"verification_uri_complete": "https://issuer.example/\x07"},
		"no device code":                      {"device_code": ""},
	} {
		i := newIssuer()
		for k, v := range change {
			i.authorize[k] = v
		}
		c := i.config()
		c.Show = func(p device.Prompt) error { t.Errorf("%s: shown %+q", name, p); return errors.New("stop") }
		if _, err := device.New(t.Context(), c); err == nil {
			t.Errorf("%s is accepted", name)
		} else {
			noSecrets(t, name, err.Error())
		}
	}
	bubble(t, func(t *testing.T, i *fakeIssuer) {
		delete(i.authorize, "verification_uri_complete")
		var text strings.Builder
		c := i.config()
		c.Show = device.Terminal(&text)
		if _, err := device.New(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{issuer + "/go", "WDJB-MJHT", "10m0s"} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("%q is not in %s", want, &text)
			}
		}
	})
	i := newIssuer()
	c := i.config()
	c.Show = func(device.Prompt) error { return errors.New("no terminal") }
	if _, err := device.New(t.Context(), c); err == nil || !strings.Contains(err.Error(), "no terminal") || len(i.asked) > 0 {
		t.Errorf("%v, asked %d times", err, len(i.asked))
	}
}

func TestDiscovery(t *testing.T) {
	for name, change := range map[string]object{
		"another issuer":      {"issuer": "https://other.example"},
		"issuer with a slash": {"issuer": issuer + "/"},
		"no device endpoint":  {"device_authorization_endpoint": nil},
		"plain endpoint":      {"token_endpoint": "http://issuer.example/token"},
		"endpoint here":       {"token_endpoint": "http://127.0.0.1/token"},
		"no exchange":         {"grant_types_supported": []string{"refresh_token"}},
	} {
		i := newIssuer()
		for k, v := range change {
			i.discovery[k] = v
		}
		c := i.config()
		c.Exchange = true
		c.Show = func(device.Prompt) error { t.Errorf("%s: shown", name); return errAny }
		if _, err := device.New(t.Context(), c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	_, err := device.New(t.Context(), device.Config{Issuer: "http://user:hunter2@issuer.example", Scopes: []string{""}})
	for _, want := range []string{"Issuer", "ClientID", "Show", "Scopes"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in %v", want, err)
		}
	}
	noSecrets(t, "configuration", fmt.Sprint(err))
}

// TestBadTokens: answers of the token endpoint that are none.
func TestBadTokens(t *testing.T) {
	for name, change := range map[string]object{
		"no token":       {"access_token": nil},
		"empty":          {"access_token": ""},
		"a number":       {"access_token": 7},
		"large":          {"access_token": strings.Repeat("x", 64<<10+1)},
		"other type":     {"token_type": "DPoP"},
		"no type":        {"token_type": nil},
		"refresh a list": {"refresh_token": []string{"a"}},
		"end in words":   {"expires_in": "soon"},
		"huge":           {"x": strings.Repeat("x", 256<<10)},
	} {
		bubble(t, func(t *testing.T, i *fakeIssuer) {
			answer := granted("1")
			for k, v := range change {
				if answer[k] = v; v == nil {
					delete(answer, k)
				}
			}
			i.token = func(url.Values) (int, object) { return 200, answer }
			if _, err := device.New(t.Context(), i.config()); err == nil {
				t.Errorf("%s is accepted", name)
			} else {
				noSecrets(t, name, err.Error())
			}
		})
	}
}

// TestRenewal: half of the time with one token, then another one, in the keyring too, until the issuer says no.
func TestRenewal(t *testing.T) {
	bubble(t, func(t *testing.T, i *fakeIssuer) {
		r := &ring{secret: map[string]string{}}
		log, text := logs()
		c := i.config()
		c.Keyring, c.Logger, c.ClientSecret = r, log, clientSecret
		src, err := device.New(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		const account = "kest at " + issuer
		if r.secret[account] != "refresh-secret-1" {
			t.Errorf("keyring %v", r.secret)
		}
		i.token = func(f url.Values) (int, object) {
			if f.Get("grant_type") != "refresh_token" || f.Get("refresh_token") != "refresh-secret-1" {
				return refused("invalid_grant")
			}
			return 200, granted("2")
		}
		want := func(want string) {
			t.Helper()
			if got, err := src.Token(t.Context(), "kest-key:x"); err != nil || got != want {
				t.Errorf("%q, %v; want %q", got, err, want)
			}
		}
		want("id-secret-1")
		time.Sleep(140 * time.Second)
		want("id-secret-1")
		time.Sleep(20 * time.Second)
		want("id-secret-2")
		if r.secret[account] != "refresh-secret-2" {
			t.Errorf("keyring %v", r.secret)
		}
		if basic := "Basic a2VzdDpjbGllbnQlMkZzZWNyZXQlM0FodW50ZXIy"; i.auth[len(i.auth)-1] != basic { // RFC 6749 §2.3.1
			t.Errorf("authorization %q", i.auth[len(i.auth)-1])
		}

		// The next run takes the login up, without a person. A second program renews it behind the back of the first.
		again := i.config()
		again.Keyring, again.Show = r, func(device.Prompt) error { t.Error("asked for a login"); return errAny }
		i.token = then(func() (int, object) { return 200, granted("3") })
		second, err := device.New(t.Context(), again)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := second.Token(t.Context(), "a"); err != nil || got != "id-secret-3" {
			t.Errorf("%q, %v", got, err)
		}
		i.token = func(f url.Values) (int, object) {
			if f.Get("refresh_token") != "refresh-secret-3" {
				return refused("invalid_grant")
			}
			return 200, granted("4")
		}
		time.Sleep(160 * time.Second)
		want("id-secret-4")

		// No network is no reason to forget a login; the issuer's word is.
		time.Sleep(160 * time.Second)
		i.token = func(url.Values) (int, object) { return 0, nil }
		if _, err := src.Token(t.Context(), "a"); err == nil || errors.Is(err, device.ErrLogin) || r.secret[account] != "refresh-secret-4" {
			t.Errorf("no network: %v, keyring %v", err, r.secret)
		}
		i.token = func(url.Values) (int, object) { return refused("invalid_grant") }
		for range 2 {
			_, err = src.Token(t.Context(), "a")
			if !errors.Is(err, device.ErrLogin) || r.secret[account] != "" {
				t.Errorf("refused: %v, keyring %v", err, r.secret)
			}
			noSecrets(t, "error", err.Error())
		}
		i.token = func(url.Values) (int, object) { return 200, granted("5") }
		if err := src.Login(t.Context()); err != nil {
			t.Error(err)
		}
		want("id-secret-5")
		noSecrets(t, "log", text.String())
		for _, v := range []any{src, *src, c, &c, []any{c, src}, struct{ V any }{src}, struct{ v any }{src}, struct{ v *device.Source }{src}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
				noSecrets(t, verb, fmt.Sprintf(verb, v))
			}
			data, _ := json.Marshal(v)
			noSecrets(t, "JSON", string(data))
			log, text := logs()
			log.Info("m", "v", v)
			slog.New(slog.NewJSONHandler(text, nil)).Info("m", "v", v)
			noSecrets(t, "log", text.String())
		}
	})
}

// TestWithoutRefreshToken the login ends with the token.
func TestWithoutRefreshToken(t *testing.T) {
	bubble(t, func(t *testing.T, i *fakeIssuer) {
		answer := granted("1")
		delete(answer, "refresh_token")
		delete(answer, "id_token")
		i.token = func(url.Values) (int, object) { return 200, answer }
		src, err := device.New(t.Context(), i.config())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Minute)
		if got, err := src.Token(t.Context(), "a"); err != nil || got != "access-secret-1" {
			t.Errorf("%q, %v", got, err)
		}
		time.Sleep(time.Minute)
		if _, err := src.Token(t.Context(), "a"); !errors.Is(err, device.ErrLogin) {
			t.Error(err)
		}
	})
}

// TestRefreshTokenStays when the issuer gives no other (RFC 6749 §6).
func TestRefreshTokenStays(t *testing.T) {
	bubble(t, func(t *testing.T, i *fakeIssuer) {
		src, err := device.New(t.Context(), i.config())
		if err != nil {
			t.Fatal(err)
		}
		answer := granted("2")
		delete(answer, "refresh_token")
		i.token = func(f url.Values) (int, object) {
			if f.Get("refresh_token") != "refresh-secret-1" {
				return refused("invalid_grant")
			}
			return 200, answer
		}
		for range 3 {
			time.Sleep(200 * time.Second)
			if got, err := src.Token(t.Context(), "a"); err != nil || got != "id-secret-2" {
				t.Errorf("%q, %v", got, err)
			}
		}
	})
}

// TestExchange: the form of RFC 8693 §2.1, and its refusal.
func TestExchange(t *testing.T) {
	bubble(t, func(t *testing.T, i *fakeIssuer) {
		c := i.config()
		c.Exchange = true
		src, err := device.New(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		var form url.Values
		i.token = func(f url.Values) (int, object) {
			form = f
			return 200, object{"access_token": "for-the-key", "token_type": "N_A", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
		}
		const access = "urn:ietf:params:oauth:token-type:access_token"
		want := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {"access-secret-1"},
			"subject_token_type": {access}, "requested_token_type": {access}, "audience": {"kest-key:abc"}, "client_id": {"kest"}}
		if got, err := src.Token(t.Context(), "kest-key:abc"); err != nil || got != "for-the-key" || form.Encode() != want.Encode() {
			t.Errorf("%q, %v, form %v", got, err, form)
		}
		i.token = func(url.Values) (int, object) { return refused("invalid_target") }
		if got, err := src.Token(t.Context(), "kest-key:abc"); err == nil || got != "" || !strings.Contains(err.Error(), "invalid_target") {
			t.Errorf("%q, %v", got, err) // never the token that is good elsewhere instead
		} else {
			noSecrets(t, "error", err.Error())
		}
	})
}

// TestTokenWaitsInTurn: one refresh for all, and nobody waits longer than the context says.
func TestTokenWaitsInTurn(t *testing.T) {
	bubble(t, func(t *testing.T, i *fakeIssuer) {
		src, err := device.New(t.Context(), i.config())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Second)
		before := len(i.asked)
		i.token = func(url.Values) (int, object) { time.Sleep(5 * time.Second); return 200, granted("2") }
		done := make(chan error, 20)
		for range 20 {
			go func() { _, err := src.Token(t.Context(), "a"); done <- err }()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := src.Token(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		for range 20 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if n := len(i.asked) - before; n != 1 {
			t.Errorf("%d refreshes", n)
		}
	})
}
