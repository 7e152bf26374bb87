package lineage

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

// VerifierConfig says whom and what a [Verifier] believes. Only Keys is required.
type VerifierConfig struct {
	Keys KeySource

	// Authority limits what known principals may do. nil: any of them may begin a lineage, raise trust and remove
	// taints, and reports say so.
	Authority *Authority
	// Trust recomputes scores; nil means [Attenuate]. It must be what the signers use.
	Trust TrustEvaluator
	// Origins are the known source types; the zero value knows the fixed ones.
	Origins Origins
	Limits  Limits

	// Legacy names principals whose entries may lack the labels that semantic checks need (SPEC §15). Their
	// structure, links and signatures are always checked.
	Legacy []string
	// Linear demands that an entry's only parent is the entry before it (F-PA-04).
	Linear bool

	// Batch verifies signatures in bulk; nil means crypto/ed25519, one by one on all cores.
	Batch BatchVerifier
	// CacheBytes bounds the memory for verified entries; 0 means 32 MiB, negative turns the cache off.
	CacheBytes int
}

// A BatchVerifier checks many signatures at once. It sets ok[i] to exactly what
// ed25519.Verify(keys[i], messages[i], signatures[i]) returns; all slices have the same length. It is used with
// public data only and must be safe for concurrent use.
type BatchVerifier interface {
	VerifyBatch(keys []ed25519.PublicKey, messages, signatures [][]byte, ok []bool)
}

// A Verifier turns what came from outside into a [Passport]. It is safe for concurrent use; one Verifier should
// serve a whole process, because it remembers what it verified: checking a passport again, or one that extends
// it, costs only the new entries.
type Verifier struct {
	config VerifierConfig // fixed: what was verified under it is remembered
	cache  *cache

	successor atomic.Pointer[Verifier] // after SetAuthority: the same with another authority, which remembers nothing yet
}

// NewVerifier checks the configuration.
func NewVerifier(c VerifierConfig) (*Verifier, error) {
	var errs []error
	if c.Keys == nil {
		errs = append(errs, errors.New("verifier: Keys is nil; give a KeySource such as ParseKeySet's result"))
	}
	if c.Authority != nil {
		if err := c.Authority.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("verifier: authority: %w", err))
		}
	}
	if slices.Contains(c.Legacy, "") {
		errs = append(errs, errors.New("verifier: empty legacy principal"))
	}
	if c.Authority != nil {
		c.Authority = c.Authority.clone()
	}
	if c.Trust == nil {
		c.Trust = Attenuate{}
	}
	c.Limits = c.Limits.withDefaults()
	c.Legacy = slices.Clone(c.Legacy)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Verifier{config: c, cache: newCache(c.CacheBytes)}, nil
}

// SetAuthority replaces [VerifierConfig.Authority] for verifications that begin from now on; what was verified under the
// one before is verified again. On an error nothing changes. nil allows every known principal everything, as there.
func (v *Verifier) SetAuthority(a *Authority) error {
	c := v.config
	if c.Authority = nil; a != nil {
		if err := a.Validate(); err != nil {
			return fmt.Errorf("verifier: authority: %w", err)
		}
		c.Authority = a.clone()
	}
	v.successor.Store(&Verifier{config: c, cache: newCache(c.CacheBytes)})
	v.cache.drop() // nobody will ask it again; that of an earlier successor goes with it
	return nil
}

// current is the verifier with the authority that is in force.
func (v *Verifier) current() *Verifier {
	if next := v.successor.Load(); next != nil {
		return next
	}
	return v
}

// Verify checks a passport (SPEC §4, F-PA-05/06, §6.2) and returns the first failure, if any, as a *[VerifyError];
// another error means that verification was not completed, for example because ctx ended. The report is never
// nil. Unless the error is nil the returned passport is empty, and nothing may be believed.
func (v *Verifier) Verify(ctx context.Context, u Unverified) (Passport, *Report, error) {
	v = v.current()
	report := &Report{AuthorityUsed: v.config.Authority != nil, TipsCompared: u.Tips != nil, announced: len(u.Entries)}
	if failure := v.checkSize(u); failure != nil {
		report.Failure = failure
		return Passport{}, report, failure
	}
	run := &run{v: v, ctx: ctx, entries: u.Entries}
	if err := run.resume(); err != nil {
		return Passport{}, report, err
	}
	failure, err := run.certifyPrefix()
	if err != nil {
		return Passport{}, report, err
	}
	if failure != nil {
		report.Failure, report.seen = failure, run.all()
		return Passport{}, report, failure
	}
	passport, report, err := run.complete(report, u.Tips)
	if err == nil {
		v.cache.store(passport)
	}
	return passport, report, err
}

