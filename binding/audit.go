package binding

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kest-go/kest/lineage"
)

// Evidence of the time at which something was signed, as reports give it.
const (
	EvidenceSigner   = "when its signer says that it signed; nobody else saw it then"
	EvidenceObserved = "when the archive first saw what it signed"
)

// AuditConfig says how an [AuditSource] judges.
type AuditConfig struct {
	// RequireObserved refuses what the archive did not note in time. Without it the signer's own timestamp counts where
	// there is nothing better, and the report says so.
	RequireObserved bool
	// Leeway is the tolerance for clocks that differ; 0 means 30 s, at most 5 min.
	Leeway time.Duration
}

// An AuditSource is the key source of audits: a key counts for what was signed while its binding and its roots held,
// however long ago. It implements [lineage.KeySource] and [lineage.Certifier] and is safe for concurrent use. It is not
// for live traffic, where timestamps prove nothing (NF-SEC-05).
//
// A signature's time is judged by the best evidence there is. Without an observation that is its signer's word, so
// whoever steals a session key can date an entry back into the time of the key. With one, the entry must have been seen
// before the key ended, and not before it says that it was signed.
type AuditSource struct {
	config  AuditConfig
	archive *Archive

	mu       sync.Mutex
	verdicts map[*lineage.KeyBinding]verdict // of bindings in the archive, so there are no more than there
}

// verdict is what a binding proves under some roots: a key, with the time for which that was seen to hold.
type verdict struct {
	roots *lineage.Roots
	key   *lineage.BoundKey
	err   error
}

var (
	_ lineage.KeySource = (*AuditSource)(nil)
	_ lineage.Certifier = (*AuditSource)(nil)
)

// Source makes the key source of an audit. What is added to the archive later counts too.
func (a *Archive) Source(c AuditConfig) (*AuditSource, error) {
	if c.Leeway < 0 || c.Leeway > maxLeeway {
		return nil, fmt.Errorf("archive: Leeway of %s; want 0 to %s", c.Leeway, maxLeeway)
	}
	c.Leeway = cmp.Or(c.Leeway, defaultLeeway)
	return &AuditSource{config: c, archive: a, verdicts: map[*lineage.KeyBinding]verdict{}}, nil
}

// Keys implements [lineage.KeySource]: a key counts here when its binding held at any time. Whether it did when something
// was signed is what [AuditSource.Certify] answers, which a [lineage.Verifier] always asks.
func (s *AuditSource) Keys(_ context.Context, principal, keyID string) ([]ed25519.PublicKey, error) {
	bindings, roots := s.archive.about(claim{principal, keyID})
	for _, b := range bindings {
		if k, err := s.ever(b, roots); err == nil {
			return []ed25519.PublicKey{k.Key}, nil
		}
	}
	return nil, nil
}

// about is what the archive says about a key of a principal.
func (a *Archive) about(c claim) ([]*lineage.KeyBinding, *lineage.Roots) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bindings[c], a.roots // only ever appended to
}

// ever verifies a binding at its end or, as a root may have ended before it, at its beginning: once under the same roots.
func (s *AuditSource) ever(b *lineage.KeyBinding, roots *lineage.Roots) (*lineage.BoundKey, error) {
	s.mu.Lock()
	v, there := s.verdicts[b]
	s.mu.Unlock()
	if there && v.roots == roots {
		return v.key, v.err
	}
	from, to := b.Period()
	key, err := b.Verify(to, 0, roots)
	if err != nil {
		key, err = b.Verify(from, 0, roots)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verdicts[b] = verdict{roots, key, err}
	return key, err
}

// held verifies a binding at a time. What [AuditSource.ever] found answers that, but where the roots changed within the
// time of the binding.
func (s *AuditSource) held(b *lineage.KeyBinding, roots *lineage.Roots, at time.Time) (*lineage.BoundKey, error) {
	k, err := s.ever(b, roots)
	if err != nil || k.Covers(at, s.config.Leeway) {
		return k, err
	}
	return b.Verify(at, s.config.Leeway, roots)
}

// Certify implements [lineage.Certifier].
func (s *AuditSource) Certify(_ context.Context, sig lineage.Signature) (lineage.Certificate, error) {
	signed := time.UnixMilli(sig.SignedMS)
	seen, observed := s.archive.seen(sig.Document)
	switch {
	case !observed && s.config.RequireObserved:
		return lineage.Certificate{}, errors.New("the archive did not note when it was first seen")
	case observed && seen.Before(signed.Add(-s.config.Leeway)):
		return lineage.Certificate{}, fmt.Errorf("it was seen at %s, before it says that it was signed, at %s", stamp(seen), stamp(signed))
	}
	bindings, roots := s.archive.about(claim{sig.Principal, sig.KeyID})
	late, fault := false, errors.New("the archive has no binding of the key for the principal")
	for _, b := range bindings { // one of them has to cover all
		k, err := s.held(b, roots, signed)
		if err != nil {
			if !late { // which says more, whatever else somebody put into the archive
				fault = fmt.Errorf("it was signed at %s: %w", stamp(signed), err)
			}
			continue
		}
		if !observed {
			return k.Certificate(EvidenceSigner), nil
		}
		if k, err = s.held(b, roots, seen); err == nil {
			return k.Certificate(EvidenceObserved), nil
		}
		late, fault = true, fmt.Errorf("it was first seen at %s, and whoever held the key could have dated it back: %w", stamp(seen), err)
	}
	return lineage.Certificate{}, fault
}

func (a *Archive) seen(document lineage.Hash) (time.Time, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ms, observed := a.observed[document]
	return time.UnixMilli(ms), observed
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
