package binding_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log"
	"time"

	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/store/memory"
)

// The life of a session key: it is certified and published, a verifier that has never heard of it finds it, and an archive
// shows years later that it was good. Only the roots are agreed upon. A provider, such as identity/spiffe, does the first
// two steps by itself.
func Example() {
	ctx := context.Background()

	// The platform: one KMS key, which may certify the keys of payments. Everybody knows its public half.
	platform, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	const payments = "spiffe://example.org/payments"
	roots, err := lineage.NewRoots(lineage.RootsConfig{KMS: []lineage.KMSRoot{{
		Key: lineage.RootKey{ID: "kms-1", Public: platform.Public()}, Principals: []string{payments},
	}}})
	if err != nil {
		log.Fatal(err)
	}

	// The signer: a new key in memory, certified for an hour and published in a store that nobody needs to trust.
	public, signer, err := identity.NewSessionKey(payments)
	if err != nil {
		log.Fatal(err)
	}
	begin := time.Now().Truncate(time.Second)
	b, err := lineage.Certify(ctx,
		lineage.Statement{Principal: payments, Key: public, NotBefore: begin, NotAfter: begin.Add(time.Hour)},
		lineage.StatementKey{Public: platform.Public(), ID: "kms-1", Sign: func(_ context.Context, input []byte) ([]byte, error) {
			digest := sha256.Sum256(input)
			return ecdsa.SignASN1(rand.Reader, platform, digest[:])
		}})
	if err != nil {
		log.Fatal(err)
	}
	shared, err := memory.New(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if err := binding.Publish(ctx, shared, b); err != nil {
		log.Fatal(err)
	}
	signed, err := lineage.Sign(ctx, signer, lineage.Entry{
		Runtime: lineage.Runtime{Name: "kest-go", Version: "test"}, ID: "0199f0a5-8a11-7c31-8000-000000000001",
		Operation: "payments.pay", Classification: "system", TrustScore: 100, TimestampMS: time.Now().UnixMilli(),
		Labels: map[string]string{lineage.LabelPrincipal: payments, lineage.LabelSourceType: lineage.SourceInternal,
			lineage.LabelTraceID: "4bf92f3577b34da6a3ce929d0e0e4736"},
	}, lineage.Limits{})
	if err != nil {
		log.Fatal(err)
	}
	received := lineage.Unverified{Entries: []string{signed.JWS()}}

	// The verifier: roots and the store. What it verifies, it archives.
	archive := &binding.Archive{}
	if err := archive.AddRoots(roots); err != nil {
		log.Fatal(err)
	}
	keys, err := binding.New(binding.Config{Roots: roots, Store: shared, OnVerified: archive.Add})
	if err != nil {
		log.Fatal(err)
	}
	show("live", keys, received)
	archive.Observe(signed.Hash(), time.Now())

	// The auditor: a file, and nothing else.
	file, err := archive.AppendJSON(nil)
	if err != nil {
		log.Fatal(err)
	}
	found, err := binding.ParseArchive(file)
	if err != nil {
		log.Fatal(err)
	}
	audit, err := found.Source(binding.AuditConfig{RequireObserved: true})
	if err != nil {
		log.Fatal(err)
	}
	show("audit", audit, received)

	// Output:
	// live: whoever may sign with the workload's KMS key certified this key; valid now, by the verifier's clock
	// audit: whoever may sign with the workload's KMS key certified this key; valid when the archive first saw what it signed
}

func show(who string, keys lineage.KeySource, received lineage.Unverified) {
	verifier, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keys})
	if err != nil {
		log.Fatal(err)
	}
	_, report, err := verifier.Verify(context.Background(), received)
	if err != nil {
		log.Fatal(err)
	}
	key := report.Entries()[0].Key
	fmt.Printf("%s: %s; valid %s\n", who, key.Proves, key.Time)
}
