package lineage

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.Hash.New
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/kest-go/kest/internal/jcs"
)

// proof is the JWS inside a binding: a statement, or a token of a platform. Here, and nowhere else in this package, a
// signature may have another algorithm than Ed25519.
type proof struct {
	form       BindingForm
	algorithm  string
	keyID      string
	chain      []*x509.Certificate
	input      string
	signature  []byte
	issuer     string // tokens
	subject    string
	audience   []string // tokens
	thumbprint string   // statements

	notBefore, notAfter time.Time
}

func (p *proof) token() bool { return p.form == FormJWT || p.form == FormOIDC }

// parseProof reads header and claims. The algorithm is one of a fixed list; whether it suits the key is decided when
// the key is known, which never comes from the header alone: x5c must lead to a root.
func parseProof(jws string, form BindingForm) (proof, error) {
	p := proof{form: form}
	header, rest, ok1 := strings.Cut(jws, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok1 || !ok2 || strings.Contains(signature, ".") {
		return p, errors.New("not a compact JWS of three parts")
	}
	p.input = strings.Clone(jws[:len(header)+1+len(payload)])
	raw, err := decodeSegment(nil, "header", header)
	if err != nil {
		return p, err
	}
	if err := p.header(raw); err != nil {
		return p, fmt.Errorf("header: %w", err)
	}
	if raw, err = decodeSegment(nil, "payload", payload); err != nil {
		return p, err
	}
	if err := p.claims(raw); err != nil {
		return p, fmt.Errorf("payload: %w", err)
	}
	p.signature, err = decodeSegment(nil, "signature", signature)
	return p, err
}

func (p *proof) header(raw []byte) error {
	doc, err := jcs.Parse(raw, jcs.Options{MaxBytes: maxBindingBytes, MaxDepth: 4})
	if err != nil {
		return err
	}
	r := reader{}
	r.want("header", doc, jcs.Object)
	p.algorithm = r.maybe(doc, "alg")
	p.keyID = r.maybe(doc, "kid")
	typ := r.maybe(doc, "typ")
	if r.err != nil {
		return r.err
	}
	if _, known := algorithms[p.algorithm]; !known {
		return fmt.Errorf("alg %q is not one that signs bindings", clip(p.algorithm))
	}
	for _, name := range []string{"crit", "b64", "jwk", "jku", "x5u", "zip", "enc"} {
		if _, present := doc.Get(name); present {
			return fmt.Errorf("member %q is not allowed", name)
		}
	}
	types := []string{typStatement}
	if p.token() {
		types = []string{"", "JWT", "JOSE", "at+jwt"} // JWT-SVID §2.3, RFC 9068 §2.1
	}
	if !slices.Contains(types, typ) {
		return fmt.Errorf("typ %q is not that of a %s proof", clip(typ), p.form)
	}
	if len(p.keyID) > maxKeyID {
		return fmt.Errorf("kid of %d bytes; at most %d", len(p.keyID), maxKeyID)
	}
	return p.certificates(doc)
}

// certificates reads the chain of a [FormX509] statement. In other forms a chain means nothing and is ignored, as
// OpenID providers are free to send one.
func (p *proof) certificates(doc jcs.Value) error {
	switch p.form {
	case FormX509:
	case FormKMS, FormSelf, FormJWT, FormOIDC:
		if p.keyID == "" {
			return errors.New("kid is missing")
		}
		return nil
	default:
		return fmt.Errorf("form %q is not known", clip(string(p.form)))
	}
	r := reader{}
	x5c, _ := doc.Get("x5c")
	elems := r.elems("x5c", x5c, maxChain)
	if r.err != nil {
		return r.err
	}
	if len(elems) == 0 {
		return errors.New("x5c is empty")
	}
	for i, v := range elems {
		name := fmt.Sprintf("x5c[%d]", i)
		text := r.string(name, v)
		der, err := base64.StdEncoding.Strict().DecodeString(text)
		if r.err != nil || err != nil || strings.ContainsAny(text, "\r\n") {
			return fmt.Errorf("%s: not strict base64", name)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		p.chain = append(p.chain, c)
	}
	return nil
}

func (p *proof) claims(raw []byte) error {
	options := jcs.Options{MaxBytes: maxBindingBytes, MaxDepth: 16}
	doc, err := jcs.Parse(raw, options)
	if err != nil {
		return err
	}
	r := reader{}
	if !r.want("payload", doc, jcs.Object) {
		return r.err
	}
	p.subject = r.maybe(doc, "sub")
	if p.token() {
		p.issuer = r.maybe(doc, "iss")
		p.audience = r.audience(doc)
		p.notBefore = r.date(doc, "nbf")
		if p.notBefore.IsZero() {
			p.notBefore = r.date(doc, "iat")
		}
	} else {
		if _, err = canonicalDocument(raw, Limits{EntryBytes: maxBindingBytes, Depth: 4}); err != nil {
			return err // what our own signers write; a platform's token is as it is
		}
		cnf, _ := doc.Get("cnf")
		p.thumbprint = r.maybe(cnf, "jkt")
		p.notBefore = r.date(doc, "nbf")
	}
	p.notAfter = r.date(doc, "exp")
	switch {
	case r.err != nil:
		return r.err
	case p.subject == "":
		return errors.New("sub is missing")
	case p.form == FormOIDC && p.issuer == "":
		return errors.New("iss is missing")
	case p.notBefore.IsZero() || p.notAfter.IsZero():
		return errors.New("it does not say when it begins and ends (nbf or iat, exp)")
	case !p.notBefore.Before(p.notAfter):
		return errors.New("it ends before it begins")
	case !p.token() && p.notAfter.Sub(p.notBefore) > MaxStatement:
		return fmt.Errorf("a statement for %s; at most %s", p.notAfter.Sub(p.notBefore), MaxStatement)
	}
	return nil
}

// maybe reads an optional string.
func (r *reader) maybe(doc jcs.Value, name string) string {
	v, present := doc.Get(name)
	if !present {
		return ""
	}
	return r.string(name, v)
}

// audience reads "aud", one string or a list (RFC 7519 §4.1.3).
func (r *reader) audience(doc jcs.Value) []string {
	v, _ := doc.Get("aud")
	if v.Kind == jcs.String {
		return []string{v.Text}
	}
	return r.strings("aud", v, 16)
}

// date reads a NumericDate (RFC 7519 §2) in whole seconds. The zero time means that it is not there.
func (r *reader) date(doc jcs.Value, name string) time.Time {
	v, present := doc.Get(name)
	if !present {
		return time.Time{}
	}
	if whole, _, _ := strings.Cut(v.Text, "."); v.Kind == jcs.Number {
		v.Text = whole // some issuers write fractions
	}
	n := r.integer(name, v)
	if n <= 0 || n > 1<<40 {
		r.fail(name, "%d is not a date", n)
		return time.Time{}
	}
	return time.Unix(n, 0)
}

// verifyAny looks for the key that the proof names among those of an authority.
func (p *proof) verifyAny(keys []RootKey, of string) error {
	found := false
	for _, k := range keys {
		if k.ID != p.keyID {
			continue
		}
		found = true
		if p.verify(k) == nil {
			return nil
		}
	}
	if !found {
		return untrusted("%s has no key %q", clip(of), clip(p.keyID))
	}
	return &BindingError{BindingSignature, "no key of " + clip(of) + " matches the signature"}
}

// verify checks the signature with a key whose owner is settled. A key with an algorithm of its own takes no other.
func (p *proof) verify(by RootKey) error {
	if by.Algorithm != "" && by.Algorithm != p.algorithm {
		return &BindingError{BindingSignature, fmt.Sprintf("alg %s, but the key is for %s", p.algorithm, by.Algorithm)}
	}
	if err := (RootKey{Public: by.Public, Algorithm: p.algorithm}).check(); err != nil {
		return &BindingError{BindingSignature, err.Error()}
	}
	if !verifyJOSE(p.algorithm, by.Public, []byte(p.input), p.signature) {
		return &BindingError{BindingSignature, "it is not by the key that it should be by"}
	}
	return nil
}

// algorithm is how a JWS "alg" signs (RFC 7518 §3, RFC 8037, RFC 9864). There is no "none" and no HMAC here, so no
// header can ask for them.
type algorithm struct {
	family string // "EC", "RSA", "RSA-PSS", "Ed25519"
	hash   crypto.Hash
	curve  elliptic.Curve
}

var algorithms = map[string]algorithm{
	"ES256": {"EC", crypto.SHA256, elliptic.P256()}, "ES384": {"EC", crypto.SHA384, elliptic.P384()}, "ES512": {"EC", crypto.SHA512, elliptic.P521()},
	"RS256": {"RSA", crypto.SHA256, nil}, "RS384": {"RSA", crypto.SHA384, nil}, "RS512": {"RSA", crypto.SHA512, nil},
	"PS256": {"RSA-PSS", crypto.SHA256, nil}, "PS384": {"RSA-PSS", crypto.SHA384, nil}, "PS512": {"RSA-PSS", crypto.SHA512, nil},
	"EdDSA": {"Ed25519", 0, nil}, "Ed25519": {"Ed25519", 0, nil},
}

// algorithmOf is the usual one for a key, "" when there is none.
func algorithmOf(key crypto.PublicKey) string {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		for name, a := range algorithms {
			if a.curve != nil && a.curve == k.Curve {
				return name
			}
		}
	case *rsa.PublicKey:
		return "RS256"
	case ed25519.PublicKey:
		return "EdDSA"
	}
	return ""
}

// verifyJOSE checks a signature in the form of RFC 7518 by a key that passed [RootKey.check] with the algorithm.
func verifyJOSE(alg string, key crypto.PublicKey, input, signature []byte) bool {
	a := algorithms[alg]
	var digest []byte
	if a.hash != 0 {
		h := a.hash.New()
		h.Write(input)
		digest = h.Sum(nil)
	}
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		size := (k.Curve.Params().BitSize + 7) / 8 // RFC 7518 §3.4: R and S, each of that many bytes
		if len(signature) != 2*size {
			return false
		}
		return ecdsa.Verify(k, digest, new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:]))
	case *rsa.PublicKey:
		if a.family == "RSA-PSS" { // RFC 7518 §3.5: the salt is as long as the hash
			return rsa.VerifyPSS(k, a.hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(k, a.hash, digest, signature) == nil
	case ed25519.PublicKey:
		return len(signature) == ed25519.SignatureSize && ed25519.Verify(k, input, signature)
	}
	return false
}

// joseSignature turns the ASN.1 of an ECDSA signature, which crypto.Signer and key services return, into R and S.
func joseSignature(alg string, key crypto.PublicKey, signature []byte) ([]byte, error) {
	k, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return signature, nil
	}
	var rs struct{ R, S *big.Int }
	size := (k.Curve.Params().BitSize + 7) / 8
	rest, err := asn1.Unmarshal(signature, &rs)
	if err != nil || len(rest) > 0 || rs.R.Sign() <= 0 || rs.S.Sign() <= 0 || rs.R.BitLen() > 8*size || rs.S.BitLen() > 8*size {
		return nil, fmt.Errorf("the %s signature is not in ASN.1 form", alg)
	}
	out := make([]byte, 2*size)
	rs.R.FillBytes(out[:size])
	rs.S.FillBytes(out[size:])
	return out, nil
}
