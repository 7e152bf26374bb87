package sqlstore_test

import (
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kest-go/kest/store/sqlstore"
)

// A server is a PostgreSQL server of the test's own, on loopback.
type server struct {
	database
	t    testing.TB
	bin  string // directory of the programs
	dir  string // of data, socket and log
	port string // the same when it is started again
	args []string
	cmd  *exec.Cmd
}

// serve makes a cluster and starts its server.
func serve(t testing.TB, args ...string) *server {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		missing(t, "no PostgreSQL server is installed")
	}
	s := &server{t: t, bin: filepath.Dir(found[len(found)-1]), port: freePort(t), args: args}
	var err error
	// Not t.TempDir: another user must get in, and the path of a socket is short.
	if s.dir, err = os.MkdirTemp("/tmp", "kest-pg-"); err != nil { //nolint:usetesting // as said above
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(s.dir) })
	if c := s.credential(); c != nil {
		if err := os.Chown(s.dir, int(c.Uid), int(c.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	initdb := s.command("initdb", "-D", s.data(), "-U", "kest", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	s.database = database{"pgx", s.dsn(s.port, "postgres"), sqlstore.PostgreSQL}
	s.start()
	t.Cleanup(s.quit)
	return s
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

func (s *server) dsn(port, name string) string {
	return fmt.Sprintf("postgres://kest@127.0.0.1:%s/%s?sslmode=disable", port, name)
}

// credential is the user postgres when this is root, whom PostgreSQL refuses to run as.
func (s *server) credential() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		missing(s.t, "this is root, and there is no user postgres to run the server as")
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (s *server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.credential()}
	return cmd
}

func (s *server) start() {
	s.t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd = s.command("postgres", append([]string{
		"-D", s.data(), "-p", s.port, "-k", s.dir, "-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=16MB",
	}, s.args...)...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	db, err := sql.Open(s.driver, s.database.dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := db.PingContext(ctx)
		if err == nil {
			return
		}
		if time.Since(start) > 60*time.Second {
			text, _ := os.ReadFile(log.Name())
			s.t.Fatalf("PostgreSQL does not answer: %v\n%s", err, text)
		}
	}
}

// quit ends the server at once and without a checkpoint; it recovers from its log when it starts again.
func (s *server) quit() {
	s.cmd.Process.Signal(syscall.SIGQUIT)
	s.cmd.Wait()
}

// crash kills every process of the server. The postmaster is stopped first: it would start new ones.
func (s *server) crash() {
	s.t.Helper()
	s.cmd.Process.Signal(syscall.SIGSTOP)
	killed := s.backends()
	for _, pid := range killed {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
	for _, pid := range killed { // a server does not start while one of the old one has its memory
		for alive(pid) {
			time.Sleep(time.Millisecond)
		}
	}
}

func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ")
}

// stall stops every process of the server: the kernel keeps its connections, and takes new ones.
func (s *server) stall() (up func()) {
	s.t.Helper()
	s.cmd.Process.Signal(syscall.SIGSTOP)
	stopped := s.backends()
	if len(stopped) == 0 {
		s.t.Fatal("no process of the server was found")
	}
	for _, pid := range stopped {
		syscall.Kill(pid, syscall.SIGSTOP)
	}
	return func() {
		for _, pid := range stopped {
			syscall.Kill(pid, syscall.SIGCONT)
		}
		s.cmd.Process.Signal(syscall.SIGCONT)
	}
}

// backends returns the children of the postmaster. Each has a session of its own, so there is no group to signal.
func (s *server) backends() (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, _ := os.ReadFile(path)
		before, after, _ := strings.Cut(string(text), " (")
		fields := strings.Fields(after[strings.LastIndexByte(after, ')')+1:])
		if len(fields) > 1 && fields[1] == strconv.Itoa(s.cmd.Process.Pid) {
			pid, _ := strconv.Atoi(before)
			pids = append(pids, pid)
		}
	}
	return pids
}

// shared returns a new database on a server of this test.
func shared(t testing.TB) database {
	t.Helper()
	return serve(t).database
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
