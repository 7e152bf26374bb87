package auto

import (
	"context"
	"fmt"
	"strings"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/oidc"
	"github.com/kest-go/kest/lineage"
)

// Roots is what others have to believe in order to verify a workload's key: the trust domain of its SPIFFE ID, its KMS key,
// the keys of the issuer that named it; for a key that nobody vouches for the workload's own name, which proves nothing.
func Roots(ctx context.Context, p identity.Binder) (*lineage.Roots, error) {
	b := p.Binding("")
	if b == nil {
		return nil, identity.ErrNotReady
	}
	// In roots that would be a pattern: a subject that somebody chose would make others believe every subject.
	if strings.HasSuffix(b.Principal(), "*") {
		return nil, fmt.Errorf(`principal %.200q ends in "*", which roots would take for a prefix; give the workload another name`, b.Principal())
	}
	if source, ok := p.(lineage.RootSource); ok {
		return source.Roots(ctx, b)
	}
	switch b.Form() {
	case lineage.FormOIDC:
		source, err := oidc.NewRoots(ctx, oidc.RootsConfig{Issuers: map[string][]string{b.Issuer(): {b.Principal()}}})
		if err != nil {
			return nil, err
		}
		return source.Roots(ctx, b)
	case lineage.FormSelf:
		return lineage.NewRoots(lineage.RootsConfig{Self: []string{b.Principal()}})
	case lineage.FormX509, lineage.FormJWT, lineage.FormKMS:
	}
	return nil, fmt.Errorf("nobody knows the roots of a %s binding", b.Form())
}
