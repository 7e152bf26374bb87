package binding

import (
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
	verified map[*lineage.KeyBinding]*lineage.BoundKey
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
	c.Leeway = or(c.Leeway, defaultLeeway)
	return &AuditSource{config: c, archive: a, verified: map[*lineage.KeyBinding]*lineage.BoundKey{}}, nil
}

// Keys implements [lineage.KeySource]: a key counts here when its binding held at any time. Whether it did when something
// was signed is what [AuditSource.Certify] answers, which a [lineage.Verifier] always asks.
func (s *AuditSource) Keys(_ context.Context, principal, keyID string) ([]ed25519.PublicKey, error) {
	bindings, _ := s.about(keyID)
	for _, b := range bindings {
		if b.Principal() != principal {
			continue
		}
		if k, err := s.verify(b, time.Time{}); err == nil {
			return []ed25519.PublicKey{k.Key}, nil
		}
	}
	return nil, nil
}

// about is what the archive says about a key.
func (s *AuditSource) about(keyID string) ([]*lineage.KeyBinding, *lineage.Roots) {
	s.archive.mu.Lock()
	defer s.archive.mu.Unlock()
	return s.archive.bindings[keyID], s.archive.roots
}

// verify checks a binding at a time of its own, its end, or at the given one.
func (s *AuditSource) verify(b *lineage.KeyBinding, at time.Time) (*lineage.BoundKey, error) {
	s.mu.Lock()
	k := s.verified[b]
	s.mu.Unlock()
	if k != nil {
		return k, nil
	}
	_, roots := s.about(b.KeyID())
	var errs []error
	for _, t := range []time.Time{at, b.NotAfter()} { // an intermediate may end in between
		if t.IsZero() {
			continue
		}
		k, err := b.Verify(t, s.config.Leeway, roots)
		if err == nil {
			s.mu.Lock()
			s.verified[b] = k
			s.mu.Unlock()
			return k, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// Certify implements [lineage.Certifier].
func (s *AuditSource) Certify(_ context.Context, sig lineage.Signature) (lineage.Certificate, error) {
	signed := time.UnixMilli(sig.SignedMS)
	s.archive.mu.Lock()
	ms, observed := s.archive.observed[sig.Document]
	s.archive.mu.Unlock()
	if !observed && s.config.RequireObserved {
		return lineage.Certificate{}, errors.New("the archive did not note when it was first seen")
	}
	seen := time.UnixMilli(ms)
	if observed && seen.Before(signed.Add(-s.config.Leeway)) {
		return lineage.Certificate{}, fmt.Errorf("it was seen at %s, before it says that it was signed, at %s", stamp(seen), stamp(signed))
	}
	bindings, _ := s.about(sig.KeyID)
	err := errors.New("the archive has no binding of the key for the principal")
	for _, b := range bindings {
		if b.Principal() != sig.Principal {
			continue
		}
		var k *lineage.BoundKey
		if k, err = s.verify(b, signed); err != nil {
			continue
		}
		switch {
		case !k.Covers(signed, s.config.Leeway):
			err = fmt.Errorf("it was signed at %s, and the key was valid from %s to %s", stamp(signed), stamp(k.NotBefore), stamp(k.NotAfter))
		case observed && !k.Covers(seen, s.config.Leeway):
			err = fmt.Errorf("it was first seen at %s, after the key had ended at %s: whoever held the key could have dated it back", stamp(seen), stamp(k.NotAfter))
		case observed:
			return k.Certificate(EvidenceObserved), nil
		default:
			return k.Certificate(EvidenceSigner), nil
		}
	}
	return lineage.Certificate{}, err
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
