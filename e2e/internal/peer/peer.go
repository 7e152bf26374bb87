// Package peer is for tests only: it starts the servers that policy engines ask, which are programs of others.
package peer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const patience = 30 * time.Second

// Missing skips a test that needs an installed program, or fails it where everything must be installed.
func Missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("KEST_SERVERS") == "require" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// Put writes a file below dir, or replaces it at once, as a deployment does.
func Put(t testing.TB, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path+".new", []byte(text), 0o644), os.Rename(path+".new", path))
	if err != nil {
		t.Fatal(err)
	}
}

// A Server is a running program. It ends with the test, or by Kill.
type Server struct {
	URL  string
	cmd  *exec.Cmd
	logs bytes.Buffer // read only after the process has ended
}

// Kill ends the program at once.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // it may have ended by itself
	_ = s.cmd.Wait()         // which it says again
}

func (s *Server) run(t testing.TB) {
	t.Helper()
	s.cmd.Stderr = &s.logs
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
}

// OPA runs an OPA server with the policies in dir, and waits until they are loaded. The program is the one that KEST_OPA
// names, else opa on the PATH.
func OPA(t testing.TB, dir string) *Server {
	t.Helper()
	program := os.Getenv("KEST_OPA")
	if program == "" {
		var err error
		if program, err = exec.LookPath("opa"); err != nil {
			Missing(t, "no OPA server: KEST_OPA does not name one, and none is on the PATH")
		}
	}
	address, health := FreeAddress(t), FreeAddress(t)
	s := &Server{URL: "http://" + address, cmd: exec.Command(program, "run", "--server", "--skip-version-check", //nolint:gosec,noctx // a program that the tester chose; Kill ends it
		"--log-level=error", "--addr", address, "--diagnostic-addr", "http://"+health, dir)}
	s.run(t)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if healthy(t.Context(), "http://"+health+"/health") && listens(t.Context(), address) {
			return s
		}
	}
	s.Kill()
	t.Fatalf("opa is not healthy:\n%s", s.logs.String())
	return nil
}

func healthy(ctx context.Context, url string) bool {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	resp, err := client.Do(r)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func listens(ctx context.Context, address string) bool {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// FreeAddress is one of loopback on which nobody listened a moment ago.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	return l.Addr().String()
}

// Cedar runs the Rust engine of Cedar behind the REST form of Cedar Agent, with the policies in dir. script is
// e2e/cedar/agent/server.mjs as seen from the test, and KEST_CEDAR_AGENT names the directory of its npm package. With a
// key a request needs exactly that Authorization header.
func Cedar(t testing.TB, script, dir string, key ...string) *Server {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		Missing(t, "no Node.js is installed")
	}
	modules := os.Getenv("KEST_CEDAR_AGENT")
	if modules == "" {
		Missing(t, "KEST_CEDAR_AGENT does not say where the Cedar engine is; see e2e/cedar")
	}
	if _, err := os.Stat(filepath.Join(modules, "node_modules", "@cedar-policy", "cedar-wasm")); err != nil { //nolint:gosec // a path that the tester chose
		t.Fatalf("KEST_CEDAR_AGENT: %v", err) // asked for, so not skipped
	}
	s := &Server{cmd: exec.Command(node, append([]string{script, dir}, key...)...)} //nolint:gosec,noctx // as OPA's
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.run(t)
	slow := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if !slow.Stop() || err != nil {
		s.Kill()
		t.Fatalf("the Cedar engine does not start: %v\n%s", err, s.logs.String())
	}
	s.URL = strings.TrimSpace(line)
	return s
}
