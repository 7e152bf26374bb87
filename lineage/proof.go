package lineage

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
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
	signed     func() (input string, signature []byte) // a closure, as in [KeyBinding]
	issuer     string                                  // tokens
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
	input := strings.Clone(jws[:len(header)+1+len(payload)]) // jws is part of the document
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
	last, err := decodeSegment(nil, "signature", signature)
	p.signed = func() (string, []byte) { return input, last }
	return p, err
}

func (p *proof) header(raw []byte) error {
	doc, err := jcs.Parse(raw, jcs.Options{MaxBytes: maxBindingBytes, MaxDepth: 4})
	if err != nil {
		return err
	}
	r := reader{}
	r.want("header", doc, jcs.Object)
	p.algorithm = strings.Clone(r.maybe(doc, "alg"))
	p.keyID = strings.Clone(r.maybe(doc, "kid"))
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
	switch p.form {
	case FormJWT:
		types = []string{"", "JWT", "JOSE"} // JWT-SVID §2.3
	case FormOIDC:
		types = []string{"", "JWT", "at+jwt"} // RFC 7519 §5.1, RFC 9068 §2.1
	case FormX509, FormKMS, FormSelf:
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
		c, err := parseCertificate(r.string(name, v))
		if r.err != nil {
			return r.err
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		// With one key in many certificates the search for a chain would branch; so it takes 28 signatures at most.
		if slices.ContainsFunc(p.chain, func(o *x509.Certificate) bool {
			return bytes.Equal(o.RawSubjectPublicKeyInfo, c.RawSubjectPublicKeyInfo)
		}) {
			return fmt.Errorf("%s: has the key of a certificate before it", name)
		}
		p.chain = append(p.chain, c)
	}
	return nil
}

// parseCertificate reads an element of "x5c" (RFC 7515 §4.1.6) with a key that [RootKey] allows: crypto/x509 would
// verify with one of 1024 bits, and spend seconds on one of 200,000.
func parseCertificate(text string) (*x509.Certificate, error) {
	der, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // which Go's decoder skips
		return nil, errors.New("not strict base64")
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return c, RootKey{Public: c.PublicKey}.check()
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
	p.subject = strings.Clone(r.maybe(doc, "sub"))
	if p.token() {
		p.issuer = strings.Clone(r.maybe(doc, "iss"))
		p.audience = r.audience(doc)
		p.notBefore = r.date(doc, "nbf")
		if p.notBefore.IsZero() {
			p.notBefore = r.date(doc, "iat")
		}
		p.notAfter = r.date(doc, "exp")
	} else if err := p.statement(&r, doc, raw); err != nil {
		return err
	}
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
	}
	return nil
}

// statement reads the payload of a statement, which our own signers write: canonical, and without anything that a
// reader would have to ignore. A platform's token is as it is.
func (p *proof) statement(r *reader, doc jcs.Value, raw []byte) error {
	if _, err := canonicalDocument(raw, Limits{EntryBytes: maxBindingBytes, Depth: 4}); err != nil {
		return err
	}
	cnf, _ := doc.Get("cnf")
	p.thumbprint = strings.Clone(r.maybe(cnf, "jkt"))
	if len(doc.Members) != len([...]string{"cnf", "exp", "nbf", "sub"}) || len(cnf.Members) != 1 {
		return errors.New("it has members that no statement has, or lacks some")
	}
	begin, _ := doc.Get("nbf")
	end, _ := doc.Get("exp")
	from, to := r.integer("nbf", begin), r.integer("exp", end)
	if r.err != nil {
		return r.err
	}
	p.notBefore, p.notAfter = time.Unix(from, 0), time.Unix(to, 0)
	return checkPeriod(from, to)
}

// maxDate is in the year 36812: later ones are mistakes, such as milliseconds, and would overflow durations.
const maxDate = 1 << 40

// checkPeriod holds the time of a statement, in Unix seconds, to its bounds.
func checkPeriod(from, to int64) error {
	switch {
	case from <= 0 || to > maxDate:
		return errors.New("the statement does not say when it begins and ends, in seconds since 1970")
	case to <= from:
		return errors.New("the statement ends before it begins")
	case to-from > int64(MaxStatement/time.Second):
		return fmt.Errorf("a statement for %d s; at most %s", to-from, MaxStatement)
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
		return []string{strings.Clone(v.Text)}
	}
	list := r.strings("aud", v, 16)
	for i := range list {
		list[i] = strings.Clone(list[i])
	}
	return list
}

// date reads a NumericDate (RFC 7519 §2) in whole seconds. The zero time means that it is not there.
func (r *reader) date(doc jcs.Value, name string) time.Time {
	v, present := doc.Get(name)
	if !present {
		return time.Time{}
	}
	// Some issuers write fractions. With an exponent, what stands before the point would be another number.
	if whole, fraction, _ := strings.Cut(v.Text, "."); v.Kind == jcs.Number && !strings.ContainsAny(fraction, "eE") {
		v.Text = whole
	}
	n := r.integer(name, v)
	if n <= 0 || n > maxDate {
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
	return &BindingError{BindingSignature, clean(fmt.Sprintf("no key %q of %s matches the signature and its alg, %s", clip(p.keyID), clip(of), p.algorithm))}
}

// verify checks the signature with a key whose owner is settled. A key with an algorithm of its own takes no other.
func (p *proof) verify(by RootKey) error {
	if by.Algorithm != "" && by.Algorithm != p.algorithm {
		return &BindingError{BindingSignature, fmt.Sprintf("alg %s, but the key is for %s", p.algorithm, by.Algorithm)}
	}
	if err := (RootKey{Public: by.Public, Algorithm: p.algorithm}).check(); err != nil {
		return &BindingError{BindingSignature, err.Error()}
	}
	if input, signature := p.signed(); !verifyJOSE(p.algorithm, by.Public, []byte(input), signature) {
		return &BindingError{BindingSignature, "it is not by the key that it should be by"}
	}
	return nil
}
