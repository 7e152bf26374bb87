package sqlstore_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/sqlstore"
	"github.com/kest-go/kest/store/storetest"
)

// sqliteFile is a database file as the package comment says it should be opened.
func sqliteFile(t testing.TB, journal string) database {
	file := filepath.Join(t.TempDir(), "kest.db")
	return database{
		driver: "sqlite", dialect: sqlstore.SQLite,
		dsn: "file:" + file + "?_pragma=journal_mode(" + journal + ")&_pragma=busy_timeout(2000)",
	}
}

// contract runs on clients with handles of their own.
func (d database) contract(t *testing.T, c sqlstore.Config, h storetest.Harness) {
	open := func(t *testing.T) store.Store { return d.open(t, c) }
	h.New, h.Second, h.MaxValue = open, open, c.MaxValue
	h.TTL = 500 * time.Millisecond // h.Late is a second: the machine may have other things to do
	storetest.TestStore(t, h)
}

const noServer = "there is no server, only a file"

// SPEC §9 "Claim-check store interface".
func TestContractSQLite(t *testing.T) {
	sqliteFile(t, "WAL").contract(t, sqlstore.Config{}, storetest.Harness{Unsupported: map[string]string{
		storetest.NeedsDown: noServer, storetest.NeedsStall: "readers do not wait in WAL mode; TestContractSQLiteStalls does it",
	}})
}

// Without WAL, one connection can keep all others waiting: for longer than they want to, with a busy timeout above the
// store's.
func TestContractSQLiteStalls(t *testing.T) {
	d := sqliteFile(t, "DELETE")
	d.dsn = strings.Replace(d.dsn, "(2000)", "(10000)&_pragma=synchronous(OFF)", 1)
	d.contract(t, sqlstore.Config{Timeout: 3 * time.Second, Prefix: "other_", MaxValue: 1000}, storetest.Harness{
		Stall: func(t *testing.T) func() {
			conn, err := d.connect(t).Conn(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.ExecContext(ctx, "BEGIN EXCLUSIVE"); err != nil {
				t.Fatal(err)
			}
			return func() {
				if _, err := conn.ExecContext(ctx, "ROLLBACK"); err != nil {
					t.Error(err)
				}
				conn.Close()
			}
		},
		Unsupported: map[string]string{storetest.NeedsDown: noServer},
	})
}

func TestContractPostgreSQL(t *testing.T) {
	s := serve(t, "-c", "fsync=off")
	s.contract(t, sqlstore.Config{}, storetest.Harness{
		Down: func(*testing.T) func() {
			s.quit()
			return s.start
		},
		Stall: func(*testing.T) func() { return s.stall() },
	})
}

func TestContractPostgreSQLSmall(t *testing.T) {
	shared(t).contract(t, sqlstore.Config{Prefix: "other_", MaxValue: 1000}, storetest.Harness{Unsupported: map[string]string{
		storetest.NeedsDown: "TestContractPostgreSQL does it", storetest.NeedsStall: "TestContractPostgreSQL does it",
	}})
}
