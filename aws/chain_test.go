package aws_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	kestaws "github.com/kest-go/kest/aws"
	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/identity"
)

// TestCredentialChain: the SDK finds the credentials wherever AWS puts them, and the principal is theirs.
func TestCredentialChain(t *testing.T) {
	for name, test := range map[string]struct {
		setUp func(*testing.T, *awstest.Server)
		want  string
	}{
		"environment": {func(t *testing.T, s *awstest.Server) {
			c := s.Grant(awstest.Session("payments"))
			keys(t, c, c.SecretAccessKey)
		}, role},
		"profile that assumes a role": {func(t *testing.T, s *awstest.Server) {
			c := s.Grant("arn:aws:iam::" + awstest.Account + ":user/anna")
			file(t, "AWS_CONFIG_FILE", fmt.Sprintf("[profile base]\naws_access_key_id=%s\naws_secret_access_key=%s\naws_session_token=%s\n"+
				"[profile app]\nrole_arn=%s\nsource_profile=base\n", c.AccessKeyID, c.SecretAccessKey, c.SessionToken, awstest.Role("app")))
			t.Setenv("AWS_PROFILE", "app")
		}, awstest.Role("app")},
		"IRSA": {func(t *testing.T, s *awstest.Server) {
			s.WebIdentity("web-identity-token")
			file(t, "AWS_WEB_IDENTITY_TOKEN_FILE", "web-identity-token")
			t.Setenv("AWS_ROLE_ARN", awstest.Role("pod"))
			t.Setenv("AWS_ROLE_SESSION_NAME", "session-1")
		}, awstest.Role("pod")},
		"ECS": {func(t *testing.T, s *awstest.Server) {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", s.URL+"/credentials")
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container-secret")
		}, awstest.Role("container")},
	} {
		t.Run(name, func(t *testing.T) {
			s := awstest.Start(t)
			ambient(t, s)
			t.Setenv(kestaws.EnvKeyID, s.NewKey("ECC_NIST_P256"))
			test.setUp(t, s)
			p := open(t, kestaws.Config{})
			if got := must(p.Signer(t.Context()))(t).Principal(); got != test.want {
				t.Errorf("principal %s, want %s", got, test.want)
			}
		})
	}
}

func file(t *testing.T, variable, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(variable, path)
}

// TestNoSecretInErrors: whatever fails, and however an error is printed or logged, no credential is in it (F-ID-04). AWS
// itself repeats the session token when a signature is wrong, and net/http the address that credentials come from.
func TestNoSecretInErrors(t *testing.T) {
	const secret = "s3cr3t/value+of=it"
	for name, test := range map[string]struct {
		setUp func(*testing.T, *awstest.Server)
		want  string
	}{
		"wrong secret": {func(t *testing.T, s *awstest.Server) { keys(t, s.Grant(awstest.Session("payments")), secret) }, "SignatureDoesNotMatch"},
		"unknown key": {func(t *testing.T, s *awstest.Server) {
			keys(t, aws.Credentials{AccessKeyID: "ASIAUNKNOWN", SessionToken: secret}, secret)
		}, "renew"},
		"web identity": {func(t *testing.T, s *awstest.Server) {
			file(t, "AWS_WEB_IDENTITY_TOKEN_FILE", secret)
			t.Setenv("AWS_ROLE_ARN", awstest.Role("pod"))
		}, "STS AssumeRoleWithWebIdentity: InvalidIdentityToken"},
		"container": {func(t *testing.T, s *awstest.Server) {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", s.URL+"/credentials?"+secret)
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", secret)
		}, "endpoint of the credentials answers: no"},
		"container that is away": {func(t *testing.T, s *awstest.Server) {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/"+secret)
		}, "not reached: dial tcp 127.0.0.1:1"},
		"no credentials": {func(*testing.T, *awstest.Server) {}, "no credentials found; give"},
	} {
		t.Run(name, func(t *testing.T) {
			s := awstest.Start(t)
			ambient(t, s)
			t.Setenv("AWS_MAX_ATTEMPTS", "1")
			test.setUp(t, s)
			token, log := os.Getenv("AWS_SESSION_TOKEN"), &strings.Builder{}
			_, err := kestaws.New(t.Context(), kestaws.Config{KeyID: "k", Timeout: 2 * time.Second, Logger: slog.New(slog.NewTextHandler(log, nil))})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v does not say %q", err, test.want)
			}
			t.Log(err)
			for cause := err; cause != nil; cause = errors.Unwrap(cause) {
				if strings.HasPrefix(fmt.Sprintf("%T", cause), "*smithy") || strings.Contains(fmt.Sprintf("%T", cause), "aws-sdk") {
					break // the SDK's own, for errors.As
				}
				if _, own := cause.(fmt.Formatter); !own && cause != err {
					break
				}
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
					text := fmt.Sprintf(verb, cause) + log.String()
					if strings.Contains(text, secret) || token != "" && strings.Contains(text, token) {
						t.Errorf("%s of %T shows a secret: %s", verb, cause, text)
					}
				}
			}
		})
	}
}

func keys(t *testing.T, c aws.Credentials, secret string) {
	t.Setenv("AWS_ACCESS_KEY_ID", c.AccessKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	t.Setenv("AWS_SESSION_TOKEN", c.SessionToken)
}

// ambient points the SDK's own configuration at the server.
func ambient(t *testing.T, s *awstest.Server) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_REGION", awstest.Region)
	t.Setenv("AWS_ENDPOINT_URL", s.URL)
	t.Setenv("AWS_ENDPOINT_URL_STS", s.URL) // the SDK's own STS client, which assumes roles, knows no other
}

// TestProbes: detection opens the provider that the environment asks for, with the environment that it looked at.
func TestProbes(t *testing.T) {
	s := awstest.Start(t)
	key := s.NewKey("ECC_NIST_P256")
	for name, test := range map[string]struct {
		variables map[string]string
		want      string
	}{
		"AWS":                   {map[string]string{"AWS_ROLE_ARN": role, "KEST_AWS_KMS_KEY_ID": key}, role},
		"Bedrock":               {map[string]string{"AWS_BEDROCK_AGENT_ID": "AGENT12345", "AWS_BEDROCK_AGENT_ALIAS_ID": "TSTALIASID", "KEST_AWS_KMS_KEY_ID": key}, "arn:aws:bedrock:" + awstest.Region + ":" + awstest.Account + ":agent-alias/AGENT12345/TSTALIASID"},
		"Bedrock without a key": {map[string]string{"AWS_BEDROCK_AGENT_ID": "AGENT12345"}, ""},
	} {
		probes := identity.StandardProbes()
		for name, open := range map[string]identity.Opener{
			identity.AWS: kestaws.Open(kestaws.Config{AWSConfig: sdk(s), Logger: quiet}), identity.Bedrock: kestaws.OpenBedrock(kestaws.Config{AWSConfig: sdk(s), Logger: quiet}),
		} {
			if err := identity.Link(probes, name, open); err != nil {
				t.Fatal(err)
			}
		}
		env := identity.Env{Getenv: func(name string) (string, bool) { v, ok := test.variables[name]; return v, ok }}
		p, _, err := identity.Detect(t.Context(), env, probes...)
		if test.want == "" {
			if p != nil || err == nil || !strings.Contains(err.Error(), "KEST_AWS_KMS_KEY_ID") {
				t.Errorf("%s: %v, %v", name, p, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := must(p.Signer(t.Context()))(t).Principal(); got != test.want {
			t.Errorf("%s: %s", name, got)
		}
		p.(*kestaws.Provider).Close()
	}
}
