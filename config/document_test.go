package config_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/kest-go/kest/config"
)

const documentFile = "../docs/configuration.md"

var (
	yamlBlock   = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	sectionRow  = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| [^|]+ \\| (at once|restart) \\|$")
	variableUse = regexp.MustCompile("KEST_[A-Z_]*[A-Z]")
)

// TestDocument: what docs/configuration.md shows is read as it says, and its tables are complete.
func TestDocument(t *testing.T) {
	t.Parallel()
	text := string(read(t, documentFile))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "approvers.json"), read(t, "testdata/approvers.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	shown, good := map[string]bool{}, 0
	for _, m := range yamlBlock.FindAllStringSubmatch(text, -1) {
		d, err := config.Parse([]byte(m[1]), config.Options{File: filepath.Join(dir, "kest.yaml"), Environ: []string{}, Logger: quiet})
		first, _, _ := strings.Cut(m[1], "\n")
		if want, refused := strings.CutPrefix(first, "# refused: "); refused {
			if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), dir+"/", ""), want) {
				t.Errorf("%s\nis refused with %v", m[1], err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s\n%v", m[1], err)
			continue
		}
		if w := d.Warnings(); len(w) > 0 {
			t.Errorf("%s\nwarns %v", m[1], w)
		}
		var sections map[string]any
		if err := yaml.Unmarshal([]byte(m[1]), &sections); err != nil {
			t.Error(err)
		}
		for name := range sections {
			shown[name] = true
		}
		good++
	}
	if all := slices.Sorted(maps.Keys(shown)); !slices.Equal(all, slices.Sorted(slices.Values(config.Sections()))) {
		t.Errorf("%d examples show only %v", good, all)
	}
	rows := map[string]string{}
	for _, m := range sectionRow.FindAllStringSubmatch(text, -1) {
		rows[m[1]] = m[2]
	}
	for _, name := range config.Sections() {
		want := "restart"
		if slices.Contains(config.Reloadable(), name) {
			want = "at once"
		}
		if rows[name] != want {
			t.Errorf("the table says %q of %s, want %q", rows[name], name, want)
		}
		delete(rows, name)
	}
	if len(rows) > 0 {
		t.Errorf("the table has rows of nothing: %v", rows)
	}
	variables := config.Variables()
	for _, name := range variableUse.FindAllString(text, -1) {
		if _, known := variables[name]; !known && name != config.EnvConfig {
			t.Errorf("%s is no variable", name)
		}
	}
	var bad *config.Error
	if _, err := parse("{"); !errors.As(err, &bad) {
		t.Error("the test reads nothing")
	}
}
