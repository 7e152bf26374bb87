package cedar_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kest-go/kest/policy/cedaragent"
)

// TestMain fails the run when an engine or a server leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// missing skips a test that needs an installed program, or fails it where everything must be installed.
func missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("KEST_SERVERS") == "require" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// write writes policies, by file name, into a new directory.
func write(t testing.TB, policies map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range policies {
		path := filepath.Join(dir, filepath.FromSlash(name)+".cedar")
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// An agent is a running server with the real engine.
type agent struct {
	url  string
	kill func()
}

// start runs the server with the policies in a directory, and waits until it says where it is.
func start(t testing.TB, dir string, key ...string) agent {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "no Node.js is installed")
	}
	modules := os.Getenv("KEST_CEDAR_AGENT")
	if modules == "" {
		missing(t, "KEST_CEDAR_AGENT does not say where the Cedar engine is; see the package comment")
	}
	if _, err := os.Stat(filepath.Join(modules, "node_modules", "@cedar-policy", "cedar-wasm")); err != nil {
		t.Fatalf("KEST_CEDAR_AGENT: %v", err) // asked for, so not skipped
	}
	cmd := exec.Command(node, append([]string{filepath.Join("agent", "server.mjs"), dir}, key...)...)
	var log bytes.Buffer // read only after the process has ended
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	kill := func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	t.Cleanup(kill)
	slow := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if !slow.Stop() || err != nil {
		kill()
		t.Fatalf("the server does not start: %v\n%s", err, log.String())
	}
	return agent{url: strings.TrimSpace(line), kill: kill}
}

// engine makes an engine that is closed with the test.
func engine(t testing.TB, c cedaragent.Config) *cedaragent.Engine {
	t.Helper()
	if c.Timeout == 0 {
		c.Timeout = 20 * time.Second
	}
	e, err := cedaragent.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// quoted writes a string of the Cedar language in another way than the engine under test: every character by number.
func quoted(s string) string {
	var b strings.Builder
	for _, r := range s {
		fmt.Fprintf(&b, `\u{%x}`, r)
	}
	return `"` + b.String() + `"`
}

// permit is a policy that permits an action under a condition.
func permit(action, condition string) string {
	return rule("permit", action, condition)
}

func forbid(action, condition string) string {
	return rule("forbid", action, condition)
}

func rule(effect, action, condition string) string {
	return fmt.Sprintf("%s(principal, action == Action::%q, resource) when { %s };\n", effect, action, condition)
}