// VerifyOnto checks entries that others added to base, a lineage that was signed here or verified before: what a
// callee returns. u holds the new entries alone, and the tips of the whole. The result has base as its prefix. Nothing
// of base is checked again, so its keys need not be known to the key source, and nothing is remembered. Otherwise it
// is as [Verifier.Verify].
func (v *Verifier) VerifyOnto(ctx context.Context, base Passport, u Unverified) (Passport, *Report, error) {
	v = v.current()
	whole := Unverified{Entries: append(base.Entries(), u.Entries...), Tips: u.Tips}
	report := &Report{AuthorityUsed: v.config.Authority != nil, TipsCompared: u.Tips != nil, announced: len(whole.Entries)}
	if failure := v.checkSize(whole); failure != nil {
		report.Failure = failure
		return Passport{}, report, failure
	}
	if err := ctx.Err(); err != nil {
		return Passport{}, report, err
	}
	run := &run{v: v, ctx: ctx, entries: whole.Entries, prefix: base}
	return run.complete(report, u.Tips)
}

// complete verifies what follows the prefix.
func (r *run) complete(report *Report, tips []Hash) (Passport, *Report, error) {
	report.Reused = r.prefix.Len()
	passport, failure, err := r.verify(report)
	if err == nil && failure == nil && tips != nil {
		failure = checkTips(passport, tips)
	}
	if err != nil {
		return Passport{}, report, err
	}
	if failure != nil {
		report.Failure, report.seen = failure, r.all()
		return Passport{}, report, failure
	}
	report.Passport, report.verified, report.certificates = passport, true, r.certificates
	return passport, report, nil
}

func (v *Verifier) checkSize(u Unverified) *VerifyError {
	if len(u.Entries) > v.config.Limits.PassportEntries {
		return &VerifyError{Reason: Limit, Index: -1, Err: ErrLimit,
			Detail: fmt.Sprintf("%d entries, more than the limit of %d", len(u.Entries), v.config.Limits.PassportEntries)}
	}
	size := len("[]")
	if len(u.Entries) > 0 {
		size = len("[") + len(u.Entries)*len(`"",`) // as [Passport.Size]: the last comma is the closing bracket
	}
	for _, jws := range u.Entries {
		size += len(jws)
	}
	if size > v.config.Limits.PassportBytes {
		return &VerifyError{Reason: Limit, Index: -1, Err: ErrLimit,
			Detail: fmt.Sprintf("%d bytes, more than the limit of %d", size, v.config.Limits.PassportBytes)}
	}
	return nil
}

// checkTips compares the leaves with what was announced (§4 step 6): a tail that was cut off, or an entry that
// was put on top, shows here.
func checkTips(p Passport, announced []Hash) *VerifyError {
	want := slices.Clone(announced)
	slices.SortFunc(want, Hash.compare)
	if slices.Equal(want, p.Tips()) {
		return nil
	}
	return &VerifyError{Reason: TipMismatch, Index: -1, Detail: fmt.Sprintf(
		"the passport ends in %s, but %s was announced", shortHashes(p.Tips()), shortHashes(want))}
}

