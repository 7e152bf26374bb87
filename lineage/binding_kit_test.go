package lineage_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/lineage"
)

// The platform of the tests: one trust domain, one OpenID provider, one KMS key.
const (
	issuer = "https://issuer.example"
	build  = issuer + "#ci-build"
	kmsID  = "arn:aws:kms:eu-west-1:123456789012:key/1234"
	role   = "arn:aws:iam::123456789012:role/payments"
	lonely = "local:payments:0001"
)

// begin is when statements, tokens and certificates of the tests begin. They hold for an hour.
var begin = time.Unix(1795000000, 0)

var forms = []lineage.BindingForm{lineage.FormX509, lineage.FormJWT, lineage.FormKMS, lineage.FormOIDC, lineage.FormSelf}

func formPrincipal(form lineage.BindingForm) string {
	switch form {
	case lineage.FormKMS:
		return role
	case lineage.FormOIDC:
		return build
	case lineage.FormSelf:
		return lonely
	case lineage.FormX509, lineage.FormJWT:
	}
	return pay
}

type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// newAuthority makes a CA that holds for a year, a root when parent is nil.
func newAuthority(t testing.TB, parent *authority, edit func(*x509.Certificate)) *authority {
	t.Helper()
	key := ecKey(t, elliptic.P256())
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"Kest tests"}, CommonName: fmt.Sprint(parent != nil)},
		NotBefore: begin.Add(-24 * time.Hour), NotAfter: begin.Add(365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	if edit != nil {
		edit(template)
	}
	a := &authority{key: key}
	if parent == nil {
		parent = &authority{cert: template, key: key}
	}
	a.cert = certificate(t, template, parent, key.Public())
	return a
}

func certificate(t testing.TB, template *x509.Certificate, parent *authority, public crypto.PublicKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, public, parent.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// leaf makes an X.509-SVID for pay.
func (a *authority) leaf(t testing.TB, public crypto.PublicKey, edit func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: begin, NotAfter: begin.Add(time.Hour),
		URIs: []*url.URL{parseURL(t, pay)}, KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true}
	if edit != nil {
		edit(template)
	}
	return certificate(t, template, a, public)
}

