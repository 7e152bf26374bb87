package deploy

import (
	"context"
	"crypto/ed25519"
	"errors"
	"slices"

	"github.com/kest-go/kest/auto"
	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/oidc"
	"github.com/kest-go/kest/identity/spiffe"
	"github.com/kest-go/kest/lineage"
)

// readKeys reads whom the file believes.
func (p *parts) readKeys() error {
	var bundleErr, keysErr error
	p.bundle, bundleErr = p.file.Roots()
	p.static, keysErr = p.file.Keys()
	if p.app.Verifier.Keys != nil && (p.bundle != nil || p.static != nil) {
		return errors.Join(bundleErr, keysErr, errTwoKeys)
	}
	return errors.Join(bundleErr, keysErr)
}

// keys believes the trust bundle, the platform of the identity, the identity itself, and the keys of the file.
func (p *parts) keys(ctx context.Context, d *Deployment) (*binding.Source, error) {
	own, err := ownRoots(ctx, d.Identity, p.app)
	if err != nil {
		return nil, err
	}
	c := binding.Config{Roots: &lineage.Roots{}, Store: d.Store, Logger: p.app.Logger} // believes nobody
	switch {
	case p.bundle != nil && own != nil:
		c.Roots = binding.AllRoots(p.bundle, own)
	case p.bundle != nil:
		c.Roots = p.bundle
	case own != nil:
		c.Roots = own
	}
	c.Own, _ = d.Identity.(identity.Binder)
	if _, ok := d.Identity.(*spiffe.Provider); ok {
		d.Peer = spiffe.PeerID
	}
	if c.Static, err = staticKeys(ctx, p.static, d.Identity); err != nil {
		return nil, err
	}
	return binding.New(c)
}

// ownRoots are those behind the identity's own keys, nil when nothing certifies them. A service believes itself: what it
// sent comes back to it.
func ownRoots(ctx context.Context, id identity.Provider, app Config) (lineage.RootSource, error) {
	if source, ok := id.(lineage.RootSource); ok {
		return source, nil
	}
	binder, ok := id.(identity.Binder)
	if !ok {
		return nil, nil //nolint:nilnil // there are none
	}
	b := binder.Binding("")
	if b == nil {
		return nil, identity.ErrNotReady
	}
	if b.Form() == lineage.FormOIDC { // followed, because issuers change their keys
		return oidc.NewRoots(ctx, oidc.RootsConfig{Issuers: map[string][]string{b.Issuer(): {b.Principal()}}, Logger: app.Logger})
	}
	return auto.Roots(ctx, binder)
}

// staticKeys are those of the file, and the identity's own when it has one that nothing certifies. nil: there are none.
func staticKeys(ctx context.Context, file *lineage.KeySet, id identity.Provider) (lineage.KeySource, error) {
	own, ok := id.(interface{ PublicKey() ed25519.PublicKey })
	if !ok {
		if file == nil {
			return nil, nil //nolint:nilnil // there are none
		}
		return file, nil
	}
	signer, err := id.Signer(ctx)
	if err != nil {
		return nil, err
	}
	set, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{signer.Principal(): {own.PublicKey()}})
	if err != nil {
		return nil, err
	}
	if file == nil {
		return set, nil
	}
	return bothKeys{file, set}, nil
}

// bothKeys knows what either of two sets knows.
type bothKeys [2]*lineage.KeySet

func (b bothKeys) Keys(ctx context.Context, principal, keyID string) ([]ed25519.PublicKey, error) {
	first, err := b[0].Keys(ctx, principal, keyID)
	if err != nil {
		return nil, err
	}
	second, err := b[1].Keys(ctx, principal, keyID)
	return slices.Concat(first, second), err
}
