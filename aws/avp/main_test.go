package avp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"go.uber.org/goleak"

	"github.com/kest-go/kest/aws/avp"
	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

func TestMain(m *testing.M) {
	// Nothing of the machine's own: neither credentials nor profiles, nor the metadata service of an instance.
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "AWS_") {
			os.Unsetenv(name)
		}
	}
	os.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	os.Setenv("AWS_CONFIG_FILE", os.DevNull)
	os.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	goleak.VerifyTestMain(m)
}

// sdk is the SDK's configuration for a server, as a session of the role "payments".
func sdk(s *awstest.Server) *aws.Config { return sdkAt(s.URL, s.Grant(awstest.Session("payments"))) }

func sdkAt(url string, c aws.Credentials) *aws.Config {
	return &aws.Config{
		Region: awstest.Region, BaseEndpoint: &url,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil }),
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = 10 * time.Millisecond })
		},
	}
}

// offline is sdk without a network, for time that passes in testing/synctest.
func offline(s *awstest.Server) *aws.Config {
	c := sdk(s)
	c.HTTPClient = s.Client()
	return c
}

// engine makes an engine. Its timeout is patient when c does not set one: a busy machine must not fail a test that is
// about something else.
func engine(t testing.TB, c avp.Config) *avp.Engine {
	t.Helper()
	if c.Timeout == 0 {
		c.Timeout = 20 * time.Second
	}
	e, err := avp.New(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// start runs a server with one policy store, and an engine for it.
func start(t testing.TB, decide func(awstest.Authorization) awstest.Verdict) (*awstest.Server, *avp.Engine) {
	t.Helper()
	s := awstest.Start(t)
	return s, engine(t, avp.Config{PolicyStoreID: newStore(s, decide), AWSConfig: sdk(s)})
}

func newStore(s *awstest.Server, decide func(awstest.Authorization) awstest.Verdict) string {
	return s.NewPolicyStore(awstest.PolicyStore{Decide: func(_ context.Context, q awstest.Authorization) awstest.Verdict { return decide(q) }})
}

var allow = awstest.Verdict{Decision: "ALLOW", Policies: []string{"SP1"}}

func always(v awstest.Verdict) func(awstest.Authorization) awstest.Verdict {
	return func(awstest.Authorization) awstest.Verdict { return v }
}

const allowed = `{"decision":"ALLOW","determiningPolicies":[{"policyId":"SP1"}],"errors":[]}`

// serve runs a server that is not Verified Permissions, and an engine that believes it is.
func serve(t testing.TB, h http.HandlerFunc) *avp.Engine {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return engine(t, avp.Config{PolicyStoreID: "PS1", AWSConfig: sdkAt(server.URL, aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "s3cr3t"})})
}

func evaluate(e *avp.Engine) (policy.Decision, error) {
	return e.Evaluate(context.Background(), policytest.AllowTrusted, policytest.Input(100))
}

// mustRefuse checks that err is of class and that the decision with it does not allow. It returns the text.
func mustRefuse(t *testing.T, d policy.Decision, err, class error) string {
	t.Helper()
	if d != (policy.Decision{}) {
		t.Errorf("decision %+v beside an error", d)
	}
	if !errors.Is(err, class) {
		t.Fatalf("error %v; want %v", err, class)
	}
	for _, other := range []error{policy.ErrUnknownPolicy, policy.ErrUnavailable, policy.ErrIndefinite} {
		if other != class && errors.Is(err, other) {
			t.Errorf("error %q is of two classes", err)
		}
	}
	text := err.Error()
	if len(text) > 600 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
		t.Errorf("error text is long or not printable: %.700q", text)
	}
	for _, shown := range []string{text, fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", errors.Unwrap(err))} {
		for _, secret := range []string{"5105", "session-", "secret-", "s3cr3t", "EVIL"} {
			if strings.Contains(shown, secret) {
				t.Errorf("error shows %q: %.700s", secret, shown)
			}
		}
	}
	return text
}
