//go:build !unix

package identity

// owned knows no owners here, and the default sockets do not exist.
func owned(string) error { return nil }
