package policies_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kest-go/kest/policies"
	"github.com/kest-go/kest/policy/cedar"
	"github.com/kest-go/kest/policy/rego"
)

func TestOverlay(t *testing.T) {
	library := fstest.MapFS{"kest/a.rego": {Data: []byte("a")}, "kest/c/d": {Data: []byte("d")}, "only": {Data: []byte("o")}}
	own := fstest.MapFS{"kest/b.rego": {Data: []byte("b")}, "kest/c/e": {Data: []byte("e")}, "data.json": {Data: []byte("{}")}, "x/y": {}}
	o := policies.Overlay(library, own)
	if err := fstest.TestFS(o, "kest/a.rego", "kest/b.rego", "kest/c/d", "kest/c/e", "data.json", "only", "x/y"); err != nil {
		t.Error(err)
	}
	own["kest/later"] = &fstest.MapFile{}
	if _, err := fs.Stat(o, "kest/later"); err != nil {
		t.Error(err)
	}
	if _, err := o.Open("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := fs.ReadDir(o, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestOverlayRefuses: a file in both trees, a file where the other has a folder, and a tree that cannot be read.
func TestOverlayRefuses(t *testing.T) {
	policy := fstest.MapFS{"kest/p.rego": {Data: []byte("package kest.p\n\nallow := false\n")}}
	for name, own := range map[string]fs.FS{
		"the same file":         fstest.MapFS{"kest/p.rego": {Data: []byte("package kest.p\n\nallow := true\n")}},
		"a file for a folder":   fstest.MapFS{"kest": {Data: []byte("x")}},
		"a folder for a file":   fstest.MapFS{"kest/p.rego/data.json": {Data: []byte("{}")}},
		"a tree that is broken": brokenFS{},
	} {
		t.Run(name, func(t *testing.T) {
			if engine, err := rego.FS(policies.Overlay(policy, own)); err == nil {
				t.Errorf("loaded %q", engine.Policies())
			}
			if engine, err := rego.FS(policies.Overlay(own, policy)); err == nil {
				t.Errorf("the other way round: loaded %q", engine.Policies())
			}
		})
	}
	_, err := policies.Overlay(policies.Rego(), policies.Rego()).Open("kest/biba.rego")
	if err == nil || !strings.Contains(err.Error(), "kest/biba.rego: the file is in the policy library and in the deployment's folder") {
		t.Error(err)
	}
}

// brokenFS fails, though not because a file is missing.
type brokenFS struct{}

func (brokenFS) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

// TestExample loads the folders of the example, as an overlay and as copies.
func TestExample(t *testing.T) {
	text, err := policies.Entities([]byte(read(t, os.DirFS("example"), "rego/kest/deployment/data.json")))
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("KEST_UPDATE") != "" {
		if err := os.WriteFile("example/cedar/entities.json", append(text, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, os.DirFS("example"), "cedar/entities.json") != string(text)+"\n" {
		t.Error("example/cedar/entities.json is not what the data say; run the test with KEST_UPDATE=1")
	}
	byRego, byCedar := t.TempDir(), t.TempDir()
	for _, err := range []error{
		os.CopyFS(byRego, policies.Rego()), os.CopyFS(byRego, os.DirFS("example/rego")),
		os.CopyFS(byCedar, policies.Cedar()), os.CopyFS(byCedar, os.DirFS("example/cedar")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, load := range []func() (interface{ Policies() []string }, error){
		func() (interface{ Policies() []string }, error) { return rego.Dir(byRego) },
		func() (interface{ Policies() []string }, error) { return cedar.Dir(byCedar) },
		func() (interface{ Policies() []string }, error) {
			return rego.FS(policies.Overlay(policies.Rego(), os.DirFS("example/rego")))
		},
		func() (interface{ Policies() []string }, error) {
			return cedar.FS(policies.Overlay(policies.Cedar(), os.DirFS("example/cedar")))
		},
	} {
		if engine, err := load(); err != nil || len(engine.Policies()) != 11 {
			t.Error(engine, err)
		}
	}
}
