package aws_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	kestaws "github.com/kest-go/kest/aws"
	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/lineage"
)

// TestMoto asks an emulator that others wrote, so a mistake that awstest shares with this package shows. It signs with real
// keys; it does not check SigV4, has no Ed25519, and the salt of its RSA-PSS is not as long as that of KMS.
func TestMoto(t *testing.T) {
	config := moto(t)
	client := kms.NewFromConfig(config)
	for _, spec := range []types.KeySpec{types.KeySpecEccNistP256, types.KeySpecEccNistP384, types.KeySpecEccNistP521} {
		t.Run(string(spec), func(t *testing.T) {
			made := must(client.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: spec, KeyUsage: types.KeyUsageTypeSignVerify}))(t)
			alias := "alias/kest-" + string(spec)
			must(client.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: made.KeyMetadata.KeyId}))(t)
			c := kestaws.Config{KeyID: alias, AWSConfig: &config}
			p := open(t, c)
			b := p.Binding("")
			if b.Principal() != role || p.KMSKey() != *made.KeyMetadata.Arn {
				t.Errorf("%v by %s, want key %s", b, p.KMSKey(), *made.KeyMetadata.Arn)
			}
			k, err := b.Verify(time.Now(), 0, rootsFor(t, c, role))
			if err != nil || k.Form != lineage.FormKMS {
				t.Errorf("%+v, %v", k, err)
			}
		})
	}
}

// moto starts the server and assumes a role there.
func moto(t *testing.T) aws.Config {
	t.Helper()
	path, err := exec.LookPath("moto_server")
	if err != nil {
		t.Skip("moto_server is not on the PATH: pip install 'moto[server]'")
	}
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	listener.Close()
	var output bytes.Buffer
	command := exec.Command(path, "-H", "127.0.0.1", "-p", port)
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { defer close(exited); _ = command.Wait() }()
	t.Cleanup(func() { _ = command.Process.Kill(); <-exited })
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	config := aws.Config{Region: awstest.Region, BaseEndpoint: aws.String("http://127.0.0.1:" + port),
		HTTPClient:  &http.Client{Transport: named{transport}},
		Credentials: credentials.NewStaticCredentialsProvider("AKIAMOTO", "secret", "")}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !answers(ctx, config) {
		select {
		case <-exited:
			t.Skipf("moto_server does not run: %.500s", output.String())
		case <-ctx.Done():
			t.Fatal("moto_server does not answer")
		case <-time.After(100 * time.Millisecond):
		}
	}
	assumed := must(sts.NewFromConfig(config).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String("session-1")}))(t)
	c := assumed.Credentials
	config.Credentials = credentials.NewStaticCredentialsProvider(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
	return config
}

// named mends the answer of GetPublicKey: that of KMS has the ARN of the key, and its spec under two names (KMS API
// reference); moto's has the id, and the old name.
type named struct{ http.RoundTripper }

func (n named) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := n.RoundTripper.RoundTrip(r)
	if err != nil || r.Header.Get("X-Amz-Target") != "TrentService.GetPublicKey" {
		return response, err
	}
	defer response.Body.Close()
	body := map[string]any{}
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		return nil, err
	}
	body["KeySpec"] = body["CustomerMasterKeySpec"]
	if id, _ := body["KeyId"].(string); !strings.HasPrefix(id, "arn:") {
		body["KeyId"] = "arn:aws:kms:" + awstest.Region + ":" + awstest.Account + ":key/" + id
	}
	text, err := json.Marshal(body)
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	return response, err
}

func answers(ctx context.Context, c aws.Config) bool {
	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, *c.BaseEndpoint+"/moto-api/data.json", http.NoBody)
	response, err := c.HTTPClient.Do(request)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, response.Body)
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}
