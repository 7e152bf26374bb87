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
	"time"
)

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

func certify(ctx context.Context, s Statement, by StatementKey, form BindingForm) (*KeyBinding, error) {
	alg := by.Algorithm
	if alg == "" {
		alg = algorithmOf(by.Public)
	}
	if err := errors.Join(s.check(), by.check(alg, s.Principal)); err != nil { // before anything is signed
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

func (s Statement) check() error {
	if s.Principal == "" || len(s.Principal) > maxPrincipal {
		return fmt.Errorf("principal of %d bytes; want 1 to %d", len(s.Principal), maxPrincipal)
	}
	return errors.Join(CheckKey(s.Key), checkPeriod(s.NotBefore.Unix(), s.NotAfter.Unix()))
}

// check finds what would make verifiers refuse the statement.
func (k StatementKey) check(alg, principal string) error {
	if k.Sign == nil {
		return errors.New("the platform's key has no Sign function")
	}
	if err := (RootKey{Algorithm: alg, Public: k.Public}).check(); err != nil {
		return err
	}
	if len(k.Chain) == 0 {
		return nil
	}
	if len(k.Chain) > maxChain {
		return fmt.Errorf("a chain of %d certificates; at most %d", len(k.Chain), maxChain)
	}
	if slices.Contains(k.Chain, nil) {
		return errors.New("a certificate of the chain is nil")
	}
	if leaf, ok := k.Chain[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !leaf.Equal(k.Public) {
		return errors.New("the first certificate of the chain is that of another key")
	}
	_, err := checkSVID(k.Chain[0], principal)
	return err
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
