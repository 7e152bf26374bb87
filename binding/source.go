package binding

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/store"
)

// Config says whom a [Source] believes and where it looks. Only Roots is required.
type Config struct {
	// Roots say who may certify keys: *lineage.Roots, or a provider that follows those of its platform.
	Roots lineage.RootSource

	// Store keeps the bindings that workloads publish. nil: only those that came along with a request and Own are known.
	Store store.Store
	// Own is this process's provider, whose keys are known without looking anywhere. nil: none.
	Own identity.Binder
	// Static knows keys that were configured by hand. They count beside those that bindings certify. nil: none.
	Static lineage.KeySource

	// Leeway is the tolerance for clocks that differ; 0 means 30 s, at most 5 min.
	Leeway time.Duration
	// MaxKeys bounds the keys that are remembered, and those that are known to be missing; 0 means 10,000.
	MaxKeys int
	// FetchTimeout bounds one look into the store; 0 means 2 s.
	FetchTimeout time.Duration
	// NegativeTTL is how long a key that was not found is not looked for again; 0 means 5 s.
	NegativeTTL time.Duration
	// FetchRate is how many unknown keys may be looked for in a second, twice as many at once; 0 means 50. Beyond it the
	// answer is an error: strangers must not make a verifier flood its store.
	FetchRate int

	// OnVerified is told of every binding that was verified for the first time, to archive it. It must not block.
	OnVerified func(*lineage.KeyBinding)
	// Logger gets a line for bindings that prove nothing; nil means slog.Default.
	Logger *slog.Logger
}

const (
	defaultLeeway   = 30 * time.Second
	maxLeeway       = 5 * time.Minute
	defaultMaxKeys  = 10_000
	defaultTimeout  = 2 * time.Second
	defaultNegative = 5 * time.Second
	defaultRate     = 50
)

// MaxOffered is how many bindings of one request are looked at, and how many are sent along with one; MaxOfferedBytes
// bounds them together.
const (
	MaxOffered      = 8
	MaxOfferedBytes = 16 << 10
)

// A Source is the key source of live traffic: a key counts while its binding and its roots hold. It implements
// [lineage.KeySource] and [lineage.Certifier] and is safe for concurrent use. One source should serve a whole process.
type Source struct {
	config Config
	rate   rate

	mu      sync.RWMutex
	known   map[claim]*known
	missing map[string]time.Time
	flights map[string]*flight
}

// A claim is that a key speaks for a principal. A platform certifies any key for whoever asks, also one that they do not
// hold, so what is known of one principal must not stand in the way of another.
type claim struct{ principal, keyID string }

var (
	_ lineage.KeySource = (*Source)(nil)
	_ lineage.Certifier = (*Source)(nil)
)

// known is a binding that was verified under some roots.
type known struct {
	binding *lineage.KeyBinding
	key     *lineage.BoundKey
	keys    []ed25519.PublicKey // the one key, as Keys returns it
	roots   *lineage.Roots
}

