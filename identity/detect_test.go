package identity_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/identitytest"
)

// machine is an environment of variables and files.
func machine(variables map[string]string, files ...string) identity.Env {
	return identity.Env{
		Getenv: func(name string) (string, bool) { value, set := variables[name]; return value, set },
		Exists: func(path string) bool { return slices.Contains(files, path) },
	}
}

// last is a last resort, and counts how often it was opened.
func last(opened *int) identity.Probe {
	return identity.Probe{Name: identity.Local, Open: func(context.Context, identity.Env) (identity.Provider, error) {
		*opened++
		return identitytest.New("local:test"), nil
	}}
}

func ExampleDetect() {
	laptop := identity.Env{} // identity.OSEnv() in a program
	cluster := machine(map[string]string{"SPIFFE_ENDPOINT_SOCKET": "unix:///run/spire/agent.sock"})
	opened := 0
	for _, env := range []identity.Env{laptop, cluster} {
		probes := append(identity.StandardProbes(), last(&opened))
		provider, findings, err := identity.Detect(context.Background(), env, probes...)
		fmt.Println("provider:", provider)
		for _, f := range findings {
			if f.Present {
				fmt.Printf("%s: %s\n", f.Name, f.Signal)
			}
		}
		if err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// provider: mock identity local:test
	// local: used when no platform gives a signal
	// provider: <nil>
	// spiffe: SPIFFE_ENDPOINT_SOCKET=unix:///run/spire/agent.sock
	// local: used when no platform gives a signal
	// identity spiffe (SPIFFE_ENDPOINT_SOCKET=unix:///run/spire/agent.sock): identity provider not linked into this program: add `import "github.com/kest-go/kest/identity/spiffe"` and set Config.Identity to its provider, or set Config.Identity to another one
}

const token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"

// TestSignals: which machine means which provider (SPEC §8 Auto). No row may fall through to the last resort.
func TestSignals(t *testing.T) {
	aws := map[string]string{"AWS_EXECUTION_ENV": "AWS_ECS_FARGATE", "KEST_AWS_KMS_KEY_ID": "alias/kest"}
	tests := []struct {
		name, want string
		env        identity.Env
		broken     bool
	}{
		{"SPIFFE variable", identity.SPIFFE, machine(map[string]string{"SPIFFE_ENDPOINT_SOCKET": "tcp://127.0.0.1:8081"}), false},
		{"SPIFFE variable, empty", identity.SPIFFE, machine(map[string]string{"SPIFFE_ENDPOINT_SOCKET": ""}), true},
		{"SPIFFE socket", identity.SPIFFE, machine(nil, "/run/spire/sockets/agent.sock"), false},
		{"SPIRE's own socket", identity.SPIFFE, machine(nil, "/tmp/spire-agent/public/api.sock"), false},
		{"Bedrock", identity.Bedrock, machine(map[string]string{"AWS_BEDROCK_AGENT_ID": "AGENT1"}), false},
		{"Bedrock, empty", identity.Bedrock, machine(map[string]string{"AWS_BEDROCK_AGENT_ID": ""}), true},
		{"AWS runtime and key", identity.AWS, machine(aws), false},
		{"AWS role and key", identity.AWS, machine(map[string]string{"AWS_ROLE_ARN": "arn:aws:iam::1:role/x", "KEST_AWS_KMS_KEY_ID": "k"}), false},
		{"AWS key alone", identity.AWS, machine(map[string]string{"KEST_AWS_KMS_KEY_ID": "k"}), true},
		{"AWS empty key", identity.AWS, machine(map[string]string{"AWS_ROLE_ARN": "r", "KEST_AWS_KMS_KEY_ID": ""}), true},
		{"OIDC", identity.OIDC, machine(map[string]string{"KEST_OIDC_TOKEN_PATH": "/var/token"}, "/var/token"), false},
		{"OIDC, token in the environment", identity.OIDC, machine(map[string]string{"KEST_OIDC_TOKEN": token}), false},
		{"OIDC, empty token", identity.OIDC, machine(map[string]string{"KEST_OIDC_TOKEN": ""}), true},
		{"OIDC, two tokens", identity.OIDC, machine(map[string]string{"KEST_OIDC_TOKEN": token, "KEST_OIDC_TOKEN_PATH": "/t"}, "/t"), true},
		{"OIDC, no file", identity.OIDC, machine(map[string]string{"KEST_OIDC_TOKEN_PATH": "/var/token"}), true},
		{"OIDC, empty", identity.OIDC, machine(map[string]string{"KEST_OIDC_TOKEN_PATH": ""}), true},
		{"OIDC, token instead of path", identity.OIDC, machine(map[string]string{"KEST_OIDC_TOKEN_PATH": token}), true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			opened := 0
			probes := append(identity.StandardProbes(), last(&opened))
			provider, findings, err := identity.Detect(context.Background(), test.env, probes...)
			var detect *identity.DetectError
			if provider != nil || opened != 0 || !errors.As(err, &detect) || detect.Probe != test.want {
				t.Fatalf("%v, opened the last resort %d times, error %v; want an error of %s", provider, opened, err, test.want)
			}
			if !errors.Is(err, identity.ErrNotLinked) || !strings.Contains(err.Error(), "import \""+detect.Import+"\"") ||
				!strings.HasPrefix(detect.Import, "github.com/kest-go/kest/") {
				t.Errorf("the error does not name the import: %v", err)
			}
			if errors.Is(err, identity.ErrBroken) != test.broken {
				t.Errorf("broken: %t; error %v", !test.broken, err)
			}
			if f := finding(t, findings, test.want); !f.Present || f.Chosen || f.Why == "" {
				t.Errorf("finding %+v", f)
			}
			// A linked provider is opened, but not on a broken signal.
			right := identitytest.New("right")
			links := 0
			if err := identity.Link(probes, test.want, func(context.Context, identity.Env) (identity.Provider, error) {
				links++
				return right, nil
			}); err != nil {
				t.Fatal(err)
			}
			provider, findings, err = identity.Detect(context.Background(), test.env, probes...)
			if test.broken {
				if provider != nil || links != 0 || opened != 0 || !errors.Is(err, identity.ErrBroken) || errors.Is(err, identity.ErrNotLinked) {
					t.Errorf("broken signal: %v, %v, opened %d times", provider, err, links)
				}
				return
			}
			if err != nil || provider != right || opened != 0 || !finding(t, findings, test.want).Chosen {
				t.Errorf("linked: %v, %v, findings %+v", provider, err, findings)
			}
		})
	}
}

