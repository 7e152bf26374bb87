// Package natskv keeps values in a NATS JetStream key-value bucket.
package natskv
