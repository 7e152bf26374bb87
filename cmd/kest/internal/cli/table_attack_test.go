package cli_test

import (
	"testing"

	"github.com/kest-go/kest/cmd/kest/internal/cli"
)

// TestTableTags: a tag makes YAML call anything a bool or null. A test that says so must not pass for one that expects a
// denial, nor be about another input than its reader sees.
func TestTableTags(t *testing.T) {
	t.Parallel()
	for _, c := range []string{
		`{name: a, policy: any, input: {}, allow: !!bool yes}`,
		`{name: a, policy: any, input: {}, allow: !!bool true or not}`,
		`{name: a, policy: any, allow: true, input: {subject: {user: !!null alice}}}`,
		`{name: a, policy: any, allow: true, input: {attributes: {a: !!bool '1,"b":2'}}}`,
		`{name: a, policy: any, allow: true, input: {attributes: {!!str a: 1}}}`,
		`{name: a, policy: any, allow: true, input: !!map {}}`,
	} {
		if n, err := cli.ParseTable([]byte("- " + c)); err == nil || n != 0 {
			t.Errorf("%s: %d cases", c, n)
		}
	}
}
