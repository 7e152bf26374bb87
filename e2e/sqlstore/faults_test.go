package sqlstore_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/sqlstore"
)

// TestCrashUnderLoad kills every process of the server while clients race for keys. No key is written twice with
// success, and what was acknowledged is there afterwards.
func TestCrashUnderLoad(t *testing.T) {
	s := serve(t) // with fsync, as it should be run
	const workers = 6
	type claim struct{ key, value string }
	var mu sync.Mutex
	won := map[string][]string{}
	var failed, asked atomic.Int64
	over := make(chan struct{})
	var wg sync.WaitGroup
	for w := range workers {
		client := s.open(t, sqlstore.Config{Timeout: time.Second})
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				default:
				}
				// All go through the same keys; whoever is ahead after an outage waits for nobody.
				c := claim{fmt.Sprintf("k%d", asked.Add(1)/workers), fmt.Sprintf("worker %d, try %d", w, i)}
				switch err := client.Put(ctx, c.key, []byte(c.value), time.Hour); {
				case err == nil:
					mu.Lock()
					won[c.key] = append(won[c.key], c.value)
					mu.Unlock()
				case errors.Is(err, store.ErrUnavailable):
					failed.Add(1)
					time.Sleep(5 * time.Millisecond)
				case !errors.Is(err, store.ErrExists):
					t.Errorf("put: %v", err)
				}
				if _, err := client.Get(ctx, c.key); err != nil && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrNotFound) {
					t.Errorf("get: %v", err)
				}
			}
		})
	}
	for range 4 {
		time.Sleep(500 * time.Millisecond)
		s.crash()
		time.Sleep(50 * time.Millisecond)
		s.start()
	}
	time.Sleep(500 * time.Millisecond)
	close(over)
	wg.Wait()
	reader := s.open(t, sqlstore.Config{})
	for key, values := range won {
		if len(values) != 1 {
			t.Errorf("%s was written %d times with success", key, len(values))
			continue
		}
		if got, err := reader.Get(ctx, key); err != nil || string(got) != values[0] {
			t.Errorf("%s was acknowledged with %q; now %q, %v", key, values[0], got, err)
		}
	}
	if len(won) < 100 || failed.Load() == 0 {
		t.Errorf("%d keys were written and %d puts failed; that tests nothing", len(won), failed.Load())
	}
	t.Logf("%d keys written, %d puts without an answer, 4 crashes", len(won), failed.Load())
}

// A link is a slow network before a server.
type link struct {
	net.Listener
	delay atomic.Int64 // nanoseconds, for each piece in each direction
	wg    sync.WaitGroup
}

func slow(t *testing.T, port string) *link {
	t.Helper()
	l := &link{}
	var err error
	if l.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	l.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", "127.0.0.1:"+port)
			if err != nil {
				c.Close()
				continue
			}
			l.wg.Go(func() { l.pump(c, up) })
			l.wg.Go(func() { l.pump(up, c) })
		}
	})
	t.Cleanup(func() { l.Close(); l.wg.Wait() })
	return l
}

func (l *link) pump(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	piece := make([]byte, 32<<10)
	for {
		n, err := from.Read(piece)
		time.Sleep(time.Duration(l.delay.Load()))
		if _, failed := to.Write(piece[:n]); failed != nil || err != nil {
			return
		}
	}
}

// TestSlowNetwork: a slow answer is taken while there is time, and not waited for after that.
func TestSlowNetwork(t *testing.T) {
	s := serve(t, "-c", "fsync=off")
	l := slow(t, s.port)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	d := s.database
	d.dsn = s.dsn(port, "postgres")
	client := d.open(t, sqlstore.Config{Timeout: time.Second})
	put(t, client, "before", "a value")
	l.delay.Store(int64(60 * time.Millisecond))
	put(t, client, "slow", large(10_000))
	holds(t, client, "slow", large(10_000))
	l.delay.Store(int64(2 * time.Second))
	start := time.Now()
	_, err := client.Get(ctx, "before")
	unavailable(t, err, "no answer in time; raise Timeout", "before")
	unavailable(t, client.Put(ctx, "late-key", []byte("late value"), soon), "no answer in time", "late-key", "late value")
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("two operations with a second each took %v", took)
	}
	l.delay.Store(0)
	eventually(t, client, "after")
	holds(t, client, "before", "a value")
}

const size = 200_000 // of a value that fills a disk soon

// ending writes some values whose time is over soon.
func ending(t *testing.T, client *sqlstore.Store) {
	t.Helper()
	for i := range 5 {
		if err := client.Put(ctx, fmt.Sprintf("ends.%d", i), []byte(large(size)), time.Microsecond); err != nil {
			t.Fatal(err)
		}
	}
}

