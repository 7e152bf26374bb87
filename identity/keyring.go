package identity

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kest-go/kest/lineage"
)

// A Binder is a [Provider] whose keys are certified by a platform (SPEC §4, F-ID-04). Verifiers learn its keys from the
// bindings; see package binding.
type Binder interface {
	Provider
	// Binding returns the binding of a key that Signer gave out, also of an earlier one for as long as it holds, and
	// nil when there is none. "" asks for that of the key in use.
	Binding(keyID string) *lineage.KeyBinding
}

// A Labeler is a [lineage.Signer] that knows more about the workload than its name. The labels go into every entry that
// it signs; those of the call and those that Kest itself writes take precedence.
type Labeler interface {
	Labels() map[string]string
}

// Errors of signers that come from a [Keyring]. None of them ever comes with a signature.
var (
	ErrNotReady = errors.New("identity has no credential yet")
	ErrExpired  = errors.New("identity credential has expired")
	ErrRevoked  = errors.New("identity credential was taken away")
)

// MaxSession is the longest time for which a [Keyring] uses one session key, whatever its platform credential allows.
// It is below what a store keeps, so a published binding is there as long as its key.
const MaxSession = 12 * time.Hour

// NewSessionKey makes an ephemeral Ed25519 key for a principal (F-ID-04). The private half lives in the signer, in
// memory, and cannot be read back.
func NewSessionKey(principal string) (ed25519.PublicKey, lineage.Signer, error) {
	if err := ValidatePrincipal(principal); err != nil {
		return nil, nil, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	signer, err := lineage.NewSigner(principal, private)
	return public, signer, err
}

// A Credential is a session key with what certifies it.
type Credential struct {
	Signer  lineage.Signer
	Binding *lineage.KeyBinding // of the signer's key; its end is the end of the credential
	// NotAfter ends the credential earlier than its binding. The zero time means that nothing does.
	NotAfter time.Time
	Labels   map[string]string
}

// end is when signing stops: sharp, without leeway.
func (c *Credential) end(now time.Time) time.Time {
	end := now.Round(0).Add(MaxSession) // by the wall clock, as the other two: a machine that sleeps does not stop it
	for _, t := range []time.Time{c.Binding.NotAfter(), c.NotAfter} {
		if !t.IsZero() && t.Before(end) {
			end = t
		}
	}
	return end
}

func (c *Credential) check() error {
	switch {
	case c.Signer == nil || c.Binding == nil:
		return errors.New("credential without signer or binding")
	case c.Binding.KeyID() != c.Signer.KeyID() || c.Binding.Principal() != c.Signer.Principal():
		return errors.New("the binding is not about the key and principal of the signer")
	}
	return nil
}

// A Keyring holds the credentials of a provider that rotates: new entries are signed with the latest, and the bindings
// of earlier ones are kept until they end. It implements [Binder]; providers embed it. The zero value has no credential
// yet. It is safe for concurrent use.
type Keyring struct {
	current atomic.Pointer[ringSigner]

	mu    sync.Mutex
	known []*lineage.KeyBinding // of the current key and those before it, oldest first; private keys are not kept
	why   error                 // the last failure to get a credential
	ready chan struct{}         // closed when there is a credential; made on demand
	grant *grant                // of credentials that are asked for now; made on demand
}

// maxKnown bounds the bindings that are kept, whatever their number of days and the pace of rotation.
const maxKnown = 256

// A grant is the platform's consent to all credentials from one revocation to the next. A credential belongs to the
// grant under which it was asked for, so one that was under way during a revocation is taken away with the others.
type grant struct{ revoked atomic.Pointer[error] }

var _ Binder = (*Keyring)(nil)

// ringSigner signs with one credential until it ends or is taken away, also in the hands of those who got it before.
type ringSigner struct {
	Credential
	until time.Time
	grant *grant
}

func (s *ringSigner) Principal() string         { return s.Signer.Principal() }
func (s *ringSigner) KeyID() string             { return s.Signer.KeyID() }
func (s *ringSigner) Labels() map[string]string { return s.Credential.Labels }
func (s *ringSigner) String() string            { return s.Principal() + " (key " + s.KeyID() + ")" }
func (s *ringSigner) GoString() string          { return s.String() }

func (s *ringSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	return s.Signer.Sign(ctx, message)
}

func (s *ringSigner) usable() error {
	if err := s.grant.revoked.Load(); err != nil {
		return *err
	}
	if !time.Now().Before(s.until) {
		return fmt.Errorf("%w: the key of %q ended at %s", ErrExpired, s.Principal(), s.until.UTC().Format(time.RFC3339))
	}
	return nil
}

// Signer implements [Provider]: the latest credential, an error matching [ErrNotReady], [ErrExpired] or [ErrRevoked]
// otherwise, with the reason why there is no newer one.
func (k *Keyring) Signer(ctx context.Context) (lineage.Signer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := k.current.Load()
	if s == nil {
		return nil, k.because(ErrNotReady)
	}
	if err := s.usable(); err != nil {
		return nil, k.because(err)
	}
	return s, nil
}

func (k *Keyring) because(err error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.why == nil || errors.Is(err, k.why) {
		return err
	}
	return fmt.Errorf("%w; the last attempt to get one: %w", err, k.why)
}

// Binding implements [Binder].
func (k *Keyring) Binding(keyID string) *lineage.KeyBinding {
	if s := k.current.Load(); s != nil && (keyID == "" || s.KeyID() == keyID) {
		return s.Credential.Binding
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, b := range k.known {
		if b.KeyID() == keyID {
			return b
		}
	}
	return nil
}

// Use makes c the credential that new entries are signed with. It refuses one whose binding is about another key or
// principal, one that has ended, and one of another principal than before. The caller's map of labels is copied. A
// credential that took time to get is better given to [Keyring.Renew], which notices a revocation in between.
func (k *Keyring) Use(c Credential) error {
	s, err := k.candidate(c, k.asking())
	if err != nil {
		return err
	}
	return k.adopt(s)
}

// asking returns the grant for credentials that are asked for from now on.
func (k *Keyring) asking() *grant {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.grant == nil {
		k.grant = &grant{}
	}
	return k.grant
}

// candidate checks a credential for [Keyring.adopt], which repeats what may have changed since.
func (k *Keyring) candidate(c Credential, g *grant) (*ringSigner, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c.Labels = maps.Clone(c.Labels)
	s := &ringSigner{Credential: c, until: c.end(time.Now()), grant: g}
	return s, k.acceptable(s)
}

func (k *Keyring) acceptable(s *ringSigner) error {
	if old := k.current.Load(); old != nil && old.Principal() != s.Principal() {
		return fmt.Errorf("the platform now calls this workload %q; it started as %q, and must start again to change that", s.Principal(), old.Principal())
	}
	return s.usable()
}

func (k *Keyring) adopt(s *ringSigner) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.acceptable(s); err != nil { // Revoke needs the lock, so it is over, or comes after this
		return err
	}
	now := time.Now()
	k.known = slices.DeleteFunc(k.known, func(b *lineage.KeyBinding) bool { return b.NotAfter().Before(now) })
	k.known = slices.Delete(k.known, 0, max(0, len(k.known)-maxKnown+1))
	k.known, k.why = append(k.known, s.Credential.Binding), nil
	k.current.Store(s)
	if k.ready != nil {
		close(k.ready)
		k.ready = nil
	}
	return nil
}

// Revoke takes every credential away, also from those who hold a signer, because the platform no longer knows the
// workload. cause, which may be nil, is told to whoever wants to sign. A later [Keyring.Use] ends it, and so does a
// [Keyring.Renew] that begins later; one that is under way is refused with an error matching [ErrRevoked].
func (k *Keyring) Revoke(cause error) {
	err := cause
	switch {
	case cause == nil:
		err = ErrRevoked
	case !errors.Is(cause, ErrRevoked):
		err = fmt.Errorf("%w: %w", ErrRevoked, cause)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.grant != nil {
		k.grant.revoked.Store(&err)
	}
	k.grant, k.why = &grant{}, err
}

// fail notes why there is no new credential; the one in use stays until its end.
func (k *Keyring) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.why = err
}

// Wait returns when there is a credential, or the error of ctx with the reason why there is none.
func (k *Keyring) Wait(ctx context.Context) error {
	k.mu.Lock()
	if k.ready == nil {
		k.ready = make(chan struct{})
	}
	ready := k.ready
	if s := k.current.Load(); s != nil && s.usable() == nil {
		k.mu.Unlock()
		return nil
	}
	k.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return k.because(fmt.Errorf("%w: %w", ErrNotReady, ctx.Err()))
	}
}
