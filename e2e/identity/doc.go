// Package identity runs the same two services with the identities of every platform, against real providers on
// loopback, and audits what they left behind.
package identity
