package policy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cedargo "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/kest-go/kest/aws/avp"
	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/e2e/internal/peer"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedar"
	"github.com/kest-go/kest/policy/cedaragent"
	"github.com/kest-go/kest/policy/opa"
	"github.com/kest-go/kest/policy/rego"
)

// patient is the timeout of an engine in tests that are not about time.
const patient = 20 * time.Second

// A contender is one engine under the names that the tables use.
type contender struct {
	name   string
	engine policy.Engine
}

// A source is one policy in both languages, whole.
type source struct{ rego, cedar string }

// contenders makes every engine with the same policies.
func contenders(t testing.TB, policies map[string]source) []contender {
	t.Helper()
	regoDir, cedarDir := t.TempDir(), t.TempDir()
	for name, s := range policies {
		peer.Put(t, regoDir, name+".rego", s.rego)
		peer.Put(t, cedarDir, name+".cedar", s.cedar)
	}
	inGo, err := rego.Dir(regoDir)
	if err != nil {
		t.Fatal(err)
	}
	inCedar, err := cedar.Dir(cedarDir)
	if err != nil {
		t.Fatal(err)
	}
	return []contender{
		{"rego", inGo}, {"opa", opaEngine(t, peer.OPA(t, regoDir).URL)},
		{"cedar", inCedar}, {"agent", agentEngine(t, startAgent(t, cedarDir))}, {"avp", newStore(t, policies)},
	}
}

func opaEngine(t testing.TB, url string) policy.Engine {
	t.Helper()
	e, err := opa.New(opa.Config{URL: url, Timeout: patient})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func agentEngine(t testing.TB, url string) policy.Engine {
	t.Helper()
	e, err := cedaragent.New(cedaragent.Config{URL: url, Timeout: patient})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func avpEngine(t testing.TB, url, store string, c aws.Credentials) policy.Engine {
	t.Helper()
	e, err := avp.New(t.Context(), avp.Config{PolicyStoreID: store, Timeout: patient, AWSConfig: &aws.Config{
		Region: awstest.Region, BaseEndpoint: &url, Retryer: func() aws.Retryer { return aws.NopRetryer{} },
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil }),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// newStore plays Verified Permissions: its wire protocol, and cedar-go behind it with all policies in one set.
func newStore(t testing.TB, policies map[string]source) policy.Engine {
	t.Helper()
	set := cedargo.NewPolicySet()
	for name, s := range policies {
		list, err := cedargo.NewPolicyListFromBytes(name, []byte(s.cedar))
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range list {
			set.Add(cedargo.PolicyID(fmt.Sprint(name, i)), p)
		}
	}
	s := awstest.Start(t)
	id := s.NewPolicyStore(awstest.PolicyStore{Decide: func(_ context.Context, q awstest.Authorization) awstest.Verdict { return decide(set, q) }})
	return avpEngine(t, s.URL, id, s.Grant(awstest.Session("payments")))
}

func decide(set *cedargo.PolicySet, q awstest.Authorization) awstest.Verdict {
	context, _ := cedarValue(q.Context).(cedargo.Record)
	decision, diagnostic := cedargo.Authorize(set, nil, cedargo.Request{
		Principal: uid(q.Principal), Action: uid(q.Action), Resource: uid(q.Resource), Context: context,
	})
	v := awstest.Verdict{Decision: strings.ToUpper(decision.String())}
	for _, r := range diagnostic.Reasons {
		v.Policies = append(v.Policies, string(r.PolicyID))
	}
	for _, e := range diagnostic.Errors {
		v.Errors = append(v.Errors, e.Message)
	}
	return v
}

func uid(e awstest.Entity) cedargo.EntityUID {
	return cedargo.NewEntityUID(cedargo.EntityType(e.Type), cedargo.String(e.ID))
}

func cedarValue(v any) cedargo.Value {
	switch v := v.(type) {
	case bool:
		return cedargo.Boolean(v)
	case int64:
		return cedargo.Long(v)
	case string:
		return cedargo.String(v)
	case awstest.Decimal:
		d, err := types.ParseDecimal(string(v))
		if err != nil {
			panic(err) // checked by awstest
		}
		return d
	case []any:
		values := make([]cedargo.Value, len(v))
		for i := range v {
			values[i] = cedarValue(v[i])
		}
		return cedargo.NewSet(values...)
	case map[string]any:
		m := cedargo.RecordMap{}
		for name, inner := range v {
			m[cedargo.String(name)] = cedarValue(inner)
		}
		return cedargo.NewRecord(m)
	}
	panic(fmt.Sprintf("%T", v)) // awstest knows no others
}