func finding(t *testing.T, findings []identity.Finding, name string) identity.Finding {
	t.Helper()
	i := slices.IndexFunc(findings, func(f identity.Finding) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("no finding for %s in %+v", name, findings)
	}
	return findings[i]
}

// TestNoSignal: what AWS sets by itself, and what other software sets, means nothing without Kest's key.
func TestNoSignal(t *testing.T) {
	for name, env := range map[string]identity.Env{
		"nothing": {}, "AWS runtime only": machine(map[string]string{"AWS_EXECUTION_ENV": "AWS_Lambda_go1.x"}),
		"AWS role only": machine(map[string]string{"AWS_ROLE_ARN": "arn:aws:iam::1:role/x"}),
		"other files":   machine(map[string]string{"HOME": "/root"}, "/var/run/secrets/token"),
	} {
		opened := 0
		provider, findings, err := identity.Detect(context.Background(), env, append(identity.StandardProbes(), last(&opened))...)
		if err != nil || provider == nil || opened != 1 || !finding(t, findings, identity.Local).Chosen {
			t.Errorf("%s: %v, %v, opened %d times", name, provider, err, opened)
		}
		for _, f := range findings[:len(findings)-1] {
			if f.Present || f.Chosen || f.Signal == "" || f.Why == "" {
				t.Errorf("%s: finding %+v", name, f)
			}
		}
		provider, _, err = identity.Detect(context.Background(), env, identity.StandardProbes()...)
		if provider != nil || !errors.Is(err, identity.ErrNone) || !strings.Contains(err.Error(), "Config.Identity") {
			t.Errorf("%s, no last resort: %v, %v", name, provider, err)
		}
	}
	if provider, findings, err := identity.Detect(context.Background(), identity.Env{}); provider != nil || len(findings) != 0 || !errors.Is(err, identity.ErrNone) {
		t.Errorf("no probes: %v, %v, %v", provider, findings, err)
	}
}

