package deploy_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/deploy"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// folder writes files, by name, into a new folder.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, filepath.FromSlash(name)), text)
	}
	return dir
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// replace is what careful writers do.
func replace(t testing.TB, path, text string) {
	t.Helper()
	write(t, path+".new", text)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// open opens a deployment that ends with the test. The environment is what is given alone.
func open(t testing.TB, c deploy.Config) *deploy.Deployment {
	t.Helper()
	c.Logger = quiet
	if c.Environ == nil {
		c.Environ = []string{}
	}
	d := must(deploy.Open(t.Context(), c))(t)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// wrap guards a function that returns the entry of its call.
func wrap(t testing.TB, d *deploy.Deployment, operation string, more ...kest.Option) func(context.Context, struct{}) (lineage.Entry, error) {
	t.Helper()
	body := func(ctx context.Context, _ struct{}) (lineage.Entry, error) {
		return kest.CurrentPassport(ctx).Last().Entry(), nil
	}
	return must(kest.Verified(d.Guard, body, append(more, kest.Operation(operation), kest.Policy("kest/allow_trusted"))...))(t)
}

// deniedBy is the policy that refused a call, "" for none.
func deniedBy(t testing.TB, err error) string {
	t.Helper()
	var denied *kest.DeniedError
	if err != nil && !errors.As(err, &denied) {
		t.Fatalf("not a denial: %v", err)
	}
	if denied == nil {
		return ""
	}
	return denied.Policy
}

// privateKey of a person of the tests.
func privateKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("approver " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// keysOf is a file of public keys.
func keysOf(t testing.TB, names ...string) string {
	t.Helper()
	keys := map[string][]ed25519.PublicKey{}
	for _, name := range names {
		keys[name] = []ed25519.PublicKey{privateKey(name).Public().(ed25519.PublicKey)}
	}
	return string(must(must(lineage.NewKeySet(keys))(t).AppendJSON(nil))(t))
}

func sign(t testing.TB, d policy.Deviation) string {
	t.Helper()
	signer := must(lineage.NewSigner(d.Approver, privateKey(d.Approver)))(t)
	return must(d.Sign(t.Context(), signer))(t).Signature
}

// opaServer runs OPA's own program, the one that KEST_OPA names or opa on the PATH, with the policies of a folder, and
// returns its port.
func opaServer(t testing.TB, dir string) string {
	t.Helper()
	program := os.Getenv("KEST_OPA")
	if program == "" {
		var err error
		if program, err = exec.LookPath("opa"); err != nil {
			if os.Getenv("KEST_SERVERS") == "require" {
				t.Fatal("no OPA server: set KEST_OPA")
			}
			t.Skip("no OPA server: put opa on the PATH or its path into KEST_OPA")
		}
	}
	address := freeAddress(t)
	cmd := exec.Command(program, "run", "--server", "--skip-version-check", "--log-level=error", "--addr", address, dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if resp, err := client.Get("http://" + address + "/health"); err == nil {
			resp.Body.Close()
			_, port, _ := net.SplitHostPort(address)
			return port
		}
	}
	t.Fatal("opa is not healthy")
	return ""
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l := must(net.Listen("tcp", "localhost:0"))(t)
	defer l.Close()
	return "localhost:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// eventually waits for what another goroutine does.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func text(t testing.TB, path string) string {
	t.Helper()
	return string(must(os.ReadFile(path))(t))
}

// swap replaces a part of a text that must be there.
func swap(t testing.TB, s, old, new string) string {
	t.Helper()
	if strings.Count(s, old) != 1 {
		t.Fatalf("%q is not once in\n%s", old, s)
	}
	return strings.Replace(s, old, new, 1)
}
