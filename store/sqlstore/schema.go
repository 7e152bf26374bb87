package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"time"
)

// migrate brings the tables to the version of this program. Where they are, it writes nothing, so that a role without
// the right to create will do. Of processes that start at once one works and the others wait.
func (s *Store) migrate(ctx context.Context) error {
	if current, err := s.current(ctx, s.db); current || err != nil {
		return err
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // an error says that abandon has closed it
	for _, statement := range s.sql.lock {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			abandon(ctx, conn)
			return err
		}
	}
	if err := s.apply(ctx, conn); err != nil {
		abandon(ctx, conn)
		return err
	}
	return nil
}

// apply takes the missing steps in the transaction of conn, and ends it.
func (s *Store) apply(ctx context.Context, conn *sql.Conn) error {
	version, err := s.version(ctx, conn) // again: others may have been faster
	if err != nil {
		return err
	}
	for v := version; v < len(s.sql.schema); v++ {
		for _, statement := range s.sql.schema[v] {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		if _, err := conn.ExecContext(ctx, s.sql.record, v+1); err != nil {
			return err
		}
	}
	_, err = conn.ExecContext(ctx, "COMMIT")
	return err
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// current reports whether nothing is to do.
func (s *Store) current(ctx context.Context, q querier) (bool, error) {
	version, err := s.version(ctx, q)
	return version == len(s.sql.schema), err
}

// version returns the version of the schema, 0 for none.
func (s *Store) version(ctx context.Context, q querier) (int, error) {
	var there bool
	if err := q.QueryRowContext(ctx, s.sql.exists, s.prefix+"schema").Scan(&there); err != nil || !there {
		return 0, err
	}
	var version int
	if err := q.QueryRowContext(ctx, s.sql.version).Scan(&version); err != nil {
		return 0, err
	}
	// A newer program may count on what this one would not do.
	if known := len(s.sql.schema); version > known {
		return 0, &schemaError{fmt.Sprintf("the tables with the prefix %q have schema version %d, newer than %d, which this "+
			"program knows; upgrade the program, or set another Prefix", s.prefix, version, known)}
	}
	return version, nil
}

// schemaError is the answer of a database that works and does not fit.
type schemaError struct{ text string }

func (e *schemaError) Error() string { return e.text }

// abandon ends the transaction of a connection that goes back to the caller's pool. The context may have ended, and a
// connection that cannot be cleaned must not go back.
func abandon(ctx context.Context, conn *sql.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if _, err := conn.ExecContext(ctx, "ROLLBACK"); err != nil {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // closes it
	}
}
