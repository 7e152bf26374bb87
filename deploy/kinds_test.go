package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/deploy"
	"github.com/kest-go/kest/identity/device"
	"github.com/kest-go/kest/identity/oidc/oidctest"
	"github.com/kest-go/kest/identity/spiffe/spiffetest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/store"
)

// TestOptions: whatever kind the schema has can be made, here or by package config.
func TestOptions(t *testing.T) {
	t.Parallel()
	var schema struct {
		Properties map[string]struct {
			Properties map[string]struct {
				Properties map[string]any `json:"properties"`
			} `json:"properties"`
		} `json:"properties"`
	}
	if err := json.Unmarshal([]byte(config.Schema()), &schema); err != nil {
		t.Fatal(err)
	}
	o := deploy.Options(deploy.Kinds{})
	made := map[string][]string{"engine": {"opa", "cedaragent"}, "identity": {"local"}, "store": {"memory"}, "tokens": nil}
	for name := range o.Engines {
		made["engine"] = append(made["engine"], name)
	}
	for name := range o.Identities {
		made["identity"] = append(made["identity"], name)
	}
	for name := range o.Stores {
		made["store"] = append(made["store"], name)
	}
	for name := range o.Tokens {
		made["tokens"] = append(made["tokens"], name)
	}
	for section, names := range made {
		var known []string
		for name := range schema.Properties[section].Properties {
			known = append(known, name)
		}
		if section == "tokens" {
			for name := range schema.Properties["ingress"].Properties["tokens"].Properties {
				known = append(known, name)
			}
		}
		slices.Sort(known)
		slices.Sort(names)
		if len(known) == 0 || !slices.Equal(known, names) {
			t.Errorf("%s: the schema has %v, and %v can be made", section, known, names)
		}
	}
}

// parse reads a text beside files, with our builders.
func parse(t *testing.T, k deploy.Kinds, text string, environ ...string) *config.Deployment {
	t.Helper()
	if k.Logger == nil {
		k.Logger = quiet
	}
	o := deploy.Options(k)
	o.File, o.Environ = filepath.Join(t.TempDir(), "kest.yaml"), append([]string{}, environ...)
	return must(config.Parse([]byte(text), o))(t)
}

// TestIdentities: each kind signs as who its platform says, and publishes its key before.
func TestIdentities(t *testing.T) {
	issuer := oidctest.Start(t)
	cloud := awstest.Start(t)
	credentials := cloud.Grant(awstest.Session("payments"))
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": credentials.AccessKeyID, "AWS_SECRET_ACCESS_KEY": credentials.SecretAccessKey, "AWS_SESSION_TOKEN": credentials.SessionToken,
		"AWS_REGION": awstest.Region, "AWS_ENDPOINT_URL": cloud.URL, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, must(issuer.Unbound(t.Context()))(t))
	agent := spiffetest.Start(t, spiffetest.Config{IDs: []string{"spiffe://example.org/shop"}})
	key := cloud.NewKey("ECC_NIST_P256")
	for name, test := range map[string]struct{ text, principal string }{
		"spiffe":     {"identity: {spiffe: {socket_path: '" + agent.Addr() + "', form: x509}}", "spiffe://example.org/shop"},
		"spiffe jwt": {"identity: {spiffe: {socket_path: '" + agent.Addr() + "', form: jwt}}", "spiffe://example.org/shop"},
		"aws":        {"identity: {aws: {key_id: '" + key + "'}}", awstest.Role("payments")},
		"bedrock":    {"identity: {bedrock: {agent_id: ABCDE12345, key_id: '" + key + "'}}", "ABCDE12345"},
		"aws direct": {"identity: {aws: {mode: direct, key_id: '" + cloud.NewKey("ECC_NIST_EDWARDS25519") + "'}}", awstest.Role("payments")},
		"oidc":       {"identity: {oidc: {token_path: '" + token + "', issuer: '" + issuer.Issuer + "'}}", issuer.Principal()},
		"device": {"identity: {device: {issuer: '" + issuer.Issuer + "', client_id: " + oidctest.DeviceClient + ", client_secret: {env: DEVICE_SECRET}, exchange: true, keyring: memory}}",
			lineage.OIDCPrincipal(issuer.Issuer, oidctest.Person)},
		"local": {"identity: {local: {name: shop}}", "local:shop:"},
	} {
		published := 0
		k := deploy.Kinds{
			Publish: func(context.Context, *lineage.KeyBinding) error { published++; return nil },
			Show:    func(p device.Prompt) error { return issuer.Approve(p.Code) },
		}
		id, err := parse(t, k, test.text, "DEVICE_SECRET="+oidctest.DeviceSecret).Identity(t.Context())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		signer, err := id.Signer(t.Context())
		if err != nil || !strings.Contains(signer.Principal(), test.principal) {
			t.Errorf("%s: %v, %v", name, signer, err)
		}
		if c, ok := id.(io.Closer); ok {
			if err := c.Close(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if (published == 0) != (name == "local" || name == "aws direct") {
			t.Errorf("%s: published %d bindings", name, published)
		}
	}
}

// TestEngineAVP: a policy store that allows trusted calls, asked over AWS's own protocol.
func TestEngineAVP(t *testing.T) {
	cloud := awstest.Start(t)
	credentials := cloud.Grant(awstest.Session("payments"))
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": credentials.AccessKeyID, "AWS_SECRET_ACCESS_KEY": credentials.SecretAccessKey, "AWS_SESSION_TOKEN": credentials.SessionToken,
		"AWS_REGION": awstest.Region, "AWS_ENDPOINT_URL": cloud.URL,
	} {
		t.Setenv(name, value)
	}
	id := cloud.NewPolicyStore(awstest.PolicyStore{Decide: func(_ context.Context, q awstest.Authorization) awstest.Verdict {
		if q.Action.ID == "base" && q.Principal.Type == "Kest::Workload" {
			return awstest.Verdict{Decision: "DENY", Policies: []string{"SP1"}}
		}
		return awstest.Verdict{Decision: "ALLOW", Policies: []string{"SP2"}}
	}})
	dir := folder(t, map[string]string{"kest.yaml": "policies: {enterprise: [base], timeout: 20s}\nengine: {avp: {policy_store: " + id + ", namespace: Kest}}\nidentity: {local: {}}\n"})
	d := open(t, deploy.Config{File: filepath.Join(dir, "kest.yaml")})
	if _, err := wrap(t, d, "pay")(t.Context(), struct{}{}); deniedBy(t, err) != "base" {
		t.Error(err)
	}
}

