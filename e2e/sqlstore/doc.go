// Package sqlstore tests store/sqlstore against real databases: SQLite files, and PostgreSQL servers that the tests
// start on loopback, kill, stop and fill.
package sqlstore
