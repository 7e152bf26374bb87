// Package bench measures the library against its floor: one Ed25519 signature per call, made or checked by the
// standard library. Run it on one core and compare ratios within the run:
//
//	go test -run '^$' -bench . -cpu 1 -count 5 ./bench/...
//
// docs/performance.md says what was measured and what bounds it.
package bench
