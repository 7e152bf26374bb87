package spiffetest

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/kest-go/kest/lineage"
)

// Config says what a [Server] serves. The zero value is a workload spiffe://example.org/workload on a Unix socket.
type Config struct {
	CA          *CA           // nil makes one for example.org
	IDs         []string      // of the workload's SVIDs, the default one first; nil is one, in the CA's domain
	Key         KeyType       // of X.509-SVIDs
	Lifetime    time.Duration // of X.509-SVIDs; 0 is an hour
	JWTLifetime time.Duration // 0 is 5 minutes
	Federated   []*CA
	Path        string // of the Unix socket; "" is one in a directory of the server's own
	TCP         bool   // serve on a port of loopback instead
}

// A Server is an agent that serves the Workload API to one workload. It is safe for concurrent use.
type Server struct {
	CA *CA

	network, address string
	dir              string // to remove

	mu      sync.Mutex
	config  Config
	svids   []svid
	failure codes.Code // OK when there is none
	hung    bool
	tamper  func(*workload.X509SVIDResponse)
	token   func(string) string
	changed chan struct{} // closed at every change
	grpc    *grpc.Server  // nil when stopped
	served  chan struct{} // closed when grpc has ended
}

// Start starts a server that ends with the test.
func Start(tb testing.TB, config Config) *Server {
	tb.Helper()
	s, err := New(config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// New starts a server.
func New(config Config) (*Server, error) {
	if config.CA == nil {
		config.CA = NewCA("example.org")
	}
	if config.IDs == nil {
		config.IDs = []string{"spiffe://" + config.CA.Domain + "/workload"}
	}
	if config.JWTLifetime == 0 {
		config.JWTLifetime = 5 * time.Minute
	}
	s := &Server{CA: config.CA, config: config, network: "unix", address: config.Path, changed: make(chan struct{})}
	switch {
	case config.TCP:
		s.network, s.address = "tcp", "127.0.0.1:0"
	case config.Path == "":
		dir, err := os.MkdirTemp("", "spiffe") // not that of the test: its name may be too long for a socket
		if err != nil {
			return nil, err
		}
		s.dir, s.address = dir, filepath.Join(dir, "agent.sock")
	}
	s.issue()
	if err := s.Restart(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Addr is the endpoint as SPIFFE_ENDPOINT_SOCKET has it.
func (s *Server) Addr() string {
	if s.network == "tcp" {
		return "tcp://" + s.address
	}
	return (&url.URL{Scheme: "unix", Path: s.address}).String()
}

// Roots is what verifiers believe who trust the server's authority.
func (s *Server) Roots() *lineage.Roots { return s.CA.Roots() }

// Rotate issues new SVIDs and tells the workload.
func (s *Server) Rotate() {
	s.change(s.issue)
}

// RotateEvery rotates until the returned function is called, which waits for the end of it.
func (s *Server) RotateEvery(d time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		ticker := time.NewTicker(d)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				s.Rotate()
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// Revoke deletes the workload's registration entry: everything is answered with PermissionDenied until Grant.
func (s *Server) Revoke() { s.Fail(codes.PermissionDenied) }

// Fail has everything answered with an error until Grant.
func (s *Server) Fail(code codes.Code) { s.change(func() { s.failure = code }) }

// Grant ends Revoke and Fail, with new SVIDs.
func (s *Server) Grant() {
	s.change(func() {
		s.failure = codes.OK
		s.issue()
	})
}

// Hang makes the server accept everything and answer nothing, or ends that.
func (s *Server) Hang(hang bool) { s.change(func() { s.hung = hang }) }

// SetIDs changes whose SVIDs the workload gets. None is answered with an empty message, as no real agent does.
func (s *Server) SetIDs(ids ...string) {
	s.change(func() {
		s.config.IDs = ids
		s.issue()
	})
}

// SetFederated changes the domains whose bundles the workload gets beside its own.
func (s *Server) SetFederated(others ...*CA) { s.change(func() { s.config.Federated = others }) }

// SetLifetimes changes those of SVIDs that are issued from now on.
func (s *Server) SetLifetimes(x509, jwt time.Duration) {
	s.change(func() { s.config.Lifetime, s.config.JWTLifetime = x509, jwt })
}

// Update tells the workload anew, after a change to the CA.
func (s *Server) Update() { s.change(func() {}) }

// Tamper changes every message with X.509-SVIDs; nil ends that.
func (s *Server) Tamper(f func(*workload.X509SVIDResponse)) { s.change(func() { s.tamper = f }) }

// TamperToken changes every JWT-SVID; nil ends that.
func (s *Server) TamperToken(f func(token string) string) { s.change(func() { s.token = f }) }

func (s *Server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// Stop ends the server and its connections, as a crash of the agent does.
func (s *Server) Stop() {
	s.mu.Lock()
	g, served := s.grpc, s.served
	s.grpc = nil
	s.mu.Unlock()
	if g != nil {
		g.Stop()
		<-served
	}
}

// Restart serves again on the same endpoint.
func (s *Server) Restart() error {
	s.Stop()
	if s.network == "unix" {
		if err := os.Remove(s.address); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), s.network, s.address)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.network == "tcp" {
		s.address = listener.Addr().String()
	}
	g, served := grpc.NewServer(), make(chan struct{})
	workload.RegisterSpiffeWorkloadAPIServer(g, api{s: s})
	s.grpc, s.served = g, served
	go func() {
		defer close(served)
		_ = g.Serve(listener) // it ends with Stop
	}()
	return nil
}

// Close ends the server for good.
func (s *Server) Close() {
	s.Stop()
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}
