package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/kest-go/kest/store"
)

// errOurs marks texts that are known to repeat nothing.
var (
	errOurs     = errors.New("sqlstore")
	errSlow     = fmt.Errorf("%w: no answer in time; raise Timeout, allow more connections, or look why the database is slow", errOurs)
	errConfused = fmt.Errorf("%w: an answer that does not fit the question", errOurs)
	errClosed   = fmt.Errorf("%w: the store was closed", errOurs)
	errPanic    = fmt.Errorf("%w: the driver panicked", errOurs)
)

// unavailable is [store.Unavailable] without the driver's words.
func unavailable(ctx context.Context, err error) error { return store.Unavailable(ctx, fault(err)) }

// fault returns an error whose text is ours but for a code: the words of a database may repeat the arguments of a
// statement, as PostgreSQL does in "Key (key)=(…) already exists".
func fault(err error) error {
	var network *net.OpError
	var resolve *net.DNSError
	state, isState := errors.AsType[interface {
		error
		SQLState() string // pgx, lib/pq
	}](err)
	code, isCode := errors.AsType[interface {
		error
		Code() int // modernc.org/sqlite
	}](err)
	switch {
	case errors.Is(err, errOurs):
		return err
	case isState && sqlState(state.SQLState()):
		return explained("SQLSTATE "+state.SQLState(), states, state.SQLState(), state.SQLState()[:2])
	case isCode:
		primary := fmt.Sprint(code.Code() & 0xff) // the rest says where (sqlite.org/rescode.html)
		return explained(fmt.Sprintf("SQLite code %d", code.Code()), codes, primary)
	case errors.As(err, &network):
		return fmt.Errorf("%w: no connection: %s", errOurs, clip(network.Error()))
	case errors.As(err, &resolve):
		return fmt.Errorf("%w: no connection: %s", errOurs, clip(resolve.Error()))
	case errors.Is(err, driver.ErrBadConn):
		return fmt.Errorf("%w: the connection broke", errOurs)
	}
	return fmt.Errorf("%w: the database or its driver failed (%T); look into the log of the database", errOurs, err)
}

// sqlState reports whether text is five letters and digits (ISO 9075-2 §24.1), so that it can carry nothing else.
func sqlState(text string) bool {
	return len(text) == 5 && strings.Trim(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// explained adds the hint for the first code that has one.
func explained(what string, hint func(string) string, codes ...string) error {
	for _, code := range codes {
		if text := hint(code); text != "" {
			return fmt.Errorf("%w: %s: %s", errOurs, what, text)
		}
	}
	return fmt.Errorf("%w: %s; look into the log of the database", errOurs, what)
}

// states explains codes and classes of PostgreSQL that operators meet.
func states(code string) string {
	switch code {
	case "08":
		return "the connection broke"
	case "25006":
		return "the server is read-only; connect to the primary"
	case "28", "3D":
		return "the server refuses the login; check user, password and database"
	case "40":
		return "conflicts with others; set the isolation level to read committed"
	case "42501":
		return "the role may not do that; the package comment lists what it needs"
	case "42P01", "42703":
		return "the table is not what Open made; check search_path, or set another Prefix"
	case "42P07":
		return "something else has the name of a table; set another Prefix"
	case "53100":
		return "the disk of the server is full"
	case "53300":
		return "the server has too many connections; bound them with SetMaxOpenConns"
	case "57":
		return "the server is starting, stopping or cancels statements"
	}
	return ""
}

// codes explains those of SQLite.
func codes(code string) string {
	switch code {
	case "5", "6":
		return "locked by another writer; set a busy timeout"
	case "8":
		return "the database is read-only; check the permissions of its file and directory"
	case "9":
		return "interrupted"
	case "10":
		return "the disk fails"
	case "11", "26":
		return "the file is damaged or no database"
	case "13":
		return "the disk is full, or the limit of the database's size is reached"
	case "14":
		return "the file cannot be opened; check its path and permissions"
	}
	return ""
}

// clip keeps a short printable part of text that others may have written.
func clip(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	return text[:min(len(text), 200)]
}
