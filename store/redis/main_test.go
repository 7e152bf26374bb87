package redis_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/redis"
)

// TestMain fails the run when a store leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(settled{m}) }

// settled waits for the client library, where somebody sleeps for up to a second before he notices a Close.
type settled struct{ *testing.M }

func (m settled) Run() int {
	defer time.Sleep(1200 * time.Millisecond)
	return m.M.Run()
}

var ctx = context.Background()

// A server is a redis-server of the test's own, on loopback.
type server struct {
	t    testing.TB
	addr string
	args []string
	tls  *tls.Config
	cmd  *exec.Cmd
	pass string // of the user "default", for the tests' own questions
}

// serve starts a server without persistence; args override that. Its port stays the same when it is started again.
func serve(t testing.TB, args ...string) *server {
	t.Helper()
	s := &server{t: t, args: args, addr: freeAddress(t)}
	s.run()
	return s
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *server) run() {
	s.t.Helper()
	s.start()
	s.t.Cleanup(s.kill)
}

func (s *server) start() {
	s.t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("KEST_SERVERS") == "require" {
			s.t.Fatal("no redis-server is installed, and KEST_SERVERS is \"require\"")
		}
		s.t.Skip("no redis-server is installed")
	}
	_, port, _ := net.SplitHostPort(s.addr)
	listen := []string{"--port", port}
	if s.tls != nil {
		listen = []string{"--port", "0", "--tls-port", port}
	}
	args := append(listen, "--bind", "127.0.0.1", "--save", "", "--dir", s.dir(), "--logfile", "redis.log")
	s.cmd = exec.Command(binary, append(args, s.args...)...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if answer := s.ask("PING"); strings.HasPrefix(answer, "+PONG") || strings.HasPrefix(answer, "-NOAUTH") || strings.HasPrefix(answer, "-NOPERM") {
			return
		} else if time.Since(start) > 20*time.Second {
			log, _ := os.ReadFile(filepath.Join(s.dir(), "redis.log"))
			s.t.Fatalf("redis-server does not answer: %s\n%s", answer, log[max(0, len(log)-2000):])
		}
	}
}

// dir is one directory for every life of the server.
func (s *server) dir() string {
	for i, arg := range s.args {
		if arg == "--dir" {
			return s.args[i+1]
		}
	}
	dir := s.t.TempDir()
	s.args = append(s.args, "--dir", dir)
	return dir
}

func (s *server) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// ask sends one command without the client library and returns the first bytes of the answer.
func (s *server) ask(words ...string) string {
	dialer := &net.Dialer{Timeout: time.Second}
	var c net.Conn
	var err error
	if s.tls != nil {
		c, err = tls.DialWithDialer(dialer, "tcp", s.addr, s.tls)
	} else {
		c, err = dialer.Dial("tcp", s.addr)
	}
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	answer := make([]byte, 64<<10)
	if s.pass != "" {
		fmt.Fprint(c, command("AUTH", s.pass))
		c.Read(answer)
	}
	fmt.Fprint(c, command(words...))
	n, err := c.Read(answer)
	if err != nil {
		return err.Error()
	}
	return string(answer[:n])
}

func command(words ...string) string {
	text := "*" + strconv.Itoa(len(words)) + "\r\n"
	for _, w := range words {
		text += "$" + strconv.Itoa(len(w)) + "\r\n" + w + "\r\n"
	}
	return text
}

// open opens a store that is closed with the test.
func open(t testing.TB, c redis.Config) *redis.Store {
	t.Helper()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := redis.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func (s *server) config() redis.Config { return redis.Config{Addresses: []string{s.addr}, TLS: s.tls} }

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

// unavailable expects store.ErrUnavailable and nothing else, with hint in its text and without what was sent.
func unavailable(t testing.TB, err error, hint string, secrets ...string) {
	t.Helper()
	if !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("error %v; want ErrUnavailable", err)
	}
	for _, other := range []error{store.ErrExists, store.ErrNotFound, store.ErrRefused, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, other) {
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
