package demo

import (
	"context"
	"io/fs"

	"github.com/kest-go/kest/lineage"
)

// Verifier is what the scenes ask of a verifier.
type Verifier = verifier

// RunWith is Run with other policies, or with another verifier for the scenes; nil means what Run has.
func RunWith(ctx context.Context, o Options, policies fs.FS, wrap func(Verifier) Verifier) (*Result, error) {
	if policies == nil {
		policies = Policies()
	}
	return run(ctx, o, parts{policies: policies, verifier: func(c lineage.VerifierConfig) (verifier, error) {
		v, err := lineage.NewVerifier(c)
		if err != nil || wrap == nil {
			return v, err
		}
		return wrap(v), nil
	}})
}

// Policies are the demo's.
func Policies() fs.FS {
	sub, err := fs.Sub(policies, "policies")
	if err != nil {
		panic(err)
	}
	return sub
}
