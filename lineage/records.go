package lineage

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/kest-go/kest/internal/jcs"
)

// Outcome of a protected call's body.
type Outcome string

// The body returned, returned an error, or panicked.
const (
	OutcomeOK    Outcome = "ok"
	OutcomeError Outcome = "error"
	OutcomePanic Outcome = "panic"
)

// A Receipt says how the call of a signed entry ended (SPEC §10). It is a JWS of its own, with typ
// "kest-receipt+jws", signed by the workload that signed the entry.
type Receipt struct {
	EntryHash   Hash
	EntryID     string
	Status      Outcome
	ContentHash string // hash of the result's canonical JSON; "" when it was not or could not be hashed
	ErrorType   string // Go type of the error that the body returned, never its text; "" otherwise
	StartedMS   int64  // Unix milliseconds
	EndedMS     int64
	Tips        []Hash // leaves of the call's lineage when it ended
}

// SignReceipt signs r.
func SignReceipt(ctx context.Context, s Signer, r Receipt, l Limits) (string, error) {
	tips := slices.Clone(r.Tips)
	slices.SortFunc(tips, Hash.compare)
	r.Tips, l = tips, l.withDefaults()
	if err := r.validate(l); err != nil {
		return "", fmt.Errorf("receipt: %w", err)
	}
	jws, err := signCompact(ctx, s, typReceipt, l, nil, r.appendJSON)
	if err != nil {
		return "", fmt.Errorf("sign receipt: %w", err)
	}
	return jws, nil
}

func (r Receipt) appendJSON(dst []byte) ([]byte, error) {
	w := writer{buf: dst}
	w.member(`{"content_hash":`, r.ContentHash)
	w.integer(`,"ended_ms":`, r.EndedMS)
	w.raw(`,"entry_hash":"`)
	w.buf = r.EntryHash.appendHex(w.buf)
	w.member(`","entry_id":`, r.EntryID)
	w.member(`,"error_type":`, r.ErrorType)
	w.integer(`,"started_ms":`, r.StartedMS)
	w.member(`,"status":`, string(r.Status))
	w.raw(`,"tips":`)
	w.hashes(r.Tips)
	w.raw("}")
	return w.buf, w.err
}

func (r Receipt) validate(l Limits) error {
	switch {
	case !validID(r.EntryID):
		return fmt.Errorf("entry_id: %q is not a lower-case UUID v7", clip(r.EntryID))
	case r.Status != OutcomeOK && r.Status != OutcomeError && r.Status != OutcomePanic:
		return fmt.Errorf("status: %q is none of ok, error, panic", clip(string(r.Status)))
	case !validDigest(r.ContentHash):
		return errors.New(`content_hash: want 64 lower-case hex digits or ""`)
	case r.StartedMS < 0 || r.EndedMS < 0 || max(r.StartedMS, r.EndedMS) > 1<<53-1:
		return errors.New("started_ms, ended_ms: outside 0…2^53-1")
	case len(r.Tips) == 0:
		return errors.New("tips: empty; the call's own entry is a tip at least")
	case len(r.Tips) > l.PassportEntries:
		return fmt.Errorf("tips: %d items, more than the limit of %d: %w", len(r.Tips), l.PassportEntries, ErrLimit)
	}
	return nil
}

// VerifyReceipt checks a receipt against the verified entry that it belongs to: its signature by a key of the
// entry's principal, and the entry's hash and id in it. Errors match [ErrUnverified].
func (v *Verifier) VerifyReceipt(ctx context.Context, jws string, entry *Signed) (Receipt, error) {
	c, err := parseCompact(jws, typReceipt, v.config.Limits, nil)
	if err != nil {
		return Receipt{}, fmt.Errorf("receipt: %w: %w", ErrUnverified, err)
	}
	if err := v.signedBy(ctx, entry.entry.Principal(), c); err != nil { // nothing is read of what is not
		return Receipt{}, fmt.Errorf("receipt: %w", err)
	}
	r, err := readReceipt(c.payload, v.config.Limits)
	if err != nil {
		return Receipt{}, fmt.Errorf("receipt: %w: %w", ErrUnverified, err)
	}
	return v.receiptOf(ctx, jws, c, r, entry)
}

