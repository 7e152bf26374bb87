package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/policy"
)

// TestPrecedence: a variable replaces a scalar of the file and adds to a list (SPEC §11).
func TestPrecedence(t *testing.T) {
	t.Parallel()
	d := must(t, "policies:\n  enterprise: [base]\n  platform: [a, b]\n  timeout: 2s\n",
		"KEST_POLICIES_TIMEOUT=3s", "KEST_POLICIES_PLATFORM=b, c", "KEST_POLICIES_APPLICATION=d",
		"KEST_LIMITS_DEPTH=8", "KEST_TELEMETRY_RECEIPTS=false", "KEST_POLICIES_TIMEOUT=4s",
		"KEST_OIDC_TOKEN=not.ours", "KEST_SERVICE_HOST=10.0.0.1", "PATH=/bin", "KEST_CONFIG=elsewhere")
	c := d.Guard()
	if c.PolicyTimeout != 3*time.Second || c.Limits.Depth != 8 || !c.NoReceipts {
		t.Errorf("%+v", c)
	}
	if !slices.Equal(c.Enterprise, []string{"base"}) || !slices.Equal(c.Platform, []string{"a", "b", "c"}) || !slices.Equal(c.Application, []string{"d"}) {
		t.Errorf("%q %q %q", c.Enterprise, c.Platform, c.Application)
	}
}

// TestBadVariables: they are held to the rules of the file, and what they hold is not repeated unless it is a number or
// a name.
func TestBadVariables(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ variable, want string }{
		{"KEST_POLICIES_TIMEOUT=soon", "KEST_POLICIES_TIMEOUT: policies.timeout: it is no duration; write a number with a unit, as in 500ms, 5s or 1m30s"},
		{"KEST_POLICIES_TIMEOUT=", "KEST_POLICIES_TIMEOUT: policies.timeout: the variable is set but empty; give it a value or unset it"},
		{"KEST_POLICIES_TIMOUT=1s", `KEST_POLICIES_TIMOUT: the variable is not known; did you mean "KEST_POLICIES_TIMEOUT"?`},
		{"KEST_POLICIES_PLATFORM=a,,b", "KEST_POLICIES_PLATFORM: policies.platform[2]: it is empty; give it a value or take the key out"},
		{"KEST_POLICIES_PLATFORM=../up", `KEST_POLICIES_PLATFORM: policies.platform[1]: policy name "../up" has an empty or relative segment`},
		{"KEST_LIMITS_DEPTH=deep", "KEST_LIMITS_DEPTH: limits.depth: want a whole number, got text; write decimal digits, without quotes"},
		{"KEST_LIMITS_DEPTH=0", "KEST_LIMITS_DEPTH: limits.depth: 0 is out of range; use 4 to 1024"},
		{"KEST_EGRESS_STRICT_RETURN=yes", "KEST_EGRESS_STRICT_RETURN: egress.strict_return: want true or false, got text; write true or false, without quotes"},
		{"KEST_ENGINE_REGO_DIR=x", `KEST_ENGINE_REGO_DIR: engine.rego: it stands beside "opa", and there can be one only; keep one of them`},
		{"KEST_ENGINE_OPA_TOKEN=hunter2", `KEST_ENGINE_OPA_TOKEN: the variable is not known; use KEST_ENGINE_OPA_TOKEN_ENV or KEST_ENGINE_OPA_TOKEN_FILE`},
		{"KEST_INGRESS_ORIGIN=internet", "KEST_INGRESS_ORIGIN: ingress: listener is missing; add it"},
		{"KEST_DEVIATIONS_0_POLICY=base", "KEST_DEVIATIONS_0_POLICY: the variable is not known"},
	} {
		_, err := parse("policies: {platform: [base]}\nengine: {opa: {host: localhost}}\n", test.variable)
		got := strings.Join(lines(t, err), "\n")
		if got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.variable, got, test.want)
		}
		if strings.Contains(got, "hunter2") {
			t.Errorf("%s: the error repeats a secret", test.variable)
		}
	}
	// What stands in the file where a variable has to go is reported, not replaced.
	_, err := parse("engine: {opa: here}\npolicies: {platform: a}\n", "KEST_ENGINE_OPA_HOST=localhost", "KEST_POLICIES_PLATFORM=b")
	if got := lines(t, err); len(got) != 2 || got[0] != "kest.yaml:1:15: engine.opa: want a mapping, got text" || got[1] != "kest.yaml:2:22: policies.platform: want a list, got text" {
		t.Errorf("%q", got)
	}
}

