package rego_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/kest-go/kest/policy/rego"
)

// disk writes a tree to a new folder.
func disk(t testing.TB, files tree) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		put(t, dir, name, text)
	}
	return dir
}

func put(t testing.TB, dir, name, text string) {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, dir, name string) {
	t.Helper()
	if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// A link may lead to a file of the tree, and nowhere else. A policy that is skipped in silence could be the
// one that denies.
func TestLinks(t *testing.T) {
	outside := disk(t, tree{"secret.rego": guideV1, "sub/x.rego": guideV1})
	tests := map[string]struct {
		target, name, want string
	}{
		"inside":            {"real.rego", "link.rego", "multiple default rules"}, // loaded twice, so found
		"absolute, outside": {filepath.Join(outside, "secret.rego"), "link.rego", "link.rego: symbolic link"},
		"relative, outside": {"../" + filepath.Base(outside) + "/secret.rego", "link.rego", "link.rego: symbolic link"},
		"folder, outside":   {filepath.Join(outside, "sub"), "sub", "sub: symbolic link"},
		"folder, inside":    {"folder", "again", "again: symbolic link to a folder"},
		"loop":              {"link.rego", "link.rego", "link.rego: symbolic link"},
		"dangling":          {"nowhere.rego", "link.rego", "link.rego: symbolic link"},
		"device":            {"/dev/zero", "link.rego", "link.rego: symbolic link"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := disk(t, tree{"real.rego": guideV1, "folder/data.json": "{}"})
			link(t, test.target, dir, test.name)
			if _, err := rego.Dir(dir); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v; want %q", err, test.want)
			}
		})
	}
}

// A mounted ConfigMap is links to files behind a hidden link to a hidden folder: each policy is loaded once.
func TestConfigMap(t *testing.T) {
	dir := disk(t, tree{"..2026_11_23/a.rego": guideV1})
	link(t, "..2026_11_23", dir, "..data")
	link(t, "..data/a.rego", dir, "a.rego")
	engine, err := rego.Dir(dir)
	if err != nil || !slices.Equal(engine.Policies(), []string{"kest/allow_trusted"}) {
		t.Error(engine, err)
	}
}

// A pipe would hold up whoever opens it.
func TestPipe(t *testing.T) {
	dir := disk(t, tree{"a.rego": guideV1})
	if err := syscall.Mkfifo(filepath.Join(dir, "b.rego"), 0o644); err != nil {
		t.Skip(err)
	}
	if _, err := rego.Dir(dir); err == nil || !strings.Contains(err.Error(), "b.rego: not a regular file") {
		t.Error(err)
	}
}

// Every limit stops a load (SPEC §12), at its border and not before.
func TestLimits(t *testing.T) {
	size := int64(len(guideV1))
	files := tree{"a.rego": guideV1, "b.rego": "package b\n"}
	total := size + int64(len("package b\n"))
	packed := tree{"x.tar.gz": pack(t, tree{"/a.rego": guideV1, "/b.rego": "package b\n"})}
	bomb := tree{"a.rego": guideV1, "x.tar.gz": pack(t, tree{"/data.json": `"` + strings.Repeat("x", 30<<20) + `"`})}
	tail := tree{"x.tar.gz": packed["x.tar.gz"] + zeros(t, 30<<20)}
	tests := []struct {
		name  string
		files tree
		rego.Limits
		want string
	}{
		{"files fit", files, rego.Limits{Files: 3}, ""},
		{"too many files", files, rego.Limits{Files: 2}, "too many files"},
		{"file fits", files, rego.Limits{FileBytes: size}, ""},
		{"file too large", files, rego.Limits{FileBytes: size - 1}, "a.rego: more than"},
		{"total fits", files, rego.Limits{TotalBytes: total}, ""},
		{"total too large", files, rego.Limits{TotalBytes: total - 1}, "b.rego: more than"},
		{"bundle fits", packed, rego.Limits{Files: 4}, ""},
		{"bundle of too many", packed, rego.Limits{Files: 3}, "too many files"},
		{"bundle member too large", packed, rego.Limits{FileBytes: size - 1}, "x.tar.gz: "},
		{"bomb", bomb, rego.Limits{TotalBytes: 20 << 20}, "unpacks to more than"},
		{"bomb after the archive", tail, rego.Limits{TotalBytes: 20 << 20}, "unpacks to more than"},
		{"bomb, default limits", bomb, rego.Limits{}, "x.tar.gz: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := rego.Config{Limits: test.Limits}.FS(test.files.fs())
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%.300v; want %q", err, test.want)
			}
		})
	}
}

