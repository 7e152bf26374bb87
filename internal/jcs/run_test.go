package jcs_test

import (
	"strings"
	"testing"

	"github.com/kest-go/kest/internal/jcs"
)

// Strings are read and written eight bytes at a time while nothing needs a
// look. Every byte value at every place within the words must still be seen.
func TestEveryByteAtEveryPlace(t *testing.T) {
	for length := 1; length <= 34; length++ {
		for place := range length {
			for c := range 256 {
				b := []byte(strings.Repeat("x", length))
				b[place] = byte(c)
				raw := string(b)
				out, err := jcs.AppendString(nil, raw)
				if (err != nil) != (c >= 0x80) {
					t.Fatalf("AppendString of %q: %v", raw, err)
				}
				if c < 0x80 {
					v, err := jcs.Parse(out, jcs.Options{})
					if err != nil || v.Text != raw {
						t.Fatalf("%q came back as %q, %v", raw, v.Text, err)
					}
				}
				_, err = jcs.Parse([]byte(`"`+raw+`"`), jcs.Options{})
				if bad := c < 0x20 || c >= 0x80 || c == '"' || c == '\\'; bad != (err != nil) && c != '\\' {
					t.Fatalf("Parse of %q in quotes: %v", raw, err)
				}
			}
		}
	}
}
