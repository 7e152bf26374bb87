package deploy

import (
	"context"
	"database/sql"
	"errors"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	_ "modernc.org/sqlite" // the driver sqlite

	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/natskv"
	"github.com/kest-go/kest/store/sqlstore"
)

// owned is a store with the connection that was made for it.
type owned struct {
	store.Store
	closes func() error
}

// Close closes the store, if it has to be, and then the connection.
func (o owned) Close() error { return o.closes() }

// maxConns bounds the connections to a database.
const maxConns = 16

func (k Kinds) sql(ctx context.Context, s config.SQL) (store.Store, error) {
	dsn, err := s.DSN.Read()
	if err != nil {
		return nil, err
	}
	driver, dialect := "pgx", sqlstore.PostgreSQL
	if s.Dialect == "sqlite" {
		driver, dialect = "sqlite", sqlstore.SQLite
	}
	db, err := sql.Open(driver, dsn)
	if err != nil { // whose text may repeat a password
		return nil, errors.New("the data source name cannot be read; write it as the driver " + driver + " wants it")
	}
	db.SetMaxOpenConns(maxConns)
	kv, err := sqlstore.Open(ctx, db, sqlstore.Config{Dialect: dialect, Prefix: s.Prefix, Timeout: s.Timeout, Logger: k.Logger})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return owned{kv, func() error { return errors.Join(kv.Close(), db.Close()) }}, nil
}

// How a connection to NATS is kept. A server that is away is looked for again for ever; operations fail meanwhile.
const (
	natsTimeout = 5 * time.Second
	natsPing    = 5 * time.Second
)

func (k Kinds) nats(ctx context.Context, s config.NATS) (store.Store, error) {
	o := nats.GetDefaultOptions()
	o.Name, o.MaxReconnect, o.Timeout, o.FlusherTimeout, o.PingInterval = "kest", -1, natsTimeout, natsTimeout, natsPing
	for _, address := range s.Addresses {
		o.Servers = append(o.Servers, "nats://"+address)
	}
	if s.Credentials != "" {
		if err := nats.UserCredentials(string(s.Credentials))(&o); err != nil {
			return nil, errors.New("the credentials cannot be read; name a file as nsc writes it")
		}
	}
	var err error
	if o.TLSConfig, err = s.TLS.Config(); err != nil {
		return nil, err
	}
	o.Secure = o.TLSConfig != nil
	conn, err := o.Connect()
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(conn)
	if err == nil {
		var kv *natskv.Store
		if kv, err = natskv.New(ctx, js, natskv.Config{Bucket: s.Bucket, Timeout: s.Timeout}); err == nil {
			return owned{kv, func() error { conn.Close(); return nil }}, nil
		}
	}
	conn.Close()
	return nil, err
}