// zeros compresses n zero bytes.
func zeros(t testing.TB, n int) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(make([]byte, n)); err != nil || z.Close() != nil {
		t.Fatal("not compressed")
	}
	return b.String()
}

// pack makes the bundle of a tree.
func pack(t testing.TB, files tree) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, files[name])
	}
	if w.Close() != nil || z.Close() != nil {
		t.Fatal("bundle not written")
	}
	return b.String()
}

// A bundle counts like the files in it (SPEC §7 "policy files and bundles").
func TestBundle(t *testing.T) {
	const v0 = "package kest.allow_trusted\ndefault allow = false\nallow {\ninput.trust_score >= data.limits.min\n}\n"
	const v1 = "package kest.allow_trusted\ndefault allow := false\nallow if input.trust_score >= data.limits.min\n"
	tests := []struct {
		name  string
		files tree
		want  string // of the error; empty: loads and decides
	}{
		{"v1", tree{"/a.rego": v1, "/limits/data.json": `{"min": 40}`, "/a_test.rego": "package x\nt := nosuch(1)"}, ""},
		{"v0", tree{"/a.rego": v0, "/data.json": `{"limits": {"min": 40}}`}, ""},
		{"manifest", tree{"/a.rego": v0, "/limits/data.yaml": "min: 40", "/.manifest": `{"rego_version": 0, "roots": [""]}`}, ""},
		{"outside its roots", tree{"/a.rego": v1, "/.manifest": `{"roots": ["other"]}`}, "x.tar.gz: "},
		{"signed", tree{"/a.rego": v1, "/.signatures.json": `{"signatures": ["e30.e30.AA"]}`}, "x.tar.gz: "},
		{"delta", tree{"/patch.json": `{"data": [{"op": "upsert", "path": "/a", "value": 1}]}`}, "x.tar.gz: "},
		{"broken module", tree{"/a.rego": "package a\nallow if {"}, "x.tar.gz/a.rego:2"},
		{"refused call", tree{"/a.rego": "package a\nallow if rand.intn(\"a\", 2) == 1"}, "x.tar.gz/a.rego:2"},
		{"wasm", tree{"/policy.wasm": "x", "/.manifest": `{"wasm": [{"entrypoint": "kest/allow", "module": "/policy.wasm"}]}`}, "x.tar.gz: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var log journal
			engine, err := rego.Config{Logger: log.logger()}.FS(tree{"x.tar.gz": pack(t, test.files), "y.rego": "package y"}.fs())
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%v; want %q", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for trust, want := range map[int]bool{39: false, 40: true} {
				if d, err := engine.Evaluate(t.Context(), "kest/allow_trusted", call(trust)); err != nil || d.Allow != want {
					t.Errorf("trust %d: %+v %v", trust, d, err)
				}
			}
			if old := test.name != "v1"; old != strings.Contains(log.String(), "deprecated") {
				t.Errorf("v0 is %t; log: %s", old, &log)
			}
		})
	}
	whole := pack(t, tree{"/a.rego": guideV1})
	for n := range len(whole) - 1 { // cut anywhere
		if _, err := rego.FS(tree{"x.tar.gz": whole[:n]}.fs()); err == nil {
			t.Errorf("loaded when cut to %d of %d bytes", n, len(whole))
		}
	}
}

// FuzzLoad: whatever a tree holds, loading ends with an engine or an error, and what loads can be asked.
func FuzzLoad(f *testing.F) {
	f.Add("package p\nallow if input.x", `{"a": 1}`, "a: 1", "")
	f.Add("package p\nallow { input.x }", `[`, "&a [*a]", pack(f, tree{"/q.rego": guideV1}))
	f.Add("package p\nallow := {\"allow\": true}", `{"p": {"allow": true}}`, "p: {q: 1}", "\x1f\x8b")
	f.Fuzz(func(t *testing.T, module, json, yaml, bundle string) {
		files := tree{"p.rego": module, "data.json": json, "y/data.yaml": yaml}
		if bundle != "" {
			files["b.tar.gz"] = bundle
		}
		c := rego.Config{Logger: new(journal).logger(), Limits: rego.Limits{TotalBytes: 1 << 20}}
		engine, err := c.FS(files.fs())
		if (engine == nil) == (err == nil) {
			t.Fatalf("engine %v, error %v", engine, err)
		}
		if err != nil {
			return
		}
		for _, name := range engine.Policies() {
			if d, err := engine.Evaluate(t.Context(), name, call(1)); err != nil && d.Allow {
				t.Errorf("%s: %+v with %v", name, d, err)
			}
		}
	})
}
