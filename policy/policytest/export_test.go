package policytest

import "github.com/kest-go/kest/policy"

// Failures runs the contract against engine and returns the error of each failed check by name.
func Failures(h Harness, engine policy.Engine) map[string]error {
	failed := map[string]error{}
	p := &probe{Harness: h, engine: engine}
	for _, c := range contract() {
		if _, skip := h.Unsupported[c.needs]; skip {
			continue
		}
		if err := c.run(p); err != nil {
			failed[c.name] = err
		}
	}
	return failed
}

// Validate is what TestEngine asks of a harness before it runs anything.
func Validate(h Harness) error { return h.validate() }
