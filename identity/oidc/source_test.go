//go:build unix

package oidc_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/oidc"
	"github.com/kest-go/kest/lineage"
)

// logBuffer is a log that a test reads while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// eventually waits for the provider to look at the file, which takes seconds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// swap replaces a file as it should be done.
func swap(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+".new", text)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestFileIsReplaced: a rename over the file is noticed, a file that is half written is not used, and says so.
func TestFileIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	now := time.Now().Unix()
	write(t, path, "\n"+edToken(object{"exp": now + 300})+"\n")
	log := &logBuffer{}
	p := open(t, oidc.Config{TokenPath: path, Logger: slog.New(slog.NewTextHandler(log, nil))})
	first := p.Binding("")
	swap(t, path, edToken(object{"exp": now + 600}))
	eventually(t, "the new token is not used", func() bool { return p.Binding("").NotAfter().Unix() == now+600 })
	if old := p.Binding(first.KeyID()); old != first {
		t.Error("the binding before is gone, though entries were signed with its key")
	}
	second := p.Binding("")
	half := edToken(object{"exp": now + 900})
	write(t, path, half[:len(half)/2])
	eventually(t, "nothing is logged", func() bool { return strings.Contains(log.String(), "not renewed") })
	if p.Binding("") != second || strings.Contains(log.String(), half[:20]) {
		t.Errorf("after half a token: %s; log %s", p.Binding(""), log)
	}
	if s, err := p.Signer(t.Context()); err != nil {
		t.Error(err)
	} else if _, err := s.Sign(t.Context(), []byte("m")); err != nil {
		t.Error(err)
	}
	write(t, path, half)
	eventually(t, "the whole token is not used", func() bool { return p.Binding("").NotAfter().Unix() == now+900 })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "that the file is gone is not logged", func() bool { return strings.Contains(log.String(), "no such file") })
}

// TestKubernetesSwap: the token is a link to ..data/token, and ..data a link to a directory, which is exchanged.
func TestKubernetesSwap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Now().Unix()
	version := func(name string, exp int64) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "token"), edToken(object{"exp": exp}))
		link := filepath.Join(dir, "..data_tmp")
		if err := os.Symlink(name, link); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", now+300)
	path := filepath.Join(dir, "token")
	if err := os.Symlink(filepath.Join("..data", "token"), path); err != nil {
		t.Fatal(err)
	}
	p := open(t, oidc.Config{Source: oidc.File(path)})
	version("..2", now+600)
	eventually(t, "the swap is not noticed", func() bool { return p.Binding("").NotAfter().Unix() == now+600 })
}

// TestBadFiles: each fails at once, with its path and what to do.
func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("empty"), "")
	write(t, at("blank"), " \n")
	write(t, at("large"), strings.Repeat("x", 64<<10+1))
	write(t, at("secret"), edToken(nil))
	if err := os.Chmod(at("secret"), 0); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(at("loop"), at("loop")); err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{"empty": "empty", "blank": "empty", "large": "larger", "missing": "no such file",
		"fifo": "not a regular file", ".": "not a regular file", "loop": "symbolic links"}
	if os.Getuid() != 0 { // root reads everything
		cases["secret"] = "permission"
	}
	if runtime.GOOS == "linux" {
		cases["../../../../../../../../../../dev/zero"] = "not a regular file"
	}
	for name, want := range cases {
		start := time.Now()
		_, err := oidc.New(t.Context(), oidc.Config{TokenPath: at(name), Logger: quiet})
		if err == nil || !strings.Contains(err.Error(), want) || time.Since(start) > 2*time.Second {
			t.Errorf("%s: %v after %v; want %q", name, err, time.Since(start), want)
		}
	}
}

// TestWait: a token that is mounted late is waited for, as long as was asked.
func TestWait(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	go func() {
		time.Sleep(100 * time.Millisecond)
		_ = os.WriteFile(path+".new", []byte(edToken(nil)), 0o600)
		_ = os.Rename(path+".new", path)
	}()
	if _, err := open(t, oidc.Config{TokenPath: path, Wait: 20 * time.Second}).Signer(t.Context()); err != nil {
		t.Error(err)
	}
	_, err := oidc.New(t.Context(), oidc.Config{TokenPath: path + ".never", Wait: 50 * time.Millisecond, Logger: quiet})
	if err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v; want the reason", err)
	}
}

func env(vars map[string]string) identity.Env {
	return identity.Env{Getenv: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
		Exists: func(path string) bool { _, err := os.Stat(path); return err == nil }}
}

