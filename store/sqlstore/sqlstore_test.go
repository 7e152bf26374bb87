package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/sqlstore"
)

const (
	secretKey   = "kest.claim.secret-key"
	secretValue = "a secret passport"
)

func TestConfig(t *testing.T) {
	for _, good := range []sqlstore.Config{
		{Dialect: sqlstore.PostgreSQL}, {Dialect: sqlstore.SQLite, Prefix: "_9a_"}, {Dialect: sqlstore.SQLite, SweepInterval: -1},
		{Dialect: sqlstore.SQLite, Prefix: strings.Repeat("p", sqlstore.MaxPrefix), MaxValue: store.MaxValue, Timeout: 1, SweepInterval: time.Hour},
	} {
		s, err := sqlstore.Open(ctx, (&fake{}).connect(t), good)
		if err != nil {
			t.Errorf("%+v: %v", good, err)
			continue
		}
		s.Close()
	}
	for _, bad := range []struct {
		config sqlstore.Config
		wants  []string
	}{
		{sqlstore.Config{}, []string{"dialect Dialect(0); set Dialect"}},
		{sqlstore.Config{Dialect: 3, Prefix: "A", MaxValue: -1, Timeout: -1}, []string{"Dialect(3)", `prefix "A"`, "MaxValue of -1", "timeout of -1ns"}},
		{sqlstore.Config{Dialect: sqlstore.SQLite, MaxValue: store.MaxValue + 1}, []string{"MaxValue of 4194305"}},
	} {
		f := &fake{}
		s, err := sqlstore.Open(ctx, f.connect(t), bad.config)
		if err == nil || s != nil || len(f.asked) > 0 {
			t.Errorf("%+v is taken", bad.config)
			continue
		}
		for _, want := range bad.wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: error %q without %q", bad.config, err, want)
			}
		}
	}
	if s, err := sqlstore.Open(ctx, nil, sqlstore.Config{}); err == nil || s != nil ||
		!strings.Contains(err.Error(), "no database") || !strings.Contains(err.Error(), "set Dialect") {
		t.Errorf("no database: %v", err)
	}
}

// TestPrefix: it goes into statements as it is, so nothing may get through that is not a plain identifier.
func TestPrefix(t *testing.T) {
	for _, bad := range []string{
		"1a", "a b", "a;", "a'b", `a"b`, "a`b", "a-b", "a.b", "public.", "a--", "a/*", "a\x00", "a\n", "ä", "A_", "aB", "[a]", "a$", "a?", "{p}",
		"\uff41", "sqlite_", "sqlite_x", "pg_", "x'; DROP TABLE users; --", strings.Repeat("p", sqlstore.MaxPrefix+1), " ",
	} {
		if _, err := sqlstore.Open(ctx, (&fake{}).connect(t), sqlstore.Config{Dialect: sqlstore.SQLite, Prefix: bad}); err == nil {
			t.Errorf("prefix %q is taken", bad)
		}
	}
}

// TestParameters: keys and values are never part of a statement, whatever the dialect.
func TestParameters(t *testing.T) {
	for _, dialect := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.PostgreSQL} {
		f := &fake{}
		s := f.open(t, sqlstore.Config{Dialect: dialect, Prefix: "app_"})
		if err := s.Put(ctx, secretKey, []byte(secretValue), time.Hour); err != nil {
			t.Errorf("put: %v", err)
		}
		if _, err := s.Get(ctx, secretKey); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("get: %v", err)
		}
		if _, err := s.Sweep(ctx); err != nil {
			t.Errorf("sweep: %v", err)
		}
		for _, statement := range f.asked {
			if strings.Contains(statement, secretKey) || strings.Contains(statement, "secret") || strings.Contains(statement, "{") {
				t.Errorf("%v: statement %q", dialect, statement)
			}
		}
		if last := f.asked[len(f.asked)-1]; !strings.Contains(last, "DELETE FROM app_store") {
			t.Errorf("%v: statement %q", dialect, last)
		}
	}
}

