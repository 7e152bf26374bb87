package oidc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/identity/oidc"
	"github.com/kest-go/kest/lineage"
)

// bindingBy makes the binding of a workload whose token is signed by the tests' Ed25519 key under a key id.
func bindingBy(t testing.TB, iss, kid string) *lineage.KeyBinding {
	t.Helper()
	p := open(t, oidc.Config{RequireBound: true, Source: source(func(audience string) (string, error) {
		return sign(keys().ed, object{"alg": "EdDSA", "kid": kid}.text(), claims().with(object{"aud": audience, "iss": iss, "exp": 4102444800}).text()), nil
	})})
	p.Close()
	return p.Binding("")
}

// bubble has the issuer's servers answer in a bubble, in which no real socket works.
func bubble(t *testing.T, f func(t *testing.T, server *transport, roots *oidc.RootSource)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := serving(keySet(jwk(keys().ed, "ed")))
		f(t, server, rootsFor(t, issuer, server.client()))
	})
}

func TestKeysAreRenewedByAge(t *testing.T) {
	bubble(t, func(t *testing.T, server *transport, roots *oidc.RootSource) {
		b := bindingBy(t, issuer, "ed")
		first, _ := roots.Roots(t.Context(), nil)
		for range 100 {
			if _, err := verify(t, roots, b); err != nil {
				t.Fatal(err)
			}
		}
		if n := server.count.Load(); n != 1 {
			t.Errorf("%d fetches for one key", n)
		}
		time.Sleep(oidc.DefaultRefresh / 2)
		_, _ = roots.Roots(t.Context(), nil) // begins one in the background
		synctest.Wait()
		if again, _ := roots.Roots(t.Context(), nil); server.count.Load() != 2 || again != first {
			t.Errorf("%d fetches; other roots for the same keys: %v", server.count.Load(), again != first)
		}
		server.serve(keySet(jwk(keys().other, "new"))) // the key is withdrawn
		time.Sleep(oidc.DefaultRefresh)
		if _, err := verify(t, roots, b); !errors.Is(err, lineage.ErrBinding) {
			t.Errorf("a key that was withdrawn before the keys became old: %v", err)
		}
		if again, _ := roots.Roots(t.Context(), nil); again == first {
			t.Error("the same roots for other keys")
		}
	})
}

