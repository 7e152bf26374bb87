package opa_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/opa"
	"github.com/kest-go/kest/policy/policytest"
)

// guidePolicy is the guide's policies/kest/allow_trusted.rego, as it stands there.
const guidePolicy = `package kest.allow_trusted

default allow = false

allow {
    input.trust_score >= 40
}
`

// modules are the policies of the contract and some broken ones, in Rego v1.
var modules = map[string]string{
	"kest/allow_trusted.rego":  "package kest.allow_trusted\n\ndefault allow := false\n\nallow if input.trust_score >= 40\n",
	"kest/deny_all.rego":       "package kest.deny_all\n\nallow := false\n",
	"kest/allow_workload.rego": "package kest.allow_workload\n\ndefault allow := false\n\nallow if input.subject.workload == \"" + policytest.Workload + "\"\n",
	"kest/undefined.rego":      "package kest.undefined\n\nallow if input.trust_score > 1000\n",
	"kest/not_boolean.rego":    "package kest.not_boolean\n\nallow := \"true\"\n",
	"odd/set.rego":             "package odd.set\n\nallow contains \"x\" if input.trust_score > 0\n",
	"odd/conflict.rego":        "package odd.conflict\n\nallow := true if input.trust_score > 0\n\nallow := false if input.trust_score > 1\n",
	"odd/builtin.rego":         "package odd.builtin\n\ndefault blocked := false\n\nblocked if to_number(input.subject.user) > 3\n\nallow if not blocked\n",
	"odd/slow.rego":            "package odd.slow\n\nallow if {\n\tr := numbers.range(1, 3000)\n\tsome a in r\n\tsome b in r\n\tsome c in r\n\t(a * b) * c < 0\n}\n",
	"verdict/nested.rego":      "package verdict.nested\n\nverdict := {\"ok\": input.trust_score >= 40}\n",
}

// binary finds OPA's own program: the one that KEST_OPA names, else opa on the PATH.
func binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("KEST_OPA"); path != "" {
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("KEST_OPA: %v", err) // asked for, so not skipped
		}
		return path
	}
	path, err := exec.LookPath("opa")
	if err != nil {
		t.Skip("no OPA server: put opa on the PATH or its path into KEST_OPA; " +
			"(cd internal/tools/opa && GOWORK=off go build -o /some/where/opa github.com/open-policy-agent/opa) builds it")
	}
	return path
}

// A server is a running OPA process.
type server struct {
	*exec.Cmd
	address string
	logs    bytes.Buffer // read only after the process has ended
}

func (s *server) url() string { return "http://" + s.address }

// start runs OPA with the policies in files on a free port of loopback, and waits until it is healthy.
func start(t testing.TB, files map[string]string, flags ...string) *server {
	t.Helper()
	return startAt(t, freeAddress(t), files, flags...)
}

