// Package spiffetest is for tests only: a SPIFFE trust domain with real keys and certificates, and a Workload API for it
// over real gRPC, which can rotate, revoke, hang, lie, stop and come back.
package spiffetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/kest-go/kest/lineage"
)

// A KeyType is what SPIRE calls one, and some that it has not.
type KeyType string

// The key types. "" is ECP256, SPIRE's default.
const (
	ECP256  KeyType = "ec-p256"
	ECP384  KeyType = "ec-p384"
	ECP521  KeyType = "ec-p521"
	RSA2048 KeyType = "rsa-2048"
	RSA1024 KeyType = "rsa-1024" // too weak
	Ed25519 KeyType = "ed25519"
)

// NewKey makes a key. It panics on a type that does not exist.
func NewKey(t KeyType) crypto.Signer {
	var key crypto.Signer
	var err error
	switch t {
	case "", ECP256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ECP384:
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case ECP521:
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case RSA2048:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case RSA1024:
		key, err = weakRSA()
	case Ed25519:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("key type %q does not exist", t)
	}
	return must(key, err)
}

// weakRSA goes round the refusal of crypto/rsa to make what nobody should use.
func weakRSA() (crypto.Signer, error) {
	one := big.NewInt(1)
	for {
		p, err1 := rand.Prime(rand.Reader, 512)
		q, err2 := rand.Prime(rand.Reader, 512)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		n := new(big.Int).Mul(p, q)
		totient := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(big.NewInt(65537), totient)
		if n.BitLen() == 1024 && d != nil {
			return &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: 65537}, D: d, Primes: []*big.Int{p, q}}, nil
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic("spiffetest: " + err.Error())
	}
	return v
}

// A CA is the authority of one trust domain: a root, an intermediate that issues X.509-SVIDs, and a key for JWT-SVIDs. It
// is safe for concurrent use. Its methods panic after Destroy, and on what a test should not ask for.
type CA struct {
	Domain string

	mu           sync.Mutex
	roots        []*x509.Certificate // all that are in the bundle, the latest last
	intermediate *x509.Certificate
	key          crypto.Signer // of the intermediate; nil when destroyed
	jwtKeys      []jwtKey      // as roots
	serial       int64
}

type jwtKey struct {
	id  string
	key *ecdsa.PrivateKey
	pub *ecdsa.PublicKey
}

// NewCA makes an authority with fresh keys.
func NewCA(domain string) *CA {
	ca := &CA{Domain: domain}
	ca.Rotate()
	return ca
}

// Rotate makes a new root, intermediate and JWT key. The bundle keeps the old ones until Forget.
func (ca *CA) Rotate() {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	now := time.Now()
	rootKey, key := NewKey(ECP256), NewKey(ECP256)
	authority := func(name string) *x509.Certificate {
		ca.serial++
		return &x509.Certificate{
			SerialNumber: big.NewInt(ca.serial), Subject: pkix.Name{Organization: []string{name}},
			URIs: []*url.URL{{Scheme: "spiffe", Host: ca.Domain}}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		}
	}
	root := authority("root")
	root = certify(root, root, rootKey.Public(), rootKey)
	intermediate := authority("intermediate")
	intermediate.MaxPathLenZero = true
	ca.intermediate = certify(intermediate, root, key.Public(), rootKey)
	ca.roots, ca.key = append(ca.roots, root), key
	jwt := NewKey(ECP256).(*ecdsa.PrivateKey)
	ca.jwtKeys = append(ca.jwtKeys, jwtKey{fmt.Sprintf("jwt-%d", ca.serial), jwt, &jwt.PublicKey})
}

// Forget leaves only the latest root and JWT key in the bundle.
func (ca *CA) Forget() {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.roots, ca.jwtKeys = ca.roots[len(ca.roots)-1:], ca.jwtKeys[len(ca.jwtKeys)-1:]
}

// Destroy loses the private keys. The bundle stays.
func (ca *CA) Destroy() {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.key = nil
	for i := range ca.jwtKeys {
		ca.jwtKeys[i].key = nil
	}
}

// X509 returns the root certificates of the bundle.
func (ca *CA) X509() []*x509.Certificate {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return slices.Clone(ca.roots)
}

// JWT returns the keys of the bundle that verify JWT-SVIDs, by their ids.
func (ca *CA) JWT() map[string]crypto.PublicKey {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	keys := map[string]crypto.PublicKey{}
	for _, k := range ca.jwtKeys {
		keys[k.id] = k.pub
	}
	return keys
}

// Roots is the bundle for a verifier that believes this authority, and others, each for its own domain.
func (ca *CA) Roots(others ...*CA) *lineage.Roots {
	domains := map[string]lineage.DomainRoots{}
	for _, a := range append([]*CA{ca}, others...) {
		d := lineage.DomainRoots{X509: a.X509()}
		for id, key := range a.JWT() {
			d.JWT = append(d.JWT, lineage.RootKey{ID: id, Public: key})
		}
		domains[a.Domain] = d
	}
	return must(lineage.NewRoots(lineage.RootsConfig{Domains: domains}))
}

// Leaf says what an X.509-SVID is to be like. The zero value of everything but ID is that of a good one for an hour.
type Leaf struct {
	ID       string // a SPIFFE ID; "" means no URI name at all
	Key      KeyType
	Lifetime time.Duration // 0 is an hour
	// Change has the last word about the certificate, before it is signed.
	Change func(*x509.Certificate)
}

// Mint issues an X.509-SVID, good or bad: the chain without the root, and the private key.
func (ca *CA) Mint(l Leaf) ([]*x509.Certificate, crypto.Signer) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.serial++
	now := time.Now()
	lifetime := l.Lifetime
	if lifetime == 0 {
		lifetime = time.Hour
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(ca.serial), Subject: pkix.Name{Organization: []string{"SPIFFE"}},
		NotBefore: now.Add(-10 * time.Second), NotAfter: now.Add(lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if l.ID != "" {
		c.URIs = []*url.URL{must(url.Parse(l.ID))}
	} else {
		c.DNSNames = []string{"nobody.example"}
	}
	if l.Change != nil {
		l.Change(c)
	}
	key := NewKey(l.Key)
	return []*x509.Certificate{certify(c, ca.intermediate, key.Public(), ca.key), ca.intermediate}, key
}

func certify(c, by *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	if key == nil {
		panic("spiffetest: the authority is destroyed")
	}
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, c, by, public, key))))
}

// Token issues a JWT-SVID with these claims (JWT-SVID §3).
func (ca *CA) Token(claims map[string]any) string {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	k := ca.jwtKeys[len(ca.jwtKeys)-1]
	if k.key == nil {
		panic("spiffetest: the authority is destroyed")
	}
	encode := func(v any) string { return base64.RawURLEncoding.EncodeToString(must(json.Marshal(v))) }
	input := encode(map[string]string{"alg": "ES256", "kid": k.id, "typ": "JWT"}) + "." + encode(claims)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, k.key, digest[:])
	signature := make([]byte, 64) // RFC 7518 §3.4
	must(r, err).FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}
