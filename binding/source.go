package binding

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	// MaxKeys bounds the keys that are remembered, with 4 KiB for each on average, and those that are known to be missing;
	// 0 means 10,000. Keys that had to go are looked for again.
	MaxKeys int
	// FetchTimeout bounds one look into the store; 0 means 2 s.
	FetchTimeout time.Duration
	// NegativeTTL is how long the store is not asked for a key again, and a binding that proved nothing is not looked at
	// again, while the roots stay the same; 0 means 5 s.
	NegativeTTL time.Duration
	// FetchRate is how many unknown keys may be looked for in a second, twice as many at once; 0 means 50. Beyond it the
	// answer is an error: strangers must not make a verifier flood its store.
	FetchRate int

	// OnVerified is told of every binding that was verified for the first time, to archive it: once, and again when it
	// had been forgotten. It is called from several goroutines and must not block.
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

// A Source is the key source of live traffic: a key counts while its binding and its roots hold. It implements
// [lineage.KeySource] and [lineage.Certifier] and is safe for concurrent use. One source should serve a whole process.
//
// It looks for a key among those that it knows, at its own provider, among the bindings that came along with the
// request, and in the store, in that order. What it knows is compared with the roots of the moment every time, so an
// authority that is removed takes all of its keys along at once. An error means that it could not find out, because roots
// or store do not answer or too much is asked of the store; it is never a "no" that is remembered.
type Source struct {
	config Config
	rate   rate

	mu      sync.RWMutex
	known   map[claim]*known
	size    int                       // what known counts for
	swept   time.Time                 // when what has ended was forgotten
	refused misses[[sha256.Size]byte] // by the hash of a binding that proved nothing
	asked   misses[string]            // by the id of a key that the store was asked for
	flights map[string]*flight        // by key id
}

// A claim is that a key speaks for a principal. A platform certifies any key for whoever asks, also one that they do not
// hold, so what is known of one principal must not stand in the way of another.
type claim struct{ principal, keyID string }

var (
	_ lineage.KeySource = (*Source)(nil)
	_ lineage.Certifier = (*Source)(nil)
)

// Configured is the form that reports give keys without a binding.
const Configured lineage.BindingForm = "configured"

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
	c.Leeway = cmp.Or(c.Leeway, defaultLeeway)
	c.MaxKeys = cmp.Or(c.MaxKeys, defaultMaxKeys)
	c.FetchTimeout = cmp.Or(c.FetchTimeout, defaultTimeout)
	c.NegativeTTL = cmp.Or(c.NegativeTTL, defaultNegative)
	c.FetchRate = cmp.Or(c.FetchRate, defaultRate)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return &Source{
		config: c, rate: rate{perSecond: float64(c.FetchRate), tokens: 2 * float64(c.FetchRate)},
		known: map[claim]*known{}, flights: map[string]*flight{},
		refused: misses[[sha256.Size]byte]{}, asked: misses[string]{},
	}, nil
}

// Keys implements [lineage.KeySource]. Keys that a binding certifies are found by their thumbprint only.
func (s *Source) Keys(ctx context.Context, principal, keyID string) ([]ed25519.PublicKey, error) {
	k, static, err := s.resolve(ctx, claim{principal, keyID})
	switch {
	case k == nil:
		return static, err
	case len(static) == 0:
		return k.keys, nil
	}
	return append(slices.Clip(static), k.keys...), nil
}

// Certify implements [lineage.Certifier].
func (s *Source) Certify(ctx context.Context, sig lineage.Signature) (lineage.Certificate, error) {
	k, static, err := s.resolve(ctx, claim{sig.Principal, sig.KeyID})
	switch {
	case k != nil:
		return k.key.Certificate("now, by the verifier's clock"), nil
	case err != nil:
		return lineage.Certificate{}, err
	case len(static) == 0:
		return lineage.Certificate{}, errors.New("nothing certifies the key any more")
	}
	if c, ok := s.config.Static.(lineage.Certifier); ok { // its keys alone do not say that they may be used now
		return c.Certify(ctx, sig)
	}
	return lineage.Certificate{Form: Configured, Proves: "whoever configured the verifier vouches for this key", Time: "for as long as it is configured"}, nil
}

