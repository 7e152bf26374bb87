// Package resttest is for tests only: the servers that tests of policy/opa and policy/cedaragent put before an engine, and
// what they ask of its errors.
package resttest

import (
	"bufio"
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
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kest-go/kest/policy"
)

// Main runs the tests, and fails the run when an engine or a connection leaves a goroutine behind.
func Main(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // the fuzzing engine keeps goroutines of its own
	if err := Settled(before); err != nil && code == 0 && !fuzzing {
		_, _ = fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// Settled waits until no more than limit goroutines run.
func Settled(limit int) error {
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > limit; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			return fmt.Errorf("%d goroutines, %d at the start:\n%s", runtime.NumGoroutine(), limit, stacks[:runtime.Stack(stacks, true)])
		}
	}
	return nil
}

// A Server is an HTTP server that counts its requests and its connections.
type Server struct {
	*httptest.Server
	Requests, Conns atomic.Int32
}

// Serve starts a server on loopback; change may alter it before it starts.
func Serve(t testing.TB, h http.HandlerFunc, change ...func(*Server)) *Server {
	t.Helper()
	s := &Server{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Requests.Add(1)
		h(w, r)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.Conns.Add(1)
		}
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes are the point of some tests
	for _, c := range change {
		c(s)
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// On makes a server listen elsewhere.
func On(l net.Listener, err error) func(*Server) {
	return func(s *Server) {
		_ = s.Listener.Close()
		if err != nil {
			panic(err)
		}
		s.Listener = l
	}
}

// Answer reads the question and answers with a body.
func Answer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, body)
	}
}

// A Wire is a server below HTTP.
type Wire struct {
	URL   string
	Conns atomic.Int32

	mu   sync.Mutex
	open []net.Conn
	busy sync.WaitGroup
}

// ServeWire starts a server that reads one whole request per connection and leaves the rest to f.
func ServeWire(t testing.TB, f func(net.Conn, *http.Request)) *Wire {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{URL: "http://" + l.Addr().String()}
	w.busy.Go(func() { w.accept(l, f) })
	t.Cleanup(func() {
		_ = l.Close()
		w.mu.Lock()
		for _, c := range w.open {
			_ = c.Close()
		}
		w.mu.Unlock()
		w.busy.Wait()
	})
	return w
}

func (w *Wire) accept(l net.Listener, f func(net.Conn, *http.Request)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		w.open = append(w.open, c)
		w.mu.Unlock()
		w.Conns.Add(1)
		w.busy.Go(func() {
			defer func() { _ = c.Close() }()
			if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = io.Copy(io.Discard, req.Body)
				f(c, req)
			}
		})
	}
}

// MustRefuse checks that err is of class and of no other, short and printable, and that the decision with it does not
// allow. It returns the text.
func MustRefuse(t testing.TB, d policy.Decision, err, class error) string {
	t.Helper()
	if d != (policy.Decision{}) {
		t.Errorf("decision %+v beside an error", d)
	}
	if !errors.Is(err, class) {
		t.Fatalf("error %v; want %v", err, class)
	}
	others := []error{policy.ErrUnknownPolicy, policy.ErrUnavailable, policy.ErrIndefinite}
	if slices.ContainsFunc(others, func(other error) bool { return !errors.Is(other, class) && errors.Is(err, other) }) {
		t.Errorf("error %q is of two classes", err)
	}
	text := err.Error()
	if len(text) > 600 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
		t.Errorf("error text is long or not printable: %.700q", text)
	}
	return text
}
