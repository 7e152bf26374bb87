package avp_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kest-go/kest/aws/avp"
	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// The contract of every engine, against a policy store over the wire: one call, and one in a batch.
func TestContract(t *testing.T) {
	for name, wrap := range map[string]func(*avp.Engine) policy.Engine{
		"single": func(e *avp.Engine) policy.Engine { return e },
		"batch":  func(e *avp.Engine) policy.Engine { return inBatch{e} },
	} {
		t.Run(name, func(t *testing.T) {
			s := awstest.Start(t)
			store := s.NewPolicyStore(awstest.PolicyStore{Decide: play})
			policytest.TestEngine(t, policytest.Harness{
				New: func(t *testing.T) policy.Engine {
					return denying{wrap(engine(t, avp.Config{PolicyStoreID: store, AWSConfig: sdk(s)}))}
				},
				UnknownDenies: true,
				Requests:      func() int { return s.Calls("") },
			})
		})
	}
}

// inBatch asks each policy in a batch with another one.
type inBatch struct{ *avp.Engine }

func (e inBatch) Evaluate(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	names := []string{policytest.DenyAll, name}
	if policy.ValidateName(name) != nil {
		names = names[1:]
	}
	answers := policy.EvaluateAll(ctx, e.Engine, names, in)
	a := answers[len(answers)-1]
	return a.Decision, a.Err
}

// denying is an engine as the contract wants it for workloads that Verified Permissions has no ids for: it asks for a
// definite denial, and this engine says an error, which denies too (TestIDs).
type denying struct{ policy.Engine }

func (e denying) Evaluate(ctx context.Context, name string, in *policy.Input) (policy.Decision, error) {
	d, err := e.Engine.Evaluate(ctx, name, in)
	if in != nil && (in.Subject.Workload == "" || in.Subject.Workload == policytest.Workload+"\n") && errors.Is(err, policy.ErrIndefinite) {
		return policy.Decision{}, nil
	}
	return d, err
}

// play answers like a policy store with the policies of the contract.
func play(ctx context.Context, q awstest.Authorization) awstest.Verdict {
	reply := func(ok bool) awstest.Verdict {
		if ok {
			return allow
		}
		return awstest.Verdict{Decision: "DENY"}
	}
	switch q.Action {
	case action(policytest.AllowTrusted):
		return reply(q.Context["trust_score"].(int64) >= 40)
	case action(policytest.AllowWorkload):
		return reply(q.Context["subject.workload"] == policytest.Workload && q.Principal == awstest.Entity{Type: "Workload", ID: policytest.Workload})
	case action(policytest.Undefined):
		return awstest.Verdict{Decision: "ALLOW", Policies: []string{"SP1"}, Errors: []string{"EVIL: attribute missing"}}
	case action(policytest.NotBoolean):
		return awstest.Verdict{Decision: "MAYBE"}
	case action(policytest.Slow):
		select {
		case <-ctx.Done():
		case <-time.After(30 * time.Second):
		}
		return allow
	}
	return reply(false)
}

func action(name string) awstest.Entity { return awstest.Entity{Type: "Action", ID: name} }
