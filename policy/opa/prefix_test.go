package opa_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/kest-go/kest/policy/opa"
	"github.com/kest-go/kest/policy/policytest"
)

// TestPrefix: the policies of a deployment may stand below one package of a server that others use, too.
func TestPrefix(t *testing.T) {
	var asked string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Path
		_, _ = io.WriteString(w, `{"result": {"allow": true}}`)
	})
	e := engine(t, opa.Config{URL: s.URL + "/base", Prefix: "acme/org"})
	d, err := e.Evaluate(t.Context(), "baseline-auth", policytest.Input(100))
	if err != nil || !d.Allow || asked != "/base/v1/data/acme/org/baseline-auth" {
		t.Errorf("asked %s: %+v, %v", asked, d, err)
	}
	for _, bad := range []string{"/", "acme/", "..", "a/../b", "a b", "%2e", strings.Repeat("a", 300)} {
		if _, err := opa.New(opa.Config{URL: "http://localhost", Prefix: bad}); err == nil || !strings.Contains(err.Error(), "Prefix") {
			t.Errorf("prefix %q: %v", bad, err)
		}
	}
}
