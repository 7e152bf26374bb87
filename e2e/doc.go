// Package e2e holds tests of whole programs: three services, over HTTP and gRPC, with the stores, proofs and middleware
// that a deployment has, attacked over real sockets, with a store that is killed, and for a long time.
package e2e
