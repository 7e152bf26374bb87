package sqlstore_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/sqlstore"
)

// openOnce is what a child process does: it opens a store and claims a key that is the same for all.
func openOnce(driver, dsn string) error {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	dialect := sqlstore.SQLite
	if driver == "pgx" {
		dialect = sqlstore.PostgreSQL
	}
	s, err := sqlstore.Open(ctx, db, sqlstore.Config{Dialect: dialect})
	if err != nil {
		return err
	}
	defer s.Close()
	err = s.Put(ctx, "first", []byte("a value"), time.Hour)
	if err == nil {
		fmt.Println("won")
	} else if !errors.Is(err, store.ErrExists) {
		return err
	}
	return nil
}

// TestOpenByManyProcesses: of eight that start on an empty database at once, all succeed, and one writes the key.
func TestOpenByManyProcesses(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		var wg sync.WaitGroup
		out := make([]string, 8)
		for i := range out {
			wg.Go(func() {
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), "KEST_TEST_OPEN="+d.dsn, "KEST_TEST_DRIVER="+d.driver)
				text, err := cmd.CombinedOutput()
				if err != nil {
					t.Errorf("process %d: %v\n%s", i, err, text)
				}
				out[i] = string(text)
			})
		}
		wg.Wait()
		if won := strings.Count(strings.Join(out, ""), "won"); won != 1 {
			t.Errorf("%d processes wrote the key; want one", won)
		}
		if n := count(t, d.connect(t), "SELECT count(*) FROM kest_schema"); n != 1 {
			t.Errorf("%d versions are recorded; want one", n)
		}
	})
}

// TestOpenAtOnce: the same with handles in one process, where many more meet.
func TestOpenAtOnce(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		for round := range 5 {
			config := d.config(sqlstore.Config{Prefix: fmt.Sprintf("round%d_", round)})
			start := make(chan struct{})
			var wg sync.WaitGroup
			for range 8 {
				db := d.connect(t)
				wg.Go(func() {
					<-start
					s, err := sqlstore.Open(ctx, db, config)
					if err != nil {
						t.Errorf("open: %v", err)
						return
					}
					s.Close()
				})
			}
			close(start)
			wg.Wait()
		}
	})
}

// TestOpenAgain keeps what is there.
func TestOpenAgain(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		s := d.open(t, sqlstore.Config{})
		put(t, s, "k", "a value")
		s.Close()
		again := d.open(t, sqlstore.Config{})
		holds(t, again, "k", "a value")
		if err := again.Put(ctx, "k", nil, soon); !errors.Is(err, store.ErrExists) {
			t.Errorf("put: %v", err)
		}
	})
}

// TestNewerSchema: tables of a newer program are refused, and are left as they are.
func TestNewerSchema(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		put(t, d.open(t, sqlstore.Config{}), "k", "a value")
		db := d.connect(t)
		execute(t, db, "INSERT INTO kest_schema (version) VALUES (99)")
		s, err := sqlstore.Open(ctx, d.connect(t), d.config(sqlstore.Config{}))
		if err == nil || s != nil || errors.Is(err, store.ErrUnavailable) ||
			!strings.Contains(err.Error(), `"kest_" have schema version 99, newer than 1`) {
			t.Fatalf("open: %v", err)
		}
		if n := count(t, db, "SELECT count(*) FROM kest_store"); n != 1 {
			t.Errorf("%d values are left", n)
		}
		put(t, d.open(t, sqlstore.Config{Prefix: "new_"}), "k", "a value") // another prefix is another store
	})
}

// TestOpenFails: what cannot be migrated leaves nothing half done, and no transaction in the pool of the caller.
func TestOpenFails(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		db := d.connect(t)
		db.SetMaxOpenConns(1)
		execute(t, db, "CREATE TABLE kest_store (other INTEGER)")
		_, err := sqlstore.Open(ctx, db, d.config(sqlstore.Config{}))
		unavailable(t, err, map[string]string{"sqlite": "SQLite code 1", "pgx": "SQLSTATE 42P07"}[d.driver])
		execute(t, db, "DROP TABLE kest_store") // waits for ever, or fails, within a transaction that was left open
		put(t, openOn(t, db, d.config(sqlstore.Config{})), "k", "a value")
	})
}

// TestUnprivileged: once the tables are there, a role that may only use them is enough.
func TestUnprivileged(t *testing.T) {
	s := serve(t, "-c", "fsync=off")
	s.open(t, sqlstore.Config{})
	db := s.connect(t)
	execute(t, db, "CREATE ROLE app LOGIN", "GRANT SELECT, INSERT, UPDATE, DELETE ON kest_store TO app", "GRANT SELECT ON kest_schema TO app")
	app := s.database
	app.dsn = strings.Replace(app.dsn, "kest@", "app@", 1)
	use := app.open(t, sqlstore.Config{})
	put(t, use, "k", "a value")
	holds(t, use, "k", "a value")
	execute(t, db, "UPDATE kest_store SET expires = now()")
	if n, err := use.Sweep(ctx); n != 1 || err != nil {
		t.Errorf("sweep: %d, %v", n, err)
	}
	_, err := sqlstore.Open(ctx, app.connect(t), app.config(sqlstore.Config{Prefix: "new_"}))
	unavailable(t, err, "SQLSTATE 42501: the role may not do that")
	execute(t, db, "REVOKE SELECT ON kest_store FROM app")
	_, err = use.Get(ctx, "secret-key")
	unavailable(t, err, "SQLSTATE 42501", "secret-key")
	execute(t, db, "ALTER TABLE kest_store RENAME TO gone")
	_, err = use.Get(ctx, "secret-key")
	unavailable(t, err, "SQLSTATE 42P01: the table is not what Open made", "secret-key")
}
