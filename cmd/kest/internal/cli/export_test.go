package cli

import (
	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/policy"
)

// ParseTable returns how many cases a table has.
func ParseTable(text []byte) (cases int, err error) {
	all, err := parseTable(text, "any_test.yaml")
	return len(all), err
}

// Recorded reads an input as the decision log writes it. nil: it is not one.
func Recorded(text []byte) *policy.Input {
	v, err := jcs.Parse(text, jcs.Options{MaxBytes: recordBytes})
	if err != nil {
		return nil
	}
	return recorded(v, "any")
}