func startAt(t testing.TB, address string, files map[string]string, flags ...string) *server {
	t.Helper()
	program, dir, health := binary(t), t.TempDir(), freeAddress(t)
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	args := append([]string{"run", "--server", "--skip-version-check", "--log-level=error",
		"--addr", address, "--diagnostic-addr", "http://" + health}, flags...)
	s := &server{Cmd: exec.Command(program, append(args, dir)...), address: address}
	s.Stdout, s.Stderr = &s.logs, &s.logs
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	s.await(t, health)
	return s
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// await waits for both listeners: the diagnostic one says when the policies are loaded.
func (s *server) await(t testing.TB, health string) {
	t.Helper()
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", s.address)
		if err != nil {
			continue
		}
		c.Close()
		if resp, err := client.Get("http://" + health + "/health"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
	}
	s.kill()
	t.Fatalf("opa is not healthy:\n%s", s.logs.String())
}

func (s *server) kill() {
	s.Process.Kill()
	s.Wait()
}

// The guide's step 5 against a real server: its policy file, its host and port, its v0 syntax.
func TestRealGuide(t *testing.T) {
	s := start(t, map[string]string{"kest/allow_trusted.rego": guidePolicy}, "--v0-compatible")
	host, port, _ := net.SplitHostPort(strings.TrimPrefix(s.url(), "http://"))
	number, err := net.LookupPort("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	e := engine(t, opa.Config{Host: host, Port: number})
	for trust := range 101 {
		for _, name := range []string{"kest/allow_trusted", "kest/allow_trusted/allow"} { // the package, and its rule
			d, err := e.Evaluate(t.Context(), name, policytest.Input(trust))
			if err != nil || d.Allow != (trust >= 40) {
				t.Fatalf("%s, trust %d: %+v, %v", name, trust, d, err)
			}
		}
	}
	d, err := e.Evaluate(t.Context(), "kest/allow_trustd", policytest.Input(100))
	mustRefuse(t, d, err, policy.ErrIndefinite)
}

func TestRealPolicies(t *testing.T) {
	s := start(t, modules)
	e := engine(t, opa.Config{URL: s.url()})
	for name, test := range map[string]struct {
		class error
		hint  string
	}{
		"odd/set":                 {policy.ErrIndefinite, "an array"},
		"odd/conflict":            {policy.ErrIndefinite, "eval_conflict_error"},
		"odd/builtin":             {policy.ErrIndefinite, "eval_builtin_error"},
		"odd/none":                {policy.ErrIndefinite, "no result"},
		"kest/undefined":          {policy.ErrIndefinite, `no "result.allow"`},
		"kest/undefined/allow":    {policy.ErrIndefinite, "no result"},
		"kest/not_boolean":        {policy.ErrIndefinite, "a string"},
		"kest/not_boolean/allow":  {policy.ErrIndefinite, "a string"},
		"kest/allow_trusted/deny": {policy.ErrIndefinite, "no result"},
		"kest.allow_trusted":      {policy.ErrIndefinite, "no result"}, // one segment, not two
		"Kest/allow_trusted":      {policy.ErrIndefinite, "no result"},
	} {
		d, err := e.Evaluate(t.Context(), name, policytest.Input(100))
		if text := mustRefuse(t, d, err, test.class); !strings.Contains(text, test.hint) {
			t.Errorf("%s: %s", name, text)
		}
	}
	lenient := engine(t, opa.Config{URL: s.url(), InsecureBuiltinErrors: true})
	if d, err := lenient.Evaluate(t.Context(), "odd/builtin", policytest.Input(100)); err != nil || !d.Allow {
		t.Errorf("InsecureBuiltinErrors: %+v, %v; want what OPA does by default", d, err)
	}
	nested := engine(t, opa.Config{URL: s.url(), DecisionPath: "result.verdict.ok", Provenance: true})
	for trust, allow := range map[int]bool{39: false, 40: true} {
		if d, err := nested.Evaluate(t.Context(), "verdict/nested", policytest.Input(trust)); err != nil || d.Allow != allow {
			t.Errorf("trust %d: %+v, %v", trust, d, err)
		}
	}
}

// The contract of every engine, against the real server. Its slow policy is in a package of its own, below:
// asking for the package "kest", which the contract does, evaluates everything in it.
func TestRealContract(t *testing.T) {
	s := start(t, modules)
	policytest.TestEngine(t, policytest.Harness{
		New: func(t *testing.T) policy.Engine {
			return engine(t, opa.Config{URL: s.url()})
		},
		Unsupported: map[string]string{policytest.Slow: "TestRealSlowPolicy covers it"},
	})
}

func TestRealSlowPolicy(t *testing.T) {
	s := start(t, modules)
	e := engine(t, opa.Config{URL: s.url(), Timeout: 300 * time.Millisecond})
	began := time.Now()
	d, err := e.Evaluate(t.Context(), "odd/slow", policytest.Input(100))
	mustRefuse(t, d, err, policy.ErrUnavailable)
	if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > 5*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if d, err = e.Evaluate(ctx, "odd/slow", policytest.Input(100)); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", d, err)
	}
	patient := engine(t, opa.Config{URL: s.url()})
	if d, err := evaluate(patient); err != nil || !d.Allow {
		t.Errorf("after that: %+v, %v", d, err)
	}
}

// TC-09 in the middle of things: a server that dies turns its next answer into an error, and one that comes back
// is used again.
func TestTC09RealServerDies(t *testing.T) {
	s := start(t, modules)
	e := engine(t, opa.Config{URL: s.url()})
	if d, err := evaluate(e); err != nil || !d.Allow {
		t.Fatalf("%+v, %v", d, err)
	}
	under := make(chan error)
	go func() {
		d, err := e.Evaluate(context.Background(), "odd/slow", policytest.Input(100))
		if d.Allow {
			err = errors.New("allowed")
		}
		under <- err
	}()
	time.Sleep(100 * time.Millisecond)
	s.kill()
	if err := <-under; !errors.Is(err, policy.ErrUnavailable) {
		t.Errorf("under way: %v", err)
	}
	for range 3 {
		d, err := evaluate(e)
		mustRefuse(t, d, err, policy.ErrUnavailable)
	}
	startAt(t, s.address, modules)
	if d, err := evaluate(e); err != nil || !d.Allow {
		t.Errorf("started again: %+v, %v", d, err)
	}
}

// OPA's own authentication: the token that the server wants, and others.
func TestRealBearerToken(t *testing.T) {
	authz := map[string]string{"system/authz.rego": `package system.authz

default allow := false

allow if input.identity == "` + secretToken + `"

allow if input.path == ["health"]
`}
	for name, text := range modules {
		authz[name] = text
	}
	s := start(t, authz, "--authentication=token", "--authorization=basic")
	if d, err := evaluate(engine(t, opa.Config{URL: s.url(), BearerToken: opa.StaticToken(secretToken)})); err != nil || !d.Allow {
		t.Errorf("%+v, %v", d, err)
	}
	for _, source := range []opa.TokenSource{nil, opa.StaticToken("wrong")} {
		d, err := evaluate(engine(t, opa.Config{URL: s.url(), BearerToken: source}))
		if text := mustRefuse(t, d, err, policy.ErrUnavailable); !strings.Contains(text, "BearerToken") {
			t.Error(text)
		}
	}
}

// The real server on a Unix socket, beside the TCP address that the test waits for.
func TestRealUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "opa.sock")
	start(t, modules, "--addr", "unix://"+path)
	if d, err := evaluate(engine(t, opa.Config{Socket: path})); err != nil || !d.Allow {
		t.Errorf("%+v, %v", d, err)
	}
}

