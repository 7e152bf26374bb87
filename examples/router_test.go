package examples_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy/rego"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/kesthttp"
)

// A service behind the router chi, whose middleware is plain net/http. It faces the internet: what comes without lineage
// is worth 10, whatever the guarded function declares, and the guide's policy wants 40.
func Example_router() {
	key := exampleKey(5)
	engine, err := rego.Dir("policies")
	if err != nil {
		log.Fatal(err)
	}
	guard, err := exampleGuard("spiffe://example.org/bank", key, engine)
	if err != nil {
		log.Fatal(err)
	}
	keys, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{"spiffe://example.org/bank": {key.Public().(ed25519.PublicKey)}})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keys})
	if err != nil {
		log.Fatal(err)
	}
	ingress, err := propagate.NewIngress(propagate.IngressConfig{Listener: propagate.Edge, Verifier: verifier, Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	front, err := kesthttp.NewHandler(kesthttp.HandlerConfig{Ingress: ingress})
	if err != nil {
		log.Fatal(err)
	}

	pay := kest.MustVerified(guard, processPayment, kest.Operation("bank.pay"), kest.Policy("kest/allow_trusted"),
		kest.SourceType(lineage.SourceInternal))
	router := chi.NewRouter()
	router.Use(front.Wrap)
	router.Post("/payments/{order}", func(w http.ResponseWriter, r *http.Request) {
		receipt, err := pay(r.Context(), Payment{Order: chi.URLParam(r, "order"), Amount: 99.95})
		if err != nil {
			kesthttp.WriteError(w, err)
			return
		}
		fmt.Fprintln(w, receipt.Status)
	})
	server := httptest.NewServer(router)
	defer server.Close()

	post := func(ctx context.Context, client *http.Client) string {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/payments/ORD-123", nil)
		if err != nil {
			return err.Error()
		}
		resp, err := client.Do(request)
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return fmt.Sprintln(resp.StatusCode, strings.TrimSpace(string(text)))
	}
	fmt.Print(post(context.Background(), http.DefaultClient)) // a stranger

	// A workload that has lineage to show: here the bank itself, which begins one as internal.
	egress, err := propagate.NewEgress(propagate.EgressConfig{Sealer: guard})
	if err != nil {
		log.Fatal(err)
	}
	transport, err := kesthttp.NewTransport(kesthttp.TransportConfig{Egress: egress})
	if err != nil {
		log.Fatal(err)
	}
	batch := kest.MustVerified(guard, func(ctx context.Context, _ struct{}) (string, error) {
		return post(ctx, &http.Client{Transport: transport}), nil
	}, kest.Operation("bank.batch"), kest.Policy("kest/allow_trusted"))
	answer, err := batch(context.Background(), struct{}{})
	fmt.Print(answer, err)
	// Output:
	// 403 {"type":"about:blank","title":"not allowed","status":403}
	// 200 completed
	// <nil>
}