// VerifyReceiptIn is [Verifier.VerifyReceipt] for the entry of p that the receipt names.
func (v *Verifier) VerifyReceiptIn(ctx context.Context, jws string, p Passport) (Receipt, error) {
	c, err := parseCompact(jws, typReceipt, v.config.Limits, nil)
	if err != nil {
		return Receipt{}, fmt.Errorf("receipt: %w: %w", ErrUnverified, err)
	}
	r, err := readReceipt(c.payload, v.config.Limits)
	if err != nil {
		return Receipt{}, fmt.Errorf("receipt: %w: %w", ErrUnverified, err)
	}
	entry := p.Find(r.EntryHash)
	if entry == nil {
		return Receipt{}, fmt.Errorf("receipt: %w: entry %s, which it names, is not in the passport", ErrUnverified, r.EntryHash)
	}
	if err := v.signedBy(ctx, entry.entry.Principal(), c); err != nil {
		return Receipt{}, fmt.Errorf("receipt: %w", err)
	}
	return v.receiptOf(ctx, jws, c, r, entry)
}

// receiptOf checks what is left of a receipt whose signature holds: that it is the entry's, and its key certified.
func (v *Verifier) receiptOf(ctx context.Context, jws string, c compact, r Receipt, entry *Signed) (Receipt, error) {
	if r.EntryHash != entry.hash || r.EntryID != entry.entry.ID {
		return Receipt{}, fmt.Errorf("receipt: %w: it belongs to entry %s", ErrUnverified, r.EntryHash)
	}
	if err := v.certifyRecord(ctx, Signature{entry.entry.Principal(), c.keyID, HashJWS(jws), r.EndedMS}); err != nil {
		return Receipt{}, fmt.Errorf("receipt: %w", err)
	}
	return r, nil
}

func readReceipt(payload []byte, l Limits) (Receipt, error) {
	doc, err := canonicalDocument(payload, l)
	if err != nil {
		return Receipt{}, fmt.Errorf("payload: %w", err)
	}
	rd := reader{limits: l}
	get := func(name string) jcs.Value { v, _ := doc.Get(name); return v }
	text := func(name string) string { return rd.string(name, get(name)) }
	hash := func(name string, v jcs.Value) Hash {
		h, err := ParseHash(rd.string(name, v))
		if err != nil {
			rd.fail(name, "%v", err)
		}
		return h
	}
	r := Receipt{
		EntryHash: hash("entry_hash", get("entry_hash")), EntryID: text("entry_id"), Status: Outcome(text("status")),
		ContentHash: text("content_hash"), ErrorType: text("error_type"),
		StartedMS: rd.integer("started_ms", get("started_ms")), EndedMS: rd.integer("ended_ms", get("ended_ms")),
	}
	for _, tip := range rd.elems("tips", get("tips"), l.PassportEntries) {
		r.Tips = append(r.Tips, hash("tips", tip))
	}
	if rd.err == nil {
		rd.err = r.validate(l)
	}
	return r, rd.err
}

// signedBy reports whether a key of principal signed a document that is not part of a passport.
func (v *Verifier) signedBy(ctx context.Context, principal string, c compact) error {
	key, err := signingKey(ctx, v.config.Keys, "", principal, c)
	if err == nil && key == nil {
		err = fmt.Errorf("%w: no key of %q matches the signature", ErrUnverified, clip(principal))
	}
	return err
}

