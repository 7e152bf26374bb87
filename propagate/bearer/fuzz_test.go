package bearer_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/kest-go/kest/propagate"
)

// FuzzVerifyToken holds the parser to this: only the text that was signed is accepted, everything else is ErrBadToken.
func FuzzVerifyToken(f *testing.F) {
	v := newVerifier(f, config(serving(allKeys())))
	always := object{"exp": 4102444800, "iat": 1, "nbf": nil} // so that every process of the fuzzer makes the same tokens
	signed := map[string]bool{}
	for _, token := range []string{
		edToken(always),
		edToken(always.with(object{"act": object{"sub": "a", "act": object{"sub": "b"}}, "aud": []string{audience}})),
		sign("EdDSA", keys().ed, `{"typ":"at+jwt","kid":"ed","alg":"EdDSA","x5t":"AAAA"}`, goodClaims().with(always).text()),
	} {
		signed[token] = true
		f.Add(token)
	}
	for _, a := range attacks() {
		if len(a.token) < 4096 {
			f.Add(a.token)
		}
	}
	f.Fuzz(func(t *testing.T, token string) {
		c, err := v.VerifyToken(t.Context(), token)
		if (err == nil) != signed[token] || err != nil && (!errors.Is(err, propagate.ErrBadToken) || c.Issuer != "" || c.Identity != (propagate.Identity{})) {
			t.Fatalf("%+v, %v", c, err)
		}
	})
}

// FuzzClaims signs whatever claims the fuzzer makes up. What is accepted must be what encoding/json, lenient as it is,
// reads in the same place, and fit where it is carried.
func FuzzClaims(f *testing.F) {
	v := newVerifier(f, config(serving(allKeys())))
	good := goodClaims().with(object{"exp": 4102444800, "iat": 1, "nbf": nil})
	f.Add(good.text())
	f.Add(good.with(object{"act": object{"sub": "a", "act": object{"sub": "b"}}, "aud": []string{"x", audience}}).text())
	for _, a := range attacks() {
		if part := strings.Split(a.token, "."); len(part) == 3 && len(a.token) < 4096 {
			if data, err := base64.RawURLEncoding.DecodeString(part[1]); err == nil {
				f.Add(string(data))
			}
		}
	}
	f.Fuzz(func(t *testing.T, claims string) {
		c, err := v.VerifyToken(t.Context(), sign("EdDSA", keys().ed, `{"alg":"EdDSA","kid":"ed"}`, claims))
		if err != nil {
			if !errors.Is(err, propagate.ErrBadToken) {
				t.Fatal(err)
			}
			return
		}
		var lenient map[string]any
		if err := json.Unmarshal([]byte(claims), &lenient); err != nil {
			t.Fatalf("%+v from what is not JSON: %v", c, err)
		}
		if lenient["iss"] != issuer || lenient["sub"] != c.User || c.Issuer != issuer || lenient["exp"] == nil || lenient["aud"] == nil {
			t.Fatalf("%+v from %s", c, claims)
		}
		if len(c.Actors) > 8 {
			t.Fatalf("%d actors", len(c.Actors))
		}
		for _, s := range append(c.Actors, c.User, c.Agent, c.Task) {
			if len(s) > 256 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("accepted %q", s)
			}
		}
	})
}
