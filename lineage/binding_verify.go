package lineage

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ErrBinding is matched by every error that means that a binding proves nothing.
var ErrBinding = errors.New("key binding is not valid")

// A BindingReason classifies why. Its text is stable.
type BindingReason string

// The reasons.
const (
	BindingMalformed BindingReason = "malformed"
	BindingUntrusted BindingReason = "untrusted" // no root stands behind it
	BindingSignature BindingReason = "bad signature"
	BindingTime      BindingReason = "not valid at that time"
)

// A BindingError says why a binding proves nothing. It matches [ErrBinding].
type BindingError struct {
	Reason BindingReason
	Detail string
}

func (e *BindingError) Error() string { return fmt.Sprintf("key binding: %s: %s", e.Reason, e.Detail) }

// Unwrap makes the error match [ErrBinding].
func (e *BindingError) Unwrap() error { return ErrBinding }

func untrusted(format string, args ...any) error {
	return &BindingError{Reason: BindingUntrusted, Detail: clean(fmt.Sprintf(format, args...))}
}

// clean bounds an error text that may repeat what a stranger wrote, in a certificate for example, and leaves out what
// does not print.
func clean(text string) string {
	const most = 500
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// A BoundKey is a session key whose binding was verified.
type BoundKey struct {
	Principal string
	Key       ed25519.PublicKey
	KeyID     string
	Form      BindingForm
	Issuer    string // trust domain, issuer or KMS key behind it; "" for [FormSelf]
	// NotBefore and NotAfter are the time for which proof, certificates and roots all hold.
	NotBefore, NotAfter time.Time
}

// Verify checks the binding against roots as they were, or are, at a time, with that much tolerance for clocks that
// differ. The answer holds for every time between NotBefore and NotAfter of the result. Errors are *[BindingError].
func (b *KeyBinding) Verify(at time.Time, leeway time.Duration, roots *Roots) (*BoundKey, error) {
	if b == nil || b.text == nil {
		return nil, &BindingError{BindingMalformed, "there is no binding"}
	}
	k := &BoundKey{Principal: b.principal, Key: slices.Clone(b.key), KeyID: b.keyID, Form: b.form,
		NotBefore: b.proof.notBefore, NotAfter: b.proof.notAfter}
	for _, c := range b.proof.chain {
		k.within(c)
	}
	at, err := k.clamp(at, leeway)
	if err != nil {
		return nil, err
	}
	switch b.form {
	case FormX509:
		err = b.verifyX509(at, roots, k)
	case FormJWT:
		err = b.verifyJWT(roots, k)
	case FormOIDC:
		err = b.verifyOIDC(roots, k)
	case FormKMS:
		err = b.verifyKMS(roots, k)
	case FormSelf:
		err = b.verifySelf(roots)
	default:
		err = untrusted("form %q is not known", clip(string(b.form)))
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// within narrows the time to that of a certificate.
func (k *BoundKey) within(c *x509.Certificate) {
	if c.NotBefore.After(k.NotBefore) {
		k.NotBefore = c.NotBefore
	}
	if c.NotAfter.Before(k.NotAfter) {
		k.NotAfter = c.NotAfter
	}
}

// clamp moves a time that is outside by no more than leeway to the nearest time at which the binding holds.
func (k *BoundKey) clamp(at time.Time, leeway time.Duration) (time.Time, error) {
	switch {
	case k.NotAfter.Before(k.NotBefore):
		return at, &BindingError{BindingTime, "statement and certificate hold at no common time"}
	case at.Before(k.NotBefore):
		if gap := k.NotBefore.Sub(at); gap > leeway {
			return at, &BindingError{BindingTime, fmt.Sprintf("it begins %s later, at %s; compare the clocks", gap.Round(time.Second), k.NotBefore.UTC().Format(time.RFC3339))}
		}
		return k.NotBefore, nil
	case at.After(k.NotAfter):
		if gap := at.Sub(k.NotAfter); gap > leeway {
			return at, &BindingError{BindingTime, fmt.Sprintf("it ended %s before, at %s", gap.Round(time.Second), k.NotAfter.UTC().Format(time.RFC3339))}
		}
		return k.NotAfter, nil
	}
	return at, nil
}

// Covers reports whether the key may be used at a time, with that much tolerance.
func (k *BoundKey) Covers(at time.Time, leeway time.Duration) bool {
	_, err := k.clamp(at, leeway)
	return err == nil
}

func (b *KeyBinding) verifyX509(at time.Time, roots *Roots, k *BoundKey) error {
	leaf := b.proof.chain[0]
	domain, err := checkSVID(leaf, b.principal)
	if err != nil {
		return err
	}
	trusted := roots.domain(domain)
	if trusted == nil || trusted.pool == nil {
		return untrusted("no X.509 root of trust domain %q is known", clip(domain))
	}
	others := x509.NewCertPool()
	for _, c := range b.proof.chain[1:] {
		others.AddCert(c)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: trusted.pool, Intermediates: others, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return untrusted("the certificate does not lead to a root of trust domain %q: %v", clip(domain), err)
	}
	for _, c := range chains[0] {
		k.within(c)
	}
	k.Issuer = domain
	return b.proof.verify(RootKey{Public: leaf.PublicKey})
}

// checkSVID holds a leaf to the X.509-SVID profile: one URI name, which is a SPIFFE ID with a path (§2, §5.2), no CA
// (§4.1), and a key usage for signatures (§4.3).
func checkSVID(leaf *x509.Certificate, principal string) (domain string, err error) {
	names := uriNames(leaf)
	switch {
	case len(names) != 1:
		return "", untrusted("the certificate has %d URI names; an X.509-SVID has one", len(names))
	case names[0] != principal:
		return "", untrusted("the certificate is for %q", clip(names[0]))
	case leaf.IsCA || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return "", untrusted("the certificate is that of an authority, not of a workload")
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return "", untrusted("the certificate's key is not for signatures")
	}
	domain, ok := SPIFFEDomain(principal)
	if !ok {
		return "", untrusted("%q is not the SPIFFE ID of a workload", clip(principal))
	}
	return domain, nil
}

// uriNames are the URI names of a certificate (RFC 5280 §4.2.1.6) as they were signed: those of crypto/x509 are parsed,
// and so no longer tell "SPIFFE://example.org/a#" from "spiffe://example.org/a".
func uriNames(c *x509.Certificate) (names []string) {
	for _, e := range c.Extensions {
		if !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			continue
		}
		var all []asn1.RawValue
		if rest, err := asn1.Unmarshal(e.Value, &all); err != nil || len(rest) > 0 {
			return nil
		}
		for _, name := range all {
			if name.Class == asn1.ClassContextSpecific && name.Tag == 6 {
				names = append(names, string(name.Bytes))
			}
		}
	}
	return names
}

func (b *KeyBinding) verifyJWT(roots *Roots, k *BoundKey) error {
	domain, ok := SPIFFEDomain(b.principal)
	if !ok {
		return untrusted("%q is not the SPIFFE ID of a workload", clip(b.principal))
	}
	trusted := roots.domain(domain)
	if trusted == nil || len(trusted.config.JWT) == 0 {
		return untrusted("no JWT authority of trust domain %q is known", clip(domain))
	}
	k.Issuer = domain
	return b.proof.verifyAny(trusted.config.JWT, "trust domain "+domain)
}

func (b *KeyBinding) verifyOIDC(roots *Roots, k *BoundKey) error {
	keys, known := roots.issuer(b.proof.issuer, b.principal)
	if !known {
		return untrusted("issuer %q is not known", clip(b.proof.issuer))
	}
	if len(keys) == 0 {
		return untrusted("issuer %q is not trusted for principal %q", clip(b.proof.issuer), clip(b.principal))
	}
	k.Issuer = b.proof.issuer
	return b.proof.verifyAny(keys, "issuer "+b.proof.issuer)
}

func (b *KeyBinding) verifyKMS(roots *Roots, k *BoundKey) error {
	var keys []RootKey
	for _, root := range roots.kms() {
		if root.Key.ID == b.proof.keyID && matchesAny(root.Principals, b.principal) {
			keys = append(keys, root.Key)
		}
	}
	if len(keys) == 0 {
		return untrusted("no KMS key %q is trusted for principal %q", clip(b.proof.keyID), clip(b.principal))
	}
	k.Issuer = b.proof.keyID
	return b.proof.verifyAny(keys, "KMS")
}

func (b *KeyBinding) verifySelf(roots *Roots) error {
	if !matchesAny(roots.self(), b.principal) {
		return untrusted("nobody vouches for the key of %q, and the principal is not among those that may speak for themselves", clip(b.principal))
	}
	if b.proof.keyID != b.keyID {
		return untrusted("the statement is signed by another key")
	}
	return b.proof.verify(RootKey{ID: b.keyID, Public: b.key})
}
