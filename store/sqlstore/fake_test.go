package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/kest-go/kest/store/sqlstore"
)

// A fake is a database that says what a test wants. The real ones are tested in e2e/sqlstore.
type fake struct {
	// answer returns the rows of a query, or for other statements the number of affected ones. nil: see usual.
	answer func(ctx context.Context, statement string, args []driver.NamedValue) (any, error)

	mu     sync.Mutex
	asked  []string
	closed int // connections
}

type table [][]driver.Value

// usual is a database where everything is there and nothing was written.
func usual(statement string) any {
	switch {
	case strings.HasPrefix(statement, "SELECT EXISTS"):
		return table{{true}}
	case strings.Contains(statement, "max(version)"):
		return table{{int64(1)}}
	case strings.HasPrefix(statement, "INSERT"):
		return int64(1)
	case strings.HasPrefix(statement, "SELECT"):
		return table{}
	}
	return int64(0)
}

func (f *fake) do(ctx context.Context, statement string, args []driver.NamedValue) (any, error) {
	f.mu.Lock()
	f.asked = append(f.asked, statement)
	f.mu.Unlock()
	if f.answer != nil {
		if result, err := f.answer(ctx, statement, args); result != nil || err != nil {
			return result, err
		}
	}
	return usual(statement), nil
}

// statements returns those that were asked and begin with a word.
func (f *fake) statements(word string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, statement := range f.asked {
		if strings.HasPrefix(statement, word) {
			n++
		}
	}
	return n
}

func (f *fake) Connect(context.Context) (driver.Conn, error) { return &fakeConn{f}, nil }
func (f *fake) Driver() driver.Driver                        { return nil }

type fakeConn struct{ *fake }

func (c *fakeConn) Prepare(string) (driver.Stmt, error) { panic("not prepared") }
func (c *fakeConn) Begin() (driver.Tx, error)           { panic("no transaction") }

func (c *fakeConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed++
	return nil
}

func (c *fakeConn) ExecContext(ctx context.Context, statement string, args []driver.NamedValue) (driver.Result, error) {
	result, err := c.do(ctx, statement, args)
	if err != nil {
		return nil, err
	}
	if result, ok := result.(driver.Result); ok {
		return result, nil
	}
	rows, _ := result.(int64)
	return driver.RowsAffected(rows), nil
}

func (c *fakeConn) QueryContext(ctx context.Context, statement string, args []driver.NamedValue) (driver.Rows, error) {
	result, err := c.do(ctx, statement, args)
	if err != nil {
		return nil, err
	}
	rows := result.(table)
	return &rows, nil
}

func (t *table) Columns() []string {
	if len(*t) == 0 {
		return []string{"size", "value"}
	}
	return make([]string, len((*t)[0]))
}
func (t *table) Close() error { return nil }

func (t *table) Next(to []driver.Value) error {
	if len(*t) == 0 {
		return io.EOF
	}
	copy(to, (*t)[0])
	*t = (*t)[1:]
	return nil
}

var ctx = context.Background()

func (f *fake) connect(t testing.TB) *sql.DB {
	db := sql.OpenDB(f)
	t.Cleanup(func() { db.Close() })
	return db
}

// open opens a store without a sweeper, unless c has an interval.
func (f *fake) open(t testing.TB, c sqlstore.Config) *sqlstore.Store {
	t.Helper()
	if c.Dialect == 0 {
		c.Dialect = sqlstore.PostgreSQL
	}
	if c.SweepInterval == 0 {
		c.SweepInterval = -1
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := sqlstore.Open(ctx, f.connect(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
