package lineage_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest/lineage"
)

// weakKeys are encodings of the points whose order divides 8, canonical and not (RFC 8032 §5.1.3; the y coordinate
// p+1 is 1 again, p is 0, and x = 0 has a sign bit too many).
func weakKeys(t testing.TB) map[string]ed25519.PublicKey {
	out := map[string]ed25519.PublicKey{}
	for name, y := range map[string]string{
		"identity":                  "0100000000000000000000000000000000000000000000000000000000000000",
		"identity, sign":            "0100000000000000000000000000000000000000000000000000000000000080",
		"order 2":                   "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 2, sign":             "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"order 4":                   "0000000000000000000000000000000000000000000000000000000000000000",
		"order 4, sign":             "0000000000000000000000000000000000000000000000000000000000000080",
		"order 8 a":                 "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"order 8 a, sign":           "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"order 8 b":                 "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"order 8 b, sign":           "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"order 4 as p":              "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 4 as p, sign":        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"identity as p+1":           "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"identity as p+1, sign":     "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"not canonical: 2^255−1":    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"not canonical: all ones":   "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"not canonical: 3 as p + 3": "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		key, err := hex.DecodeString(y)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = key
	}
	return out
}

// SPEC §4: weak keys are refused by CheckKey, by both ways into a KeySet, and by the verifier and the record readers
// when another key source returns one.
func TestWeakKeysAreRefused(t *testing.T) {
	one := chain(t, 1)[0]
	parts := strings.Split(one.JWS(), ".")
	dangerous := 0
	for name, key := range weakKeys(t) {
		t.Run(name, func(t *testing.T) {
			if err := lineage.CheckKey(key); err == nil {
				t.Error("CheckKey accepts it")
			}
			if _, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{web: {key}}); err == nil {
				t.Error("NewKeySet accepts it")
			}
			jwks := fmt.Sprintf(`{%q:{"keys":[{"kty":"OKP","crv":"Ed25519","x":%q}]}}`, web, b64(key))
			if _, err := lineage.ParseKeySet([]byte(jwks)); err == nil {
				t.Error("ParseKeySet accepts it")
			}
			// R = identity or another point of small order, S = 0: valid for crypto/ed25519 under many a message.
			for _, r := range weakKeys(t) {
				signature := append(slices.Clone([]byte(r)), make([]byte, 32)...)
				forged := parts[0] + "." + parts[1] + "." + b64(signature)
				if ed25519.Verify(key, []byte(parts[0]+"."+parts[1]), signature) {
					dangerous++
				}
				v := newVerifier(t, lineage.VerifierConfig{Keys: keyFunc(func(context.Context, string, string) ([]ed25519.PublicKey, error) {
					return []ed25519.PublicKey{publicKey(web), key}, nil
				})})
				refused(t, v, lineage.Unverified{Entries: []string{forged}}, lineage.UnknownKey, 0)
				header, payload := `{"alg":"EdDSA","typ":"kest-receipt+jws"}`, payloadOf(t, receiptOf(t, one))
				if _, err := v.VerifyReceipt(t.Context(), b64([]byte(header))+"."+b64([]byte(payload))+"."+b64(signature), one); err == nil {
					t.Error("a receipt by it is accepted")
				}
			}
		})
	}
	if dangerous == 0 {
		t.Error("the standard library refuses all of them: the test has lost its subject")
	}
	for _, n := range []int{0, 31, 33, 64} {
		if err := lineage.CheckKey(make([]byte, n)); err == nil {
			t.Errorf("key of %d bytes accepted", n)
		}
	}
	for i := range 50 {
		if err := lineage.CheckKey(publicKey(fmt.Sprint("ordinary ", i))); err != nil {
			t.Error(err)
		}
	}
}

func receiptOf(t testing.TB, s *lineage.Signed) string {
	t.Helper()
	jws, err := lineage.SignReceipt(t.Context(), signerOf(t, s.Entry().Principal()), receiptFor(s), lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return jws
}

// A key source that returns keys of a wrong length, none, or thousands makes a failure, not a panic.
func TestHostileKeySource(t *testing.T) {
	one := lineage.Unverified{Entries: jwsOf(chain(t, 1)...)}
	many := make([]ed25519.PublicKey, 65)
	for i := range many {
		many[i] = publicKey(fmt.Sprint(i))
	}
	for name, c := range map[string]struct {
		keys   []ed25519.PublicKey
		reason lineage.Reason
	}{
		"none":      {nil, lineage.UnknownKey},
		"nil key":   {[]ed25519.PublicKey{nil}, lineage.UnknownKey},
		"short key": {[]ed25519.PublicKey{make([]byte, 31)}, lineage.UnknownKey},
		"65 keys":   {many, lineage.Limit},
		"64 others": {many[:64], lineage.BadSignature},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, lineage.VerifierConfig{Keys: keyFunc(func(context.Context, string, string) ([]ed25519.PublicKey, error) { return c.keys, nil })})
			refused(t, v, one, c.reason, 0)
		})
	}
	last := append(slices.Clone(many[:63]), publicKey(web))
	v := newVerifier(t, lineage.VerifierConfig{Keys: keyFunc(func(context.Context, string, string) ([]ed25519.PublicKey, error) { return last, nil })})
	accepted(t, v, one)
}

// F-ID-03: the key id is the RFC 7638 thumbprint; the value is that of RFC 8037 appendix A.3.
func TestThumbprint(t *testing.T) {
	key, err := hex.DecodeString("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
	if err != nil {
		t.Fatal(err)
	}
	if got := lineage.Thumbprint(key); got != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("thumbprint %s", got)
	}
}

