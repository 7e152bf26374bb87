package oidc_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kest-go/kest/identity/oidc"
	"github.com/kest-go/kest/lineage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const issuer = "https://issuer.example"

var quiet = slog.New(slog.DiscardHandler)

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// The keys of the tests' issuers, made once.
var keys = sync.OnceValue(func() (k struct {
	rsa, weak *rsa.PrivateKey
	p256      *ecdsa.PrivateKey
	ed, other ed25519.PrivateKey
}) {
	k.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.weak, _ = rsa.GenerateKey(rand.Reader, 1024)
	k.p256, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.ed = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) // the same in every process of the fuzzer
	k.other = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	return k
})

// object is a JSON object under construction.
type object map[string]any

func (o object) text() string {
	data, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// with returns a copy with the members of more; nil takes a member away.
func (o object) with(more object) object {
	out := maps.Clone(o)
	for name, v := range more {
		if out[name] = v; v == nil {
			delete(out, name)
		}
	}
	return out
}

// jwk is the public half of a private key.
func jwk(key crypto.Signer, kid string) object {
	o := object{"kid": kid, "use": "sig"}
	switch p := key.Public().(type) {
	case *rsa.PublicKey:
		return o.with(object{"kty": "RSA", "n": b64(p.N.Bytes()), "e": b64(big.NewInt(int64(p.E)).Bytes())})
	case *ecdsa.PublicKey:
		raw, _ := p.Bytes()
		return o.with(object{"kty": "EC", "crv": "P-256", "x": b64(raw[1:33]), "y": b64(raw[33:])})
	case ed25519.PublicKey:
		return o.with(object{"kty": "OKP", "crv": "Ed25519", "x": b64(p)})
	}
	panic("no such key")
}

func keySet(jwks ...object) string { return object{"keys": jwks}.text() }

func allKeys() string {
	k := keys()
	return keySet(jwk(k.rsa, "rsa"), jwk(k.p256, "p256"), jwk(k.ed, "ed"), jwk(k.weak, "weak"))
}

// sign makes a token from texts as they are.
func sign(key crypto.Signer, header, claims string) string {
	input := b64([]byte(header)) + "." + b64([]byte(claims))
	digest := sha256.Sum256([]byte(input))
	var signature []byte
	switch k := key.(type) {
	case *rsa.PrivateKey:
		signature, _ = rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, digest[:])
	case *ecdsa.PrivateKey:
		r, s, _ := ecdsa.Sign(rand.Reader, k, digest[:])
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case ed25519.PrivateKey:
		signature = ed25519.Sign(k, []byte(input))
	}
	return input + "." + b64(signature)
}

const edHeader = `{"alg":"EdDSA","kid":"ed"}`

// claims are of a token that is accepted now.
func claims() object {
	now := time.Now().Unix()
	return object{"iss": issuer, "aud": "kest-tests", "sub": "alice", "exp": now + 300, "iat": now}
}

// edToken is a good token, changed by more, with the Ed25519 key.
func edToken(more object) string { return sign(keys().ed, edHeader, claims().with(more).text()) }

// source is a TokenSource made of a function of the audience.
type source func(audience string) (string, error)

func (s source) Token(_ context.Context, audience string) (string, error) { return s(audience) }

// always gives one token, whatever the audience.
func always(token string) source { return func(string) (string, error) { return token, nil } }

// naming gives tokens that name the key, changed by more.
func naming(more object) source {
	return func(audience string) (string, error) { return edToken(object{"aud": audience}.with(more)), nil }
}

// A transport answers requests without a network, so that it works in a synctest bubble, and counts those for keys.
type transport struct {
	mu     sync.Mutex
	answer func(*http.Request) (status int, body string, err error)
	count  atomic.Int32
}

func (f *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	answer := f.answer
	f.mu.Unlock()
	if r.URL.Path == "/keys" {
		f.count.Add(1)
	} else if strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") {
		answer = func(*http.Request) (int, string, error) {
			return 200, object{"issuer": issuer, "jwks_uri": issuer + "/keys"}.text(), nil
		}
	}
	status, body, err := answer(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (f *transport) set(answer func(*http.Request) (int, string, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func (f *transport) serve(body string) {
	f.set(func(*http.Request) (int, string, error) { return 200, body, nil })
}

func (f *transport) down() {
	f.set(func(*http.Request) (int, string, error) { return 0, "", errors.New("connection refused") })
}

func serving(body string) *transport {
	f := &transport{}
	f.serve(body)
	return f
}

func (f *transport) client() *http.Client { return &http.Client{Transport: f} }

// open starts a provider and closes it with the test.
func open(t testing.TB, c oidc.Config) *oidc.Provider {
	t.Helper()
	if c.Logger == nil {
		c.Logger = quiet
	}
	p, err := oidc.New(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// rootsFor trusts the issuer of a document for all its subjects.
func rootsFor(t testing.TB, iss string, client *http.Client) *oidc.RootSource {
	t.Helper()
	roots, err := oidc.NewRoots(t.Context(), oidc.RootsConfig{
		Issuers: map[string][]string{iss: {lineage.OIDCPrincipal(iss, "*")}}, Client: client, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return roots
}

// verify checks a binding as a verifier does now.
func verify(t testing.TB, roots lineage.RootSource, b *lineage.KeyBinding) (*lineage.BoundKey, error) {
	t.Helper()
	r, err := roots.Roots(t.Context(), b)
	if err != nil {
		return nil, err
	}
	return b.Verify(time.Now(), 0, r)
}
