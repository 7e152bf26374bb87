//go:build race

package cedar_test

// corpusStep: under the race detector, which finds nothing more in the rest, a part of the corpus is asked.
const corpusStep = 20
