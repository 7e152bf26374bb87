package lineage

import (
	"crypto/ed25519"
	"errors"
	"fmt"
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
// A KeyBinding is immutable and safe for concurrent use. [ParseBinding], [Certify] and their like make them; the zero
// value is not one, and proves nothing.
type KeyBinding struct {
	text      func() string // a closure, where no formatting verb finds the token that it may hold
	form      BindingForm
	principal string
	key       ed25519.PublicKey
	keyID     string
	proof     proof
}

// OIDCPrincipal is the principal of a workload that an OpenID provider knows: the issuer, which has no fragment
// (OpenID Connect Discovery §4.1), "#", and the subject.
func OIDCPrincipal(issuer, subject string) string { return issuer + "#" + subject }

// ParseBinding reads a binding strictly and bounds it, before any signature is looked at: canonical JSON of at most
// 48 KiB, at most 8 certificates, and a proof that names the same principal and key as the document. Errors match
// [ErrBinding]. The result is what somebody claims.
func ParseBinding(text string) (*KeyBinding, error) {
	b, err := parseBinding(text)
	if err != nil {
		return nil, &BindingError{Reason: BindingMalformed, Detail: clean(err.Error())}
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
	// What is kept is cloned: parts of text, or of what was read from it, would keep all of it alive.
	kept := strings.Clone(text)
	b := &KeyBinding{text: func() string { return kept }, form: BindingForm(strings.Clone(r.maybe(doc, "form"))),
		principal: strings.Clone(r.maybe(doc, "principal"))}
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
func (b *KeyBinding) Text() string { return b.text() }

// Form is what the binding claims to be certified by.
func (b *KeyBinding) Form() BindingForm { return b.form }

// Principal is whom the binding claims to be about.
func (b *KeyBinding) Principal() string { return b.principal }

// KeyID is the RFC 7638 thumbprint of the session key.
func (b *KeyBinding) KeyID() string { return b.keyID }

// NotAfter is the end that the proof claims: of the statement, or of the token.
func (b *KeyBinding) NotAfter() time.Time { return b.proof.notAfter }

// Period is the time for which the proof and the certificates that came with it hold together, as claimed: whatever the
// roots, [KeyBinding.Verify] says no outside of it, but for the leeway.
func (b *KeyBinding) Period() (from, to time.Time) {
	k := BoundKey{NotBefore: b.proof.notBefore, NotAfter: b.proof.notAfter}
	for _, c := range b.proof.chain {
		k.within(c)
	}
	return k.NotBefore, k.NotAfter
}

// Issuer is the issuer of an OIDC token as claimed, and ProofKeyID the "kid" of the key that should verify the proof:
// what a source of [Roots] needs to know in order to look for that key. Both are "" for other forms.
func (b *KeyBinding) Issuer() string { return b.proof.issuer }

// ProofKeyID is described at [KeyBinding.Issuer].
func (b *KeyBinding) ProofKeyID() string { return b.proof.keyID }

// String names the key and the principal, in one line whatever that is. It never shows the proof, which may be a token.
func (b *KeyBinding) String() string {
	return fmt.Sprintf("%s binding of key %s to %s", b.form, b.keyID, clean(clip(b.principal)))
}

// GoString is String, so that %#v shows no token either.
func (b *KeyBinding) GoString() string { return b.String() }