// New checks the configuration and reports everything that is wrong with it.
func New(c Config) (*Source, error) {
	var problems []error
	problem := func(wrong bool, text string) {
		if wrong {
			problems = append(problems, errors.New("binding: "+text))
		}
	}
	problem(c.Roots == nil, "Roots is nil; give *lineage.Roots or a provider that has them")
	problem(c.Leeway < 0 || c.Leeway > maxLeeway, fmt.Sprintf("Leeway of %s; want 0 to %s", c.Leeway, maxLeeway))
	problem(c.MaxKeys < 0, "MaxKeys is negative")
	problem(c.FetchTimeout < 0, "FetchTimeout is negative")
	problem(c.NegativeTTL < 0, "NegativeTTL is negative")
	problem(c.FetchRate < 0, "FetchRate is negative")
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	c.Leeway = or(c.Leeway, defaultLeeway)
	c.MaxKeys = or(c.MaxKeys, defaultMaxKeys)
	c.FetchTimeout = or(c.FetchTimeout, defaultTimeout)
	c.NegativeTTL = or(c.NegativeTTL, defaultNegative)
	c.FetchRate = or(c.FetchRate, defaultRate)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return &Source{
		config: c, rate: rate{perSecond: float64(c.FetchRate), tokens: 2 * float64(c.FetchRate)},
		known: map[claim]*known{}, missing: map[string]time.Time{}, flights: map[string]*flight{},
	}, nil
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// Keys implements [lineage.KeySource]. Keys that a binding certifies are found by their thumbprint only.
func (s *Source) Keys(ctx context.Context, principal, keyID string) ([]ed25519.PublicKey, error) {
	k, err := s.find(ctx, principal, keyID)
	if err != nil {
		return nil, err
	}
	if s.config.Static == nil {
		if k == nil {
			return nil, nil
		}
		return k.keys, nil
	}
	keys, err := s.config.Static.Keys(ctx, principal, keyID)
	if err != nil || k == nil {
		return keys, err
	}
	return append(keys[:len(keys):len(keys)], k.keys...), nil
}

// Certify implements [lineage.Certifier].
func (s *Source) Certify(ctx context.Context, sig lineage.Signature) (lineage.Certificate, error) {
	k, err := s.find(ctx, sig.Principal, sig.KeyID)
	if err != nil {
		return lineage.Certificate{}, err
	}
	if k != nil {
		return k.key.Certificate("now, by the verifier's clock"), nil
	}
	if s.config.Static != nil {
		keys, err := s.config.Static.Keys(ctx, sig.Principal, sig.KeyID)
		if err == nil && len(keys) > 0 {
			return lineage.Certificate{Form: Configured, Proves: "whoever configured the verifier vouches for this key", Time: "for as long as it is configured"}, nil
		}
	}
	return lineage.Certificate{}, errors.New("nothing certifies the key any more")
}

// Configured is the form that reports give keys without a binding.
const Configured lineage.BindingForm = "configured"

// find returns what is known about a key, now. nil: nothing certifies it for the principal.
func (s *Source) find(ctx context.Context, principal, keyID string) (*known, error) {
	if !isKeyID(keyID) {
		return nil, nil
	}
	roots, err := s.config.Roots.Roots(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("trust roots: %w", err)
	}
	now := time.Now()
	s.mu.RLock()
	k := s.known[claim{principal, keyID}]
	s.mu.RUnlock()
	if k != nil && k.roots == roots && k.key.Covers(now, s.config.Leeway) {
		return k, nil
	}
	if k != nil { // other roots, or its time is over
		again, err := s.verify(ctx, k.binding, now)
		if again != nil || err != nil {
			return again, err
		}
		s.forget(k)
	}
	if k, err := s.offered(ctx, principal, keyID, now); k != nil || err != nil {
		return k, err
	}
	if s.config.Own != nil {
		if b := s.config.Own.Binding(keyID); b != nil && b.Principal() == principal {
			return s.verify(ctx, b, now)
		}
	}
	if s.config.Store == nil {
		return nil, nil
	}
	k, err = s.lookUp(ctx, keyID, now)
	return k.of(principal), err
}

// of is k when it speaks for the principal.
func (k *known) of(principal string) *known {
	if k == nil || k.key.Principal != principal {
		return nil
	}
	return k
}

// offered looks at what came along with the request. It may be anything, so only what claims to be about this key and
// principal costs a signature check, and nothing but what holds is remembered.
func (s *Source) offered(ctx context.Context, principal, keyID string, now time.Time) (*known, error) {
	offers := lineage.Offered(ctx)
	for _, text := range offers[:min(len(offers), MaxOffered)] {
		b, err := lineage.ParseBinding(text)
		if err != nil || b.KeyID() != keyID || b.Principal() != principal {
			continue
		}
		if k, err := s.verify(ctx, b, now); k != nil || err != nil {
			return k, err
		}
	}
	return nil, nil
}

// verify checks a binding against the roots of the moment and remembers it when it holds. nil: it does not.
func (s *Source) verify(ctx context.Context, b *lineage.KeyBinding, now time.Time) (*known, error) {
	roots, err := s.config.Roots.Roots(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("trust roots: %w", err)
	}
	key, err := b.Verify(now, s.config.Leeway, roots)
	if err != nil {
		// Debug, because strangers may send as many of these as they like; the request is refused with its own line.
		s.config.Logger.DebugContext(ctx, "kest: a key binding proves nothing", "key_id", b.KeyID(), "principal", b.Principal(), "reason", err)
		return nil, nil
	}
	k := &known{binding: b, key: key, keys: []ed25519.PublicKey{key.Key}, roots: roots}
	if s.remember(k, now) && s.config.OnVerified != nil {
		s.config.OnVerified(b)
	}
	return k, nil
}

// remember reports whether the key is new. When there is no room it makes some: what has ended goes first, then anything.
func (s *Source) remember(k *known, now time.Time) (fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := claim{k.key.Principal, k.binding.KeyID()}
	_, had := s.known[id]
	if !had && len(s.known) >= s.config.MaxKeys {
		for id, other := range s.known {
			if !other.key.Covers(now, s.config.Leeway) {
				delete(s.known, id)
			}
		}
		for id := range s.known {
			if len(s.known) < s.config.MaxKeys {
				break
			}
			delete(s.known, id)
		}
	}
	s.known[id] = k
	delete(s.missing, id.keyID)
	return !had
}

func (s *Source) forget(k *known) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id := (claim{k.key.Principal, k.binding.KeyID()}); s.known[id] == k {
		delete(s.known, id)
	}
}

// Bindings returns what to send along with a passport, for propagate.Config: this process's own binding and those of the
// other signers, as far as they are known here, the latest signer first. What does not fit into [MaxOffered] and
// [MaxOfferedBytes] is left out.
func (s *Source) Bindings(p lineage.Passport) []string {
	var claims []claim
	seen := map[claim]bool{}
	var own *lineage.KeyBinding
	if s.config.Own != nil {
		if own = s.config.Own.Binding(""); own != nil {
			seen[claim{own.Principal(), own.KeyID()}] = true
		}
	}
	for _, signed := range p.All() {
		if c := (claim{signed.Entry().Principal(), signed.KeyID()}); !seen[c] {
			seen[c] = true
			claims = append(claims, c)
		}
	}
	var out []string
	size := 0
	add := func(b *lineage.KeyBinding) {
		if b != nil && len(out) < MaxOffered && size+len(b.Text()) <= MaxOfferedBytes {
			out, size = append(out, b.Text()), size+len(b.Text())
		}
	}
	add(own)
	for i := len(claims) - 1; i >= 0; i-- {
		add(s.binding(claims[i]))
	}
	return out
}

// binding is what is known about a key, verified before or of this process's own.
func (s *Source) binding(c claim) *lineage.KeyBinding {
	s.mu.RLock()
	k := s.known[c]
	s.mu.RUnlock()
	switch {
	case k != nil:
		return k.binding
	case s.config.Own != nil:
		return s.config.Own.Binding(c.keyID)
	}
	return nil
}