func TestParseKeySet(t *testing.T) {
	x := b64(publicKey(web))
	good := `{"kty":"OKP","crv":"Ed25519","x":"` + x + `","kid":"k1","use":"sig","alg":"EdDSA"}`
	set, err := lineage.ParseKeySet([]byte(`{"` + web + `":{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"OKP","crv":"X25519","x":"AA"},` + good + `]},"nobody":{"keys":[]}}`))
	if err != nil {
		t.Fatal(err)
	}
	for kid, want := range map[string]int{"k1": 1, lineage.Thumbprint(publicKey(web)): 1, "": 1, web: 1, "k2": 0, "K1": 0} {
		if keys, err := set.Keys(t.Context(), web, kid); len(keys) != want || err != nil {
			t.Errorf("kid %q: %d keys, %v", kid, len(keys), err)
		}
	}
	if keys, _ := set.Keys(t.Context(), "nobody", ""); len(keys) != 0 || !slices.Equal(set.Principals(), []string{web}) {
		t.Errorf("principals %q", set.Principals())
	}
	text, err := set.AppendJSON([]byte("x"))
	if err != nil || !json.Valid(text[1:]) {
		t.Fatalf("%s, %v", text, err)
	}
	again, err := lineage.ParseKeySet(text[1:])
	if err != nil {
		t.Fatal(err)
	}
	if second, err := again.AppendJSON([]byte("x")); err != nil || !bytes.Equal(second, text) {
		t.Errorf("written %s, then %s", text, second)
	}
	if keys, err := (&lineage.KeySet{}).Keys(t.Context(), web, ""); keys != nil || err != nil {
		t.Errorf("the zero set knows %v", keys)
	}
	wrap := func(jwk string) string { return `{"p":{"keys":[` + jwk + `]}}` }
	set65 := wrap(strings.TrimSuffix(strings.Repeat(good+",", 65), ","))
	for name, text := range map[string]string{
		"empty": "", "array": "[]", "null": "null", "no JWKS": `{"p":[]}`, "keys missing": `{"p":{}}`, "keys null": `{"p":{"keys":null}}`,
		"key is a string": wrap(`"x"`), "no x": wrap(`{"kty":"OKP","crv":"Ed25519"}`),
		"padded x":       wrap(replaced(t, good, x, x+"=")),
		"short x":        wrap(replaced(t, good, x, x[:40])),
		"private":        wrap(replaced(t, good, `{`, `{"d":"AAAA",`)),
		"for encryption": wrap(replaced(t, good, `"sig"`, `"enc"`)),
		"other alg":      wrap(replaced(t, good, `"EdDSA"`, `"ES256"`)),
		"kid number":     wrap(replaced(t, good, `"k1"`, `1`)),
		"kty number":     wrap(replaced(t, good, `"OKP"`, `1`)),
		"duplicate":      wrap(replaced(t, good, `{`, `{"kid":"k0",`)),
		"twice":          `{"p":{"keys":[]},"p":{"keys":[]}}`,
		"principal":      `{"":{"keys":[` + good + `]}}`,
		"65 keys":        set65,
		"depth bomb":     strings.Repeat(`{"a":`, 100_000),
		"over 4 MiB":     `{"p":{"keys":["` + strings.Repeat("x", 4<<20) + `"]}}`,
	} {
		if set, err := lineage.ParseKeySet([]byte(text)); err == nil || set != nil {
			t.Errorf("%s: accepted", name)
		} else if len(err.Error()) > 400 {
			t.Errorf("%s: error of %d bytes", name, len(err.Error()))
		}
	}
	if _, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{"": {publicKey(web)}}); err == nil {
		t.Error("an empty principal is accepted")
	}
}

// F-ID-01…03: a signer never shows its key, and honours the context.
func TestSignerHidesItsKey(t *testing.T) {
	key := privateKey(web)
	s := signerOf(t, web)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		text := fmt.Sprintf(format, s)
		if strings.Contains(text, b64(key.Seed())) || strings.Contains(strings.ToLower(text), hex.EncodeToString(key.Seed()[:8])) ||
			strings.Contains(text, fmt.Sprint(key.Seed()[:4])[1:10]) {
			t.Errorf("%s shows the key: %s", format, text)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if signed, err := lineage.Sign(ctx, s, draft(t, call{n: 1}), lineage.Limits{}); err == nil || signed != nil {
		t.Error("signed after the context ended")
	}
	if _, err := lineage.NewSigner("", key); err == nil {
		t.Error("a signer without principal")
	}
	if _, err := lineage.NewSigner(web, key[:63]); err == nil {
		t.Error("a signer with half a key")
	}
	for name, bad := range map[string]lineage.Signer{
		"short signature": wrongSigner{s, 63, s.KeyID(), nil}, "no signature": wrongSigner{s, 0, s.KeyID(), nil},
		"no key id": wrongSigner{s, 64, "", nil}, "long key id": wrongSigner{s, 64, strings.Repeat("k", 1025), nil},
		"key id not UTF-8": wrongSigner{s, 64, "\xff", nil}, "error": wrongSigner{s, 64, s.KeyID(), context.DeadlineExceeded},
	} {
		if signed, err := lineage.Sign(t.Context(), bad, draft(t, call{n: 1}), lineage.Limits{}); err == nil || signed != nil {
			t.Errorf("%s: signed", name)
		}
	}
}

// wrongSigner breaks the contract of Signer.
type wrongSigner struct {
	lineage.Signer
	size  int
	keyID string
	err   error
}

func (w wrongSigner) KeyID() string { return w.keyID }
func (w wrongSigner) Sign(context.Context, []byte) ([]byte, error) {
	return make([]byte, w.size), w.err
}
