// Package sqlstore keeps values in a table of PostgreSQL or SQLite, for processes that share claim checks and nonces
// (SPEC §9). The caller opens the database with a driver of his choice:
//
//	db, err := sql.Open("pgx", "postgres://kest@db.internal/kest?sslmode=verify-full")
//	if err != nil {
//		return err
//	}
//	defer db.Close()
//	db.SetMaxOpenConns(16)
//	claims, err := sqlstore.Open(ctx, db, sqlstore.Config{Dialect: sqlstore.PostgreSQL})
//	if err != nil {
//		return err
//	}
//	defer claims.Close()
//
// Put is one INSERT that replaces a row only when its time is over, so that one of many writers wins and the others
// wait for its end. A time to live counts from the start of Put and is rounded up to the next microsecond. [Open]
// makes the tables <Prefix>store and <Prefix>schema where they are missing.
//
// # Time
//
// With PostgreSQL, all times are the server's, by its now(): the clocks of the clients do not matter. With SQLite, which
// has no server, they are those of the machine that all its processes run on. Setting either clock back keeps values
// longer; setting it forward ends them early, and lets hop proofs that were used be used again as far as it jumped.
//
// Rows whose time is over are invisible, and a sweeper deletes them in batches; see [Config].SweepInterval.
//
// # Errors
//
// Whatever the database answers besides rows is [store.ErrUnavailable]. The text has SQLSTATE or SQLite's code, where
// the driver gives it as a method, and never the driver's words, which may repeat arguments.
//
// # PostgreSQL
//
// Version 11 or later. The role needs SELECT, INSERT, UPDATE and DELETE on <Prefix>store and SELECT on <Prefix>schema,
// and CREATE on the database schema only while tables are made or changed. The tables are found by the search_path of
// the connection; nobody else should be able to create anything there, or he answers for the store. Use the primary
// server, and the isolation level read committed, its default: at a stricter one, those that do not win a key get
// store.ErrUnavailable instead of store.ErrExists. synchronous_commit should stay on: with it off, a crash of the server forgets nonces of its last moments,
// as does a failover to an asynchronous replica. Bound the connections by [sql.DB.SetMaxOpenConns].
//
// # SQLite
//
// Version 3.37 or later, in a file on a local disk, in WAL mode and with a busy timeout of about [Config].Timeout, for
// example "file:/var/lib/kest/claims.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(2000)" for modernc.org/sqlite.
// Without a busy timeout, writers at the same time get store.ErrUnavailable. A database in memory needs
// SetMaxOpenConns(1), as every connection would have its own.
package sqlstore