// resolve finds what certifies a key for a principal now, and the keys that were configured for them. The store comes
// last, so that it is not asked about configured keys. An error comes only with nothing else.
func (s *Source) resolve(ctx context.Context, c claim) (k *known, static []ed25519.PublicKey, err error) {
	roots, lookUp := (*lineage.Roots)(nil), false
	if isKeyID(c.keyID) {
		if roots, err = s.roots(ctx, nil); err == nil {
			lookUp = s.config.Store != nil
			k, err = s.near(ctx, c, roots)
		}
	}
	if s.config.Static != nil {
		var problem error
		static, problem = s.config.Static.Keys(ctx, c.principal, c.keyID)
		if problem != nil {
			static, err = nil, errors.Join(err, problem)
		}
	}
	if k != nil || len(static) > 0 {
		return k, static, nil
	}
	if lookUp {
		var problem error
		if k, problem = s.lookUp(ctx, c, roots); k != nil {
			return k, nil, nil
		}
		err = errors.Join(err, problem)
	}
	return nil, nil, err
}

// roots asks for the roots of the moment.
func (s *Source) roots(ctx context.Context, b *lineage.KeyBinding) (*lineage.Roots, error) {
	roots, err := s.config.Roots.Roots(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("trust roots: %w", err)
	}
	return roots, nil
}

// near looks wherever it costs nobody else anything.
func (s *Source) near(ctx context.Context, c claim, roots *lineage.Roots) (*known, error) {
	if old := s.recall(c); old != nil {
		if k, err := s.current(ctx, old, roots); k != nil || err != nil {
			return k, err
		}
		s.forget(c, old)
	}
	k, ownErr := s.own(ctx, c, roots)
	if k != nil {
		return k, nil
	}
	k, err := s.offered(ctx, c, roots)
	if k != nil {
		return k, nil
	}
	return nil, errors.Join(ownErr, err)
}

// own looks at this process's provider.
func (s *Source) own(ctx context.Context, c claim, roots *lineage.Roots) (*known, error) {
	b := s.ownBinding(c)
	if b == nil || s.wasRefused(b.Text(), roots) {
		return nil, nil
	}
	return s.verify(ctx, b, roots)
}

func (s *Source) ownBinding(c claim) *lineage.KeyBinding {
	if s.config.Own == nil {
		return nil
	}
	b := s.config.Own.Binding(c.keyID) // for "", the one in use
	if b == nil || b.KeyID() != c.keyID || b.Principal() != c.principal {
		return nil
	}
	return b
}

// verify checks a binding against the roots of the moment and remembers what came of it. nil: it proves nothing. roots
// are those that are known without the binding.
func (s *Source) verify(ctx context.Context, b *lineage.KeyBinding, roots *lineage.Roots) (*known, error) {
	under, err := s.roots(ctx, b)
	if err != nil {
		return nil, err
	}
	return s.check(ctx, b, under, roots), nil
}

// current is k while it holds under the roots of the moment, and nil when it does no longer. Other roots have it checked
// again.
func (s *Source) current(ctx context.Context, k *known, roots *lineage.Roots) (*known, error) {
	valid := k.key.Covers(time.Now(), s.config.Leeway)
	if valid && k.roots == roots {
		return k, nil
	}
	under, err := s.roots(ctx, k.binding)
	if err != nil {
		return nil, err
	}
	if valid && k.roots == under { // those that its source found for this very binding
		return k, nil
	}
	return s.check(ctx, k.binding, under, roots), nil
}

func (s *Source) check(ctx context.Context, b *lineage.KeyBinding, under, roots *lineage.Roots) *known {
	key, err := b.Verify(time.Now(), s.config.Leeway, under)
	if err != nil {
		// Debug, because strangers may send as many of these as they like; the request is refused with its own line.
		s.config.Logger.DebugContext(ctx, "kest: a key binding proves nothing", "key_id", b.KeyID(), "principal", b.Principal(), "reason", err)
		s.refuse(b.Text(), roots)
		return nil
	}
	k := &known{binding: b, key: key, keys: []ed25519.PublicKey{key.Key}, roots: under}
	if s.remember(k) && s.config.OnVerified != nil {
		s.config.OnVerified(b)
	}
	return k
}
