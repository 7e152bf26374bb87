package kesthttp_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/static"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/kesthttp"
)

var quiet = slog.New(slog.DiscardHandler)

// exampleService makes the guard of a workload and a set with its key. Programs that are deployed use the identity of
// their platform.
func exampleService(name string) (*kest.Guard, *lineage.KeySet) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		log.Fatal(err)
	}
	identity, err := static.New(name, private)
	if err != nil {
		log.Fatal(err)
	}
	guard, err := kest.New(kest.Config{Engine: policy.InsecureAllowAll(quiet), Identity: identity, Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	keys, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{name: {public}})
	if err != nil {
		log.Fatal(err)
	}
	return guard, keys
}

// A shop calls a ledger. The ledger serves nobody without lineage, and the shop sends lineage to it and to nobody
// else.
func Example() {
	shop, shopKeys := exampleService("spiffe://example.org/shop")
	ledger, _ := exampleService("spiffe://example.org/ledger")

	// The ledger's side.
	verifier, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: shopKeys})
	if err != nil {
		log.Fatal(err)
	}
	ingress, err := propagate.NewIngress(propagate.IngressConfig{Listener: propagate.Internal, Verifier: verifier, Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	front, err := kesthttp.NewHandler(kesthttp.HandlerConfig{Ingress: ingress})
	if err != nil {
		log.Fatal(err)
	}
	book := kest.MustVerified(ledger, func(ctx context.Context, amount string) (string, error) {
		return fmt.Sprintf("booked %s; call %d of the chain", amount, kest.CurrentPassport(ctx).Len()), nil
	}, kest.Operation("ledger.book"), kest.Policy("ledger/book"))
	mux := http.NewServeMux()
	mux.HandleFunc("POST /bookings/{amount}", func(w http.ResponseWriter, r *http.Request) {
		answer, err := book(r.Context(), r.PathValue("amount"))
		if err != nil {
			kesthttp.WriteError(w, err)
			return
		}
		fmt.Fprint(w, answer)
	})
	server := httptest.NewServer(front.Wrap(mux))
	defer server.Close()

	// The shop's side.
	egress, err := propagate.NewEgress(propagate.EgressConfig{Sealer: shop, Allow: []string{"ledger:8443"}})
	if err != nil {
		log.Fatal(err)
	}
	transport, err := kesthttp.NewTransport(kesthttp.TransportConfig{Egress: egress})
	if err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Transport: transport}
	pay := kest.MustVerified(shop, func(ctx context.Context, amount string) (string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/bookings/"+amount, nil)
		if err != nil {
			return "", err
		}
		resp, err := client.Do(request)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		return string(answer), err
	}, kest.Operation("shop.pay"), kest.Policy("shop/pay"))
	fmt.Println(pay(context.Background(), "99.95"))

	resp, err := http.Post(server.URL+"/bookings/1000000", "text/plain", nil) // by somebody else
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	fmt.Printf("%s", text)
	// Output:
	// booked 99.95; call 2 of the chain <nil>
	// {"type":"about:blank","title":"not allowed","status":403}
}
