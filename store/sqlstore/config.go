package sqlstore

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/kest-go/kest/store"
)

// Defaults and bounds of [Config], and of [Open].
const (
	DefaultPrefix        = "kest_"
	DefaultTimeout       = 2 * time.Second
	DefaultSweepInterval = time.Minute
	MaxPrefix            = 32 // bytes; with our suffixes within PostgreSQL's 63 of an identifier
	OpenTimeout          = 15 * time.Second
)

// Config says what kind of database it is. Only Dialect is required.
type Config struct {
	// Dialect is what the database speaks. It has no default.
	Dialect Dialect

	// Prefix begins the names of the tables and indexes: up to [MaxPrefix] of a-z, 0-9 and '_', not a digit first.
	// Stores that share a database and no data have different ones. "": [DefaultPrefix].
	Prefix string

	// MaxValue bounds values in bytes, written and read. 0: [store.MaxValue].
	MaxValue int

	// Timeout bounds every operation, including the wait for a connection; an earlier deadline of the context wins.
	// 0: [DefaultTimeout].
	Timeout time.Duration

	// SweepInterval is the time between two runs of the sweeper, a goroutine of the store that deletes rows whose time
	// is over. Every process may have one. 0: [DefaultSweepInterval]. Negative: none, for those who call
	// [Store.Sweep] themselves; without either the table grows for ever.
	SweepInterval time.Duration

	// Logger receives a warning when the sweeper cannot sweep. nil: slog.Default.
	Logger *slog.Logger
}

// filled returns c with every zero value replaced by its default.
func (c Config) filled() Config {
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	if c.MaxValue == 0 {
		c.MaxValue = store.MaxValue
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.SweepInterval == 0 {
		c.SweepInterval = DefaultSweepInterval
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// check reports everything that is wrong with a filled config.
func (c Config) check() error {
	var errs []error
	if _, known := dialects(c.Dialect); !known {
		errs = append(errs, fmt.Errorf("dialect %v; set Dialect to sqlstore.SQLite or sqlstore.PostgreSQL", c.Dialect))
	}
	if !identifier(c.Prefix) {
		errs = append(errs, fmt.Errorf("prefix %.80q; use up to %d of a-z, 0-9 and _, not a digit first, and neither sqlite_ nor pg_",
			c.Prefix, MaxPrefix))
	}
	if c.MaxValue < 0 || c.MaxValue > store.MaxValue {
		errs = append(errs, fmt.Errorf("MaxValue of %d; use 1 to %d, or 0 for that", c.MaxValue, store.MaxValue))
	}
	if c.Timeout < 0 {
		errs = append(errs, fmt.Errorf("timeout of %v; use a positive time, or 0 for %v", c.Timeout, DefaultTimeout))
	}
	return errors.Join(errs...)
}

// identifier reports whether a prefix may be part of a statement as it is: it needs no quotes, means nothing in SQL,
// has one spelling, and is in no name space that the databases keep for themselves.
func identifier(prefix string) bool {
	if len(prefix) > MaxPrefix || strings.HasPrefix(prefix, "sqlite_") || strings.HasPrefix(prefix, "pg_") {
		return false
	}
	for i, c := range []byte(prefix) {
		if (c < 'a' || c > 'z') && c != '_' && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return true
}
