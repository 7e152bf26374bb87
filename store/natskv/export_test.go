package natskv

import "github.com/nats-io/nats.go/jetstream"

// Settings are those of a bucket that New makes.
func Settings(c Config) jetstream.StreamConfig { return c.settings() }

// Fits is what New asks of a bucket that exists.
func Fits(c Config, b jetstream.StreamConfig) error { return c.fits(b) }
