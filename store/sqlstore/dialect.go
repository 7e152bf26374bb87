package sqlstore

import (
	"fmt"
	"strings"
)

// A Dialect is the kind of a database. The zero value is none.
type Dialect int

// The dialects.
const (
	_ Dialect = iota
	SQLite
	PostgreSQL
)

// String names the dialect.
func (d Dialect) String() string {
	switch d {
	case SQLite:
		return "SQLite"
	case PostgreSQL:
		return "PostgreSQL"
	}
	return fmt.Sprintf("Dialect(%d)", int(d))
}

// A dialect is the statements of a database. Everything but the prefix, which is an identifier, goes in as a parameter.
type dialect struct {
	lock    []string   // begins a transaction that migrates, and makes others wait for its end
	exists  string     // whether there is a table of that name
	version string     // of the schema
	record  string     // version
	schema  [][]string // the statements that lead to version 1, 2 and so on; what was released is never changed

	put   string // key, value, microseconds to live: affects one row, or none when the key holds
	get   string // key, limit in bytes: length, and the value if that is within the limit
	sweep string // limit in rows

	clock bool // put, get and sweep have one parameter more, the time in microseconds since 1970
}

// with returns the statements for tables with a prefix.
func (d dialect) with(prefix string) dialect {
	each := func(texts []string) []string {
		named := make([]string, len(texts))
		for i, text := range texts {
			named[i] = strings.ReplaceAll(text, "{p}", prefix)
		}
		return named
	}
	one := func(text string) string { return each([]string{text})[0] }
	d.lock, d.version, d.record = each(d.lock), one(d.version), one(d.record)
	d.put, d.get, d.sweep = one(d.put), one(d.get), one(d.sweep)
	schema := make([][]string, len(d.schema))
	for i, step := range d.schema {
		schema[i] = each(step)
	}
	d.schema = schema
	return d
}

func dialects(d Dialect) (dialect, bool) {
	switch d {
	case SQLite:
		return sqlite(), true
	case PostgreSQL:
		return postgres(), true
	}
	return dialect{}, false
}

// postgres: now() is when the statement began. One that waited for another writer of its key compares the row it finds
// then with that earlier time, so it may see a value hold that is just over, and never the reverse.
func postgres() dialect {
	return dialect{
		lock: []string{
			"BEGIN",
			// 1801814900 is ours ("kest" in ASCII); locks end with the transaction, or with the connection.
			"SELECT pg_advisory_xact_lock(1801814900, hashtext('{p}'))",
		},
		// Not to_regclass, which answers from a cache that may be older than the lock.
		exists:  "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class WHERE relname = $1 AND relkind = 'r' AND pg_catalog.pg_table_is_visible(oid))",
		version: "SELECT coalesce(max(version), 0) FROM {p}schema",
		record:  "INSERT INTO {p}schema (version) VALUES ($1)",
		schema: [][]string{{
			"CREATE TABLE {p}schema (version bigint PRIMARY KEY)",
			`CREATE TABLE {p}store (key text COLLATE "C" PRIMARY KEY, value bytea NOT NULL, expires timestamptz NOT NULL)`,
			"CREATE INDEX {p}store_expires ON {p}store (expires)",
		}},
		// ON CONFLICT alone decides. But it locks the row that it finds, which is a write: the first look spares that,
		// so that replaying a nonce costs a read.
		put: `INSERT INTO {p}store AS old (key, value, expires)
			SELECT $1::text, $2::bytea, now() + $3::bigint * interval '1 microsecond'
			WHERE NOT EXISTS (SELECT 1 FROM {p}store WHERE key = $1::text AND expires > now())
			ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires WHERE old.expires <= now()`,
		get: `SELECT octet_length(value), CASE WHEN octet_length(value) <= $2::bigint THEN value END
			FROM {p}store WHERE key = $1 AND expires > now()`,
		// An array, as the planner may run an IN (SELECT … LIMIT) more than once. The outer condition counts: a row
		// may have been replaced meanwhile. Sweepers pass by the rows of each other.
		sweep: `DELETE FROM {p}store WHERE expires <= now() AND key = ANY (ARRAY(
			SELECT key FROM {p}store WHERE expires <= now() ORDER BY expires LIMIT $1::bigint FOR UPDATE SKIP LOCKED))`,
	}
}

// sqlite has one writer at a time, and no clock of its own that every version counts in microseconds.
func sqlite() dialect {
	return dialect{
		lock:    []string{"BEGIN IMMEDIATE"},
		exists:  "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1)",
		version: "SELECT coalesce(max(version), 0) FROM {p}schema",
		record:  "INSERT INTO {p}schema (version) VALUES (?1)",
		schema: [][]string{{
			"CREATE TABLE {p}schema (version INTEGER PRIMARY KEY) STRICT",
			"CREATE TABLE {p}store (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL, expires INTEGER NOT NULL) STRICT",
			"CREATE INDEX {p}store_expires ON {p}store (expires)",
		}},
		put: `INSERT INTO {p}store (key, value, expires) VALUES (?1, ?2, ?4 + ?3)
			ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires WHERE {p}store.expires <= ?4`,
		get: `SELECT length(value), CASE WHEN length(value) <= ?2 THEN value END
			FROM {p}store WHERE key = ?1 AND expires > ?3`,
		sweep: `DELETE FROM {p}store WHERE key IN (
			SELECT key FROM {p}store WHERE expires <= ?2 ORDER BY expires LIMIT ?1)`,
		clock: true,
	}
}
