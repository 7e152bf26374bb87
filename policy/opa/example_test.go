package opa_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/opa"
)

// The server here stands in for a running OPA; see the package comment for how to start one.
func ExampleNew() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL.Path)
		io.WriteString(w, `{"result":{"allow":true}}`)
	}))
	defer server.Close()

	engine, err := opa.New(opa.Config{URL: server.URL})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close()

	decision, err := engine.Evaluate(context.Background(), "kest/allow_trusted", &policy.Input{TrustScore: 100})
	fmt.Println(decision.Allow, err)
	// Output:
	// POST /v1/data/kest/allow_trusted
	// true <nil>
}
