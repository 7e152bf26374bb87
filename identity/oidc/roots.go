package oidc

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/kest-go/kest/lineage"
)

// RootsConfig says which OpenID providers may certify session keys, and for whom.
type RootsConfig struct {
	// Issuers maps the URL of an issuer to the principals that it may certify, as [lineage.OIDCPrincipal] writes them,
	// exactly or by a prefix that ends in "*". Required. A public issuer gives tokens to anybody, so name the subjects:
	// "https://token.actions.githubusercontent.com#repo:acme/payments:*".
	Issuers map[string][]string
	// Client fetches. It is copied, without its cookies, and follows no redirects. nil: one that trusts the system's root
	// certificates and uses the proxy of the environment.
	Client *http.Client
	// Refresh is the age at which keys are fetched anew, 1 minute to 1 hour. 0: [DefaultRefresh].
	Refresh time.Duration
	// MaxStale is how long keys are believed while their issuer is down, Refresh to 24 hours. 0: [DefaultMaxStale].
	MaxStale time.Duration
	// Logger gets a warning for every fetch that fails. nil: slog.Default.
	Logger *slog.Logger
}

// A RootSource follows the key sets of OpenID providers. It is safe for concurrent use and needs no closing: what it
// leaves behind is at most one fetch for each issuer, which ends within seconds.
type RootSource struct {
	issuers    map[string]*keyCache
	principals map[string][]string

	mu      sync.Mutex
	keys    map[string]*keySet // that were looked at last
	current *lineage.Roots     // replaced when it would say something else
	text    []byte             // what current says
}

var _ lineage.RootSource = (*RootSource)(nil)

// NewRoots checks the configuration, reports everything that is wrong with it, and asks every issuer for its keys. An
// issuer that does not answer while ctx lasts is no error: it is asked again when a binding needs it.
func NewRoots(ctx context.Context, c RootsConfig) (*RootSource, error) {
	c.Refresh, c.MaxStale = cmp.Or(c.Refresh, DefaultRefresh), cmp.Or(c.MaxStale, DefaultMaxStale)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	s := &RootSource{issuers: map[string]*keyCache{}, principals: map[string][]string{}}
	client := newClient(c.Client)
	for issuer, principals := range c.Issuers {
		s.principals[issuer] = slices.Clone(principals)
		s.issuers[issuer] = &keyCache{issuer: issuer, refresh: c.Refresh, maxStale: c.MaxStale, logger: c.Logger,
			fetch: func(ctx context.Context) ([]lineage.RootKey, error) { return fetchKeys(ctx, client, issuer) }}
		s.issuers[issuer].known()
	}
	for _, cache := range s.issuers {
		cache.wait(ctx)
	}
	_, err := s.roots()
	return s, err
}

func (c *RootsConfig) check() error {
	var problems []error
	if len(c.Issuers) == 0 {
		problems = append(problems, errors.New("oidc roots: Issuers is empty; name whom you trust, and for which principals"))
	}
	empty := lineage.RootsConfig{Issuers: map[string]lineage.IssuerRoots{}}
	for _, issuer := range slices.Sorted(maps.Keys(c.Issuers)) {
		empty.Issuers[issuer] = lineage.IssuerRoots{Principals: c.Issuers[issuer]}
		if err := issuerURL(issuer); err != nil {
			problems = append(problems, fmt.Errorf("oidc roots: an issuer %w", err))
		}
		for _, p := range c.Issuers[issuer] {
			if len(p) <= len(issuer)+1 || p[:len(issuer)+1] != lineage.OIDCPrincipal(issuer, "") {
				problems = append(problems, fmt.Errorf("oidc roots: principal %q is none of issuer %q; write issuer, \"#\" and subject", p, issuer))
			}
		}
	}
	if _, err := lineage.NewRoots(empty); err != nil {
		problems = append(problems, err)
	}
	if err := checkAges(c.Refresh, c.MaxStale); err != nil {
		problems = append(problems, fmt.Errorf("oidc roots: %w", err))
	}
	return errors.Join(problems...)
}

// Roots implements [lineage.RootSource]. A binding whose issuer is configured and whose key is not known has the issuer
// asked, within the limits of its package comment, for as long as ctx lasts. Then, when nothing usable is known about
// that issuer, the error matches [ErrKeys].
func (s *RootSource) Roots(ctx context.Context, b *lineage.KeyBinding) (*lineage.Roots, error) {
	if b != nil && b.Form() == lineage.FormOIDC {
		if cache := s.issuers[b.Issuer()]; cache != nil {
			if _, err := cache.find(ctx, b.ProofKeyID()); err != nil {
				return nil, err
			}
		}
	}
	return s.roots()
}

// roots returns the roots of the moment, the same ones as long as they say the same.
func (s *RootSource) roots() (*lineage.Roots, error) {
	s.mu.Lock() // held throughout, so that older keys never replace newer ones
	defer s.mu.Unlock()
	keys := map[string]*keySet{}
	for issuer, cache := range s.issuers {
		keys[issuer] = cache.known()
	}
	if s.current != nil && maps.Equal(keys, s.keys) { // the usual case, in which nothing is compared byte for byte
		return s.current, nil
	}
	config := lineage.RootsConfig{Issuers: map[string]lineage.IssuerRoots{}}
	for issuer, set := range keys {
		config.Issuers[issuer] = lineage.IssuerRoots{Keys: set.list(), Principals: s.principals[issuer]}
	}
	roots, err := lineage.NewRoots(config)
	if err != nil {
		return nil, err
	}
	text, err := roots.AppendJSON(nil)
	if err != nil {
		return nil, err
	}
	if s.keys = keys; s.current == nil || !bytes.Equal(text, s.text) {
		s.current, s.text = roots, text
	}
	return s.current, nil
}
