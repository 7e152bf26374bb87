package spiffe_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/spiffe"
	"github.com/kest-go/kest/identity/spiffe/spiffetest"
)

// TestBadEndpoints: what cannot be right is refused at once, with what to write instead and no secret of the value.
func TestBadEndpoints(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ value, want string }{
		{dir, "is a directory"},
		{"unix://" + dir, "is a directory"},
		{file, "is not a socket"},
		{"unix://run/agent.sock", "third slash"},
		{"unix:", "without a path"},
		{"unix:relative.sock", "more than an address"},
		{"unix:///run/agent.sock?key=s3cret", "more than an address"},
		{"unix:///run/agent.sock#s3cret", "more than an address"},
		{"tcp://localhost:8081", "host names are not allowed"},
		{"tcp://agent.example:8081", "host names are not allowed"},
		{"tcp://127.0.0.1", "IP address and port"},
		{"tcp://127.0.0.1:0", "port"},
		{"tcp://127.0.0.1:http", "not a URI"},
		{"tcp://127.0.0.1:8081/x", "nothing after"},
		{"tcp://[fe80::1%25eth0]:8081", "zone"},
		{"tcp://user:s3cret@127.0.0.1:8081", "more than an address"},
		{"tcp://", "IP address and port"},
		{"http://127.0.0.1:8081", `scheme "http"`},
		{"https://user:s3cret@agent.example", "more than an address"},
		{"npipe:spire", "more than an address"},
		{"tcp://%zz-s3cret", "not a URI"},
		{"/" + strings.Repeat("d", 200), "at most 107"},
		{"/run/a\x00b", "zero byte"},
	} {
		begun := time.Now()
		p, err := spiffe.New(context.Background(), spiffe.Config{SocketPath: test.value})
		if p != nil || err == nil {
			t.Fatalf("%q is accepted", test.value)
		}
		wants(t, err, "SocketPath", test.want)
		if strings.Contains(err.Error(), "s3cret") || time.Since(begun) > time.Second {
			t.Errorf("%q, after %s: %v", test.value, time.Since(begun), err)
		}
	}
}

// FuzzEndpoint: whatever is accepted is an endpoint for the library, has no more in it than an address, and is read again
// as the same.
func FuzzEndpoint(f *testing.F) {
	for _, seed := range []string{
		"/run/spire/sockets/agent.sock", "unix:///tmp/agent.sock", "unix:/tmp/a%20b.sock", "tcp://127.0.0.1:8081", "tcp://[::1]:8081",
		"tcp://[fe80::1%25eth0]:80", "./agent.sock", "http://x", "unix://host/x", "tcp://user:s3cret@127.0.0.1:1", "a:b", "unix:", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		uri, err := spiffe.ParseEndpoint(value)
		if err != nil {
			return
		}
		if err := workloadapi.ValidateAddress(uri); err != nil {
			t.Errorf("%q became %q: %v", value, uri, err)
		}
		if !strings.HasPrefix(uri, "unix:///") && !strings.HasPrefix(uri, "tcp://") || strings.ContainsAny(uri, "@?#") && !strings.HasPrefix(uri, "unix:///") {
			t.Errorf("%q became %q", value, uri)
		}
		if again, err := spiffe.ParseEndpoint(uri); again != uri || err != nil {
			t.Errorf("%q became %q, and then %q, %v", value, uri, again, err)
		}
	})
}

func TestEndpointForms(t *testing.T) {
	dir := t.TempDir()
	s := spiffetest.Start(t, spiffetest.Config{Path: filepath.Join(dir, "a b%20#?.sock")})
	t.Chdir(dir)
	start(t, s, spiffe.Config{SocketPath: filepath.Join(dir, "a b%20#?.sock")})
	start(t, s, spiffe.Config{SocketPath: "./a b%20#?.sock"})
	start(t, s, spiffe.Config{SocketPath: s.Addr()})
	start(t, spiffetest.Start(t, spiffetest.Config{TCP: true}), spiffe.Config{})
}

// TestAllProblemsAtOnce: F-GC, one round of repair is enough.
func TestAllProblemsAtOnce(t *testing.T) {
	_, err := spiffe.New(context.Background(), spiffe.Config{
		SocketPath: "http://x", Form: "kms", Principal: "payments", Wait: -1,
	})
	wants(t, err, "SocketPath", "Form", "Principal", "Wait")
}

