package natskv_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/natskv"
)

// TestMain fails the run when a store leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

// A peer is a NATS server in this process, with a TCP listener and a directory that stay the same when it is started
// again.
type peer struct {
	t    testing.TB
	opts server.Options
	s    *server.Server
}

func serve(t testing.TB, changes ...func(*server.Options)) *peer {
	t.Helper()
	p := &peer{t: t, opts: server.Options{
		Host: "127.0.0.1", Port: freePort(t), JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		JetStreamMaxStore: 1 << 30, JetStreamMaxMemory: 64 << 20,
	}}
	for _, change := range changes {
		change(&p.opts)
	}
	p.start()
	t.Cleanup(p.stop)
	return p
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (p *peer) start() {
	p.t.Helper()
	opts := p.opts
	s, err := server.NewServer(&opts)
	if err != nil {
		p.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		p.t.Fatal("the server does not start")
	}
	p.s = s
}

func (p *peer) stop() {
	p.s.Shutdown()
	p.s.WaitForShutdown()
}

func (p *peer) addr() string { return fmt.Sprintf("127.0.0.1:%d", p.opts.Port) }

// connect makes a connection that comes back soon; it is closed with the test.
func connect(t testing.TB, addr string, options ...nats.Option) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect("nats://"+addr, append([]nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0), nats.FlusherTimeout(time.Second),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// open opens a store over a connection of its own.
func open(t testing.TB, addr string, c natskv.Config) *natskv.Store {
	t.Helper()
	if c.Bucket == "" {
		c.Bucket = "kest"
	}
	s, err := natskv.New(ctx, connect(t, addr), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const soon = time.Minute // a time to live that no test sees the end of

func put(t testing.TB, s store.Store, key, value string) {
	t.Helper()
	if err := s.Put(ctx, key, []byte(value), soon); err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
}

func holds(t testing.TB, s store.Store, key, value string) {
	t.Helper()
	if got, err := s.Get(ctx, key); err != nil || string(got) != value {
		t.Fatalf("get %q: %.80q, %v; want %.80q", key, got, err, value)
	}
}

// classified expects an error of that class and no other, with hint in its text and without what was sent.
func classified(t testing.TB, err, class error, hint string, secrets ...string) {
	t.Helper()
	if !errors.Is(err, class) {
		t.Fatalf("error %v; want %v", err, class)
	}
	for _, other := range []error{
		store.ErrExists, store.ErrNotFound, store.ErrRefused, store.ErrUnavailable, context.Canceled, context.DeadlineExceeded,
	} {
		if !errors.Is(other, class) && errors.Is(err, other) {
			t.Errorf("error %v matches %v, too", err, other)
		}
	}
	text := fmt.Sprintf("%v %+v %#v", err, err, err)
	if !strings.Contains(text, hint) {
		t.Errorf("error %q does not say %q", err, hint)
	}
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("error %q repeats %q", err, secret)
		}
	}
}

// A proxy passes bytes on between clients and a server until it is told to stop; connections stay.
type proxy struct {
	addr    string
	mu      sync.Mutex
	resumed sync.Cond
	silent  bool
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String()}
	p.resumed.L = &p.mu
	var running sync.WaitGroup
	conns := make(chan net.Conn, 1000)
	running.Go(func() {
		defer close(conns)
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			conns <- client
			upstream, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			conns <- upstream
			running.Go(func() { p.pass(upstream, client) })
			running.Go(func() { p.pass(client, upstream) })
		}
	})
	t.Cleanup(func() {
		p.silence(false)
		l.Close()
		for c := range conns {
			c.Close()
		}
		running.Wait()
	})
	return p
}

func (p *proxy) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 4<<10)
	for {
		p.mu.Lock()
		for p.silent {
			p.resumed.Wait()
		}
		p.mu.Unlock()
		n, err := from.Read(buffer)
		p.mu.Lock()
		for p.silent {
			p.resumed.Wait()
		}
		p.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) silence(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = on
	p.resumed.Broadcast()
}