// TestOrder removes the leading signal of a machine that has them all, one after the other.
func TestOrder(t *testing.T) {
	variables := map[string]string{
		"SPIFFE_ENDPOINT_SOCKET": "unix:///x", "AWS_BEDROCK_AGENT_ID": "a", "AWS_ROLE_ARN": "r",
		"KEST_AWS_KMS_KEY_ID": "k", "KEST_OIDC_TOKEN_PATH": "/t",
	}
	order := []struct{ name, variable string }{
		{identity.SPIFFE, "SPIFFE_ENDPOINT_SOCKET"}, {identity.Bedrock, "AWS_BEDROCK_AGENT_ID"},
		{identity.AWS, "KEST_AWS_KMS_KEY_ID"}, {identity.OIDC, "KEST_OIDC_TOKEN_PATH"}, {identity.Local, ""},
	}
	for i, want := range order {
		probes := identity.StandardProbes()
		for j := range probes {
			probes[j].Open = func(context.Context, identity.Env) (identity.Provider, error) {
				return identitytest.New(probes[j].Name), nil
			}
		}
		opened := 0
		provider, findings, err := identity.Detect(context.Background(), machine(variables, "/t"), append(probes, last(&opened))...)
		if err != nil || provider == nil {
			t.Fatalf("%s: %v, %v", want.name, provider, err)
		}
		for k, f := range findings {
			if f.Name != order[k].name || f.Chosen != (k == i) {
				t.Errorf("with %s first: finding %d is %+v", want.name, k, f)
			}
			if k > i && (!f.Present || f.Why != want.name+" comes first") {
				t.Errorf("with %s first: later finding %+v", want.name, f)
			}
		}
		delete(variables, want.variable)
	}
}

// TestOpenFails: a provider that does not open is an error and not a reason to take the next.
func TestOpenFails(t *testing.T) {
	cause := errors.New("agent does not answer")
	for name, open := range map[string]identity.Opener{
		"error":   func(context.Context, identity.Env) (identity.Provider, error) { return nil, cause },
		"nothing": func(context.Context, identity.Env) (identity.Provider, error) { return nil, nil },
		"both": func(context.Context, identity.Env) (identity.Provider, error) {
			return identitytest.New("x"), cause
		},
	} {
		opened := 0
		probes := append(identity.StandardProbes(), last(&opened))
		if err := identity.Link(probes, identity.SPIFFE, open); err != nil {
			t.Fatal(err)
		}
		provider, findings, err := identity.Detect(context.Background(), machine(nil, identity.SPIFFESockets()[0]), probes...)
		if provider != nil || opened != 0 || !errors.Is(err, identity.ErrBroken) || errors.Is(err, cause) != (name != "nothing") {
			t.Errorf("%s: %v, %v, opened the last resort %d times", name, provider, err, opened)
		}
		if slices.ContainsFunc(findings, func(f identity.Finding) bool { return f.Chosen }) {
			t.Errorf("%s: something was chosen: %+v", name, findings)
		}
	}
}

// TestBrokenSignalIsASignal: a probe of the caller's own that only reports what is wrong has still decided.
func TestBrokenSignalIsASignal(t *testing.T) {
	opened, cause := 0, errors.New("certificate has expired")
	own := identity.Probe{Name: "own", Import: "example.org/own", Signal: func(identity.Env) identity.Signal {
		return identity.Signal{Detail: "certificate found", Err: cause}
	}}
	provider, findings, err := identity.Detect(context.Background(), identity.Env{}, own, last(&opened))
	if provider != nil || opened != 0 || !errors.Is(err, cause) || !findings[0].Present {
		t.Errorf("%v, %v, findings %+v", provider, err, findings)
	}
}

func TestDetectCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	opened := 0
	provider, _, err := identity.Detect(ctx, identity.Env{}, last(&opened))
	if provider != nil || opened != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v, opened %d times", provider, err, opened)
	}
}

