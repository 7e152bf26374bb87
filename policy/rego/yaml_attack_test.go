package rego_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kest-go/kest/policy/rego"
)

// TestYAMLBomb: what a YAML file stands for is bounded as the file is, or one that is edited could end the process at the
// next reload. Aliases as people use them are read.
func TestYAMLBomb(t *testing.T) {
	text := strings.Repeat("x", 100<<10)
	deep := "a0: &a0 [x, x]\n"
	for i := range 200 {
		deep += fmt.Sprintf("a%d: &a%d [*a%d, *a%d]\n", i+1, i+1, i, i)
	}
	merged := "a: &a {x: " + text + "}\nb:\n" + strings.Repeat("  - <<: *a\n", 100)
	for name, c := range map[string]struct {
		data, want string
	}{
		"one long text, often": {"a: &a " + text + "\nb: [" + strings.Repeat("*a,", 100) + "]\n", "its aliases stand for more than"},
		"merged":               {merged, "its aliases stand for more than"},
		"aliases of aliases":   {deep, "its aliases stand for more than"},
		"itself":               {"a: &a [*a, *a]\n", "contains itself"},
		"usual":                {"low: &low [a, b]\nlists: {x: *low, y: *low}\n", ""},
		"no aliases":           {"a: [" + strings.Repeat("1,", 400<<10) + "1]\n", ""},
		"no values":            {"a: {" + strings.Repeat("b,", 3) + "c}\n", ""},
	} {
		for kind, files := range map[string]tree{
			"file":   {"p.rego": "package p\nallow if data.d", "d/data.yaml": c.data},
			"bundle": {"x.tar.gz": pack(t, tree{"/p.rego": "package p\nallow if data.d", "/d/data.yml": c.data})},
		} {
			_, err := rego.Config{Limits: rego.Limits{FileBytes: 1 << 20}}.FS(files.fs())
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s, %s: %v", name, kind, err)
			}
		}
	}
}
