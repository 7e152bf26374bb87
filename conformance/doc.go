// Package conformance holds tests of Kest against vectors that others
// publish, and property tests, whose dependencies have no place in the root
// module. It has no code of its own: run it with
//
//	go test ./conformance/...
//
// The vectors are those of project Wycheproof (github.com/c2sp/wycheproof),
// read from its Go module at the version in go.mod.
package conformance
