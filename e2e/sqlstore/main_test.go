package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // "pgx"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite" // "sqlite"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/sqlstore"
)

// TestMain fails the run when a store or a driver leaves a goroutine behind. As a child of
// TestOpenByManyProcesses the program opens a store instead.
func TestMain(m *testing.M) {
	if dsn := os.Getenv("KEST_TEST_OPEN"); dsn != "" {
		if err := openOnce(os.Getenv("KEST_TEST_DRIVER"), dsn); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

var ctx = context.Background()

const soon = time.Minute // a time to live that no test sees the end of

// missing skips a test that needs an installed program, or fails it where everything must be installed.
func missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("KEST_SERVERS") == "require" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// A database is where stores are opened: one handle for each, as if it were another process.
type database struct {
	driver, dsn string
	dialect     sqlstore.Dialect
}

func (d database) connect(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open(d.driver, d.dsn)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(8)
	t.Cleanup(func() { db.Close() })
	return db
}

// open opens a store that is closed with the test. The sweeper is off unless c has an interval.
func (d database) open(t testing.TB, c sqlstore.Config) *sqlstore.Store {
	t.Helper()
	return openOn(t, d.connect(t), d.config(c))
}

func (d database) config(c sqlstore.Config) sqlstore.Config {
	c.Dialect = d.dialect
	if c.SweepInterval == 0 {
		c.SweepInterval = -1
	}
	c.Logger = slog.New(slog.DiscardHandler)
	return c
}

func openOn(t testing.TB, db *sql.DB, c sqlstore.Config) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.Open(ctx, db, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// each runs a test on both databases.
func each(t *testing.T, test func(t *testing.T, d database)) {
	t.Run("SQLite", func(t *testing.T) { test(t, sqliteFile(t, "WAL")) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, shared(t)) })
}

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

// count returns a number that a query selects.
func count(t testing.TB, db *sql.DB, query string) (n int) {
	t.Helper()
	if err := db.QueryRowContext(ctx, query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func execute(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
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
		if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
			t.Errorf("error %q repeats %q", err, secret)
		}
	}
}

// eventually waits for a store to work again.
func eventually(t testing.TB, s store.Store, key string) {
	t.Helper()
	start := time.Now()
	for i := 0; ; i++ {
		err := s.Put(ctx, fmt.Sprintf("%s.%d", key, i), []byte("a value after it"), soon)
		if err == nil {
			return
		}
		if time.Since(start) > 15*time.Second {
			t.Fatalf("the store does not recover: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func large(size int) string { return string(bytes.Repeat([]byte("large value "), size/12+1)[:size]) }
