package cedaragent_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedaragent"
	"github.com/kest-go/kest/policy/policytest"
)

// The contract of every engine, against a fake that plays a Cedar Agent.
func TestContract(t *testing.T) {
	for name, plain := range map[string]bool{"typed": false, "plain": true} {
		t.Run(name, func(t *testing.T) {
			var f *fake
			policytest.TestEngine(t, policytest.Harness{
				New: func(t *testing.T) policy.Engine {
					f = serve(t, play)
					return engine(t, cedaragent.Config{URL: f.URL + "/v1", Plain: plain})
				},
				UnknownDenies: true,
				Requests:      func() int { return int(f.Requests.Load()) },
			})
		})
	}
}

// play answers like an agent with the policies of the contract.
func play(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Principal, Action string
		Context           struct {
			Trust    int    `json:"trust_score"`
			Workload string `json:"subject.workload"`
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.URL.Path != "/v1/is_authorized" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	reply := func(allow bool) {
		io.WriteString(w, map[bool]string{true: allowed, false: `{"decision":"Deny","diagnostics":{"reason":[],"errors":[]}}`}[allow])
	}
	asks := func(name string) bool { return q.Action == name || q.Action == `Action::"`+name+`"` }
	switch {
	case asks(policytest.AllowTrusted):
		reply(q.Context.Trust >= 40)
	case asks(policytest.AllowWorkload):
		reply(q.Context.Workload == policytest.Workload &&
			(q.Principal == policytest.Workload || q.Principal == `Workload::"`+policytest.Workload+`"`))
	case asks(policytest.Undefined):
		io.WriteString(w, `{"decision":"Allow","diagnostics":{"reason":["p1"],"errors":["p2: attribute missing"]}}`)
	case asks(policytest.NotBoolean):
		io.WriteString(w, `{"decision":true}`)
	case asks(policytest.Slow):
		select {
		case <-r.Context().Done():
		case <-time.After(30 * time.Second):
			reply(true)
		}
	default:
		reply(false)
	}
}