// TestArguments: a nil value is no NULL, times are rounded up, and only SQLite is told the time.
func TestArguments(t *testing.T) {
	var put []driver.NamedValue
	f := &fake{answer: func(_ context.Context, statement string, args []driver.NamedValue) (any, error) {
		if strings.HasPrefix(statement, "INSERT") {
			put = args
		}
		return nil, nil
	}}
	s := f.open(t, sqlstore.Config{})
	if err := s.Put(ctx, "k", nil, 1500*time.Nanosecond); err != nil {
		t.Fatal(err)
	}
	if value, ok := put[1].Value.([]byte); len(put) != 3 || !ok || value == nil || put[2].Value != int64(2) {
		t.Errorf("arguments %#v", put)
	}
	before := time.Now().UnixMicro()
	if err := f.open(t, sqlstore.Config{Dialect: sqlstore.SQLite}).Put(ctx, "k", nil, time.Hour); err != nil {
		t.Fatal(err)
	}
	if now, _ := put[3].Value.(int64); len(put) != 4 || now < before || now > time.Now().UnixMicro() {
		t.Errorf("arguments %#v", put)
	}
}

type (
	stateError string
	codeError  int
)

func (e stateError) Error() string    { return "ERROR: " + secretKey + " " + secretValue }
func (e stateError) SQLState() string { return string(e) }
func (e codeError) Error() string     { return "ERROR: " + secretKey + " " + secretValue }
func (e codeError) Code() int         { return int(e) }

type noResult struct{}

func (noResult) LastInsertId() (int64, error) { return 0, nil }
func (noResult) RowsAffected() (int64, error) { return 0, stateError("XX000") }

// TestErrors: whatever a database or its driver does is ErrUnavailable and nothing else, with a code if there is one
// and without a word that could repeat what was sent.
func TestErrors(t *testing.T) {
	leaky := "failed: " + secretKey + " " + fmt.Sprintf("%x", secretValue) + " " + secretValue
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5432}, Err: errors.New("connection\nrefused")}
	for name, test := range map[string]struct {
		result any
		err    error
		want   string
	}{
		"disk full":             {nil, stateError("53100"), "SQLSTATE 53100: the disk of the server is full"},
		"class":                 {nil, fmt.Errorf("%s: %w", leaky, stateError("57P01")), "SQLSTATE 57P01: the server is starting"},
		"unique":                {nil, stateError("23505"), "SQLSTATE 23505; look into the log"},
		"no state":              {nil, stateError(""), "the database or its driver failed (sqlstore_test.stateError)"},
		"state that is a text":  {nil, stateError(secretKey), "the database or its driver failed"},
		"state with a line end": {nil, stateError("5310\n"), "the database or its driver failed"},
		"SQLite busy":           {nil, codeError(5), "SQLite code 5: locked by another writer; set a busy timeout"},
		"SQLite, extended":      {nil, codeError(10 | 3<<8), "SQLite code 778: the disk fails"},
		"SQLite, unknown":       {nil, codeError(200), "SQLite code 200; look into the log"},
		"network":               {nil, fmt.Errorf("%s: %w", leaky, refused), "no connection: dial tcp 127.0.0.1:5432: connection?refused"},
		"bad connection":        {nil, driver.ErrBadConn, "the connection broke"},
		"any":                   {nil, errors.New(leaky), "the database or its driver failed (*errors.errorString)"},
		"end of its own":        {nil, context.DeadlineExceeded, "the database or its driver failed"},
		"cancel of its own":     {nil, fmt.Errorf("%s: %w", leaky, context.Canceled), "the database or its driver failed"},
		"class of ours":         {nil, store.ErrExists, "the database or its driver failed"},
		"panic":                 {"panic", nil, "the driver panicked"},
		"two rows":              {int64(2), nil, "an answer that does not fit the question"},
		"rows unknown":          {noResult{}, nil, "SQLSTATE XX000"},
		"short":                 {table{{int64(10), []byte(secretValue)}}, nil, "an answer that does not fit the question"},
		"NULL":                  {table{{int64(10), nil}}, nil, "an answer that does not fit the question"},
		"too long":              {table{{int64(5 << 20), nil}}, nil, "value of 5242880 bytes, more than MaxValue (4194304)"},
		"no number":             {table{{secretValue, []byte(secretValue)}}, nil, "the database or its driver failed"},
		"more columns":          {table{{int64(1), []byte("v"), secretValue}}, nil, "the database or its driver failed"},
	} {
		t.Run(name, func(t *testing.T) {
			armed := false
			f := &fake{answer: func(context.Context, string, []driver.NamedValue) (any, error) {
				if !armed {
					return nil, nil
				}
				if test.result == "panic" {
					panic(leaky)
				}
				return test.result, test.err
			}}
			s := f.open(t, sqlstore.Config{})
			armed = true
			var errs []error
			if _, rows := test.result.(table); !rows {
				errs = append(errs, s.Put(ctx, secretKey, []byte(secretValue), time.Hour))
			}
			if _, rows := test.result.(table); rows || test.err != nil || test.result == "panic" {
				value, err := s.Get(ctx, secretKey)
				if value != nil {
					t.Error("a value beside the error")
				}
				errs = append(errs, err)
			}
			for _, err := range errs {
				unavailable(t, err, test.want)
			}
		})
	}
}

