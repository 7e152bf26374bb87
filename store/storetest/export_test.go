package storetest

import (
	"slices"
	"testing"
)

// Failures runs checks, all of them when none is named, and returns the errors of those that fail by name. Unlike
// [TestStore] it makes the clients once.
func Failures(t *testing.T, h Harness, only ...string) map[string]error {
	h = h.filled()
	p, err := h.probe(t)
	if err != nil {
		return map[string]error{"harness": err}
	}
	failed := map[string]error{}
	for _, c := range contract() {
		if _, skip := h.Unsupported[c.needs]; skip || len(only) > 0 && !slices.Contains(only, c.name) {
			continue
		}
		if err := c.run(p); err != nil {
			failed[c.name] = err
		}
	}
	return failed
}

// Validate is what TestStore asks of a harness before it runs anything.
func Validate(h Harness) error { return h.validate() }
