package examples_test

import (
	"crypto/ed25519"
	"log"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/spiffe/spiffetest"
	"github.com/kest-go/kest/identity/static"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/hopproof"
	"github.com/kest-go/kest/store/memory"
)

// exampleKey stands in for keys that a deployment hands out.
func exampleKey(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

// exampleAgent starts a SPIFFE agent that lives as long as the tests, and returns its socket.
func exampleAgent() string {
	agent, err := spiffetest.New(spiffetest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	return agent.Addr()
}

func exampleGuard(principal string, key ed25519.PrivateKey, engine policy.Engine) (*kest.Guard, error) {
	provider, err := static.New(principal, key)
	if err != nil {
		return nil, err
	}
	return kest.New(kest.Config{Engine: engine, Identity: provider, Logger: quiet})
}

// exampleParts is what a service has before it is connected to others. Replicas share a store for nonces that is not in
// memory.
func exampleParts() (*kest.Guard, *static.Provider, *lineage.Verifier, propagate.HopVerifier) {
	const name = "spiffe://example.org/ledger"
	key := exampleKey(6)
	guard, err := exampleGuard(name, key, policy.InsecureAllowAll(quiet))
	if err != nil {
		log.Fatal(err)
	}
	identity, err := static.New(name, key)
	if err != nil {
		log.Fatal(err)
	}
	keys, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{name: {identity.PublicKey()}})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keys})
	if err != nil {
		log.Fatal(err)
	}
	nonces, err := memory.New(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	hops, err := hopproof.NewVerifier(hopproof.Config{Keys: keys, Store: nonces})
	if err != nil {
		log.Fatal(err)
	}
	return guard, identity, verifier, hops
}
