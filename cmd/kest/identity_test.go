package main_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/cmd/kest/internal/cli"
	"github.com/kest-go/kest/identity/oidc/oidctest"
	"github.com/kest-go/kest/identity/spiffe/spiffetest"
	"github.com/kest-go/kest/lineage"
)

// TestIdentityOfPlatforms: kest identity finds each platform through the environment, as a guard does, and what
// kest identity keys prints is what a verifier needs (SPEC §8).
func TestIdentityOfPlatforms(t *testing.T) {
	for name, test := range map[string]struct {
		setUp func(*testing.T) (principal string)
		form  lineage.BindingForm
	}{
		"spiffe": {func(t *testing.T) string {
			s := spiffetest.Start(t, spiffetest.Config{})
			t.Setenv("SPIFFE_ENDPOINT_SOCKET", s.Addr())
			return "spiffe://example.org/workload"
		}, lineage.FormX509},
		"aws": {func(t *testing.T) string {
			onAWS(t)
			t.Setenv("AWS_ROLE_ARN", awstest.Role("payments"))
			return awstest.Role("payments")
		}, lineage.FormKMS},
		"aws-bedrock": {func(t *testing.T) string {
			onAWS(t)
			t.Setenv("AWS_BEDROCK_AGENT_ID", "AGENT12345")
			return "arn:aws:bedrock:" + awstest.Region + ":" + awstest.Account + ":agent/AGENT12345"
		}, lineage.FormKMS},
		"oidc": {func(t *testing.T) string {
			issuer := oidctest.Start(t)
			token, err := issuer.Unbound(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("KEST_OIDC_TOKEN_PATH", path)
			t.Setenv("KEST_OIDC_ISSUER", issuer.Issuer)
			return issuer.Principal()
		}, lineage.FormSelf},
	} {
		t.Run(name, func(t *testing.T) {
			principal := test.setUp(t)
			var found struct {
				Provider, Principal string
				KeyID               string `json:"key_id"`
				Binding             struct{ Form lineage.BindingForm }
			}
			if err := json.Unmarshal([]byte(kest(t, 0, "identity", "--json")), &found); err != nil {
				t.Fatal(err)
			}
			if found.Provider != name || found.Principal != principal || found.Binding.Form != test.form || len(found.KeyID) != 43 {
				t.Errorf("found %+v", found)
			}
			if page := kest(t, 0, "identity"); !strings.Contains(page, string(test.form)+", until 20") {
				t.Errorf("page:\n%s", page)
			}
			exported(t, kest(t, 0, "identity", "keys"), principal)
		})
	}
}

// exported checks that the roots that were printed stand behind the binding that was printed.
func exported(t *testing.T, text, principal string) {
	t.Helper()
	if _, err := binding.ParseArchive([]byte(text)); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var doc struct {
		Bindings []string
		Roots    json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil || len(doc.Bindings) != 1 {
		t.Fatalf("%d bindings, %v", len(doc.Bindings), err)
	}
	roots, err := lineage.ParseRoots(doc.Roots)
	if err != nil {
		t.Fatal(err)
	}
	b, err := lineage.ParseBinding(doc.Bindings[0])
	if err != nil {
		t.Fatal(err)
	}
	if k, err := b.Verify(time.Now(), time.Second, roots); err != nil || k.Principal != principal {
		t.Errorf("%+v, %v", k, err)
	}
}

func onAWS(t *testing.T) {
	t.Helper()
	s := awstest.Start(t)
	c := s.Grant(awstest.Session("payments"))
	for name, value := range map[string]string{
		"AWS_REGION": awstest.Region, "AWS_ENDPOINT_URL": s.URL, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		"AWS_ACCESS_KEY_ID": c.AccessKeyID, "AWS_SECRET_ACCESS_KEY": c.SecretAccessKey, "AWS_SESSION_TOKEN": c.SessionToken,
		"KEST_AWS_KMS_KEY_ID": s.NewKey("ECC_NIST_P256"),
	} {
		t.Setenv(name, value)
	}
}

// kest runs a command line in this process and returns what it prints.
func kest(t *testing.T, code int, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if got := cli.Main(args, strings.NewReader(""), &stdout, &stderr); got != code {
		t.Fatalf("kest %s: exit code %d: %s%s", strings.Join(args, " "), got, stdout.String(), stderr.String())
	}
	return stdout.String()
}
