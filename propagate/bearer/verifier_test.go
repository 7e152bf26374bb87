package bearer_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/bearer"
)

// SPEC §9, identity interceptor: every default algorithm, by a key of its kind.
func TestAlgorithms(t *testing.T) {
	k := keys()
	v := newVerifier(t, config(serving(allKeys())))
	for _, test := range []struct {
		alg, kid string
		key      any
	}{
		{"RS256", "rsa", k.rsa}, {"PS256", "rsa", k.rsa}, {"ES256", "p256", k.p256}, {"ES384", "p384", k.p384}, {"EdDSA", "ed", k.ed},
		{"RS256", "rs256-only", k.other},
		{"ES256", "", k.p256}, {"ES384", "", k.p384}, {"EdDSA", "", k.ed}, // the only ones that fit
	} {
		for _, typ := range []string{"", "JWT", "jwt", "at+jwt", "application/at+jwt"} {
			header := object{"alg": test.alg}
			if test.kid != "" {
				header["kid"] = test.kid
			}
			if typ != "" {
				header["typ"] = typ
			}
			accepted(t, v, sign(test.alg, test.key, header.text(), goodClaims().text()))
		}
	}
}

// An attack is a token that must be refused, and words of the reason.
type attack struct{ name, token, reason string }

func attacks() []attack {
	k := keys()
	good := goodClaims()
	now := time.Now().Unix()
	const header = `{"alg":"EdDSA","kid":"ed"}`
	token := edToken(nil)
	part := strings.Split(token, ".")
	der, _ := x509.MarshalPKIXPublicKey(&k.rsa.PublicKey)
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	head := func(h string) string { return sign("EdDSA", k.ed, h, good.text()) }
	body := func(c string) string { return sign("EdDSA", k.ed, header, c) }
	claim := func(name string, v any) string { return edToken(object{name: v}) }
	twice := func(members string) string { return body(strings.TrimSuffix(good.text(), "}") + "," + members + "}") }
	chain := func(n int) object {
		act := object{"sub": "service-0"}
		for i := 1; i < n; i++ {
			act = object{"sub": fmt.Sprint("service-", i), "act": act}
		}
		return act
	}
	const form, b64url, strict, ext, alg, fits, sig = "compact form", "base64url", "strict JSON", "extension", "algorithm is not allowed", "usable keys", "signature"
	return slices.Concat([]attack{
		{"empty", "", form}, {"one part", part[0], form}, {"two parts", part[0] + "." + part[1], form}, {"four parts", token + ".e30", form},
		{"JWE", token + "..", form}, {"JSON form", `{"payload":"` + part[1] + `","protected":"` + part[0] + `","signature":"` + part[2] + `"}`, form},
		{"no header", "." + part[1] + "." + part[2], b64url}, {"no payload", part[0] + ".." + part[2], b64url},
		{"no signature", part[0] + "." + part[1] + ".", b64url},
		{"too long", claim("x", strings.Repeat("x", 16<<10)), "too long"},
		{"padding", token + "==", b64url}, {"line end", token + "\n", b64url}, {"line end inside", part[0] + ".\r\n" + part[1] + "." + part[2], b64url},
		{"space", " " + token, b64url}, {"standard alphabet", part[0] + "." + part[1] + "." + part[2][:85] + "+", b64url},
		{"stray bits in the signature", malleate(token), b64url},
		{"stray bits in the payload", part[0] + "." + malleate(stray(part[1])) + "." + part[2], b64url},

		{"alg none", sign("none", nil, `{"alg":"none"}`, good.text()) + "eA", alg}, {"alg none without signature", sign("none", nil, `{"alg":"none"}`, good.text()), b64url},
		{"alg nOnE", head(`{"alg":"nOnE","kid":"ed"}`), alg}, {"alg missing", head(`{"kid":"ed"}`), alg}, {"alg null", head(`{"alg":null,"kid":"ed"}`), "not text"},
		{"alg a number", head(`{"alg":1,"kid":"ed"}`), "not text"}, {"alg in other case", head(`{"alg":"eddsa","kid":"ed"}`), alg},
		{"Alg beside alg", head(`{"Alg":"EdDSA","kid":"ed"}`), alg},
		{"HS256 with the public key", sign("HS256", asPEM, `{"alg":"HS256","kid":"rsa"}`, good.text()), alg},
		{"HS256 with the modulus", sign("HS256", k.rsa.N.Bytes(), `{"alg":"HS256","kid":"rsa"}`, good.text()), alg},
		{"HMAC labelled RS256", sign("HS256", asPEM, `{"alg":"RS256","kid":"rsa"}`, good.text()), sig},
		{"not on the list", sign("RS384", k.rsa, `{"alg":"RS384","kid":"rsa"}`, good.text()), alg},
		{"ES256 by an RSA key", sign("RS256", k.rsa, `{"alg":"ES256","kid":"rsa"}`, good.text()), fits},
		{"RS256 by an EC key", sign("ES256", k.p256, `{"alg":"RS256","kid":"p256"}`, good.text()), fits},
		{"ES256 by P-384", sign("ES256", k.p384, `{"alg":"ES256","kid":"p384"}`, good.text()), fits},
		{"PS256 by a key for RS256", sign("PS256", k.other, `{"alg":"PS256","kid":"rs256-only"}`, good.text()), fits},
		{"PS256 labelled RS256", sign("PS256", k.rsa, `{"alg":"RS256","kid":"rsa"}`, good.text()), sig},
		{"ES256 with no bits", part[0] + "." + part[1] + "." + b64(make([]byte, 64)), sig},
		{"ES256 of zeros", strings.Join(strings.Split(head(`{"alg":"ES256","kid":"p256"}`), ".")[:2], ".") + "." + b64(make([]byte, 64)), sig},

		{"unknown kid", head(`{"alg":"EdDSA","kid":"nobody"}`), fits}, {"kid of another key", head(`{"alg":"RS256","kid":"rsa"}`), sig},
		{"kid in other case", head(`{"alg":"EdDSA","kid":"ED"}`), fits}, {"empty kid", head(`{"alg":"EdDSA","kid":""}`), "not text"},
		{"kid an array", head(`{"alg":"EdDSA","kid":["ed"]}`), "not text"}, {"kid a path", head(`{"alg":"EdDSA","kid":"../../dev/null"}`), fits},
		{"no kid, two fit", sign("RS256", k.rsa, `{"alg":"RS256"}`, good.text()), "several keys"},
		{"key of somebody else", sign("RS256", k.other, `{"alg":"RS256","kid":"rsa"}`, good.text()), sig},
		{"jwk in the header", sign("RS256", k.other, object{"alg": "RS256", "kid": "rsa", "jwk": jwk(k.other, "rsa")}.text(), good.text()), sig},
		{"jwk in the header, its kid", sign("RS256", k.other, object{"alg": "RS256", "kid": "mine", "jwk": jwk(k.other, "mine")}.text(), good.text()), fits},
		{"jku in the header", sign("RS256", k.other, `{"alg":"RS256","kid":"rsa","jku":"https://evil.example/keys"}`, good.text()), sig},
		{"x5u in the header", sign("RS256", k.other, `{"alg":"RS256","kid":"rsa","x5u":"https://evil.example/chain"}`, good.text()), sig},
		{"x5c in the header", sign("RS256", k.other, object{"alg": "RS256", "kid": "rsa", "x5c": []string{base64.StdEncoding.EncodeToString(der)}}.text(), good.text()), "accepted"},
		{"crit", head(`{"alg":"EdDSA","kid":"ed","crit":["exp"],"exp":1}`), ext}, {"crit empty", head(`{"alg":"EdDSA","kid":"ed","crit":[]}`), ext},
		{"b64", head(`{"alg":"EdDSA","kid":"ed","b64":false}`), ext},
		{"typ of a logout token", head(`{"alg":"EdDSA","kid":"ed","typ":"logout+jwt"}`), "another kind"},
		{"typ of a DPoP proof", head(`{"alg":"EdDSA","kid":"ed","typ":"dpop+jwt"}`), "another kind"}, {"typ a number", head(`{"alg":"EdDSA","kid":"ed","typ":1}`), "not text"},
		{"alg twice", head(`{"alg":"none","kid":"ed","alg":"EdDSA"}`), strict}, {"kid twice, escaped", head(`{"alg":"EdDSA","kid":"ed","k\u0069d":"ed"}`), strict},
		{"header an array", head(`[{"alg":"EdDSA"}]`), strict}, {"header with a tail", head(header + "{}"), strict}, {"header not UTF-8", head("{\"alg\":\"EdDSA\",\"x\":\"\xff\"}"), strict},
		{"header with a mark", head("\ufeff" + header), strict},

		{"signature of another", part[0] + "." + strings.Split(edToken(object{"sub": "bob"}), ".")[1] + "." + part[2], sig},
		{"claims not JSON", body("sub=alice"), strict}, {"claims null", body("null"), strict}, {"claims text", body(`"alice"`), strict},
		{"sub twice", twice(`"sub":"bob"`), strict}, {"sub twice, escaped", twice(`"s\u0075b":"bob"`), strict}, {"twice further in", twice(`"x":{"y":1,"y":2}`), strict},
		{"nested deeply", twice(`"x":` + strings.Repeat("[", 65) + strings.Repeat("]", 65)), strict}, {"lone surrogate", twice(`"x":"\ud800"`), strict},

		{"iss of another", claim("iss", "https://evil.example"), "issuer"}, {"iss with a slash", claim("iss", issuer+"/"), "issuer"},
		{"iss in other case", claim("iss", strings.ToUpper(issuer)), "issuer"}, {"iss missing", claim("iss", nil), "issuer"}, {"iss an array", claim("iss", []string{issuer}), "issuer"},
		{"aud of another", claim("aud", "https://evil.example"), "audience"}, {"aud missing", claim("aud", nil), "audience"}, {"aud empty", claim("aud", []string{}), "audience"},
		{"aud longer", claim("aud", audience+"/x"), "audience"}, {"aud an object", claim("aud", object{audience: true}), "audience"},
		{"aud with a number", claim("aud", []any{audience, 1}), "aud is not text"}, {"aud true", claim("aud", true), "audience"},
		{"sub missing", claim("sub", nil), "no sub"}, {"sub empty", claim("sub", ""), "no sub"}, {"sub a number", claim("sub", 7), "no sub"}, {"sub null", twiceless(good, `"sub":null`), "no sub"},

		{"exp missing", claim("exp", nil), "no exp"}, {"expired", claim("exp", now-31), "expired"}, {"exp text", claim("exp", "9999999999"), "time"},
		{"exp null", twiceless(good, `"exp":null`), "time"}, {"exp true", claim("exp", true), "time"}, {"exp negative", claim("exp", -1), "time"},
		{"exp huge", claim("exp", 1e300), "time"}, {"exp in milliseconds", claim("exp", now*1000), "time"}, {"exp beyond int64", claim("exp", 1e19), "time"},
		{"nbf in the future", claim("nbf", now+60), "future"}, {"iat in the future", claim("iat", now+60), "future"}, {"nbf text", claim("nbf", "1"), "time"}, {"iat an array", claim("iat", []int{1}), "time"},

		{"act text", claim("act", "service"), "without a sub"}, {"act an array", claim("act", []object{{"sub": "x"}}), "without a sub"}, {"act null", twiceless(good, `"act":null`), "without a sub"},
		{"act without sub", claim("act", object{"client_id": "x"}), "without a sub"}, {"act's sub a number", claim("act", object{"sub": 1}), "not text"},
		{"act further in", claim("act", object{"sub": "x", "act": 1}), "without a sub"}, {"nine actors", claim("act", chain(9)), "too long"}, {"fifty actors", claim("act", chain(50)), "too long"},
		{"actor of another issuer", claim("act", object{"sub": "x", "iss": "https://evil.example"}), "another issuer"}, {"actor's iss a number", claim("act", object{"sub": "x", "iss": 1}), "another issuer"},
		{"scope a number", claim("scope", 1), "not text"}, {"scope an array", claim("scope", []string{"a"}), "not text"},
		{"client_id an object", claim("client_id", object{}), "not text"}, {"azp a number", edToken(object{"client_id": nil, "azp": 1}), "not text"},
	}, hidden(claim))
}

