// Package identity is the vocabulary between the guard and whatever vouches for the workload: a [Provider]
// yields the workload's current signing credential (SPEC §8, F-ID-01…05).
package identity

import (
	"context"

	"github.com/kest-go/kest/lineage"
)

// A Provider knows who this workload is and signs in its name.
//
// Signer returns the credential that is valid now. It is called once for every protected call, so it must be
// cheap; a provider that rotates keys in the background returns another Signer after a rotation. It returns an
// error, and the call stops, when there is no valid credential: never a stub and never an expired one.
// Implementations are safe for concurrent use.
type Provider interface {
	Signer(ctx context.Context) (lineage.Signer, error)
}