// TestVariablesAreUnique: no two settings have one variable, and none is one of another package.
func TestVariablesAreUnique(t *testing.T) {
	t.Parallel()
	variables := config.Variables()
	if len(variables) < 50 {
		t.Errorf("only %d variables", len(variables))
	}
	for name, paths := range variables {
		if len(paths) != 1 {
			t.Errorf("%s is %v", name, paths)
		}
	}
	for _, name := range []string{"KEST_CONFIG", "KEST_AWS_KMS_KEY_ID", "KEST_OIDC_TOKEN", "KEST_OIDC_TOKEN_PATH", "KEST_OIDC_ISSUER", "KEST_OPA", "KEST_SERVERS"} {
		if path, taken := variables[name]; taken {
			t.Errorf("%s is %v", name, path)
		}
	}
}

// TestLoad: which file is read.
func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two := write("one.yaml", "policies: {platform: [one]}"), write("two.yaml", "policies: {platform: [two]}")
	empty, large := write("empty.yaml", ""), write("large.yaml", strings.Repeat("#", config.MaxBytes+1))
	fresh := []string{}
	for _, test := range []struct {
		path    string
		environ []string
		want    string // of the platform policies, or of the error
	}{
		{one, fresh, "one"},
		{one, []string{"KEST_CONFIG=" + two}, "one"},
		{"", []string{"KEST_CONFIG=" + two}, "two"},
		{"", []string{"KEST_CONFIG=" + two, "KEST_POLICIES_PLATFORM=three"}, "two three"},
		{"", []string{"KEST_POLICIES_PLATFORM=three"}, "three"},
		{"", fresh, ""},
		{"", []string{"KEST_CONFIG="}, "KEST_CONFIG: the variable is set but empty"},
		{empty, fresh, "empty.yaml: the file is empty; write {} for a deployment without settings"},
		{large, fresh, "large.yaml has more than 1048576 bytes"},
		{dir, fresh, "is not a regular file"},
		{filepath.Join(dir, "none.yaml"), fresh, "no such file"},
	} {
		d, err := config.Load(test.path, config.Options{Environ: test.environ})
		var got string
		if err != nil {
			if d != nil {
				t.Errorf("%s: a deployment beside an error", test.path)
			}
			got = err.Error()
		} else {
			got = strings.Join(d.Guard().Platform, " ")
		}
		if got != test.want && (err == nil || !strings.Contains(got, test.want)) {
			t.Errorf("%s %q: got %q, want %q", test.path, test.environ, got, test.want)
		}
	}
}

// TestProcessEnvironment: Load looks at it by itself, Parse does not.
func TestProcessEnvironment(t *testing.T) {
	t.Setenv("KEST_POLICIES_PLATFORM", "outside")
	d, err := config.Load("", config.Options{})
	if err != nil || !slices.Equal(d.Guard().Platform, []string{"outside"}) {
		t.Error(d, err)
	}
	if d := must(t, "{}"); d.Guard().Platform != nil {
		t.Error(d.Guard().Platform)
	}
}

// TestPaths: those of a file belong to its folder, those of a variable to the working directory.
func TestPaths(t *testing.T) {
	t.Parallel()
	k := kept{}
	options := config.Options{File: "etc/kest.yaml", Environ: []string{"KEST_ENGINE_OPA_TLS_CA=ca.pem"},
		Engines: map[string]config.Builder[policy.Engine]{"opa": keep[config.OPA, policy.Engine](k, "opa")}}
	d, err := config.Parse([]byte("engine: {opa: {url: https://opa, tls: {certificate: c.pem, key: ../k.pem}, token: {file: /run/t}}}"), options)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Engine(t.Context()); err != nil {
		t.Fatal(err)
	}
	opa := k["opa"].(config.OPA)
	if opa.TLS.CA != absolute(t, "ca.pem") || opa.TLS.Certificate != absolute(t, "etc/c.pem") || opa.TLS.Key != absolute(t, "k.pem") || opa.Token.File != "/run/t" {
		t.Errorf("%+v %+v", opa, opa.TLS)
	}
}

// TestFormatting: a deployment knows the environment, and does not show it.
func TestFormatting(t *testing.T) {
	t.Parallel()
	d := must(t, "store: {redis: {addresses: [a:1], password: {env: REDIS_PASSWORD}}}", "REDIS_PASSWORD=hunter2")
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if text := fmt.Sprintf(format, d) + fmt.Sprintf(format, *d); strings.Contains(text, "hunter2") || strings.Contains(text, "68756e74657232") {
			t.Errorf("%s shows a secret", format)
		}
	}
}
