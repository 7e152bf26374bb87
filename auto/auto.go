package auto

import (
	"context"
	"log/slog"
	"time"

	"github.com/kest-go/kest/aws"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/local"
	"github.com/kest-go/kest/identity/oidc"
	"github.com/kest-go/kest/identity/spiffe"
	"github.com/kest-go/kest/lineage"
)

// Config is what all providers have in common. The zero value is usable.
type Config struct {
	// Wait is how long a provider may wait for its platform, for example for a socket to appear. 0: each provider's own
	// default. No entry is signed meanwhile.
	Wait time.Duration
	// Publish gets the binding of every new session key before anything is signed with it, for example
	// binding.Publisher(store). nil: bindings are not published.
	Publish func(ctx context.Context, b *lineage.KeyBinding) error
	// Name is the readable part of a local principal.
	Name string
	// Logger gets what providers warn about; nil means slog.Default.
	Logger *slog.Logger
}

// Probes returns the probes in the order of SPEC §8, all of them linked: SPIFFE, Bedrock, AWS, OIDC, local.
func Probes(c Config) []identity.Probe {
	probes := append(identity.StandardProbes(), local.Probe(local.Config{Name: c.Name, Logger: c.Logger}))
	for name, open := range map[string]identity.Opener{
		identity.SPIFFE:  spiffe.Open(spiffe.Config{Wait: c.Wait, Publish: c.Publish, Logger: c.Logger}),
		identity.Bedrock: aws.OpenBedrock(aws.Config{Wait: c.Wait, Publish: c.Publish, Logger: c.Logger}),
		identity.AWS:     aws.Open(aws.Config{Wait: c.Wait, Publish: c.Publish, Logger: c.Logger}),
		identity.OIDC:    oidc.Open(oidc.Config{Wait: c.Wait, Publish: c.Publish, Logger: c.Logger}),
	} {
		if err := identity.Link(probes, name, open); err != nil {
			panic(err) // the names are those of StandardProbes, which a test holds
		}
	}
	return probes
}

// Identity opens the provider of the first signal in this process's environment, as [identity.Detect] does: a signal that
// is broken is an error, and nothing is fallen through to. Whoever calls it closes the provider, which is an io.Closer
// unless it is the local one.
func Identity(ctx context.Context, c Config) (identity.Provider, []identity.Finding, error) {
	return identity.Detect(ctx, identity.OSEnv(), Probes(c)...)
}
