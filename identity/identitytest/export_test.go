package identitytest

import (
	"crypto/ed25519"

	"github.com/kest-go/kest/identity"
)

// Failure runs the check called name against provider and returns its error. It panics when there is no such check.
func Failure(h Harness, provider identity.Provider, name string) error {
	for _, c := range contract() {
		if c.name == name {
			return c.run(&probe{Harness: h, provider: provider})
		}
	}
	panic("no check " + name)
}

// Validate is what TestProvider asks of a harness before it runs anything.
func Validate(h Harness) error { return h.validate() }

// Leak looks for the private half of public, or for secrets, in text.
func Leak(text string, public ed25519.PublicKey, secrets ...[]byte) string {
	f := finder{public: public, secrets: secrets, seen: map[[ed25519.SeedSize]byte]bool{}}
	return f.leak(text)
}