func parseURL(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// platform has everything that certifies, with roots that believe it.
type platform struct {
	root, middle     *authority
	leafKey          *ecdsa.PrivateKey
	leaf             *x509.Certificate
	jwt              *ecdsa.PrivateKey
	oidc             *rsa.PrivateKey
	kms              ed25519.PrivateKey
	config           lineage.RootsConfig
	roots            *lineage.Roots
	session, another ed25519.PublicKey
}

func newPlatform(t testing.TB) *platform {
	t.Helper()
	p := &platform{root: newAuthority(t, nil, nil), leafKey: ecKey(t, elliptic.P256()), jwt: ecKey(t, elliptic.P256()),
		oidc: rsaKey(t, 2048), kms: privateKey("kms"), session: publicKey("session"), another: publicKey("another session")}
	p.middle = newAuthority(t, p.root, nil)
	p.leaf = p.middle.leaf(t, p.leafKey.Public(), nil)
	p.config = lineage.RootsConfig{
		Domains: map[string]lineage.DomainRoots{"example.org": {X509: []*x509.Certificate{p.root.cert},
			JWT: []lineage.RootKey{{ID: "jwt-1", Public: p.jwt.Public()}}}},
		Issuers: map[string]lineage.IssuerRoots{issuer: {Keys: []lineage.RootKey{{ID: "oidc-1", Algorithm: "RS256", Public: p.oidc.Public()}},
			Principals: []string{issuer + "#ci-*"}}},
		KMS:  []lineage.KMSRoot{{Key: lineage.RootKey{ID: kmsID, Public: p.kms.Public()}, Principals: []string{role}}},
		Self: []string{"local:*"},
	}
	p.roots = rootsOf(t, p.config)
	return p
}

func rootsOf(t testing.TB, c lineage.RootsConfig) *lineage.Roots {
	t.Helper()
	r, err := lineage.NewRoots(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A forgery is a binding whose every part can be anything. It is written without the code under test.
type forgery struct {
	form          lineage.BindingForm
	session       ed25519.PublicKey
	principal     string
	alg, typ, kid string
	chain         []*x509.Certificate
	signer        any    // of the proof: crypto.Signer, []byte for HMAC, or nil
	header        string // more members
	sub, jkt, iss string
	aud           any
	nbf, exp      string
	claims        string // more members
	raw           func(signature []byte) []byte
	payload       string // "" is made of the above
}

// honest is a binding that verifies until it is changed.
func (p *platform) honest(form lineage.BindingForm) forgery {
	f := forgery{form: form, session: p.session, principal: formPrincipal(form), typ: "kest-key-statement+jws",
		nbf: fmt.Sprint(begin.Unix()), exp: fmt.Sprint(begin.Add(time.Hour).Unix()), jkt: lineage.Thumbprint(p.session)}
	f.sub, f.aud = f.principal, []string{"kest-key:" + f.jkt}
	switch form {
	case lineage.FormX509:
		f.alg, f.signer, f.chain = "ES256", p.leafKey, []*x509.Certificate{p.leaf, p.middle.cert}
	case lineage.FormJWT:
		f.alg, f.signer, f.kid, f.typ = "ES256", p.jwt, "jwt-1", "JWT"
	case lineage.FormOIDC:
		f.alg, f.signer, f.kid, f.typ, f.sub, f.iss = "RS256", p.oidc, "oidc-1", "JWT", "ci-build", issuer
	case lineage.FormKMS:
		f.alg, f.signer, f.kid = "EdDSA", p.kms, kmsID
	case lineage.FormSelf:
		f.alg, f.signer, f.kid = "EdDSA", privateKey("session"), f.jkt
	}
	return f
}

func (f forgery) text(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf(`{"form":%s,"key":%s,"principal":%s,"proof":%s,"schema":"kest-binding/1"}`,
		quoted(f.form), quoted(b64(f.session)), quoted(f.principal), quoted(f.jws(t)))
}

func (f forgery) jws(t testing.TB) string {
	t.Helper()
	header := fmt.Sprintf(`{"alg":%s`, quoted(f.alg))
	if f.kid != "" {
		header += `,"kid":` + quoted(f.kid)
	}
	if f.typ != "" {
		header += `,"typ":` + quoted(f.typ)
	}
	if f.chain != nil {
		x5c := []string{}
		for _, c := range f.chain {
			x5c = append(x5c, base64.StdEncoding.EncodeToString(c.Raw))
		}
		header += `,"x5c":` + quoted(x5c)
	}
	header += f.header + "}"
	payload := f.payload
	if payload == "" && f.form != lineage.FormJWT && f.form != lineage.FormOIDC {
		payload = fmt.Sprintf(`{"cnf":{"jkt":%s},"exp":%s,"nbf":%s,"sub":%s%s}`, quoted(f.jkt), f.exp, f.nbf, quoted(f.sub), f.claims)
	} else if payload == "" {
		payload = fmt.Sprintf(`{"sub":%s, "iss":%s, "aud":%s, "iat":%s, "exp":%s%s}`, quoted(f.sub), quoted(f.iss), quoted(f.aud), f.nbf, f.exp, f.claims)
	}
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	signature := signJOSE(t, f.alg, f.signer, input)
	if f.raw != nil {
		signature = f.raw(signature)
	}
	return input + "." + b64(signature)
}

func quoted(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

// reason is the BindingReason of an error, which must be typed and have a text that a log can take.
func reason(t testing.TB, err error) lineage.BindingReason {
	t.Helper()
	var b *lineage.BindingError
	if !errors.As(err, &b) || !errors.Is(err, lineage.ErrBinding) {
		t.Fatalf("%v is not a *BindingError", err)
	}
	if text := err.Error(); len(text) > 1500 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
		t.Errorf("error text %q", text)
	}
	return b.Reason
}

// check parses and verifies text in the middle of its hour.
func (p *platform) check(text string) (*lineage.BoundKey, error) {
	b, err := lineage.ParseBinding(text)
	if err != nil {
		return nil, err
	}
	return b.Verify(begin.Add(30*time.Minute), time.Minute, p.roots)
}
