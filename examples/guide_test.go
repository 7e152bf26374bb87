package examples_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/identity/spiffe"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/opa"
	"github.com/kest-go/kest/policy/rego"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/hopproof"
	"github.com/kest-go/kest/propagate/kesthttp"
	"github.com/kest-go/kest/store/memory"
)

// quiet drops the warnings that development set-ups deserve.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

type Payment struct {
	Order  string  `json:"order_id"`
	Amount float64 `json:"amount"`
}

type Receipt struct {
	Order  string  `json:"order_id"`
	Amount float64 `json:"amount"`
	Status string  `json:"status"`
}

// processPayment is what we protect: an ordinary function.
func processPayment(ctx context.Context, p Payment) (Receipt, error) {
	return Receipt{Order: p.Order, Amount: p.Amount, Status: "completed"}, nil
}

// Step 1 of the guide: is it there?
func Example_installation() {
	fmt.Println(kest.Version)
	// Output: 0.1.0-dev
}

// Step 2, development: everything is allowed and the identity is a key of this process.
func Example_configureDevelopment() {
	defer kest.Reset()
	slog.SetDefault(quiet)
	if err := kest.Configure(kest.Config{
		Engine: policy.InsecureAllowAll(slog.Default()), // development only; it warns
	}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(kest.Default() != nil)
	// Output: true
}

// Step 2, production: a policy server, an identity that the platform vouches for, and policies that no application can
// lift. A SPIFFE agent of the test kit stands in for SPIRE's.
func Example_configureProduction() {
	defer kest.Reset()
	slog.SetDefault(quiet)
	ctx, agentSocket := context.Background(), exampleAgent()

	engine, err := opa.New(opa.Config{Host: "localhost", Port: 8181, Prefix: "acme"}) // package acme["baseline-auth"]
	if err != nil {
		log.Fatal(err)
	}
	identity, err := spiffe.New(ctx, spiffe.Config{SocketPath: agentSocket}) // "/run/spire/sockets/agent.sock"
	if err != nil {
		log.Fatal(err)
	}
	defer identity.Close()
	err = kest.Configure(kest.Config{
		Engine:     engine,
		Identity:   identity,
		Enterprise: []string{"baseline-auth", "data-classification"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(kest.Default().Config().Enterprise)
	// Output: [baseline-auth data-classification]
}

// Who signs, and who believes it: keys are published before they sign anything, and found by whoever has the roots.
func Example_identity() {
	slog.SetDefault(quiet)
	ctx, agentSocket := context.Background(), exampleAgent()
	store, err := memory.New(memory.Config{}) // replicas share one that is not in memory
	if err != nil {
		log.Fatal(err)
	}

	identity, err := spiffe.New(ctx, spiffe.Config{SocketPath: agentSocket, Publish: binding.Publisher(store)})
	if err != nil {
		log.Fatal(err)
	}
	defer identity.Close()
	keys, err := binding.New(binding.Config{Roots: identity, Own: identity, Store: store})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keys})
	if err != nil {
		log.Fatal(err)
	}

	guard, err := kest.New(kest.Config{Engine: policy.InsecureAllowAll(quiet), Identity: identity})
	if err != nil {
		log.Fatal(err)
	}
	pay, err := kest.Verified(guard, processPayment, kest.Policy("kest/allow_trusted"))
	if err != nil {
		log.Fatal(err)
	}
	ctx, session := kest.StartSession(ctx)
	if _, err := pay(ctx, Payment{Order: "ORD-123", Amount: 99.95}); err != nil {
		log.Fatal(err)
	}
	_, report, err := verifier.Verify(ctx, lineage.Unverified{Entries: session.Passport().Entries()})
	if err != nil {
		log.Fatal(err)
	}
	for _, entry := range report.Entries() {
		fmt.Println(entry.Principal, entry.Key.Form, entry.Key.Issuer)
	}
	// Output: spiffe://example.org/workload x509-svid example.org
}

// Steps 3 and 4: a protected function, and the passport that it leaves.
func Example_protect() {
	slog.SetDefault(quiet)

	engine, err := rego.Dir("policies") // policies/kest/allow_trusted.rego
	if err != nil {
		log.Fatal(err)
	}
	guard, err := kest.New(kest.Config{Engine: engine})
	if err != nil {
		log.Fatal(err)
	}

	pay, err := kest.Verified(guard, processPayment,
		kest.Policy("kest/allow_trusted"),
		kest.SourceType(lineage.SourceInternal))
	if err != nil {
		log.Fatal(err)
	}

	ctx, session := kest.StartSession(context.Background())
	receipt, err := pay(ctx, Payment{Order: "ORD-123", Amount: 99.95})
	fmt.Println(receipt, err)

	passport := session.Passport() // inside a protected function: kest.CurrentPassport(ctx)
	fmt.Println("chain length:", passport.Len())
	fmt.Printf("latest: %.20s…\n", passport.Entries()[passport.Len()-1])
	// Output:
	// {ORD-123 99.95 completed} <nil>
	// chain length: 1
	// latest: eyJhbGciOiJFZERTQSIs…
}

// A refused call: the body does not run, and the error says who refused and why.
func Example_denied() {
	slog.SetDefault(quiet)

	engine, err := rego.Dir("policies")
	if err != nil {
		log.Fatal(err)
	}
	guard, err := kest.New(kest.Config{Engine: engine, Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	pay, err := kest.Verified(guard, processPayment,
		kest.Policy("kest/allow_trusted"), kest.SourceType(lineage.SourceInternet))
	if err != nil {
		log.Fatal(err)
	}

	_, err = pay(context.Background(), Payment{Order: "ORD-666", Amount: 1e6})
	var denied *kest.DeniedError
	if errors.As(err, &denied) {
		fmt.Println(denied.Tier, denied.Policy)
	}
	fmt.Println(err)
	// Output:
	// function kest/allow_trusted
	// kest: examples_test.processPayment: denied by function policy kest/allow_trusted: rule allow in policies/kest/allow_trusted.rego is not true
}

// Between services, as README shows it. What it makes is not used here; Example_router serves.
func Example_services() {
	guard, identity, verifier, hops := exampleParts()
	mux := http.NewServeMux()

	ingress, err := propagate.NewIngress(propagate.IngressConfig{
		Listener: propagate.Internal, // nobody is served without lineage
		Verifier: verifier,
		Proofs:   propagate.ProofRequire, // and nobody shows what is not theirs, or shows it twice
		Hops:     hops, Authorities: []string{"ledger:8443"},
	})
	if err != nil {
		log.Fatal(err)
	}
	front, err := kesthttp.NewHandler(kesthttp.HandlerConfig{Ingress: ingress})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: front.Wrap(mux), ReadHeaderTimeout: 10 * time.Second}

	egress, err := propagate.NewEgress(propagate.EgressConfig{
		Sealer: guard, Allow: []string{"ledger:8443"}, // nobody else gets lineage
		Hops: hopproof.Signer{}, Identity: identity,
		Verifier: verifier, // of what comes back
	})
	if err != nil {
		log.Fatal(err)
	}
	transport, err := kesthttp.NewTransport(kesthttp.TransportConfig{Egress: egress})
	if err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Transport: transport}

	fmt.Println(server.Handler != nil, client.Transport != nil)
	// Output: true true
}