// TestOpen: the probe of package identity opens the provider by the environment that it is given.
func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write(t, path, edToken(nil))
	detect := func(vars map[string]string) (identity.Provider, error) {
		probes := identity.StandardProbes()
		if err := identity.Link(probes, identity.OIDC, oidc.Open(oidc.Config{Client: serving(allKeys()).client(), Logger: quiet})); err != nil {
			t.Fatal(err)
		}
		p, _, err := identity.Detect(t.Context(), env(vars), probes...)
		return p, err
	}
	got, err := detect(map[string]string{oidc.EnvTokenPath: path, oidc.EnvIssuer: issuer})
	if err != nil {
		t.Fatal(err)
	}
	p := got.(*oidc.Provider)
	defer p.Close()
	if b := p.Binding(""); b.Principal() != issuer+"#alice" {
		t.Error(b)
	}
	for name, vars := range map[string]map[string]string{
		"another issuer":   {oidc.EnvTokenPath: path, oidc.EnvIssuer: "https://other.example"},
		"empty issuer":     {oidc.EnvTokenPath: path, oidc.EnvIssuer: ""},
		"plain issuer":     {oidc.EnvTokenPath: path, oidc.EnvIssuer: "http://issuer.example"},
		"both":             {oidc.EnvTokenPath: path, oidc.EnvToken: edToken(nil)},
		"path and no file": {oidc.EnvTokenPath: path + "x"},
	} {
		if p, err := detect(vars); err == nil || p != nil || strings.Contains(err.Error(), "eyJ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	fromVariable, err := oidc.Open(oidc.Config{Logger: quiet})(t.Context(), env(map[string]string{oidc.EnvToken: edToken(nil)}))
	if err != nil {
		t.Fatal(err)
	}
	fromVariable.(*oidc.Provider).Close()
	if p, err := oidc.Open(oidc.Config{})(t.Context(), identity.Env{}); err == nil || p != nil {
		t.Errorf("without anything: %v", err)
	}
}

// TestConfigReportsEverything, at once.
func TestConfigReportsEverything(t *testing.T) {
	_, err := oidc.New(t.Context(), oidc.Config{Source: always("x"), TokenPath: "y", Issuer: "https://user:hunter2@issuer.example",
		Session: time.Second, Wait: -1})
	for _, want := range []string{"Source and TokenPath", "Issuer", "Session", "Wait"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}

// TestEnv reads the variable anew each time.
func TestEnv(t *testing.T) {
	t.Setenv("KEST_TEST_TOKEN", edToken(object{"exp": 4102444800, "iat": 1}))
	p := open(t, oidc.Config{Source: oidc.Env("KEST_TEST_TOKEN")})
	end := time.Now().Add(identity.MaxSession)
	if got := p.Binding("").NotAfter(); got.After(end) || got.Before(end.Add(-time.Minute)) {
		t.Errorf("a token without end ends at %v; want %v", got, end)
	}
	t.Setenv("KEST_TEST_TOKEN", " ")
	if err := p.Rotate(t.Context()); err == nil || !strings.Contains(err.Error(), "KEST_TEST_TOKEN") {
		t.Error(err)
	}
}

// TestGitHub speaks the wire form of GitHub Actions: GET with a query of its own, a bearer token, and {"value": …}.
func TestGitHub(t *testing.T) {
	const secret = "ghs-request-token-secret"
	answer := func(w http.ResponseWriter, token string) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write([]byte(object{"count": len(token), "value": token}.text()))
	}
	handle := func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.Method != http.MethodGet || r.Header.Get("Authorization") != "Bearer "+secret || q.Get("api-version") != "2.0" || len(q["audience"]) != 1 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer(w, sign(keys().rsa, `{"typ":"JWT","alg":"RS256","x5t":"ykNaY4qM_ta4k2TgZOCEYLkcYlA","kid":"rsa"}`, claims().with(object{
			"aud": q.Get("audience"), "sub": "repo:acme/payments:ref:refs/heads/main", "repository": "acme/payments", "nbf": time.Now().Unix() - 300,
		}).text()))
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(w, r) }))
	defer server.Close()
	t.Setenv("ACTIONS_ID_TOKEN_REQUEST_URL", server.URL+"/run/idtoken?api-version=2.0&x=a%2Bb")
	t.Setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", secret)
	client := serving(allKeys()).client()
	p := open(t, oidc.Config{Source: oidc.GitHub(), Issuer: issuer, RequireBound: true, Client: client})
	k, err := verify(t, rootsFor(t, issuer, client), p.Binding(""))
	if err != nil || k.Principal != issuer+"#repo:acme/payments:ref:refs/heads/main" || k.Form != lineage.FormOIDC {
		t.Fatalf("%+v, %v", k, err)
	}
	redirected := false
	for name, bad := range map[string]http.HandlerFunc{
		"refused":    func(w http.ResponseWriter, _ *http.Request) { http.Error(w, secret, http.StatusForbidden) },
		"no value":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"count":1}`)) },
		"two values": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"value":"a","value":"b"}`)) },
		"a number":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"value":7}`)) },
		"not JSON":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(secret)) },
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for range 100 {
				_, _ = w.Write(bytes.Repeat([]byte(" "), 64<<10))
			}
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			redirected = redirected || r.URL.Path == "/elsewhere"
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
	} {
		handle = bad
		if err := p.Rotate(t.Context()); err == nil || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), server.URL) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if redirected {
		t.Error("the request token went where the server sent it")
	}
	for want, address := range map[string]string{"plain HTTP": "http://issuer.example/x", "is not set": "", "not an https URL": "::",
		"holds credentials": "https://" + secret + "@issuer.example"} {
		t.Setenv("ACTIONS_ID_TOKEN_REQUEST_URL", address)
		if _, err := oidc.GitHub().Token(context.Background(), "a"); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}