// hidden are texts that would not be what they look like, in every place that is signed or sent.
func hidden(claim func(string, any) string) (out []attack) {
	for _, s := range []string{"a\nb", "a\x00", "\x1b[2J", "a\u0085b", "a\u2028b", "\u202eecila", "a\u200bb", strings.Repeat("x", 257), strings.Repeat("é", 129)} {
		for name, token := range map[string]string{
			"sub": claim("sub", s), "client_id": claim("client_id", s), "scope": claim("scope", s), "act": claim("act", object{"sub": s}),
			"act in act": claim("act", object{"sub": "x", "act": object{"sub": s}}),
		} {
			out = append(out, attack{fmt.Sprintf("%s %.20q", name, s), token, ""})
		}
	}
	return out
}

// twiceless signs the good claims with the member instead of their own.
func twiceless(good object, member string) string {
	name := member[1 : strings.IndexByte(member[1:], '"')+1]
	return sign("EdDSA", keys().ed, `{"alg":"EdDSA","kid":"ed"}`, strings.TrimSuffix(good.with(object{name: nil}).text(), "}")+","+member+"}")
}

// stray returns a part whose last character has bits that count for nothing.
func stray(part string) string {
	data, _ := base64.RawURLEncoding.DecodeString(part)
	for len(data)%3 == 0 {
		data = append(data, ' ')
	}
	return b64(data)
}

