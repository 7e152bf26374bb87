package opa_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/opa"
	"github.com/kest-go/kest/policy/policytest"
)

// One connection serves many evaluations, whatever the answers were.
func TestConnectionReuse(t *testing.T) {
	bodies := []string{allowed, `{"result":false}`, `{}`, `{"result":"x"}`, `not JSON`, ``, strings.Repeat(" ", 100_000)}
	var i int
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if i++; i%3 == 0 {
			w.WriteHeader(500)
		}
		answer(bodies[i%len(bodies)])(w, r)
	})
	e := engine(t, opa.Config{URL: f.URL})
	for range 50 {
		evaluate(e)
	}
	if f.Requests.Load() != 50 || f.Conns.Load() != 1 {
		t.Errorf("%d requests on %d connections; want 50 on 1", f.Requests.Load(), f.Conns.Load())
	}
}

// MaxConns holds under load, and every caller gets the answer to its own question.
func TestConcurrency(t *testing.T) {
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, `{"result":%t}`, strings.HasSuffix(r.URL.Path, "/yes"))
	})
	e := engine(t, opa.Config{URL: f.URL, MaxConns: 4})
	var wg sync.WaitGroup
	in := policytest.Input(1)
	for i := range 16 {
		wg.Go(func() {
			name := []string{"a/no", "a/yes"}[i%2]
			for range 50 {
				if d, err := e.Evaluate(t.Context(), name, in); err != nil || d.Allow != (i%2 == 1) {
					t.Errorf("%s: %+v, %v", name, d, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := f.Conns.Load(); n > 4 {
		t.Errorf("%d connections; MaxConns is 4", n)
	}
}

func TestClose(t *testing.T) {
	entered, leave := make(chan bool), make(chan bool)
	closed := make(chan bool, 10)
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/slow") {
			entered <- true
			<-leave
		}
		answer(allowed)(w, r)
	}, func(f *fake) {
		f.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				closed <- true
			}
		}
	})
	e := engine(t, opa.Config{URL: f.URL, IdleTimeout: time.Hour})
	evaluate(e)
	done := make(chan error)
	go func() {
		d, err := e.Evaluate(t.Context(), "kest/slow", policytest.Input(1))
		if err == nil && !d.Allow {
			err = errors.New("denied")
		}
		done <- err
	}()
	<-entered
	e.Close()
	e.Close()
	leave <- true
	if err := <-done; err != nil {
		t.Errorf("an evaluation under way: %v", err)
	}
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Error("the connection stays open")
	}
	d, err := evaluate(e)
	mustRefuse(t, d, err, policy.ErrUnavailable)
	if f.Requests.Load() != 2 {
		t.Errorf("%d requests", f.Requests.Load())
	}
}

// Engines that New did not make deny, and do not panic.
func TestZeroEngine(t *testing.T) {
	for _, e := range []*opa.Engine{nil, {}} {
		d, err := evaluate(e)
		mustRefuse(t, d, err, policy.ErrUnavailable)
		if err := e.Close(); err != nil || e.String() != "opa (not configured)" {
			t.Error(e, err)
		}
	}
}

// Proxies from the environment would see the policy input. net/http reads the environment once in a process, so
// this takes a process of its own.
func TestEnvironmentProxyIsNotUsed(t *testing.T) {
	const child = "KEST_TEST_PROXY_CHILD"
	if os.Getenv(child) != "" {
		d, err := evaluate(engine(t, opa.Config{URL: "http://opa.invalid", InsecureHTTP: true, Timeout: 5 * time.Second}))
		mustRefuse(t, d, err, policy.ErrUnavailable)
		return
	}
	proxy := serve(t, answer(allowed))
	cmd := exec.Command(os.Args[0], "-test.run=^TestEnvironmentProxyIsNotUsed$", "-test.v")
	cmd.Env = append(os.Environ(), child+"=1", "HTTP_PROXY="+proxy.URL, "http_proxy="+proxy.URL)
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: TestEnvironmentProxyIsNotUsed")) {
		t.Errorf("%v\n%s", err, out)
	}
	if proxy.Requests.Load() != 0 {
		t.Error("the proxy got the policy input")
	}
}

// Connections that were used at the same time are kept for the next burst.
func TestBurstsReuseConnections(t *testing.T) {
	const burst = 6
	var inside sync.WaitGroup
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		inside.Done()
		inside.Wait() // all of the burst are here at once
		answer(allowed)(w, r)
	})
	e := engine(t, opa.Config{URL: f.URL})
	for range 3 {
		inside.Add(burst)
		var wg sync.WaitGroup
		for range burst {
			wg.Go(func() {
				if d, err := evaluate(e); err != nil || !d.Allow {
					t.Errorf("%+v, %v", d, err)
				}
			})
		}
		wg.Wait()
		time.Sleep(100 * time.Millisecond) // the connections return to the pool behind the answers
	}
	if n := f.Conns.Load(); n != burst {
		t.Errorf("%d connections for bursts of %d", n, burst)
	}
}

func TestCloseReleasesIdleConnections(t *testing.T) {
	closed := make(chan bool, 1)
	f := serve(t, answer(allowed), func(f *fake) {
		f.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				closed <- true
			}
		}
	})
	e := engine(t, opa.Config{URL: f.URL, IdleTimeout: time.Hour})
	if _, err := evaluate(e); err != nil {
		t.Fatal(err)
	}
	e.Close()
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Error("the connection stays open")
	}
}

// Plain HTTP was permitted because the host is this machine, so a name that resolves to another is refused.
func TestLoopbackIsHeldTo(t *testing.T) {
	for address, ok := range map[string]bool{
		"127.0.0.1:80": true, "[::1]:80": true, "[::ffff:127.0.0.1]:80": true, "10.0.0.1:80": false, "[::]:80": false,
		"0.0.0.0:80": false, "[2001:db8::1]:80": false, "[::ffff:10.0.0.1]:80": false, "localhost:80": false, "": false,
	} {
		if err := opa.OnlyLoopback(address); (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
	}
}
