package spiffe

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

// trust is what the Workload API says about trust domains: its own, and those federated with it. Domains that it does not
// name have no roots.
type trust struct {
	logger *slog.Logger

	mu      sync.Mutex
	x509    *x509bundle.Set
	jwt     *jwtbundle.Set
	text    []byte // of the roots in use
	trouble error  // the last failure of a watch

	roots   atomic.Pointer[lineage.Roots]
	bundles atomic.Pointer[x509bundle.Set] // for TLS

	hasX509, askedJWT chan struct{}
	first, asked      sync.Once
}

func newTrust(logger *slog.Logger) *trust {
	return &trust{logger: logger, hasX509: make(chan struct{}), askedJWT: make(chan struct{})}
}

func (t *trust) setX509(set *x509bundle.Set) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.x509 = set
	t.bundles.Store(set)
	t.rebuild()
	t.first.Do(func() { close(t.hasX509) })
}

func (t *trust) setJWT(set *jwtbundle.Set) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.jwt = set
	t.rebuild()
	t.asked.Do(func() { close(t.askedJWT) })
}

// offerJWT takes the answer to a question as long as the watch, which is in order, has brought nothing.
func (t *trust) offerJWT(set *jwtbundle.Set) {
	t.mu.Lock()
	none := t.jwt == nil
	t.mu.Unlock()
	if none {
		t.setJWT(set)
	}
}

// rebuild keeps the pointer when nothing has changed, because verifiers forget what they know when it does.
func (t *trust) rebuild() {
	roots := rootsOf(t.x509, t.jwt, t.logger)
	text, err := roots.AppendJSON(nil)
	if err == nil && t.roots.Load() != nil && bytes.Equal(text, t.text) {
		return
	}
	t.text = text
	t.roots.Store(roots)
}

// settle gives the JWT authorities, which come by a stream of their own, a moment to arrive. An agent may not have any.
func (t *trust) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	select {
	case <-t.askedJWT:
	case <-ctx.Done():
	}
}

func (t *trust) get() (*lineage.Roots, error) {
	roots := t.roots.Load()
	if roots == nil {
		return nil, fmt.Errorf("trust bundles: %w", identity.ErrNotReady)
	}
	return roots, nil
}

// rootsOf leaves out a domain of which a part cannot be used: it is believed by its own authorities or not at all, and
// does not take the others along.
func rootsOf(certificates *x509bundle.Set, keys *jwtbundle.Set, logger *slog.Logger) *lineage.Roots {
	domains := map[string]lineage.DomainRoots{}
	if certificates != nil {
		for _, b := range certificates.Bundles() {
			d := domains[b.TrustDomain().Name()]
			d.X509 = b.X509Authorities()
			domains[b.TrustDomain().Name()] = d
		}
	}
	if keys != nil {
		for _, b := range keys.Bundles() {
			d := domains[b.TrustDomain().Name()]
			authorities := b.JWTAuthorities()
			for _, id := range slices.Sorted(maps.Keys(authorities)) {
				d.JWT = append(d.JWT, lineage.RootKey{ID: id, Public: authorities[id]})
			}
			domains[b.TrustDomain().Name()] = d
		}
	}
	for name, d := range domains {
		if _, err := lineage.NewRoots(lineage.RootsConfig{Domains: map[string]lineage.DomainRoots{name: d}}); err != nil {
			logger.Warn("kest: a trust bundle cannot be used; nobody in its domain is believed", "trust_domain", name, "reason", err)
			delete(domains, name)
		}
	}
	roots, err := lineage.NewRoots(lineage.RootsConfig{Domains: domains})
	if err != nil {
		logger.Warn("kest: trust bundles cannot be used", "reason", err)
		return &lineage.Roots{} // believes nobody
	}
	return roots
}

// bundleWatcher feeds a trust. It implements the watchers of X.509 and JWT bundles.
type bundleWatcher struct {
	*trust
	agent *agent
}

func (w bundleWatcher) OnX509BundlesUpdate(set *x509bundle.Set) { w.setX509(set) }
func (w bundleWatcher) OnX509BundlesWatchError(err error)       { w.failed(err) }
func (w bundleWatcher) OnJWTBundlesUpdate(set *jwtbundle.Set)   { w.setJWT(set) }

func (w bundleWatcher) OnJWTBundlesWatchError(err error) {
	w.failed(err)
	w.asked.Do(func() { close(w.askedJWT) })
}

func (w bundleWatcher) failed(err error) {
	if w.agent.ctx.Err() != nil {
		return // we are closing
	}
	err = w.agent.fault(err)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trouble = err
}

// A RootSource follows the trust bundles of a Workload API: of its own trust domain and of those federated with it. It
// implements [lineage.RootSource] and is safe for concurrent use.
type RootSource struct {
	agent *agent
	trust *trust
}

var _ lineage.RootSource = (*RootSource)(nil)

// WatchRoots is for a process that verifies and does not sign. It returns when the X.509 bundles are there, or fails
// after [Config.Wait]. Of config, SocketPath, Wait and Logger count. A SPIRE agent gives bundles to workloads that it
// knows, and to others if it is configured to (allow_unauthenticated_verifiers).
//
// While the agent is away, the bundles that it gave last stay in use.
func WatchRoots(ctx context.Context, config Config) (*RootSource, error) {
	config, err := config.complete(identity.OSEnv())
	if err != nil {
		return nil, err
	}
	a, err := dial(ctx, config.SocketPath)
	if err != nil {
		return nil, fmt.Errorf("spiffe: %w", err)
	}
	s := &RootSource{agent: a, trust: newTrust(config.Logger)}
	w := bundleWatcher{s.trust, a}
	a.follow(func(ctx context.Context) error { return a.WatchX509Bundles(ctx, w) })
	a.follow(func(ctx context.Context) error { return a.WatchJWTBundles(ctx, w) })

	ctx, cancel := context.WithTimeout(ctx, config.Wait)
	defer cancel()
	select {
	case <-s.trust.hasX509:
	case <-ctx.Done():
		_ = a.close()
		s.trust.mu.Lock()
		defer s.trust.mu.Unlock()
		return nil, fmt.Errorf("spiffe: no trust bundles: %w; %w", ctx.Err(), a.orSilent(s.trust.trouble))
	}
	s.trust.settle(ctx)
	return s, nil
}

// Roots implements [lineage.RootSource] without waiting: every domain that is known, whatever the binding. After Close it
// goes on returning the last ones.
func (s *RootSource) Roots(context.Context, *lineage.KeyBinding) (*lineage.Roots, error) {
	return s.trust.get()
}

// Close ends the watches and returns when they have ended.
func (s *RootSource) Close() error { return s.agent.close() }
