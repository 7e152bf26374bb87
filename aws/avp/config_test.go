package avp_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/kest-go/kest/aws/avp"
	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// All mistakes are reported at once.
func TestConfigMistakes(t *testing.T) {
	_, err := avp.New(t.Context(), avp.Config{Timeout: -1, Namespace: "a::", PrincipalType: "Work load", ResourceType: `R"`, AWSConfig: &aws.Config{}})
	for _, want := range []string{"avp config:", "set PolicyStoreID", "timeout", "Namespace", "PrincipalType", "ResourceType", "AWS_REGION", "Credentials"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
	good := sdkAt("https://127.0.0.1:1", aws.Credentials{})
	for _, id := range []string{"PS 1", "arn:aws:verifiedpermissions::123456789012:policy-store/PS1", strings.Repeat("a", 201), "PS1\n", "PS\x00", "../é"} {
		if _, err := avp.New(t.Context(), avp.Config{PolicyStoreID: id, AWSConfig: good}); err == nil || strings.Contains(err.Error(), id) {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, name := range []string{"1a", "a:b", "::a", "a::::b", "a\n", "é", strings.Repeat("n", 193)} {
		if _, err := avp.New(t.Context(), avp.Config{PolicyStoreID: "PS1", AWSConfig: good, Namespace: name}); err == nil {
			t.Errorf("namespace %q", name)
		}
	}
	for _, id := range []string{"PSEXAMPLEabcdefg111111", "policy-store-alias/example-policy_store"} {
		if _, err := avp.New(t.Context(), avp.Config{PolicyStoreID: id, AWSConfig: good, Namespace: strings.Repeat("n", 190)}); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// Answers are not signed: without TLS anybody on the way could allow.
func TestEndpoint(t *testing.T) {
	for endpoint, good := range map[string]bool{
		"https://verifiedpermissions.example.org": true, "http://127.0.0.1:4566": true, "http://[::1]:4566": true,
		"http://verifiedpermissions.example.org": false, "http://user:s3cr3t@example.org": false, "http://localhost:4566": false, "http://10.0.0.1": false,
		"ftp://127.0.0.1": false, "s3cr3t": false, "": false, "https://": false, "http://127.0.0.1.example.org": false, ":": false,
	} {
		_, err := avp.New(t.Context(), avp.Config{PolicyStoreID: "PS1", AWSConfig: sdkAt(endpoint, aws.Credentials{})})
		if (err == nil) != good || err != nil && strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}

// Without AWSConfig everything comes from the environment, endpoints that are not safe, too.
func TestEnvironment(t *testing.T) {
	s := awstest.Start(t)
	c := s.Grant(awstest.Session("payments"))
	for name, value := range map[string]string{"AWS_REGION": awstest.Region, "AWS_ACCESS_KEY_ID": c.AccessKeyID, "AWS_SECRET_ACCESS_KEY": c.SecretAccessKey,
		"AWS_SESSION_TOKEN": c.SessionToken, "AWS_ENDPOINT_URL_VERIFIEDPERMISSIONS": s.URL} {
		t.Setenv(name, value)
	}
	e := engine(t, avp.Config{PolicyStoreID: newStore(s, always(allow))})
	if d, err := evaluate(e); err != nil || !d.Allow {
		t.Errorf("%+v, %v", d, err)
	}
	t.Setenv("AWS_ENDPOINT_URL_VERIFIEDPERMISSIONS", "http://example.org")
	if _, err := avp.New(t.Context(), avp.Config{PolicyStoreID: "PS1"}); err == nil || !strings.Contains(err.Error(), "https") {
		t.Error(err)
	}
	broken := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(broken, []byte("[profile s3cr3t\ns3cr3t"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", broken)
	t.Setenv("AWS_PROFILE", "s3cr3t")
	if _, err := avp.New(t.Context(), avp.Config{PolicyStoreID: "PS1"}); err == nil || !strings.Contains(err.Error(), "~/.aws") || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "s3cr3t") {
		t.Error(err)
	}
	os.Unsetenv("AWS_REGION") // t.Setenv puts it back
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	os.Unsetenv("AWS_PROFILE")
	if _, err := avp.New(t.Context(), avp.Config{PolicyStoreID: "PS1"}); err == nil || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Error(err)
	}
}

// The caller's configuration is copied, and stays as it was.
func TestConfigIsCopied(t *testing.T) {
	s := awstest.Start(t)
	config := sdk(s)
	e := engine(t, avp.Config{PolicyStoreID: newStore(s, always(allow)), AWSConfig: config})
	if len(config.APIOptions) != 0 {
		t.Error("APIOptions were added to the caller's configuration")
	}
	config.Region, config.Credentials, config.BaseEndpoint = "", nil, nil
	if d, err := evaluate(e); err != nil || !d.Allow {
		t.Errorf("%+v, %v", d, err)
	}
}

// Nothing that is printed holds a secret.
func TestPrinted(t *testing.T) {
	s := awstest.Start(t)
	credentials := s.Grant(awstest.Session("payments"))
	e := engine(t, avp.Config{PolicyStoreID: "PS1", AWSConfig: sdkAt(s.URL, credentials)})
	s.Break(awstest.Fault{Times: -1, Status: 403, Code: "InvalidSignatureException"})
	_, err := evaluate(e)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "engine", e, "error", err)
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %q", e, e, e, e, e), log.String(), fmt.Sprintf("%v %+v %#v %s %q", err, err, err, err, err)} {
		if strings.Contains(text, "secret-") || strings.Contains(text, "session-") || strings.Contains(text, credentials.SecretAccessKey) {
			t.Error(text)
		}
	}
	if got := e.String(); got != "verified permissions, policy store PS1 in "+awstest.Region {
		t.Error(got)
	}
}

// The context is obeyed before anything leaves.
func TestEndedContext(t *testing.T) {
	s, e := start(t, always(allow))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d, err := e.Evaluate(ctx, "kest/x", policytest.Input(1))
	mustRefuse(t, d, err, policy.ErrUnavailable)
	if n := s.Calls(""); n != 0 {
		t.Errorf("%d requests", n)
	}
}
