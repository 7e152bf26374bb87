//go:build !race

package cedar_test

// corpusStep: the whole corpus is asked.
const corpusStep = 1