func shortHashes(hashes []Hash) string {
	if len(hashes) == 0 {
		return "nothing"
	}
	var b strings.Builder
	for i, h := range hashes {
		if i == 4 {
			return b.String() + "…"
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(h.String()[:12])
	}
	return b.String()
}

// run is one verification.
type run struct {
	v       *Verifier
	ctx     context.Context
	entries []string

	prefix Passport // verified before, with keys that are still valid
	scans  int      // searches of prefix so far; see indexed

	prefixByHash map[Hash]*Entry // made when prefix is searched often
	prefixIDs    map[string]bool

	seen   []*seenEntry
	byHash map[Hash]*seenEntry // of seen
	ids    map[string]bool     // of seen
	broken *seenEntry          // the entry whose link failed, for the report
	memo   *memo

	certificates map[Hash]Certificate // what stands behind the keys, when the key source knows
}

// seenEntry is an entry after the structural checks.
type seenEntry struct {
	signed    *Signed
	input     []byte
	signature []byte
	keys      []ed25519.PublicKey // candidates; empty once verified
	parents   []*Entry
	skipped   Check
}

// verify runs the checks of all entries and returns the failure with the lowest index; for one entry, that of the
// earliest check. Structure is read first so that no signature is checked of anything after a malformed entry.
func (r *run) verify(report *Report) (Passport, *VerifyError, error) {
	failure := r.read(report)
	if failure == nil {
		failure = r.connected()
	}
	checked := r.seen
	if failure != nil {
		checked = checked[:max(0, failure.Index-r.prefix.Len())]
	}
	earlier, err := r.signatures(checked)
	if err != nil {
		return Passport{}, nil, err
	}
	if earlier != nil {
		failure, checked = earlier, checked[:earlier.Index-r.prefix.Len()]
	}
	for i, s := range checked {
		if err := r.ctx.Err(); err != nil {
			return Passport{}, nil, err
		}
		f := r.certify(s.signed)
		if f == nil {
			f = r.v.semantics(s)
		}
		if err := r.ctx.Err(); f != nil && err != nil {
			return Passport{}, nil, err // the key source was not given the time to answer
		}
		if f != nil {
			f.Index, f.EntryID = r.prefix.Len()+i, s.signed.entry.ID
			return Passport{}, f, nil
		}
	}
	if failure != nil {
		return Passport{}, failure, nil
	}
	passport := r.prefix
	for _, s := range r.seen {
		passport = passport.extend(s.signed, s.skipped)
	}
	return passport, nil, nil
}

// all describes prefix and seen entries for a report about a failure; entries that were never reached appear
// with their hash only.
func (r *run) all() []*seenEntry {
	out := make([]*seenEntry, 0, len(r.entries))
	for _, l := range r.prefix.links() {
		out = append(out, &seenEntry{signed: l.signed, skipped: l.skipped})
	}
	out = append(out, r.seen...)
	if r.broken != nil {
		out = append(out, r.broken)
	}
	for _, jws := range r.entries[len(out):] {
		out = append(out, &seenEntry{signed: &Signed{jws: jws, hash: HashJWS(jws)}})
	}
	return out
}

// read parses and links the entries after the prefix. It stops at the first failure; entries before that one are
// in r.seen.
func (r *run) read(report *Report) *VerifyError {
	fresh := r.entries[r.prefix.Len():]
	if len(fresh) == 0 {
		return nil
	}
	r.seen = make([]*seenEntry, 0, len(fresh))
	r.byHash, r.ids = make(map[Hash]*seenEntry, len(fresh)), make(map[string]bool, len(fresh))
	r.memo = &memo{headers: map[string]string{}}
	for i, jws := range fresh {
		if r.ctx.Err() != nil {
			return nil //nolint:nilerr // signatures, which always follows, reports it
		}
		s, failure := r.structure(jws, report)
		if failure == nil {
			failure = r.link(s)
		}
		if failure != nil {
			failure.Index = r.prefix.Len() + i
			if s != nil {
				failure.EntryID, r.broken = s.signed.entry.ID, s
			}
			return failure
		}
		r.seen = append(r.seen, s)
		r.byHash[s.signed.hash], r.ids[s.signed.entry.ID] = s, true
	}
	return nil
}

// structure is check 1: limits, strict header, strict payload.
func (r *run) structure(jws string, report *Report) (*seenEntry, *VerifyError) {
	if known := r.v.cache.signed(jws); known != nil && r.stillTrusted(known.signer()) {
		report.Reused++
		return r.v.labelled(&seenEntry{signed: known})
	}
	c, err := parseCompact(jws, typEntry, r.v.config.Limits, r.memo)
	if err != nil {
		return nil, malformed(err)
	}
	e, err := decodeEntry(c.payload, r.v.config.Limits)
	if err != nil {
		return nil, malformed(fmt.Errorf("payload: %w", err))
	}
	// The text may be part of a much larger one, which a remembered entry must not keep alive.
	raw := []byte(jws)
	signed := &Signed{jws: string(raw), hash: sha256.Sum256(raw), keyID: c.keyID, entry: e}
	return r.v.labelled(&seenEntry{signed: signed, input: raw[:len(c.input)], signature: c.signature})
}

func malformed(err error) *VerifyError {
	reason := Malformed
	switch {
	case errors.Is(err, errAlgorithm):
		reason = Algorithm
	case errors.Is(err, ErrLimit):
		reason = Limit
	}
	return &VerifyError{Reason: reason, Detail: err.Error(), Err: err}
}

// labelled checks the labels that the semantic checks need, and notes what a legacy principal's entry lacks.
func (v *Verifier) labelled(s *seenEntry) (*seenEntry, *VerifyError) {
	e := s.signed.entry
	legacy := slices.Contains(v.config.Legacy, e.Principal())
	for _, need := range []struct {
		ok            bool
		skipped       Check
		member, fault string
	}{
		{e.unsorted == "", CheckTaintOrder, e.unsorted, "not sorted and unique"},
		{e.SourceType() != "", CheckTrust | CheckRemoval, "labels." + LabelSourceType, "missing"},
		{validTraceID(e.TraceID()), CheckTrace, "labels." + LabelTraceID, "missing or not a W3C trace id"},
	} {
		if need.ok {
			continue
		}
		if !legacy {
			return s, &VerifyError{Reason: Malformed, Detail: "payload: " + need.member + ": " + need.fault}
		}
		s.skipped |= need.skipped
	}
	return s, nil
}