func TestUnknownKeyHasTheIssuerAskedOnce(t *testing.T) {
	bubble(t, func(t *testing.T, server *transport, roots *oidc.RootSource) {
		server.serve(keySet(jwk(keys().ed, "ed"), jwk(keys().ed, "next")))
		next := bindingBy(t, issuer, "next")
		time.Sleep(10 * time.Second)
		var wg sync.WaitGroup
		for range 20 { // all of them share one fetch
			wg.Go(func() {
				if _, err := verify(t, roots, next); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := server.count.Load(); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
		for i := range 1000 { // somebody makes key ids up, for ten seconds
			if _, err := verify(t, roots, bindingBy(t, issuer, fmt.Sprint("made-up-", i%7))); !errors.Is(err, lineage.ErrBinding) {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if n := server.count.Load(); n > 3 {
			t.Errorf("%d fetches: the issuer is asked by whoever makes up key ids", n)
		}
		if _, err := verify(t, roots, bindingBy(t, "https://other.example", "ed")); !errors.Is(err, lineage.ErrBinding) {
			t.Errorf("another issuer: %v", err)
		}
	})
}

func TestIssuerIsDown(t *testing.T) {
	bubble(t, func(t *testing.T, server *transport, roots *oidc.RootSource) {
		b := bindingBy(t, issuer, "ed")
		server.down()
		time.Sleep(oidc.DefaultMaxStale - time.Minute)
		if _, err := verify(t, roots, b); err != nil {
			t.Errorf("the last good keys are not kept: %v", err)
		}
		time.Sleep(2 * time.Minute)
		if _, err := verify(t, roots, b); !errors.Is(err, oidc.ErrKeys) {
			t.Errorf("keys older than MaxStale: %v", err)
		}
		if r, _ := roots.Roots(t.Context(), nil); r != nil {
			if _, err := b.Verify(time.Now(), 0, r); !errors.Is(err, lineage.ErrBinding) {
				t.Errorf("keys older than MaxStale, when nobody waits: %v", err)
			}
		}
		server.serve(keySet(jwk(keys().ed, "ed")))
		time.Sleep(10 * time.Second)
		if _, err := verify(t, roots, b); err != nil {
			t.Errorf("the issuer is back: %v", err)
		}
	})
}

func TestSlowIssuer(t *testing.T) {
	bubble(t, func(t *testing.T, server *transport, roots *oidc.RootSource) {
		next := bindingBy(t, issuer, "next")
		time.Sleep(10 * time.Second)
		server.set(func(r *http.Request) (int, string, error) { <-r.Context().Done(); return 0, "", r.Context().Err() })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := roots.Roots(ctx, next); !errors.Is(err, oidc.ErrKeys) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if _, err := roots.Roots(t.Context(), next); err != nil || time.Since(start) > 10*time.Second { // what is known
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// TestNobodyWaitsForAnIssuerThatIsDown: keys that are old but not too old are used at once, after one attempt to get
// new ones.
func TestNobodyWaitsForAnIssuerThatIsDown(t *testing.T) {
	bubble(t, func(t *testing.T, server *transport, roots *oidc.RootSource) {
		b := bindingBy(t, issuer, "ed")
		hang := func(*http.Request) (int, string, error) {
			time.Sleep(30 * time.Second)
			return 0, "", errors.New("late")
		} // it knows no context
		server.set(hang)
		time.Sleep(oidc.DefaultRefresh + time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
		defer cancel()
		r, err := roots.Roots(ctx, b) // waits, because the key may have been withdrawn
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			start := time.Now()
			if again, err := roots.Roots(t.Context(), b); err != nil || again != r || time.Since(start) > 0 {
				t.Fatalf("%v after %v", err, time.Since(start))
			}
			time.Sleep(3 * time.Second)
		}
		// In 60 s there was time for two fetches of 30 s, one after the other, not for six at once.
		if n := server.count.Load(); n > 4 {
			t.Errorf("%d fetches", n)
		}
		time.Sleep(time.Minute)
	})
}

// TestHostileIssuer: none of these servers can make a key believed, or keep us busy.
func TestHostileIssuer(t *testing.T) {
	good := keySet(jwk(keys().ed, "ed"))
	private := object{"d": b64(keys().ed.Seed())}
	var base string
	cases := map[string]struct {
		discovery, keySet string
		ok                bool
	}{
		"good":                      {`{"issuer":"BASE","jwks_uri":"BASE/keys"}`, good, true},
		"with keys of other types":  {`{"issuer":"BASE","jwks_uri":"BASE/keys"}`, keySet(object{"kty": "AKP"}, object{"kty": "oct", "k": "AAAA", "kid": "ed"}, jwk(keys().ed, "ed")), true},
		"with a weak key":           {`{"issuer":"BASE","jwks_uri":"BASE/keys"}`, keySet(jwk(keys().weak, "weak"), jwk(keys().ed, "ed")), true},
		"with a key without id":     {`{"issuer":"BASE","jwks_uri":"BASE/keys"}`, keySet(jwk(keys().other, ""), jwk(keys().ed, "ed")), true},
		"another issuer":            {`{"issuer":"https://issuer.example","jwks_uri":"BASE/keys"}`, good, false},
		"issuer with a slash":       {`{"issuer":"BASE/","jwks_uri":"BASE/keys"}`, good, false},
		"two issuers":               {`{"issuer":"x","issuer":"BASE","jwks_uri":"BASE/keys"}`, good, false},
		"no keys' address":          {`{"issuer":"BASE"}`, good, false},
		"keys by plain HTTP":        {`{"issuer":"BASE","jwks_uri":"http://issuer.example/keys"}`, good, false},
		"keys in a file":            {`{"issuer":"BASE","jwks_uri":"file:///etc/passwd"}`, good, false},
		"keys somewhere else":       {`{"issuer":"BASE","jwks_uri":"BASE/redirect"}`, good, false},
		"keys not there":            {`{"issuer":"BASE","jwks_uri":"BASE/missing"}`, good, false},
		"discovery is HTML":         {`<html>`, good, false},
		"keys are HTML":             {`{"issuer":"BASE","jwks_uri":"BASE/keys"}`, `<html>`, false},
		"keys are no list":          {`{"issuer":"BASE","jwks_uri":"BASE/keys"}`, `{"keys":{}}`, false},
		"no keys":                   {`{"issuer":"BASE","jwks_uri":"BASE/keys"}`, `{"keys":[]}`, false},
		"two lists":                 {`{"issuer":"BASE","jwks_uri":"BASE/keys"}`, `{"keys":[],` + good[1:], false},
		"too many keys":             {`{"issuer":"BASE","jwks_uri":"BASE/keys"}`, keySet(append(make([]object, 100), jwk(keys().ed, "ed"))...), false},
		"endless":                   {`{"issuer":"BASE","jwks_uri":"BASE/keys"}`, strings.Repeat(" ", 2<<20) + good, false},
		"private key":               {`{"issuer":"BASE","jwks_uri":"BASE/keys"}`, keySet(jwk(keys().ed, "ed").with(private)), false},
		"key for encryption":        {`{"issuer":"BASE","jwks_uri":"BASE/keys"}`, keySet(jwk(keys().ed, "ed").with(object{"use": "enc"})), false},
		"key for another algorithm": {`{"issuer":"BASE","jwks_uri":"BASE/keys"}`, keySet(jwk(keys().ed, "ed").with(object{"alg": "ES256"})), false},
		"point of small order":      {`{"issuer":"BASE","jwks_uri":"BASE/keys"}`, keySet(object{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(append([]byte{1}, make([]byte, 31)...))}), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/.well-known/openid-configuration":
					_, _ = w.Write([]byte(strings.ReplaceAll(c.discovery, "BASE", base)))
				case "/keys":
					_, _ = w.Write([]byte(c.keySet))
				case "/redirect":
					http.Redirect(w, r, "/keys", http.StatusFound)
				default:
					http.NotFound(w, r)
				}
			}))
			defer server.Close()
			base = server.URL
			_, err := verify(t, rootsFor(t, base, nil), bindingBy(t, base, "ed"))
			if c.ok != (err == nil) || err != nil && !errors.Is(err, oidc.ErrKeys) && !errors.Is(err, lineage.ErrBinding) {
				t.Error(err)
			}
			if err != nil && (len(err.Error()) > 400 || strings.Contains(err.Error(), "passwd")) {
				t.Error(err)
			}
			// A workload does not start with such an issuer, either.
			p, err := oidc.New(t.Context(), oidc.Config{Source: naming(object{"iss": base}), Issuer: base, Logger: quiet})
			if c.ok != (err == nil) {
				t.Error(err)
			}
			if p != nil {
				p.Close()
			}
		})
	}
}

func TestRootsConfig(t *testing.T) {
	for name, c := range map[string]oidc.RootsConfig{
		"none":                  {},
		"plain HTTP":            {Issuers: map[string][]string{"http://issuer.example": {"http://issuer.example#*"}}},
		"no URL":                {Issuers: map[string][]string{"issuer": {"issuer#*"}}},
		"query":                 {Issuers: map[string][]string{issuer + "?a": {issuer + "?a#*"}}},
		"no principals":         {Issuers: map[string][]string{issuer: nil}},
		"everybody":             {Issuers: map[string][]string{issuer: {"*"}}},
		"another's principals":  {Issuers: map[string][]string{issuer: {"https://other.example#*"}}},
		"prefix of the issuer":  {Issuers: map[string][]string{issuer: {issuer + "*"}}},
		"star in the middle":    {Issuers: map[string][]string{issuer: {issuer + "#a*b"}}},
		"refresh too often":     {Issuers: map[string][]string{issuer: {issuer + "#*"}}, Refresh: time.Second},
		"stale before it's old": {Issuers: map[string][]string{issuer: {issuer + "#*"}}, MaxStale: time.Minute},
	} {
		c.Client = serving(allKeys()).client()
		if r, err := oidc.NewRoots(t.Context(), c); err == nil || r != nil {
			t.Errorf("%s is accepted", name)
		}
	}
	// Who is trusted for some subjects is not for others.
	server := serving(allKeys())
	r, err := oidc.NewRoots(t.Context(), oidc.RootsConfig{Client: server.client(), Issuers: map[string][]string{issuer: {issuer + "#bob", issuer + "#ci-*"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify(t, r, bindingBy(t, issuer, "ed")); !errors.Is(err, lineage.ErrBinding) {
		t.Errorf("alice: %v", err)
	}
}
