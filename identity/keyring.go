package identity

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	mathrand "math/rand/v2"
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
// it signs; those that Kest itself writes take precedence.
type Labeler interface {
	Labels() map[string]string
}

// Errors of signers that come from a [Keyring]. None of them ever comes with a signature.
var (
	ErrNotReady = errors.New("identity has no credential yet")
	ErrExpired  = errors.New("identity credential has expired")
	ErrRevoked  = errors.New("identity credential was taken away")
)

// MaxSession is the longest time for which one session key is used, whatever its platform credential allows. It is
// below what a store keeps, so a published binding is there as long as its key.
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
func (c *Credential) end() time.Time {
	end := c.Binding.NotAfter()
	if !c.NotAfter.IsZero() && c.NotAfter.Before(end) {
		return c.NotAfter
	}
	return end
}

// A Keyring holds the credentials of a provider that rotates: new entries are signed with the latest, and the bindings
// of earlier ones are kept until they end. It implements [Binder]; providers embed it. The zero value has no credential
// yet. It is safe for concurrent use.
type Keyring struct {
	current atomic.Pointer[ringSigner]

	mu    sync.Mutex
	past  []*ringSigner // and the current one, oldest first
	why   error         // the last failure to get a credential
	ready chan struct{} // closed when there is a credential; made on demand
}

var _ Binder = (*Keyring)(nil)

// ringSigner signs with one credential until it ends or is taken away, also in the hands of those who got it before.
type ringSigner struct {
	Credential
	until   time.Time
	revoked atomic.Pointer[error]
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
	if err := s.revoked.Load(); err != nil {
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
	for _, s := range k.past {
		if s.KeyID() == keyID {
			return s.Credential.Binding
		}
	}
	return nil
}

// Use makes c the credential that new entries are signed with. It refuses one whose binding is about another key or
// principal, one that has ended, and one of another principal than before.
func (k *Keyring) Use(c Credential) error {
	switch {
	case c.Signer == nil || c.Binding == nil:
		return errors.New("credential without signer or binding")
	case c.Binding.KeyID() != c.Signer.KeyID() || c.Binding.Principal() != c.Signer.Principal():
		return errors.New("the binding is not about the key and principal of the signer")
	}
	c.Labels = maps.Clone(c.Labels)
	s := &ringSigner{Credential: c, until: c.end()}
	if err := s.usable(); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if old := k.current.Load(); old != nil && old.Principal() != s.Principal() {
		return fmt.Errorf("the platform now calls this workload %q; it started as %q, and must start again to change that", s.Principal(), old.Principal())
	}
	now := time.Now()
	k.past = slices.DeleteFunc(k.past, func(s *ringSigner) bool { return s.Credential.Binding.NotAfter().Before(now) })
	k.past, k.why = append(k.past, s), nil
	k.current.Store(s)
	if k.ready != nil {
		close(k.ready)
		k.ready = nil
	}
	return nil
}

// Revoke takes every credential away, also from those who hold a signer, because the platform no longer knows the
// workload. cause is told to whoever wants to sign. A later [Keyring.Use] ends it.
func (k *Keyring) Revoke(cause error) {
	err := fmt.Errorf("%w: %w", ErrRevoked, cause)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.past {
		s.revoked.Store(&err)
	}
	k.why = err
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

// A Renewal says how a [Keyring] gets its credentials.
type Renewal struct {
	// Issue makes a credential with a new session key. An error that matches [ErrRevoked] takes the present one away,
	// any other leaves it until its end.
	Issue func(ctx context.Context) (Credential, error)
	// Publish gets the binding of a new key before anything is signed with it, so that verifiers find it. When it
	// fails, the key is not used. nil: nothing is published.
	Publish func(ctx context.Context, b *lineage.KeyBinding) error
	// Wake asks for a new credential ahead of time, as when the platform's own has changed. nil: never.
	Wake <-chan struct{}
	// Timeout bounds one attempt; 0 means 30 s.
	Timeout time.Duration
	// Logger gets one line for every failure; nil means slog.Default.
	Logger *slog.Logger
}

// Pauses of a [Renewal]: at least so long between two attempts, and at most so long after failures.
const (
	minPause = time.Second
	maxPause = 30 * time.Second
)

// Renew gets one credential. It is what [Keyring.Keep] repeats.
func (k *Keyring) Renew(ctx context.Context, r Renewal) error {
	timeout := r.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := r.Issue(ctx)
	if err == nil && r.Publish != nil {
		if err = r.Publish(ctx, c.Binding); err != nil {
			err = fmt.Errorf("publish the binding of the new key: %w", err)
		}
	}
	if err == nil {
		err = k.Use(c)
	}
	switch {
	case err == nil:
	case errors.Is(err, ErrRevoked):
		k.Revoke(err)
	default:
		k.fail(err)
	}
	return err
}

// Keep renews the credential until ctx ends: at half of the time that is left, when woken, and after failures with
// growing pauses. One goroutine calls it; it returns when ctx ends.
func (k *Keyring) Keep(ctx context.Context, r Renewal) {
	logger := r.Logger
	if logger == nil {
		logger = slog.Default()
	}
	pause := k.halfLife()
	for failures := 0; ; {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-r.Wake:
			timer.Stop()
		case <-timer.C:
		}
		if err := k.Renew(ctx, r); err != nil {
			if ctx.Err() != nil {
				return
			}
			logger.WarnContext(ctx, "kest: identity was not renewed", "reason", err, "attempts", failures+1)
			pause = min(minPause<<min(failures, 5), maxPause)
			failures++
			pause += mathrand.N(pause / 2) //nolint:gosec // so that replicas do not come all at once
			continue
		}
		failures, pause = 0, k.halfLife()
	}
}

// halfLife is half of what is left of the credential in use.
func (k *Keyring) halfLife() time.Duration {
	s := k.current.Load()
	if s == nil {
		return 0
	}
	return max(time.Until(s.until)/2, minPause)
}