func TestEnvironment(t *testing.T) {
	s := spiffetest.Start(t, spiffetest.Config{})
	t.Setenv("SPIFFE_ENDPOINT_SOCKET", s.Addr())
	p, err := spiffe.New(context.Background(), spiffe.Config{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	for value, want := range map[string]string{"": "empty", "http://x": "scheme"} {
		t.Setenv("SPIFFE_ENDPOINT_SOCKET", value)
		_, err := spiffe.New(context.Background(), spiffe.Config{})
		wants(t, err, "SPIFFE_ENDPOINT_SOCKET", want)
	}
}

// TestDetect: SPEC §8 Auto, through the environment that Detect looks at and no other.
func TestDetect(t *testing.T) {
	s := spiffetest.Start(t, spiffetest.Config{})
	t.Setenv("SPIFFE_ENDPOINT_SOCKET", "/nowhere")
	probes := identity.StandardProbes()
	if err := identity.Link(probes, identity.SPIFFE, spiffe.Open(spiffe.Config{Wait: 300 * time.Millisecond, Logger: quiet()})); err != nil {
		t.Fatal(err)
	}
	env := func(value string) identity.Env {
		return identity.Env{Getenv: func(name string) (string, bool) { return value, name == "SPIFFE_ENDPOINT_SOCKET" }}
	}
	found, _, err := identity.Detect(context.Background(), env(s.Addr()), probes...)
	if err != nil {
		t.Fatal(err)
	}
	p := found.(*spiffe.Provider)
	defer p.Close()
	if _, err := signed(p, s.Roots()); err != nil {
		t.Error(err)
	}
	found, _, err = identity.Detect(context.Background(), env("/nowhere/agent.sock"), probes...)
	if !errors.Is(err, identity.ErrBroken) || found != nil {
		t.Errorf("%v, %v", found, err)
	}
	// Without the variable, the first default socket that exists.
	asked := identity.Env{Exists: func(path string) bool { return path == identity.SPIFFESockets()[1] }}
	_, err = spiffe.Open(spiffe.Config{Wait: time.Millisecond, Logger: quiet()})(context.Background(), asked)
	wants(t, err, identity.SPIFFESockets()[1])
}

// TestLazyStart: the socket appears later than the workload, the registration later than the socket. Nothing is signed
// before, because there is no provider before.
func TestLazyStart(t *testing.T) {
	s := spiffetest.Start(t, spiffetest.Config{})
	s.Stop()
	s.Revoke()
	go func() {
		time.Sleep(300 * time.Millisecond)
		_ = s.Restart()
		time.Sleep(300 * time.Millisecond)
		s.Grant()
	}()
	begun := time.Now()
	p := start(t, s, spiffe.Config{})
	if waited := time.Since(begun); waited < 600*time.Millisecond || waited > 5*time.Second {
		t.Errorf("waited for %s", waited)
	}
	if _, err := signed(p, s.Roots()); err != nil {
		t.Error(err)
	}
}

// TestNeverThere: New ends within its bound, and says which endpoint it waited for and why in vain.
func TestNeverThere(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	hung := spiffetest.Start(t, spiffetest.Config{})
	hung.Hang(true)
	unregistered := spiffetest.Start(t, spiffetest.Config{})
	unregistered.Revoke()
	gone := spiffetest.Start(t, spiffetest.Config{})
	gone.Stop()
	missing := filepath.Join(t.TempDir(), "agent.sock")
	for _, test := range []struct{ name, endpoint, want string }{
		{"no socket", missing, "no such file"},
		{"agent stopped", gone.Addr(), "onnect"},
		{"accepts and hangs", "tcp://" + silent.Addr().String(), "no answer"},
		{"streams hang", hung.Addr(), "no answer"},
		{"not registered", unregistered.Addr(), "registration entry"},
	} {
		t.Run(test.name, func(t *testing.T) {
			const wait = 400 * time.Millisecond
			begun := time.Now()
			p, err := spiffe.New(context.Background(), spiffe.Config{SocketPath: test.endpoint, Wait: wait, Logger: quiet()})
			if p != nil {
				t.Fatal("there is a provider")
			}
			wants(t, err, strings.TrimPrefix(test.endpoint, "unix://"), test.want)
			if !errors.Is(err, identity.ErrNotReady) || !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			if took := time.Since(begun); took < wait || took > wait+2*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}
