package oidc_test

import (
	"bytes"
	"crypto"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/oidc"
	"github.com/kest-go/kest/lineage"
)

type attack struct {
	name, token, want string // want is in the error
}

// attacks are tokens that are refused by a provider which is configured with the issuer, its keys and an audience.
func attacks() []attack {
	k, now := keys(), time.Now().Unix()
	with := edToken
	raw := func(header, claims string) string { return sign(k.ed, header, claims) }
	good := edToken(nil)
	part := strings.Split(good, ".")
	text := claims().text()
	return []attack{
		{"empty", "", "compact form"},
		{"opaque", "gho_16C7e42F292c6912E7710c838347Ae178B4a", "compact form"},
		{"half written", good[:len(part[0])+20], "compact form"},
		{"payload cut", part[0] + "." + part[1][:len(part[1])/2] + "." + part[2], "not"},
		{"four parts", good + ".AAAA", "compact form"},
		{"five parts", good + ".AAAA.AAAA", "compact form"},
		{"padding", good + "=", "base64url"},
		{"line end", part[0] + "." + part[1] + "\n." + part[2], "base64url"},
		{"no signature", part[0] + "." + part[1] + ".", "base64url"},
		{"too long", with(object{"x": strings.Repeat("x", 17<<10)}), "longer"},
		{"alg none", b64([]byte(`{"alg":"none"}`)) + "." + part[1] + "." + part[2], "algorithm"},
		{"alg None", raw(`{"alg":"None","kid":"ed"}`, text), "algorithm"},
		{"HMAC", raw(`{"alg":"HS256","kid":"ed"}`, text), "algorithm"},
		{"no alg", raw(`{"kid":"ed"}`, text), "algorithm"},
		{"alg of another key", raw(`{"alg":"RS256","kid":"ed"}`, text), "signature"},
		{"alg is a number", raw(`{"alg":5,"kid":"ed"}`, text), "alg is not text"},
		{"two algs", raw(`{"alg":"none","alg":"EdDSA","kid":"ed"}`, text), "strict"},
		{"crit", raw(`{"alg":"EdDSA","kid":"ed","crit":["b64"],"b64":false}`, text), "extension"},
		{"other typ", raw(`{"alg":"EdDSA","kid":"ed","typ":"kest-key-statement+jws"}`, text), "another kind"},
		{"header is a list", raw(`["EdDSA"]`, text), "strict"},
		{"key in the header", sign(k.other, object{"alg": "EdDSA", "kid": "mine", "jwk": jwk(k.other, "mine")}.text(), text), "no key"},
		{"unknown kid", raw(`{"alg":"EdDSA","kid":"gone"}`, text), "no key"},
		{"no kid", raw(`{"alg":"EdDSA"}`, text), "no key"},
		{"weak key", sign(k.weak, `{"alg":"RS256","kid":"weak"}`, text), "no key"},
		{"another's signature", sign(k.other, edHeader, text), "signature"},
		{"changed claims", part[0] + "." + b64([]byte(claims().with(object{"sub": "mallory"}).text())) + "." + part[2], "signature"},
		{"two subs", raw(edHeader, strings.Replace(text, "{", `{"sub":"mallory",`, 1)), "strict"},
		{"two issuers", raw(edHeader, strings.Replace(text, "{", `{"iss":"https://other.example",`, 1)), "strict"},
		{"no sub", with(object{"sub": nil}), "no sub"},
		{"empty sub", with(object{"sub": ""}), "no sub"},
		{"sub is a list", with(object{"sub": []string{"alice"}}), "sub is not text"},
		{"hidden character in sub", with(object{"sub": "alice\u202e"}), "principal"},
		{"long sub", with(object{"sub": strings.Repeat("a", identity.MaxPrincipal)}), "principal"},
		{"no iss", with(object{"iss": nil}), "no iss"},
		{"wrong iss", with(object{"iss": "https://other.example"}), "another issuer"},
		{"iss with a slash", with(object{"iss": issuer + "/"}), "another issuer"},
		{"iss with a fragment", with(object{"iss": issuer + "#alice"}), "fragment"},
		{"no exp", with(object{"exp": nil}), "no exp"},
		{"expired", with(object{"exp": now - 1, "iat": now - 300}), "expired"},
		{"exp is text", with(object{"exp": "never"}), "exp is no time"},
		{"exp is huge", with(object{"exp": 1e300}), "exp is no time"},
		{"exp is negative", with(object{"exp": -1}), "exp is no time"},
		{"not yet valid", with(object{"nbf": now + 120}), "future"},
		{"issued two hours ahead", with(object{"iat": now + 7200, "exp": now + 7500}), "future"},
		{"wrong audience", with(object{"aud": "billing"}), "another audience"},
		{"no audience", with(object{"aud": nil}), "another audience"},
		{"audience is a number", with(object{"aud": 5}), "another audience"},
		{"audience is a list of lists", with(object{"aud": []any{[]string{"kest-tests"}}}), "aud is not text"},
		{"many audiences", with(object{"aud": make([]string, 100)}), "aud"},
		{"for another key", with(object{"aud": lineage.BindingAudience("other")}), "another key"},
		{"for another key, too", with(object{"aud": []string{"kest-tests", lineage.BindingAudience("other")}}), "another key"},
		{"not JSON", raw(edHeader, `{"iss":`), "strict"},
		{"deep", raw(edHeader, `{"a":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+"}"), "strict"},
		{"invalid UTF-8", raw(edHeader, "{\"sub\":\"\xff\"}"), "strict"},
	}
}

// shows says whether a text has a part of a token in it. Many have the same header.
func shows(text, token string) bool {
	parts := strings.Split(token, ".")
	for _, part := range parts[min(1, len(parts)-1):] {
		if len(part) > 12 && strings.Contains(text, part[:12]) {
			return true
		}
	}
	return false
}

// TestAttacks: no such token becomes an identity, or replaces one, and neither errors nor logs show it.
func TestAttacks(t *testing.T) {
	var log bytes.Buffer
	config := oidc.Config{Issuer: issuer, Audience: "kest-tests", Client: serving(allKeys()).client(),
		Logger: slog.New(slog.NewTextHandler(&log, nil))}
	token := edToken(nil)
	config.Source = source(func(string) (string, error) { return token, nil })
	p := open(t, config)
	if p.Bound() {
		t.Error("a token that names no key is said to be bound")
	}
	before := p.Binding("")
	for _, a := range attacks() {
		token = a.token
		err := p.Rotate(t.Context())
		if err == nil {
			t.Fatalf("%s: accepted", a.name)
		}
		text := err.Error()
		if !errors.Is(err, oidc.ErrToken) || !strings.Contains(text, a.want) || shows(text, a.token) || strings.Contains(text, "alice") || len(text) > 300 {
			t.Errorf("%s: %v; want %q", a.name, err, a.want)
		}
		if q, err := oidc.New(t.Context(), config); err == nil || q != nil {
			t.Errorf("%s: New accepts it", a.name)
		}
		if shows(log.String(), a.token) {
			t.Errorf("%s: log %s", a.name, &log)
		}
	}
	if p.Binding("") != before {
		t.Error("an attack replaced the credential")
	}
}

// TestKeyTypes: each kind of key that an issuer may have.
func TestKeyTypes(t *testing.T) {
	k := keys()
	for header, key := range map[string]crypto.Signer{
		`{"alg":"RS256","kid":"rsa","typ":"JWT"}`: k.rsa, `{"alg":"ES256","kid":"p256","typ":"at+jwt"}`: k.p256, edHeader: k.ed,
	} {
		src := source(func(audience string) (string, error) {
			return sign(key, header, claims().with(object{"aud": []string{audience}}).text()), nil
		})
		client := serving(allKeys()).client()
		p := open(t, oidc.Config{Source: src, Issuer: issuer, Client: client, RequireBound: true})
		if _, err := verify(t, rootsFor(t, issuer, client), p.Binding("")); err != nil {
			t.Errorf("%s: %v", header, err)
		}
	}
}

// TestUnboundNeverLeaves: what is published for a token that is good elsewhere does not contain it, and says what it is
// worth; a warning does, too, once.
func TestUnboundNeverLeaves(t *testing.T) {
	for name, aud := range map[string]any{"other audience": "kest-tests", "none": nil, "the key and another": "both"} {
		var log bytes.Buffer
		var token string
		p := open(t, oidc.Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Source: source(func(audience string) (string, error) {
			if aud == "both" {
				token = edToken(object{"aud": []string{audience, "kest-tests"}})
			} else {
				token = edToken(object{"aud": aud})
			}
			return token, nil
		})})
		if err := p.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := p.Binding("")
		if b.Form() != lineage.FormSelf || p.Bound() || shows(b.Text(), token) {
			t.Errorf("%s: %s", name, b)
		}
		if text := log.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "RequireBound") || shows(text, token) {
			t.Errorf("%s: log %s", name, text)
		}
		exp := claims()["exp"].(int64)
		if end := b.NotAfter().Unix(); end > exp || end < exp-5 {
			t.Errorf("%s: ends at %d, the token at %d", name, end, exp)
		}
	}
	if _, err := oidc.New(t.Context(), oidc.Config{Source: always(edToken(nil)), RequireBound: true}); !errors.Is(err, oidc.ErrToken) {
		t.Errorf("RequireBound: %v", err)
	}
}

// TestAnotherSubject: the platform must not turn a running workload into another one.
func TestAnotherSubject(t *testing.T) {
	sub := "alice"
	p := open(t, oidc.Config{Source: source(func(aud string) (string, error) { return edToken(object{"aud": aud, "sub": sub}), nil })})
	sub = "mallory"
	if err := p.Rotate(t.Context()); err == nil {
		t.Error("became another workload")
	}
	if s, err := p.Signer(t.Context()); err != nil || s.Principal() != issuer+"#alice" {
		t.Errorf("%v, %v", s, err)
	}
}

// TestRevoked: a source that knows that the workload is no longer one takes the key away at once.
func TestRevoked(t *testing.T) {
	var fault error
	p := open(t, oidc.Config{Source: source(func(aud string) (string, error) { return edToken(object{"aud": aud}), fault })})
	s, err := p.Signer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fault = identity.ErrRevoked
	if err := p.Rotate(t.Context()); !errors.Is(err, identity.ErrRevoked) {
		t.Error(err)
	}
	if sig, err := s.Sign(t.Context(), []byte("m")); !errors.Is(err, identity.ErrRevoked) || sig != nil {
		t.Errorf("signed: %v", err)
	}
}

// FuzzToken: whatever a source returns, only what was signed becomes an identity, and it is read as encoding/json, lenient
// as it is, reads it.
func FuzzToken(f *testing.F) {
	far := object{"exp": 4102444800, "iat": 1} // so that every process of the fuzzer makes the same tokens
	signed := map[string]bool{}
	for _, t := range []string{edToken(far), edToken(far.with(object{"aud": []string{"kest-tests", "x"}, "nbf": 1.5}))} {
		signed[t] = true
		f.Add(t)
	}
	for _, a := range attacks() {
		if len(a.token) < 4096 {
			f.Add(a.token)
		}
	}
	client := serving(allKeys()).client()
	f.Fuzz(func(t *testing.T, token string) {
		p, err := oidc.New(t.Context(), oidc.Config{Source: always(token), Issuer: issuer, Audience: "kest-tests", Client: client, Logger: quiet})
		if (err == nil) != signed[token] || err != nil && !errors.Is(err, oidc.ErrToken) {
			t.Fatal(err)
		}
		if err == nil {
			p.Close()
		}
	})
}

// FuzzClaims reads claims of the fuzzer without an issuer, as a workload without KEST_OIDC_ISSUER does.
func FuzzClaims(f *testing.F) {
	far := claims().with(object{"exp": 4102444800, "iat": 1})
	f.Add(far.text())
	f.Add(far.with(object{"aud": []string{"x"}, "nbf": 1.5}).text())
	for _, a := range attacks() {
		if part := strings.Split(a.token, "."); len(part) == 3 && len(a.token) < 4096 {
			f.Add(part[1])
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := oidc.New(t.Context(), oidc.Config{Source: always(sign(keys().ed, edHeader, text)), Logger: quiet})
		if err != nil {
			if !errors.Is(err, oidc.ErrToken) && !errors.Is(err, identity.ErrExpired) {
				t.Fatal(err)
			}
			return
		}
		defer p.Close()
		var c struct{ Iss, Sub string }
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(err)
		}
		if got := p.Binding("").Principal(); got != lineage.OIDCPrincipal(c.Iss, c.Sub) {
			t.Fatalf("principal %q of %s", got, text)
		}
	})
}
