package cedaragent_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedaragent"
)

// The server here stands in for a running Cedar Agent.
func ExampleNew() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL.Path)
		io.WriteString(w, `{"decision":"Allow","diagnostics":{"reason":["allow_trusted"],"errors":[]}}`)
	}))
	defer server.Close()

	engine, err := cedaragent.New(cedaragent.Config{URL: server.URL + "/v1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close()

	decision, err := engine.Evaluate(context.Background(), "kest/allow_trusted", &policy.Input{TrustScore: 100})
	fmt.Println(decision.Allow, decision.Reason, err)
	// Output:
	// POST /v1/is_authorized
	// true determined by allow_trusted <nil>
}