// signingKey finds the key of principal that made the signature of c, nil when none of them did. Errors match
// [ErrUnverified]; kind stands before the name in them.
func signingKey(ctx context.Context, source KeySource, kind, principal string, c compact) (ed25519.PublicKey, error) {
	keys, err := source.Keys(ctx, principal, c.keyID)
	if err != nil {
		return nil, fmt.Errorf("%w: keys of %s%q: %w", ErrUnverified, kind, clip(principal), err)
	}
	if len(keys) > maxKeys {
		return nil, fmt.Errorf("%w: %d keys match; at most %d are tried: %w", ErrUnverified, len(keys), maxKeys, ErrLimit)
	}
	i := slices.IndexFunc(keys, func(key ed25519.PublicKey) bool {
		return CheckKey(key) == nil && ed25519.Verify(key, []byte(c.input), c.signature)
	})
	if i < 0 {
		return nil, nil //nolint:nilnil // no key is an answer, which the caller has words for
	}
	return keys[i], nil
}

// A Denial records a refused call: the entry as it would have been signed, and what refused it (SPEC §7). It is a
// JWS with typ "kest-denial+jws" and never part of a passport.
type Denial struct {
	Entry  Entry
	Policy string
	Tier   string
	Reason string // what the engine said, or why it could not decide
}

// SignDenial signs d. Its entry's principal must be the signer's.
func SignDenial(ctx context.Context, s Signer, d Denial, l Limits) (string, error) {
	l = l.withDefaults()
	d.Entry.Parents = slices.Clone(d.Entry.Parents)
	slices.SortFunc(d.Entry.Parents, Hash.compare)
	inner := l
	inner.Depth-- // the record is one level around the entry
	if err := signable(s, &d.Entry, inner); err != nil {
		return "", fmt.Errorf("denial: entry %w", err)
	}
	jws, err := signCompact(ctx, s, typDenial, l, nil, func(dst []byte) ([]byte, error) {
		w := writer{buf: dst}
		w.member(`{"denied_policy":`, d.Policy)
		w.member(`,"denied_tier":`, d.Tier)
		w.raw(`,"entry":`)
		if w.err != nil {
			return w.buf, w.err
		}
		buf, err := appendEntry(w.buf, &d.Entry)
		w.buf, w.err = buf, err
		w.member(`,"reason":`, d.Reason)
		w.raw("}")
		return w.buf, w.err
	})
	if err != nil {
		return "", fmt.Errorf("sign denial: %w", err)
	}
	return jws, nil
}

// VerifyDenial checks a denial record by the keys of the principal that its entry names. Errors match
// [ErrUnverified]. It proves who refused what, when; it says nothing about the parents that the entry names.
func (v *Verifier) VerifyDenial(ctx context.Context, jws string) (Denial, error) {
	c, err := parseCompact(jws, typDenial, v.config.Limits, nil)
	if err != nil {
		return Denial{}, fmt.Errorf("denial: %w: %w", ErrUnverified, err)
	}
	d, err := readDenial(c.payload, v.config.Limits)
	if err != nil {
		return Denial{}, fmt.Errorf("denial: %w: payload: %w", ErrUnverified, err)
	}
	if _, failure := v.labelled(&seenEntry{signed: &Signed{entry: &d.Entry}}); failure != nil {
		return Denial{}, fmt.Errorf("denial: %w: %s", ErrUnverified, failure.Detail)
	}
	if err := v.signedBy(ctx, d.Entry.Principal(), c); err != nil {
		return Denial{}, fmt.Errorf("denial: %w", err)
	}
	if err := v.certifyRecord(ctx, Signature{d.Entry.Principal(), c.keyID, HashJWS(jws), d.Entry.TimestampMS}); err != nil {
		return Denial{}, fmt.Errorf("denial: %w", err)
	}
	return d, nil
}

func readDenial(payload []byte, l Limits) (Denial, error) {
	doc, err := canonicalDocument(payload, l)
	if err != nil {
		return Denial{}, err
	}
	r := reader{limits: l}
	get := func(name string) jcs.Value { v, _ := doc.Get(name); return v }
	d := Denial{
		Policy: r.string("denied_policy", get("denied_policy")), Tier: r.string("denied_tier", get("denied_tier")),
		Reason: r.string("reason", get("reason")),
	}
	e, err := readEntry(get("entry"), l)
	if r.err != nil || err != nil {
		return Denial{}, errors.Join(r.err, err)
	}
	d.Entry = *e
	return d, nil
}