// TestOpenSeesTheSameEnvironment: a provider must not open another socket than the one that was detected.
func TestOpenSeesTheSameEnvironment(t *testing.T) {
	probes := identity.StandardProbes()
	var got string
	if err := identity.Link(probes, identity.SPIFFE, func(_ context.Context, env identity.Env) (identity.Provider, error) {
		got, _ = env.Lookup("SPIFFE_ENDPOINT_SOCKET")
		return identitytest.New("x"), nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := identity.Detect(context.Background(), machine(map[string]string{"SPIFFE_ENDPOINT_SOCKET": "/s"}), probes...); err != nil || got != "/s" {
		t.Errorf("opened %q, %v", got, err)
	}
}

func TestLinkUnknownName(t *testing.T) {
	if err := identity.Link(identity.StandardProbes(), "spifee", nil); err == nil {
		t.Error("a misspelt name is accepted")
	}
}

// TestFindingsHoldNoSecret: ids of accounts and keys, and a token in the place of a path, stay out of findings and
// errors; paths, which people need, are shown and cannot break a line.
func TestFindingsHoldNoSecret(t *testing.T) {
	variables := map[string]string{
		"AWS_BEDROCK_AGENT_ID": "AGENT-4711", "AWS_ROLE_ARN": "arn:aws:iam::471147114711:role/x",
		"AWS_EXECUTION_ENV": "env-4711", "KEST_AWS_KMS_KEY_ID": "key-4711",
	}
	for _, value := range []string{token, strings.Repeat("4711", 100), "/4711" + strings.Repeat("x", 300), "https://user:4711@host/", "x" + token} {
		variables["SPIFFE_ENDPOINT_SOCKET"], variables["KEST_OIDC_TOKEN_PATH"], variables["KEST_OIDC_TOKEN"] = value, value, value
		_, findings, err := identity.Detect(context.Background(), machine(variables), identity.StandardProbes()...)
		text, _ := json.Marshal(findings)
		for _, secret := range []string{"4711", token} {
			if all := string(text) + fmt.Sprint(err); strings.Contains(all, secret) {
				t.Errorf("%q is in %s", secret, all)
			}
		}
	}
	_, findings, _ := identity.Detect(context.Background(),
		machine(map[string]string{"SPIFFE_ENDPOINT_SOCKET": "/run/x\nlevel=INFO"}), identity.StandardProbes()...)
	if want := `SPIFFE_ENDPOINT_SOCKET="/run/x\nlevel=INFO"`; findings[0].Signal != want {
		t.Errorf("signal %q, want %q", findings[0].Signal, want)
	}
	for _, path := range []string{"/run/s", "./s", "../s", "unix:///s", "tcp://127.0.0.1:1", `C:\s`} {
		_, findings, _ := identity.Detect(context.Background(),
			machine(map[string]string{"KEST_OIDC_TOKEN_PATH": path}, path), identity.StandardProbes()...)
		if f := finding(t, findings, identity.OIDC); !strings.Contains(f.Signal, "KEST_OIDC_TOKEN_PATH=") {
			t.Errorf("%s: signal %q", path, f.Signal)
		}
	}
}

// TestFindingJSON pins the names that `kest identity --json` prints.
func TestFindingJSON(t *testing.T) {
	got, err := json.Marshal(identity.Finding{Name: "n", Present: true, Signal: "s", Chosen: true, Why: "w"})
	if want := `{"name":"n","present":true,"signal":"s","chosen":true,"why":"w"}`; err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}

func TestOSEnv(t *testing.T) {
	t.Setenv("KEST_OIDC_TOKEN_PATH", "")
	env := identity.OSEnv()
	if value, set := env.Lookup("KEST_OIDC_TOKEN_PATH"); value != "" || !set {
		t.Errorf("%q, %t: an empty variable is set", value, set)
	}
	file := filepath.Join(t.TempDir(), "token")
	if env.Exists(file) {
		t.Error("a missing file exists")
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if !env.Exists(file) {
		t.Error("a file does not exist")
	}
	if !env.Exists(strings.Repeat("x", 100_000)) {
		t.Error("a path that cannot be examined counts as missing")
	}
}
