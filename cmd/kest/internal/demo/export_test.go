package demo

import (
	"context"
	"io/fs"
	"net/http"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// Verifier is what the scenes ask of a verifier.
type Verifier = verifier

// Changes are what RunWith does otherwise than Run; nil means as Run does.
type Changes struct {
	Policies fs.FS
	Verifier func(Verifier) Verifier        // of the scenes
	Ingress  func(*propagate.IngressConfig) // of every service
}

// RunWith is Run with changes.
func RunWith(ctx context.Context, o Options, c Changes) (*Result, error) {
	if c.Policies == nil {
		c.Policies = Policies()
	}
	return run(ctx, o, parts{policies: c.Policies, ingress: c.Ingress, verifier: func(vc lineage.VerifierConfig) (verifier, error) {
		v, err := lineage.NewVerifier(vc)
		if err != nil || c.Verifier == nil {
			return v, err
		}
		return c.Verifier(v), nil
	}})
}

// Discreet is the check of what strangers get.
func Discreet(status int, header http.Header, body string) error {
	return discreet(&reply{status, header, []byte(body)})
}

// Policies are the demo's.
func Policies() fs.FS {
	sub, err := fs.Sub(policies, "policies")
	if err != nil {
		panic(err)
	}
	return sub
}
