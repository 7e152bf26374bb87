package bearer_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/bearer"
)

// An edge that serves people with a token of the identity provider and nobody else. The provider here is a server with
// one key; JWKS is left out where there is a discovery document.
func ExampleNew() {
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, keySet(jwk(keys().ed, "2026-11")))
	}))
	defer provider.Close()

	tokens, err := bearer.New(bearer.Config{
		Issuer:    "https://login.example.com",
		Audiences: []string{"https://orders.example.com"},
		JWKS:      provider.URL,
	})
	if err != nil {
		log.Fatal(err)
	}
	ingress, err := propagate.NewIngress(propagate.IngressConfig{
		Listener: propagate.Edge, Tokens: tokens, RequireToken: true,
		InsecureIgnoreLineage: true, // for the example: a service sets Verifier
		Logger:                slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}

	claims := goodClaims().with(object{"iss": "https://login.example.com", "aud": "https://orders.example.com", "act": object{"sub": "assistant"}})
	token := sign("EdDSA", keys().ed, `{"alg":"EdDSA","kid":"2026-11"}`, claims.text())
	ctx, _, err := ingress.Admit(context.Background(), propagate.Request{Authorization: []string{"Bearer " + token}})
	if err != nil {
		log.Fatal(err)
	}
	caller, _ := propagate.CallerFrom(ctx)
	fmt.Println(caller.User, "by", caller.Actors, "through", caller.Agent, "for", caller.Task)

	_, _, err = ingress.Admit(context.Background(), propagate.Request{Authorization: []string{"Bearer " + token + "x"}})
	fmt.Println(propagate.ClassOf(err).Status(), err)
	// Output:
	// alice by [assistant] through travel-agent for orders:read orders:write
	// 401 credential is not accepted: token is not accepted: a part of it is not base64url
}