// filled writes until the disk is full, and holds a full store to what it must still do.
func filled(t *testing.T, client *sqlstore.Store, hint string) {
	t.Helper()
	const limit = 500
	n := 0
	var err error
	for ; n < limit; n++ {
		if err = client.Put(ctx, fmt.Sprintf("fill.%d", n), []byte(large(size)), soon); err != nil {
			break
		}
	}
	if n == 0 || n == limit {
		t.Fatalf("%d values of %d bytes went in: %v", n, size, err)
	}
	unavailable(t, err, hint, "fill.", "large value")
	for i := range n {
		holds(t, client, fmt.Sprintf("fill.%d", i), large(size))
	}
	if _, err := client.Get(ctx, fmt.Sprintf("fill.%d", n)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the value that did not fit: %v", err)
	}
}

func TestDiskFullSQLite(t *testing.T) {
	d := sqliteFile(t, "WAL")
	db := d.connect(t)
	db.SetMaxOpenConns(1) // max_page_count is of a connection
	client := openOn(t, db, d.config(sqlstore.Config{}))
	execute(t, db, "PRAGMA max_page_count = 500")
	ending(t, client)
	filled(t, client, "SQLite code 13: the disk is full")
	if n, err := client.Sweep(ctx); n != 5 || err != nil {
		t.Errorf("sweep of a full database: %d, %v", n, err)
	}
	put(t, client, "after", large(size))
	holds(t, client, "after", large(size))
}

func TestDiskFullPostgreSQL(t *testing.T) {
	s := serve(t, "-c", "fsync=off")
	dir := filepath.Join(s.dir, "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=20m"); err != nil {
		t.Skipf("a small disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		s.quit()
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	if c := s.credential(); c != nil {
		if err := os.Chown(dir, int(c.Uid), int(c.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	db := s.connect(t)
	execute(t, db, "CREATE TABLESPACE small LOCATION '"+dir+"'", "ALTER ROLE kest SET default_tablespace = small")
	db.Close()
	client := s.open(t, sqlstore.Config{})
	db = s.connect(t)
	execute(t, db, "ALTER TABLE kest_store ALTER value SET STORAGE EXTERNAL") // not compressed
	ending(t, client)
	execute(t, db, "VACUUM kest_store") // makes its maps while there is room
	filled(t, client, "SQLSTATE 53100: the disk of the server is full")
	if n, err := client.Sweep(ctx); n != 5 || err != nil {
		t.Errorf("sweep of a full database: %d, %v", n, err)
	}
	execute(t, db, "VACUUM kest_store") // as autovacuum does
	put(t, client, "after", large(size))
	holds(t, client, "after", large(size))
}

// TestReadOnly: as on a replica, or with a file of somebody else.
func TestReadOnly(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		put(t, d.open(t, sqlstore.Config{}), "k", "a value")
		hint := "SQLite code 8: the database is read-only"
		if d.driver == "pgx" {
			d.dsn += "&default_transaction_read_only=on"
			hint = "SQLSTATE 25006: the server is read-only; connect to the primary"
		} else {
			d.dsn += "&_pragma=query_only(1)"
		}
		client := d.open(t, sqlstore.Config{}) // reading is enough where the tables are
		holds(t, client, "k", "a value")
		unavailable(t, client.Put(ctx, "secret-key", []byte("secret value"), soon), hint, "secret-key", "secret value")
	})
}

// TestTooManyConnections: what is beyond the pool waits within its time.
func TestTooManyConnections(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		db := d.connect(t)
		db.SetMaxOpenConns(1)
		client := openOn(t, db, d.config(sqlstore.Config{Timeout: 300 * time.Millisecond}))
		held, err := db.Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var wg sync.WaitGroup
		for range 400 { // more than the store lets wait at once
			wg.Go(func() {
				_, err := client.Get(ctx, "k")
				unavailableLater(t, err)
			})
		}
		wg.Wait()
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		held.Close()
		eventually(t, client, "after")
	})
}

// unavailableLater is unavailable for other goroutines.
func unavailableLater(t *testing.T, err error) {
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("error %v", err)
	}
}

// TestClosedDatabase and what is in its errors.
func TestClosedDatabase(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		db := d.connect(t)
		client := openOn(t, db, d.config(sqlstore.Config{}))
		db.Close()
		_, err := client.Get(ctx, "secret-key")
		unavailable(t, err, "sqlstore: ", "secret-key")
		client.Close()
		unavailable(t, client.Put(ctx, "secret-key", nil, soon), "the store was closed", "secret-key")
	})
}

// TestNoServer: Open says where nobody answers.
func TestNoServer(t *testing.T) {
	d := database{"pgx", "postgres://kest:pass-word@127.0.0.1:" + freePort(t) + "/kest?sslmode=disable", sqlstore.PostgreSQL}
	_, err := sqlstore.Open(ctx, d.connect(t), d.config(sqlstore.Config{}))
	unavailable(t, err, "connection refused", "pass-word")
	d = database{"sqlite", "file:" + t.TempDir() + "/no/such/directory", sqlstore.SQLite}
	_, err = sqlstore.Open(ctx, d.connect(t), d.config(sqlstore.Config{}))
	unavailable(t, err, "SQLite code 14: the file cannot be opened")
}
