package bearer_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/bearer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	issuer   = "https://issuer.example"
	audience = "https://orders.example"
)

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// The keys of the tests' issuers, made once: RSA is slow.
var keys = sync.OnceValue(func() (k struct {
	rsa, other, weak *rsa.PrivateKey
	p256             *ecdsa.PrivateKey
	p384             *ecdsa.PrivateKey
	ed               ed25519.PrivateKey
}) {
	k.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.other, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.weak, _ = rsa.GenerateKey(rand.Reader, 1024)
	k.p256, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.p384, _ = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	k.ed = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) // the same in every process of the fuzzer
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
	var o object
	switch p := key.Public().(type) {
	case *rsa.PublicKey:
		o = object{"kty": "RSA", "n": b64(p.N.Bytes()), "e": b64(big.NewInt(int64(p.E)).Bytes())}
	case *ecdsa.PublicKey:
		raw, _ := p.Bytes()
		half := len(raw) / 2
		o = object{"kty": "EC", "crv": p.Params().Name, "x": b64(raw[1 : 1+half]), "y": b64(raw[1+half:])}
	case ed25519.PublicKey:
		o = object{"kty": "OKP", "crv": "Ed25519", "x": b64(p)}
	}
	if kid != "" {
		o["kid"] = kid
	}
	return o
}

func keySet(jwks ...object) string { return object{"keys": jwks}.text() }

// allKeys is a set with a key of every kind.
func allKeys() string {
	k := keys()
	return keySet(jwk(k.rsa, "rsa"), jwk(k.p256, "p256"), jwk(k.p384, "p384"), jwk(k.ed, "ed"),
		jwk(k.other, "rs256-only").with(object{"alg": "RS256", "use": "sig", "key_ops": []string{"verify"}}))
}

// sign makes a token from texts as they are, by whatever key is handed in: []byte for HMAC, nil for none.
func sign(alg string, key any, header, claims string) string {
	input := b64([]byte(header)) + "." + b64([]byte(claims))
	hash := crypto.SHA256
	if strings.HasSuffix(alg, "384") {
		hash = crypto.SHA384
	}
	h := hash.New()
	h.Write([]byte(input))
	digest := h.Sum(nil)
	var signature []byte
	switch k := key.(type) {
	case []byte:
		mac := hmac.New(sha256.New, k)
		mac.Write([]byte(input))
		signature = mac.Sum(nil)
	case *rsa.PrivateKey:
		if strings.HasPrefix(alg, "PS") {
			signature, _ = rsa.SignPSS(rand.Reader, k, hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			signature, _ = rsa.SignPKCS1v15(rand.Reader, k, hash, digest)
		}
	case *ecdsa.PrivateKey:
		size := (k.Params().BitSize + 7) / 8
		r, s, _ := ecdsa.Sign(rand.Reader, k, digest)
		signature = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	case ed25519.PrivateKey:
		signature = ed25519.Sign(k, []byte(input))
	}
	return input + "." + b64(signature)
}

// goodClaims are of a token that is accepted now.
func goodClaims() object {
	now := time.Now().Unix()
	return object{"iss": issuer, "aud": audience, "sub": "alice", "exp": now + 300, "iat": now, "nbf": now,
		"client_id": "travel-agent", "scope": "orders:read orders:write"}
}

func goodCaller() propagate.Caller {
	return propagate.Caller{Issuer: issuer, Identity: propagate.Identity{User: "alice", Agent: "travel-agent", Task: "orders:read orders:write"}}
}

// edToken is a good token, changed by more, with the Ed25519 key.
func edToken(more object) string {
	return sign("EdDSA", keys().ed, `{"alg":"EdDSA","kid":"ed"}`, goodClaims().with(more).text())
}

// A transport answers requests without a network, so that it works in a synctest bubble, and counts them.
type transport struct {
	mu     sync.Mutex
	answer func(*http.Request) (status int, body string, err error)
	count  atomic.Int32
}

func (f *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	f.count.Add(1)
	f.mu.Lock()
	answer := f.answer
	f.mu.Unlock()
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

func config(f http.RoundTripper) bearer.Config {
	return bearer.Config{
		Issuer: issuer, Audiences: []string{"https://other.example", audience}, JWKS: issuer + "/keys",
		HTTPClient: &http.Client{Transport: f}, Logger: slog.New(slog.DiscardHandler),
	}
}

func newVerifier(t testing.TB, c bearer.Config) *bearer.Verifier {
	t.Helper()
	v, err := bearer.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// listen starts a real server on loopback and a config that asks it.
func listen(t testing.TB, h http.HandlerFunc) (*httptest.Server, bearer.Config) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c := config(nil)
	c.HTTPClient, c.JWKS = nil, s.URL+"/keys"
	return s, c
}

func accepted(t testing.TB, v propagate.TokenVerifier, token string) {
	t.Helper()
	c, err := v.VerifyToken(context.Background(), token)
	if err != nil || fmt.Sprint(c) != fmt.Sprint(goodCaller()) {
		t.Fatalf("%+v, %v", c, err)
	}
}

// refused checks that the token is not accepted, for a reason of the class, and returns the reason.
func refused(t testing.TB, v propagate.TokenVerifier, token string, class error) string {
	t.Helper()
	c, err := v.VerifyToken(context.Background(), token)
	if fmt.Sprint(c) != fmt.Sprint(propagate.Caller{}) {
		t.Errorf("caller %+v beside an error", c)
	}
	if !errors.Is(err, class) {
		t.Fatalf("error %v; want %v", err, class)
	}
	if errors.Is(err, bearer.ErrKeys) == errors.Is(err, propagate.ErrBadToken) {
		t.Errorf("error %v is not of one class", err)
	}
	if len(err.Error()) > 400 {
		t.Errorf("long error: %v", err)
	}
	return err.Error()
}
