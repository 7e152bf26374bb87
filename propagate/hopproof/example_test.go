package hopproof_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/hopproof"
)

// What the transports do. Services give Signer to propagate.EgressConfig and Verifier to propagate.IngressConfig, and
// propagate/kesthttp or propagate/kestgrpc do the rest.
func Example() {
	ctx := context.Background()
	signer, err := lineage.NewSigner("spiffe://example.org/web", privateKey("web"))
	if err != nil {
		log.Fatal(err)
	}
	r := propagate.HopRequest{
		Method: "POST", Authority: "ledger:8443", Path: "/pay", Query: "?order=7",
		Fields: map[string][]string{"baggage": {"kest.claim_check=0190c1a4-7d6e-4d5f-9c7e-6f2f3a1b8e55"}},
	}
	input, signature, err := hopproof.Signer{}.SignHop(ctx, signer, r)
	if err != nil {
		log.Fatal(err)
	}
	r.Fields["signature-input"], r.Fields["signature"] = []string{input}, []string{signature}

	// The receiver knows from the verified lineage who must have signed.
	known, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{"spiffe://example.org/web": {publicKey("web")}})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := hopproof.NewVerifier(hopproof.Config{
		Keys:  known,
		Store: &nonces{}, // here a map; store/redis, store/sqlstore or store/natskv where there are several replicas
	})
	if err != nil {
		log.Fatal(err)
	}
	changed := r
	changed.Query = "?order=8"
	fmt.Println("changed: ", errors.Is(verifier.VerifyHop(ctx, "spiffe://example.org/web", changed), propagate.ErrBadProof))
	fmt.Println("as sent: ", verifier.VerifyHop(ctx, "spiffe://example.org/web", r))
	fmt.Println("replayed:", verifier.VerifyHop(ctx, "spiffe://example.org/web", r))
	// Output:
	// changed:  true
	// as sent:  <nil>
	// replayed: hop proof does not hold: it was replayed: its nonce has been used
}