// TestStores: each kind keeps what it is given, and lets go of its connection.
func TestStores(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]func(*testing.T) string{
		"memory": func(*testing.T) string { return "memory: {max_entries: 5}" },
		"sqlite": func(*testing.T) string { return "sql: {dialect: sqlite, dsn: {env: DSN}}" },
		"nats":   func(t *testing.T) string { return "nats: {addresses: ['" + natsServer(t) + "'], bucket: kest}" },
		"redis":  func(t *testing.T) string { return "redis: {addresses: ['" + redisServer(t) + "'], prefix: t1.}" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := parse(t, deploy.Kinds{}, "store: {"+text(t)+"}", "DSN=file:"+dir+"/kest.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(2000)")
			kv := must(d.Store(t.Context()))(t)
			if err := kv.Put(t.Context(), "k", []byte("v"), time.Minute); err != nil {
				t.Fatal(err)
			}
			if err := kv.Put(t.Context(), "k", []byte("w"), time.Minute); !errors.Is(err, store.ErrExists) {
				t.Error(err)
			}
			if got, err := kv.Get(t.Context(), "k"); err != nil || string(got) != "v" {
				t.Error(string(got), err)
			}
			if c, ok := kv.(io.Closer); ok {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			} else if name != "memory" {
				t.Error("it cannot be closed")
			}
		})
	}
}

// TestStoresFail: what does not answer is an error at the start, which repeats no password.
func TestStoresFail(t *testing.T) {
	t.Parallel()
	nobody := "127.0.0.1:" + strings.Split(freeAddress(t), ":")[1]
	for _, text := range []string{
		"nats: {addresses: ['" + nobody + "'], bucket: kest, timeout: 100ms}",
		"redis: {addresses: ['" + nobody + "'], password: {env: PASSWORD}}",
		"sql: {dialect: postgres, dsn: {env: DSN}, timeout: 100ms}",
		"sql: {dialect: postgres, dsn: {env: PASSWORD}}",
		"sql: {dialect: sqlite, dsn: {file: none}}",
		"nats: {addresses: ['" + nobody + "'], bucket: kest, tls: {ca: none.pem}}",
		"redis: {addresses: ['" + nobody + "'], password: {env: NOT_SET}}",
	} {
		d := parse(t, deploy.Kinds{}, "store: {"+text+"}", "PASSWORD=hunter2", "DSN=postgres://kest:hunter2@"+nobody+"/kest")
		kv, err := d.Store(t.Context())
		if kv != nil || err == nil || !strings.Contains(err.Error(), "kest.yaml:1:") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, %v", text, kv, err)
		}
	}
}

func natsServer(t *testing.T) string {
	t.Helper()
	s := must(server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		JetStreamMaxStore: 1 << 30, JetStreamMaxMemory: 64 << 20,
	}))(t)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server does not start")
	}
	return s.Addr().String()
}

func redisServer(t *testing.T) string {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("KEST_SERVERS") == "require" {
			t.Fatal("no redis-server is installed")
		}
		t.Skip("no redis-server is installed")
	}
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.Command(binary, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir(), "--logfile", "redis.log")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	eventually(t, "redis-server", func() bool {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		defer c.Close()
		fmt.Fprint(c, "PING\r\n")
		answer := make([]byte, 5)
		_, err = io.ReadFull(c, answer)
		return err == nil && bytes.Equal(answer, []byte("+PONG"))
	})
	return address
}
