package lineage

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
)

// Signed is an entry together with its signature. It exists only as the result of [Sign] or of a successful
// verification, and it is immutable.
type Signed struct {
	jws   string
	hash  Hash
	keyID string
	entry *Entry

	key ed25519.PublicKey // that the signature was verified with; nil for an entry signed here
}

// JWS is the compact serialisation.
func (s *Signed) JWS() string { return s.jws }

// Hash identifies the signed entry.
func (s *Signed) Hash() Hash { return s.hash }

// KeyID is the "kid" of the protected header.
func (s *Signed) KeyID() string { return s.keyID }

// Entry is the content. Its slices and maps are shared with the passport: do not modify them.
func (s *Signed) Entry() Entry { return *s.entry }

// Sign encodes e canonically and signs it with s (SPEC §3, F-ID-03). The entry must be complete: sorted lists, a
// principal label equal to the signer's principal, a trace id, and a source type. Parents may come in any order.
// The result refers to e's slices and maps, which must not be modified afterwards.
//
// Errors of the signer are returned wrapped; nothing is ever produced without a signature.
func Sign(ctx context.Context, s Signer, e Entry, l Limits) (*Signed, error) {
	l = l.withDefaults()
	e.Parents = slices.Clone(e.Parents)
	slices.SortFunc(e.Parents, Hash.compare)
	if err := signable(s, &e, l); err != nil {
		return nil, fmt.Errorf("entry %w", err)
	}
	signed := &Signed{keyID: s.KeyID(), entry: &e}
	jws, err := signCompact(ctx, s, typEntry, l, &signed.hash, func(dst []byte) ([]byte, error) { return appendEntry(dst, &e) })
	if err != nil {
		return nil, fmt.Errorf("sign entry: %w", err)
	}
	signed.jws = jws
	return signed, nil
}

func signable(s Signer, e *Entry, l Limits) error {
	if err := e.validate(l); err != nil {
		return err
	}
	switch {
	case e.Extra != "":
		return fmt.Errorf("extra members: cannot be signed")
	case e.unsortedTaints() != "":
		return fmt.Errorf("%s: not sorted and unique", e.unsortedTaints())
	case e.Principal() != s.Principal():
		return fmt.Errorf("labels.principal: %q is not the signer, %q", clip(e.Principal()), clip(s.Principal()))
	case !validTraceID(e.TraceID()):
		return fmt.Errorf("labels.trace_id: %q is not a W3C trace id", clip(e.TraceID()))
	case e.SourceType() == "":
		return fmt.Errorf("labels.%s: missing", LabelSourceType)
	case !ascending(e.Parents, Hash.compare): // sorted by the caller of signable
		return fmt.Errorf("parent_ids: duplicate parent")
	case len(e.Parents) > l.PassportEntries:
		return fmt.Errorf("parent_ids: %d items, more than the limit of %d: %w", len(e.Parents), l.PassportEntries, ErrLimit)
	}
	e.unsorted = "" // set when e was read from an entry of a legacy principal and has been put in order since
	for _, o := range []struct {
		member string
		object Object
	}{{"environment", e.Environment}, {"otel_context", e.OTelContext}} {
		if err := o.object.check(l); err != nil {
			return fmt.Errorf("%s: %w", o.member, err)
		}
	}
	return nil
}
