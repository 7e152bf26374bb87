package aws_test

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"go.uber.org/goleak"

	kestaws "github.com/kest-go/kest/aws"
	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/lineage"
)

func TestMain(m *testing.M) {
	// Nothing of the machine's own: neither credentials nor profiles, nor the metadata service of an instance.
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "KEST_AWS") {
			os.Unsetenv(name)
		}
	}
	os.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	os.Setenv("AWS_CONFIG_FILE", os.DevNull)
	os.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.DiscardHandler)

// role is whom the tests run as.
var role = awstest.Role("payments")

// sdk is the SDK's configuration for a server, as a session of the role.
func sdk(s *awstest.Server) *aws.Config { return sdkAs(s, awstest.Session("payments")) }

// offline is sdk without a network, for time that passes in testing/synctest.
func offline(s *awstest.Server) *aws.Config {
	c := sdk(s)
	c.HTTPClient = s.Client()
	return c
}

func sdkAs(s *awstest.Server, arn string) *aws.Config {
	c := s.Grant(arn)
	return &aws.Config{
		Region: awstest.Region, BaseEndpoint: &s.URL,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil }),
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = 20 * time.Millisecond })
		},
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// open makes a provider and closes it with the test.
func open(t testing.TB, c kestaws.Config) *kestaws.Provider {
	t.Helper()
	c.Logger = quiet
	p := must(kestaws.New(context.Background(), c))(t)
	t.Cleanup(func() { p.Close() })
	return p
}

// published keeps the public keys of all bindings, as a verifier learns them: after it has checked them.
type published struct {
	roots *lineage.Roots
	keys  map[string]ed25519.PublicKey
}

func (p *published) publish(_ context.Context, b *lineage.KeyBinding) error {
	k, err := b.Verify(time.Now(), time.Second, p.roots)
	if err != nil {
		return err
	}
	p.keys[k.KeyID] = k.Key
	return nil
}

func rootsFor(t testing.TB, c kestaws.Config, principals ...string) *lineage.Roots {
	t.Helper()
	root := must(kestaws.Root(context.Background(), c, principals...))(t)
	return must(lineage.NewRoots(lineage.RootsConfig{KMS: []lineage.KMSRoot{root}}))(t)
}
