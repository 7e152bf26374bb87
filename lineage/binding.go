package lineage

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kest-go/kest/internal/jcs"
)

// A BindingForm says what certifies the session key of a [KeyBinding].
type BindingForm string

// The forms. Their texts are stable.
const (
	FormX509 BindingForm = "x509-svid" // a statement signed by the key of an X.509-SVID, with its chain
	FormJWT  BindingForm = "jwt-svid"  // a JWT-SVID whose audience names the key
	FormKMS  BindingForm = "kms"       // a statement signed by a key in a key management service
	FormOIDC BindingForm = "oidc"      // a token of an OpenID provider whose audience names the key
	FormSelf BindingForm = "self"      // a statement signed by the session key itself: nobody vouches for it
)

// Proves says in words what a binding of the form shows once it is verified, for reports.
func (f BindingForm) Proves() string {
	switch f {
	case FormX509:
		return "the holder of the workload's X.509-SVID certified this key"
	case FormJWT, FormOIDC:
		return "the platform issued a token for this key to whoever asked as this workload"
	case FormKMS:
		return "whoever may sign with the workload's KMS key certified this key"
	case FormSelf:
		return "nothing but the workload's own word"
	}
	return "nothing"
}

// BindingAudience is the audience that a platform's token must name, alone, to certify the key with a thumbprint
// (SPEC §4).
func BindingAudience(keyID string) string { return "kest-key:" + keyID }

// Bounds of a binding, in bytes and certificates, and of the time that a statement may cover.
const (
	maxBindingBytes = 48 << 10
	maxChain        = 8
	// MaxStatement is the longest time that a statement may be valid. An X.509-SVID and a token have their own ends;
	// a KMS key and a session key know none.
	MaxStatement = 24 * time.Hour
)

const (
	bindingSchema = "kest-binding/1"
	typStatement  = "kest-key-statement+jws"
)

// A KeyBinding says that a platform credential stands behind an ephemeral Ed25519 key, the session key with which a
// workload signs entries (SPEC §4, F-ID-04). Parsed but not verified, it says nothing: [KeyBinding.Verify] checks it
// against [Roots]. It needs no protection on its way, so it may lie in a store that nobody trusts, travel with a request
// and be archived with the records that it explains.
//
// The document is canonical JSON:
//
//	{"form":"x509-svid","key":"<Ed25519 public key, base64url>","principal":"spiffe://example.org/payments",
//	 "proof":"<compact JWS>","schema":"kest-binding/1"}
//
// The proof is one of two. A statement has typ "kest-key-statement+jws", the signature algorithm of the platform's key,
// its chain as "x5c" (RFC 7515 §4.1.6) or its "kid", and the payload {"cnf":{"jkt":<RFC 7638 thumbprint of the session
// key>},"exp":…,"nbf":…,"sub":<principal>}, in seconds (RFC 7800 §3.1, RFC 9449 §6.1). A token is a JWT of the platform
// whose only audience is "kest-key:" and the thumbprint: it is a bearer token, so it proves that the workload asked, no
// more.
//
// A KeyBinding is immutable and safe for concurrent use.
type KeyBinding struct {
	text      string
	form      BindingForm
	principal string
	key       ed25519.PublicKey
	keyID     string
	proof     proof
}

// A Statement is what a platform's key says about a session key.
type Statement struct {
	Principal           string
	Key                 ed25519.PublicKey
	NotBefore, NotAfter time.Time // whole seconds; at most [MaxStatement] apart
}

// A StatementKey is the platform's key that signs a statement.
type StatementKey struct {
	Public crypto.PublicKey // RSA of at least 2048 bits, ECDSA on P-256, P-384 or P-521, or Ed25519
	// Algorithm is the JWS "alg"; "" means the one that belongs to Public, which is RS256 for RSA.
	Algorithm string
	Chain     []*x509.Certificate // of an X.509-SVID, the leaf first
	ID        string              // of a KMS key, as in [KMSRoot]
	// Sign returns the signature over input, which it must hash itself: ASN.1 for ECDSA, as crypto.Signer and KMS do.
	Sign func(ctx context.Context, input []byte) ([]byte, error)
}

// Certify has a platform's key sign a statement. The signature is verified before it is used. The form of the binding
// is [FormX509] when the key has a chain and else [FormKMS].
func Certify(ctx context.Context, s Statement, by StatementKey) (*KeyBinding, error) {
	form := FormKMS
	if len(by.Chain) > 0 {
		form = FormX509
	}
	return certify(ctx, s, by, form)
}

// CertifySelf makes the binding that a workload without a platform has: its session key speaks for itself. Verifiers
// believe it only for principals that [RootsConfig.Self] names.
func CertifySelf(ctx context.Context, s Statement, signer Signer) (*KeyBinding, error) {
	if signer.KeyID() != Thumbprint(s.Key) || signer.Principal() != s.Principal {
		return nil, errors.New("binding: the signer is not the one that the statement is about")
	}
	return certify(ctx, s, StatementKey{Public: s.Key, ID: signer.KeyID(), Sign: signer.Sign}, FormSelf)
}

