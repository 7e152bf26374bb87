package cedaragent_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/cedaragent"
	"github.com/kest-go/kest/policy/policytest"
)

// TestMain fails the run when an engine or a connection leaves a goroutine behind.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	rc := m.Run()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // the fuzzing engine keeps goroutines of its own
	for deadline := time.Now().Add(10 * time.Second); !fuzzing && runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			fmt.Fprintf(os.Stderr, "goroutines are left:\n%s", stacks[:runtime.Stack(stacks, true)])
			os.Exit(1)
		}
	}
	os.Exit(rc)
}

const allowed = `{"decision":"Allow","diagnostics":{"reason":["p1"],"errors":[]}}`

// A fake is an HTTP server that counts its requests and its connections.
type fake struct {
	*httptest.Server
	requests, conns atomic.Int32
}

// serve starts a fake on loopback; change may alter it before it starts.
func serve(t testing.TB, h http.HandlerFunc, change ...func(*fake)) *fake {
	t.Helper()
	f := &fake{}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.requests.Add(1)
		h(w, r)
	}))
	f.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			f.conns.Add(1)
		}
	}
	f.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes are the point of some tests
	for _, c := range change {
		c(f)
	}
	f.Start()
	t.Cleanup(f.Close)
	return f
}

// on makes a fake listen elsewhere.
func on(l net.Listener, err error) func(*fake) {
	return func(f *fake) {
		f.Listener.Close()
		if err != nil {
			panic(err)
		}
		f.Listener = l
	}
}

func answer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, body)
	}
}

// engine makes an engine that is closed with the test. Its timeout is patient when c does not set one: a busy
// machine must not fail a test that is about something else.
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

func evaluate(e *cedaragent.Engine) (policy.Decision, error) {
	return e.Evaluate(context.Background(), policytest.AllowTrusted, policytest.Input(100))
}

// serveWire starts a server below HTTP: it reads one whole request per connection and leaves the rest to f. It
// returns its URL and counts its connections.
func serveWire(t *testing.T, f func(net.Conn, *http.Request)) (string, *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu    sync.Mutex
		conns []net.Conn
		count atomic.Int32
		wg    sync.WaitGroup
	)
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			count.Add(1)
			wg.Go(func() {
				defer c.Close()
				if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					io.Copy(io.Discard, req.Body)
					f(c, req)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return "http://" + l.Addr().String(), &count
}

// mustRefuse checks that err is of class and that the decision with it does not allow. It returns the text.
func mustRefuse(t *testing.T, d policy.Decision, err, class error) string {
	t.Helper()
	if d != (policy.Decision{}) {
		t.Errorf("decision %+v beside an error", d)
	}
	if !errors.Is(err, class) {
		t.Fatalf("error %v; want %v", err, class)
	}
	for _, other := range []error{policy.ErrUnknownPolicy, policy.ErrUnavailable, policy.ErrIndefinite} {
		if other != class && errors.Is(err, other) {
			t.Errorf("error %q is of two classes", err)
		}
	}
	if text := err.Error(); len(text) > 600 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
		t.Errorf("error text is long or not printable: %.700q", text)
	}
	return err.Error()
}