// Mutual TLS as OPA does it, with the client's certificate as its identity.
func TestRealMutualTLS(t *testing.T) {
	ca, other, dir := newAuthority(t), newAuthority(t), t.TempDir()
	cert := ca.server(t)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	s := start(t, modules, "--authentication=tls",
		"--tls-cert-file", file("cert.pem", "CERTIFICATE", cert.Certificate[0]),
		"--tls-private-key-file", file("key.pem", "PRIVATE KEY", key),
		"--tls-ca-cert-file", file("ca.pem", "CERTIFICATE", ca.cert.Raw))
	ask := func(certs ...tls.Certificate) (policy.Decision, error) {
		return evaluate(engine(t, opa.Config{
			URL: "https://" + s.address, TLS: &tls.Config{RootCAs: ca.pool, Certificates: certs},
		}))
	}
	if d, err := ask(ca.client(t)); err != nil || !d.Allow {
		t.Errorf("%+v, %v", d, err)
	}
	for _, certs := range [][]tls.Certificate{nil, {other.client(t)}} {
		d, err := ask(certs...)
		mustRefuse(t, d, err, policy.ErrUnavailable)
	}
}

func BenchmarkRealEvaluate(b *testing.B) {
	e := engine(b, opa.Config{URL: start(b, modules).url()})
	benchmark(b, e)
}

// BenchmarkEvaluate is the client alone: the server answers at once.
func BenchmarkEvaluate(b *testing.B) {
	benchmark(b, engine(b, opa.Config{URL: serve(b, answer(`{"result":{"allow":true}}`)).URL}))
}

func benchmark(b *testing.B, e *opa.Engine) {
	in := policytest.Input(100)
	b.ReportAllocs()
	for b.Loop() {
		if d, err := e.Evaluate(b.Context(), policytest.AllowTrusted, in); err != nil || !d.Allow {
			b.Fatalf("%+v, %v", d, err)
		}
	}
}
