package lineage

import (
	"context"
	"fmt"
	"time"
)

// A Certifier is a [KeySource] that knows why a key speaks for a principal, and when it did. A [Verifier] whose Keys
// is one asks it about every entry and record, after the signature was checked and also when it was checked before;
// what it answers is in the report.
type Certifier interface {
	// Certify says what stood behind the key when s was made. An error means that nothing did, or that it cannot be
	// shown: the entry is not believed.
	Certify(ctx context.Context, s Signature) (Certificate, error)
}

// A Signature is what a [Certifier] is asked about.
type Signature struct {
	Principal, KeyID string
	Document         Hash  // of the signed document, as [HashJWS] computes it
	SignedMS         int64 // when it was signed by its signer's own word, in Unix milliseconds
}

// A Certificate says what stands behind a key.
type Certificate struct {
	Form      BindingForm `json:"form"`
	Proves    string      `json:"proves"`
	Issuer    string      `json:"issuer,omitempty"`
	NotBefore time.Time   `json:"not_before"`
	NotAfter  time.Time   `json:"not_after"`
	// Time says how it is known that the key was valid when the document was signed.
	Time string `json:"time_evidence"`
}

// Certificate describes the key, with the evidence that it was valid at the time that counts.
func (k *BoundKey) Certificate(evidence string) Certificate {
	return Certificate{Form: k.Form, Proves: k.Form.Proves(), Issuer: k.Issuer, NotBefore: k.NotBefore.UTC(),
		NotAfter: k.NotAfter.UTC(), Time: evidence}
}

// certify asks the key source about an entry whose signature holds.
func (r *run) certify(s *Signed) *VerifyError {
	certifier, ok := r.v.config.Keys.(Certifier)
	if !ok {
		return nil
	}
	c, err := certifier.Certify(r.ctx, s.signature())
	if err != nil {
		return &VerifyError{Reason: Uncertified, EntryID: s.entry.ID, Err: err,
			Detail: fmt.Sprintf("key %q of %q: %v", clip(s.keyID), clip(s.entry.Principal()), err)}
	}
	if r.certificates == nil {
		r.certificates = map[Hash]Certificate{}
	}
	r.certificates[s.hash] = c
	return nil
}

func (s *Signed) signature() Signature {
	return Signature{Principal: s.entry.Principal(), KeyID: s.keyID, Document: s.hash, SignedMS: s.entry.TimestampMS}
}

// certifyPrefix asks about entries that were verified before: what is known about time may have changed since. As
// everywhere, the end of the context is no failure of the lineage.
func (r *run) certifyPrefix() (*VerifyError, error) {
	if _, ok := r.v.config.Keys.(Certifier); !ok {
		return nil, nil
	}
	for i, l := range r.prefix.links() {
		if f := r.certify(l.signed); f != nil {
			f.Index = i
			return f, r.ctx.Err()
		}
	}
	return nil, nil
}

// certifyRecord asks about a receipt or denial whose signature holds.
func (v *Verifier) certifyRecord(ctx context.Context, s Signature) error {
	certifier, ok := v.config.Keys.(Certifier)
	if !ok {
		return nil
	}
	if _, err := certifier.Certify(ctx, s); err != nil {
		return fmt.Errorf("%w: key %q of %q: %w", ErrUnverified, clip(s.KeyID), clip(s.Principal), err)
	}
	return nil
}