// CertifyToken makes a binding of a platform's token. The form is [FormJWT] or [FormOIDC]; principal is the SPIFFE ID,
// or what [OIDCPrincipal] returns.
func CertifyToken(form BindingForm, principal string, key ed25519.PublicKey, token string) (*KeyBinding, error) {
	return assemble(form, principal, key, token)
}

// OIDCPrincipal is the principal of a workload that an OpenID provider knows: the issuer, which has no fragment
// (OpenID Connect Discovery §4.1), "#", and the subject.
func OIDCPrincipal(issuer, subject string) string { return issuer + "#" + subject }

func certify(ctx context.Context, s Statement, by StatementKey, form BindingForm) (*KeyBinding, error) {
	alg := by.Algorithm
	if alg == "" {
		alg = algorithmOf(by.Public)
	}
	key := RootKey{ID: by.ID, Algorithm: alg, Public: by.Public}
	if err := key.check(); err != nil {
		return nil, fmt.Errorf("binding: %w", err)
	}
	input, err := s.input(alg, by)
	if err != nil {
		return nil, fmt.Errorf("binding: %w", err)
	}
	signature, err := by.Sign(ctx, []byte(input))
	if err != nil {
		return nil, fmt.Errorf("binding: sign statement: %w", err)
	}
	if signature, err = joseSignature(alg, by.Public, signature); err != nil {
		return nil, fmt.Errorf("binding: %w", err)
	}
	if !verifyJOSE(alg, by.Public, []byte(input), signature) { // a key service that lies, or signed with another key
		return nil, errors.New("binding: the signature of the statement does not verify with the key that should have made it")
	}
	return assemble(form, s.Principal, s.Key, input+"."+strict.EncodeToString(signature))
}

// input is the header and the payload of a statement, as they are signed.
func (s Statement) input(alg string, by StatementKey) (string, error) {
	w := writer{}
	w.member(`{"alg":`, alg)
	if len(by.Chain) > 0 {
		var chain []string
		for _, c := range by.Chain {
			chain = append(chain, base64.StdEncoding.EncodeToString(c.Raw)) // RFC 7515 §4.1.6: not base64url
		}
		w.member(`,"typ":`, typStatement)
		w.raw(`,"x5c":`)
		w.strings(chain)
	} else {
		w.member(`,"kid":`, by.ID)
		w.member(`,"typ":`, typStatement)
	}
	w.raw("}")
	header := strict.EncodeToString(w.buf)
	w.buf = w.buf[:0]
	w.member(`{"cnf":{"jkt":`, Thumbprint(s.Key))
	w.integer(`},"exp":`, s.NotAfter.Unix())
	w.integer(`,"nbf":`, s.NotBefore.Unix())
	w.member(`,"sub":`, s.Principal)
	w.raw("}")
	return header + "." + strict.EncodeToString(w.buf), w.err
}

// assemble writes the document and reads it back, so that nothing is published that would not be read.
func assemble(form BindingForm, principal string, key ed25519.PublicKey, proof string) (*KeyBinding, error) {
	w := writer{}
	w.member(`{"form":`, string(form))
	w.member(`,"key":`, strict.EncodeToString(key))
	w.member(`,"principal":`, principal)
	w.member(`,"proof":`, proof)
	w.member(`,"schema":`, bindingSchema)
	w.raw("}")
	if w.err != nil {
		return nil, fmt.Errorf("binding: %w", w.err)
	}
	return ParseBinding(string(w.buf))
}

// ParseBinding reads a binding strictly and bounds it, before any signature is looked at: canonical JSON of at most
// 48 KiB, at most 8 certificates, and a proof that names the same principal and key as the document. Errors match
// [ErrBinding]. The result is what somebody claims.
func ParseBinding(text string) (*KeyBinding, error) {
	b, err := parseBinding(text)
	if err != nil {
		return nil, &BindingError{Reason: BindingMalformed, Detail: err.Error()}
	}
	return b, nil
}