func unavailable(t *testing.T, err error, want string) {
	t.Helper()
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v; want ErrUnavailable with %q", err, want)
	}
	for _, other := range []error{store.ErrExists, store.ErrNotFound, store.ErrRefused, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, other) {
			t.Errorf("error %v matches %v, too", err, other)
		}
	}
	text := fmt.Sprintf("%v %+v %#v", err, err, err)
	for _, secret := range []string{secretKey, secretValue, fmt.Sprintf("%x", secretValue), "\n"} {
		if strings.Contains(text, secret) {
			t.Errorf("error %q repeats %q", err, secret)
		}
	}
}

// TestAnswers: the three that are none of an outage.
func TestAnswers(t *testing.T) {
	f := &fake{answer: func(_ context.Context, statement string, _ []driver.NamedValue) (any, error) {
		switch {
		case strings.HasPrefix(statement, "INSERT"):
			return int64(0), nil
		case strings.HasPrefix(statement, "SELECT octet_length"):
			return table{{int64(0), nil}}, nil // some drivers give nil for no bytes
		}
		return nil, nil
	}}
	s := f.open(t, sqlstore.Config{MaxValue: 10})
	if err := s.Put(ctx, "k", nil, time.Hour); !errors.Is(err, store.ErrExists) {
		t.Errorf("put: %v", err)
	}
	if value, err := s.Get(ctx, "k"); value == nil || len(value) != 0 || err != nil {
		t.Errorf("get: %v, %v", value, err)
	}
	asked := len(f.asked)
	if err := s.Put(ctx, "k", bytes.Repeat([]byte("v"), 11), time.Hour); !errors.Is(err, store.ErrRefused) || len(f.asked) != asked {
		t.Errorf("put over MaxValue: %v", err)
	}
	if err := s.Put(ctx, "k'", nil, time.Hour); !errors.Is(err, store.ErrRefused) || len(f.asked) != asked {
		t.Errorf("put: %v", err)
	}
	if _, err := s.Get(ctx, "k'"); !errors.Is(err, store.ErrRefused) || len(f.asked) != asked {
		t.Errorf("get: %v", err)
	}
}

// TestMigrationFails: a transaction that cannot be finished is rolled back, and a connection on which even that does
// not work is closed rather than given back.
func TestMigrationFails(t *testing.T) {
	for name, stuck := range map[string]bool{"rolled back": false, "closed": true} {
		t.Run(name, func(t *testing.T) {
			f := &fake{answer: func(_ context.Context, statement string, _ []driver.NamedValue) (any, error) {
				switch {
				case strings.HasPrefix(statement, "SELECT EXISTS"):
					return table{{false}}, nil
				case strings.HasPrefix(statement, "CREATE INDEX"), stuck && statement == "ROLLBACK":
					return nil, stateError("53100")
				}
				return nil, nil
			}}
			db := f.connect(t)
			_, err := sqlstore.Open(ctx, db, sqlstore.Config{Dialect: sqlstore.PostgreSQL})
			unavailable(t, err, "SQLSTATE 53100")
			if f.statements("ROLLBACK") != 1 || f.statements("COMMIT") != 0 {
				t.Errorf("statements %q", f.asked)
			}
			if stats := db.Stats(); (f.closed == 1) != stuck || stats.InUse != 0 {
				t.Errorf("%d connections were closed; %+v", f.closed, stats)
			}
		})
	}
}

// TestMigrates writes nothing where the tables are as they should be, so that no right to create is needed.
func TestMigrates(t *testing.T) {
	f := &fake{}
	f.open(t, sqlstore.Config{})
	for _, word := range []string{"BEGIN", "CREATE", "INSERT", "COMMIT"} {
		if f.statements(word) != 0 {
			t.Errorf("statements %q", f.asked)
		}
	}
	f.answer = func(_ context.Context, statement string, _ []driver.NamedValue) (any, error) {
		if strings.Contains(statement, "max(version)") {
			return table{{int64(2)}}, nil
		}
		return nil, nil
	}
	if _, err := sqlstore.Open(ctx, f.connect(t), sqlstore.Config{Dialect: sqlstore.SQLite}); err == nil ||
		errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "version 2, newer than 1") {
		t.Errorf("open: %v", err)
	}
}