// malleate changes the bits of the last character that count for nothing.
func malleate(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return s[:len(s)-1] + string(alphabet[strings.IndexByte(alphabet, s[len(s)-1])|1])
}

func TestAttacks(t *testing.T) {
	f := serving(allKeys())
	v := newVerifier(t, config(f))
	all, err := bearer.Any(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			text := refused(t, v, a.token, propagate.ErrBadToken)
			if !strings.Contains(text, a.reason) {
				t.Errorf("reason %q; want %q", text, a.reason)
			}
			for _, secret := range []string{"alice", "evil", "travel", "service", "orders", "example", "nobody"} {
				if strings.Contains(text, secret) {
					t.Errorf("the error repeats the token: %s", text)
				}
			}
			refused(t, all, a.token, propagate.ErrBadToken)
		})
	}
	if n := f.count.Load(); n != 1 {
		t.Errorf("%d fetches; want 1", n)
	}
	accepted(t, v, edToken(nil)) // it is not that nothing is
}

func TestEveryByteOfATokenCounts(t *testing.T) {
	v := newVerifier(t, config(serving(allKeys())))
	token := edToken(nil)
	for i := range token {
		for _, c := range []byte{'A', '_', '.', '=', '\n', token[i] ^ 1} {
			if c != token[i] {
				refused(t, v, token[:i]+string(c)+token[i+1:], propagate.ErrBadToken)
			}
		}
		refused(t, v, token[:i], propagate.ErrBadToken)
	}
}

