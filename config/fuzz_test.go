package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kest-go/kest/config"
)

// FuzzParse: whatever the text is, there is a deployment or an error that lists problems with places, of bounded number
// and size; and what was taken is taken again with the same meaning.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"kest.yaml", "kest.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, test := range bad() {
		if len(test.text) < 4<<10 {
			f.Add([]byte(test.text))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		options := config.Options{File: "f.yaml", Environ: []string{"KEST_POLICIES_TIMEOUT=1s", "KEST_POLICIES_PLATFORM=a"}, Logger: quiet}
		d, err := config.Parse(text, options)
		if err == nil {
			if c := d.Guard(); c.PolicyTimeout == 0 || len(c.Platform) == 0 {
				t.Errorf("the variables do not count: %+v", c)
			}
			if strings.Contains(string(text), "\t") || !utf8.Valid(text) {
				return
			}
			if _, err := config.Parse(append(text, "\n# a comment\n"...), options); err != nil && !strings.Contains(string(text), "...") {
				t.Errorf("a comment makes it bad: %v", err)
			}
			return
		}
		var bad *config.Error
		if d != nil || !errors.As(err, &bad) || len(bad.Problems) == 0 || len(bad.Problems) > 100 {
			t.Fatalf("%v", err)
		}
		for _, p := range bad.Problems {
			if p.Message == "" || p.File == "" || (p.Line > 0) != (p.Column > 0) || p.Line > lineBreaks(text)+1 {
				t.Errorf("%+v", p)
			}
			if s := p.String(); len(s) > 8<<10 || strings.ContainsAny(s, "\n\r") || !utf8.ValidString(s) {
				t.Errorf("%q", s)
			}
		}
	})
}

// lineBreaks counts what YAML 1.1 takes for one.
func lineBreaks(text []byte) (n int) {
	for _, c := range string(text) {
		if strings.ContainsRune("\n\r\u0085\u2028\u2029", c) {
			n++
		}
	}
	return n
}
