// Package hopproof signs and verifies hop proofs (RFC 9421).
package hopproof
