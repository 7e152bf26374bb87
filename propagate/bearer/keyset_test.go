package bearer_test

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"

	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/bearer"
)

// Keys that prove nothing are skipped, and do not take the others with them.
func TestUnusableKeys(t *testing.T) {
	k := keys()
	ed := func(change object) object { return jwk(k.ed, "x").with(change) }
	private := jwk(k.ed, "x").with(object{"d": b64(k.ed.Seed())})
	good := goodClaims().text()
	edSigned := sign("EdDSA", k.ed, `{"alg":"EdDSA","kid":"x"}`, good)
	p256 := sign("ES256", k.p256, `{"alg":"ES256","kid":"x"}`, good)
	for name, test := range map[string]struct {
		jwk   object
		token string
	}{
		"RSA of 1024 bits":    {jwk(k.weak, "x"), sign("RS256", k.weak, `{"alg":"RS256","kid":"x"}`, good)},
		"RSA of 8192 bits":    {jwk(k.rsa, "x").with(object{"n": b64(bytes.Repeat([]byte{0xff}, 1024))}), sign("RS256", k.rsa, `{"alg":"RS256","kid":"x"}`, good)},
		"private":             {private, edSigned},
		"symmetric":           {object{"kty": "oct", "kid": "x", "k": b64([]byte("secret"))}, sign("HS256", []byte("secret"), `{"alg":"HS256","kid":"x"}`, good)},
		"for encryption":      {ed(object{"use": "enc"}), edSigned},
		"use a number":        {ed(object{"use": 1}), edSigned},
		"key_ops":             {ed(object{"key_ops": []string{"sign"}}), edSigned},
		"key_ops text":        {ed(object{"key_ops": "verify"}), edSigned},
		"alg of another kind": {ed(object{"alg": "ES256"}), edSigned},
		"alg HS256":           {jwk(k.rsa, "x").with(object{"alg": "HS256"}), sign("RS256", k.rsa, `{"alg":"RS256","kid":"x"}`, good)},
		"kid a number":        {ed(object{"kid": 1}), edSigned},
		"not canonical":       {ed(object{"x": b64(append(append([]byte{0xf0}, bytes.Repeat([]byte{0xff}, 30)...), 0x7f))}), edSigned},
		"short":               {ed(object{"x": b64([]byte("short"))}), edSigned},
		"another curve":       {ed(object{"crv": "X25519"}), edSigned},
		"not on the curve":    {jwk(k.p256, "x").with(object{"y": b64(make([]byte, 32))}), p256},
		"wrong curve":         {jwk(k.p256, "x").with(object{"crv": "P-384"}), p256},
		"no kty":              {ed(object{"kty": nil}), edSigned},
		"x a number":          {ed(object{"x": 1}), edSigned},
		"empty":               {object{}, edSigned},
	} {
		v := newVerifier(t, config(serving(keySet(test.jwk, jwk(k.ed, "ed")))))
		if text := refused(t, v, test.token, propagate.ErrBadToken); test.jwk["kty"] != "oct" && !strings.Contains(text, "none of the 1 usable keys") {
			t.Errorf("%s: %s", name, text)
		}
		accepted(t, v, edToken(nil))
	}
}

// With a neutral point as key, a signature that is the neutral point and zero "holds" for every message. It has several
// encodings.
func TestSmallOrder(t *testing.T) {
	ends := func(first, middle, last byte) []byte {
		return append(append([]byte{first}, bytes.Repeat([]byte{middle}, 30)...), last)
	}
	input := strings.Join(strings.Split(sign("EdDSA", keys().ed, `{"alg":"EdDSA","kid":"x"}`, goodClaims().text()), ".")[:2], ".")
	token := input + "." + b64(append(ends(1, 0, 0), make([]byte, 32)...))
	for _, x := range [][]byte{ends(1, 0, 0), ends(1, 0, 0x80), ends(0xee, 0xff, 0x7f), ends(0xee, 0xff, 0xff)} {
		if !ed25519.Verify(x, []byte(input), append(ends(1, 0, 0), make([]byte, 32)...)) {
			t.Errorf("%x: the attack is none", x)
		}
		v := newVerifier(t, config(serving(keySet(jwk(keys().ed, "x").with(object{"x": b64(x)})))))
		refused(t, v, token, propagate.ErrBadToken)
	}
}

// Members that have nothing to do with the key do not count, whatever is in them.
func TestOtherMembersOfKeys(t *testing.T) {
	extra := object{"x5c": []string{"!"}, "x5t": "??", "x5u": ":", "issuer": object{"a": 1}, "key_ops": []string{"sign", "verify"}, "use": "sig", "alg": "EdDSA"}
	accepted(t, newVerifier(t, config(serving(keySet(jwk(keys().ed, "ed").with(extra))))), edToken(nil))
}

// RFC 7517 §4.5: one kid may stand for keys of different kinds, but two of a kind are nobody's key.
func TestSharedKid(t *testing.T) {
	k := keys()
	v := newVerifier(t, config(serving(keySet(jwk(k.p256, "ed"), jwk(k.ed, "ed"), jwk(k.rsa, "twice"), jwk(k.other, "twice")))))
	accepted(t, v, edToken(nil))
	token := sign("RS256", k.rsa, `{"alg":"RS256","kid":"twice"}`, goodClaims().text())
	if text := refused(t, v, token, propagate.ErrBadToken); !strings.Contains(text, "several") {
		t.Error(text)
	}
}

func TestKeySetDocuments(t *testing.T) {
	ed := jwk(keys().ed, "ed").text()
	hundred := strings.Repeat(`{"kty":"x"},`, 99) + ed
	for name, test := range map[string]struct {
		body, reason string
	}{
		"a hundred keys":  {`{"keys":[` + hundred + `]}`, ""},
		"other members":   {`{"a":[null],"keys":[` + ed + `,1,null,"x"]}`, ""},
		"one key more":    {`{"keys":[` + hundred + `,{}]}`, "more than 100"},
		"empty":           {``, "strict JSON"},
		"HTML":            {`<html>` + ed, "strict JSON"},
		"array":           {`[` + ed + `]`, "strict JSON"},
		"no keys":         {`{}`, `array "keys"`},
		"keys an object":  {`{"keys":{"ed":` + ed + `}}`, `array "keys"`},
		"keys twice":      {`{"keys":[],"keys":[` + ed + `]}`, "strict JSON"},
		"member twice":    {`{"keys":[{"kid":"a",` + ed[1:] + `]}`, "strict JSON"},
		"tail":            {`{"keys":[` + ed + `]} x`, "strict JSON"},
		"cut off":         {`{"keys":[` + ed, "strict JSON"},
		"nested deeply":   {strings.Repeat(`{"keys":[`, 50_000), "strict JSON"},
		"more than 1 MiB": {`{"keys":[` + ed + `]}` + strings.Repeat(" ", 1<<20), "larger than"},
	} {
		v := newVerifier(t, config(serving(test.body)))
		if test.reason == "" {
			accepted(t, v, edToken(nil))
		} else if text := refused(t, v, edToken(nil), bearer.ErrKeys); !strings.Contains(text, test.reason) {
			t.Errorf("%s: %s", name, text)
		}
	}
}