func TestClaims(t *testing.T) {
	now := time.Now().Unix()
	actors := object{"sub": "service-b", "iss": issuer, "act": object{"sub": "service-a"}}
	for name, test := range map[string]struct {
		change func(*bearer.Config)
		claims object
		want   func(*propagate.Caller)
	}{
		"defaults":          {nil, nil, nil},
		"aud an array":      {nil, object{"aud": []string{"https://x.example", audience}}, nil},
		"no times but exp":  {nil, object{"iat": nil, "nbf": nil}, nil},
		"within the leeway": {nil, object{"exp": now - 25, "iat": now + 25, "nbf": now + 25}, nil},
		"times in halves":   {nil, object{"exp": float64(now) + 100.5, "iat": float64(now) - 0.5}, nil},
		"wide leeway":       {func(c *bearer.Config) { c.Leeway = 5 * time.Minute }, object{"exp": now - 290}, nil},
		"azp":               {nil, object{"client_id": nil, "azp": "portal"}, func(c *propagate.Caller) { c.Agent = "portal" }},
		"client_id wins":    {nil, object{"azp": "portal"}, nil},
		"no agent, no task": {nil, object{"client_id": nil, "scope": nil}, func(c *propagate.Caller) { c.Agent, c.Task = "", "" }},
		"actors":            {nil, object{"act": actors}, func(c *propagate.Caller) { c.Actors = []string{"service-b", "service-a"} }},
		"longest":           {nil, object{"sub": strings.Repeat("x", 256)}, func(c *propagate.Caller) { c.User = strings.Repeat("x", 256) }},
		"own claims": {func(c *bearer.Config) {
			c.UserClaim, c.AgentClaims, c.TaskClaim = "email", []string{"app", "appid"}, "job"
		}, object{"email": "a@example.org", "appid": "app-1", "job": "refund"}, func(c *propagate.Caller) {
			c.Identity = propagate.Identity{User: "a@example.org", Agent: "app-1", Task: "refund"}
		}},
		"scp an array": {func(c *bearer.Config) { c.TaskClaim = "scp" }, object{"scp": []string{"a", "b"}}, func(c *propagate.Caller) { c.Task = "a b" }},
		"scp text":     {func(c *bearer.Config) { c.TaskClaim = "scp" }, object{"scp": "a b"}, func(c *propagate.Caller) { c.Task = "a b" }},
	} {
		c := config(serving(allKeys()))
		if test.change != nil {
			test.change(&c)
		}
		want := goodCaller()
		if test.want != nil {
			test.want(&want)
		}
		got, err := newVerifier(t, c).VerifyToken(t.Context(), edToken(test.claims))
		if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestConfiguredClaimsAreChecked(t *testing.T) {
	c := config(serving(allKeys()))
	c.UserClaim, c.TaskClaim = "email", "scp"
	v := newVerifier(t, c)
	for name, claims := range map[string]object{
		"no user":          {},
		"user empty":       {"email": ""},
		"user true":        {"email": true},
		"no sub":           {"email": "a@example.org", "sub": nil},
		"word with spaces": {"email": "a@example.org", "scp": []string{"a b"}},
		"empty word":       {"email": "a@example.org", "scp": []string{"a", ""}},
		"number as word":   {"email": "a@example.org", "scp": []any{"a", 1}},
		"too many words":   {"email": "a@example.org", "scp": slices.Repeat([]string{"a"}, 200)},
		"hidden":           {"email": "a@example.org", "scp": []string{"a\u202e"}},
	} {
		t.Run(name, func(t *testing.T) { refused(t, v, edToken(claims), propagate.ErrBadToken) })
	}
}

// A token chooses who judges it, not by what keys.
func TestAny(t *testing.T) {
	const second = "https://second.example"
	c := config(serving(keySet(jwk(keys().p256, "p256"))))
	c.Issuer = second
	one, two := newVerifier(t, config(serving(keySet(jwk(keys().ed, "ed"))))), newVerifier(t, c)
	all, err := bearer.Any(one, two)
	if err != nil {
		t.Fatal(err)
	}
	accepted(t, all, edToken(nil))
	claims := goodClaims().with(object{"iss": second}).text()
	if got, err := all.VerifyToken(t.Context(), sign("ES256", keys().p256, `{"alg":"ES256"}`, claims)); err != nil || got.Issuer != second {
		t.Errorf("%+v, %v", got, err)
	}
	refused(t, all, edToken(object{"iss": second}), propagate.ErrBadToken)
	refused(t, all, edToken(object{"iss": "https://third.example"}), propagate.ErrBadToken)
	refused(t, all, edToken(object{"iss": nil}), propagate.ErrBadToken)
	c.Issuer = "1"
	refused(t, newVerifier(t, c), sign("ES256", keys().p256, `{"alg":"ES256"}`, goodClaims().with(object{"iss": 1}).text()), propagate.ErrBadToken)
	for _, bad := range [][]*bearer.Verifier{nil, {nil}, {one, two, one}} {
		if _, err := bearer.Any(bad...); err == nil {
			t.Errorf("Any(%v) is accepted", bad)
		}
	}
}