func parseBinding(text string) (*KeyBinding, error) {
	if len(text) > maxBindingBytes {
		return nil, fmt.Errorf("%d bytes, more than the limit of %d", len(text), maxBindingBytes)
	}
	doc, err := canonicalDocument([]byte(text), Limits{EntryBytes: maxBindingBytes, Depth: 4})
	if err != nil {
		return nil, err
	}
	r := reader{limits: Limits{}.withDefaults()}
	if !r.want("binding", doc, jcs.Object) {
		return nil, r.err
	}
	if schema := r.maybe(doc, "schema"); r.err == nil && schema != bindingSchema {
		return nil, fmt.Errorf("schema %q; want %q", clip(schema), bindingSchema)
	}
	b := &KeyBinding{text: strings.Clone(text), form: BindingForm(r.maybe(doc, "form")), principal: r.maybe(doc, "principal")}
	key, jws := r.maybe(doc, "key"), r.maybe(doc, "proof")
	switch {
	case r.err != nil:
		return nil, r.err
	case len(doc.Members) != len([...]string{"form", "key", "principal", "proof", "schema"}):
		return nil, errors.New("it has members that no binding has")
	case b.principal == "" || len(b.principal) > maxPrincipal:
		return nil, fmt.Errorf("principal of %d bytes; want 1 to %d", len(b.principal), maxPrincipal)
	}
	if b.key, err = decodeSegment(nil, "key", key); err != nil {
		return nil, err
	}
	if err := CheckKey(b.key); err != nil {
		return nil, err
	}
	b.keyID = Thumbprint(b.key)
	if b.proof, err = parseProof(jws, b.form); err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	return b, b.consistent()
}

// maxPrincipal is that of identity.ValidatePrincipal and of SPIFFE IDs (SPIFFE-ID §2.4), and some room for an issuer.
const maxPrincipal = 4096

// consistent compares what the document says with what its proof says. Nothing outside the proof counts: a proof for
// another principal or key is not this binding's.
func (b *KeyBinding) consistent() error {
	p := &b.proof
	want := b.principal
	if p.token() {
		if len(p.audience) != 1 || p.audience[0] != BindingAudience(b.keyID) {
			return errors.New("the only audience of the token is not that of this key")
		}
		if b.form == FormOIDC {
			if strings.Contains(p.issuer, "#") {
				return errors.New("the token's issuer has a fragment")
			}
			if want != OIDCPrincipal(p.issuer, p.subject) {
				return errors.New("the token is not about this principal")
			}
			return nil
		}
	} else if p.thumbprint != b.keyID {
		return errors.New("the statement is about another key")
	}
	if p.subject != want {
		return errors.New("the proof is about another principal")
	}
	return nil
}

// Text is the document, as [ParseBinding] reads it.
func (b *KeyBinding) Text() string { return b.text }

// Form is what the binding claims to be certified by.
func (b *KeyBinding) Form() BindingForm { return b.form }

// Principal is whom the binding claims to be about.
func (b *KeyBinding) Principal() string { return b.principal }

// KeyID is the RFC 7638 thumbprint of the session key.
func (b *KeyBinding) KeyID() string { return b.keyID }

// NotAfter is the end that the proof claims: of the statement, or of the token.
func (b *KeyBinding) NotAfter() time.Time { return b.proof.notAfter }

// Issuer is the issuer of an OIDC token as claimed, and ProofKeyID the "kid" of the key that should verify the proof:
// what a source of [Roots] needs to know in order to look for that key. Both are "" for other forms.
func (b *KeyBinding) Issuer() string { return b.proof.issuer }

// ProofKeyID is described at [KeyBinding.Issuer].
func (b *KeyBinding) ProofKeyID() string { return b.proof.keyID }

// String names the key and the principal. It never shows the proof, which may be a token.
func (b *KeyBinding) String() string {
	return fmt.Sprintf("%s binding of key %s to %s", b.form, b.keyID, clip(b.principal))
}

// GoString is String, so that %#v shows no token either.
func (b *KeyBinding) GoString() string { return b.String() }

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
	return &BindingError{Reason: BindingUntrusted, Detail: fmt.Sprintf(format, args...)}
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
	k := &BoundKey{Principal: b.principal, Key: slices.Clone(b.key), KeyID: b.keyID, Form: b.form,
		NotBefore: b.proof.notBefore, NotAfter: b.proof.notAfter}
	if len(b.proof.chain) > 0 {
		k.within(b.proof.chain[0])
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
	switch {
	case len(leaf.URIs) != 1:
		return "", untrusted("the certificate has %d URI names; an X.509-SVID has one", len(leaf.URIs))
	case leaf.URIs[0].String() != principal:
		return "", untrusted("the certificate is for %q", clip(leaf.URIs[0].String()))
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
	trusted, known := roots.issuer(b.proof.issuer)
	if !known {
		return untrusted("issuer %q is not known", clip(b.proof.issuer))
	}
	if !matchesAny(trusted.Principals, b.principal) {
		return untrusted("issuer %q is not trusted for principal %q", clip(b.proof.issuer), clip(b.principal))
	}
	k.Issuer = b.proof.issuer
	return b.proof.verifyAny(trusted.Keys, "issuer "+b.proof.issuer)
}

func (b *KeyBinding) verifyKMS(roots *Roots, k *BoundKey) error {
	for _, root := range roots.kms() {
		if root.Key.ID != b.proof.keyID || !matchesAny(root.Principals, b.principal) {
			continue
		}
		k.Issuer = root.Key.ID
		return b.proof.verify(root.Key)
	}
	return untrusted("no KMS key %q is trusted for principal %q", clip(b.proof.keyID), clip(b.principal))
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
