package opa_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/opa"
	"github.com/kest-go/kest/policy/policytest"
)

// The contract of every engine, against a fake that plays OPA.
func TestContract(t *testing.T) {
	var f *fake
	policytest.TestEngine(t, policytest.Harness{
		New: func(t *testing.T) policy.Engine {
			f = serve(t, play)
			return engine(t, opa.Config{URL: f.URL})
		},
		Requests: func() int { return int(f.Requests.Load()) },
	})
}

// play answers like an OPA server with the policies of the contract.
func play(w http.ResponseWriter, r *http.Request) {
	var q struct{ Input map[string]any }
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	reply := func(allow any) { json.NewEncoder(w).Encode(map[string]any{"result": map[string]any{"allow": allow}}) }
	switch strings.TrimPrefix(r.URL.Path, "/v1/data/") {
	case policytest.AllowTrusted:
		reply(q.Input["trust_score"].(float64) >= 40)
	case policytest.DenyAll:
		reply(false)
	case policytest.AllowWorkload:
		reply(q.Input["subject"].(map[string]any)["workload"] == policytest.Workload)
	case policytest.Undefined:
		io.WriteString(w, `{"result":{}}`)
	case policytest.NotBoolean:
		reply("true")
	case policytest.Slow:
		select {
		case <-r.Context().Done():
		case <-time.After(30 * time.Second):
			reply(true)
		}
	default:
		io.WriteString(w, `{}`)
	}
}
