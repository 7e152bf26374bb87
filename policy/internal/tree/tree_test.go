package tree_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/kest-go/kest/policy/internal/tree"
)

// An engine notes what it is given.
type engine struct {
	mu        sync.Mutex
	installed []*tree.Tree
	refuse    error
}

func (e *engine) install(_ context.Context, t *tree.Tree) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refuse != nil {
		return e.refuse
	}
	e.installed = append(e.installed, t)
	return nil
}

func (e *engine) last() *tree.Tree { return e.installed[len(e.installed)-1] }

// A sourceError is an engine's own type.
type sourceError tree.FileError

func (e *sourceError) Error() string { return (*tree.FileError)(e).Error() }

func keep(e *engine, source tree.Source) *tree.Keeper {
	return &tree.Keeper{
		Source: source, Limits: tree.Limits{Files: 20, FileBytes: 10, TotalBytes: 15},
		Wanted:  func(name string) bool { return strings.HasSuffix(name, ".p") },
		Install: e.install, Fault: func(f *tree.FileError) error { return (*sourceError)(f) }, Log: slog.New(slog.DiscardHandler),
	}
}

func files(pairs ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

func of(t *testing.T, fsys fs.FS) tree.Source {
	t.Helper()
	source, err := tree.FS(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// A reading takes what is wanted in the order of the paths, leaves out what is hidden, and stops at each limit, at its
// border and not before (SPEC §12).
func TestRead(t *testing.T) {
	many := files()
	for i := range 19 { // and the folder itself
		many[strings.Repeat("x", 1+i)] = &fstest.MapFile{}
	}
	tooMany := files("y", "")
	for name, f := range many {
		tooMany[name] = f
	}
	tests := map[string]struct {
		files fstest.MapFS
		want  string // paths, or an error when it begins with !
	}{
		"order":             {files("b.p", "", "a/z.p", "", "a.p", "", "c.txt", ""), "a/z.p a.p b.p"},
		"hidden":            {files(".a.p", "", ".git/a.p", "", "a/..data/b.p", "", "a/c.p", ""), "a/c.p"},
		"empty":             {files(), ""},
		"one file":          {files("a.p", "1234567890"), "a.p"},
		"large file":        {files("a.p", "12345678901"), "!a.p: more than the 10 bytes that Limits leave for it"},
		"large, not wanted": {files("a.txt", "12345678901"), ""},
		"all":               {files("a.p", "1234567890", "b.p", "12345"), "a.p b.p"},
		"too much":          {files("a.p", "1234567890", "b.p", "123456"), "!b.p: more than the 5 bytes"},
		"many":              {many, ""},
		"too many":          {tooMany, "!too many files"},
		"control character": {files("a\nb.p", ""), `!"a\nb.p": file name has control characters`},
		"pipe":              {fstest.MapFS{"a.p": {Mode: fs.ModeNamedPipe}}, "!a.p: not a regular file"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e := &engine{}
			k := keep(e, of(t, test.files))
			err := k.Reload(t.Context())
			if fault, ok := strings.CutPrefix(test.want, "!"); ok {
				if err == nil || !strings.Contains(err.Error(), "policies of file system: ") || !strings.Contains(err.Error(), fault) {
					t.Errorf("%v; want %q", err, fault)
				}
				if at, ok := errors.AsType[*sourceError](err); ok != strings.Contains(fault, ".p") || ok && at.Message == "" {
					t.Errorf("%T", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range e.last().Files {
				got = append(got, f.Path)
				if e.last().Find(f.Path).Path != f.Path {
					t.Errorf("%s is not found", f.Path)
				}
			}
			if strings.Join(got, " ") != test.want || e.last().Find("nothing") != nil {
				t.Errorf("read %q, want %q", got, test.want)
			}
		})
	}
}

// A link may lead to a file of the folder, and nowhere else.
func TestLinks(t *testing.T) {
	outside := t.TempDir()
	write(t, outside, "secret.p", "s")
	for target, want := range map[string]string{
		"real.p": "", filepath.Join(outside, "secret.p"): "link.p: symbolic link: ", "../" + filepath.Base(outside) + "/secret.p": "symbolic link: ",
		"folder": "link.p: symbolic link to a folder", "link.p": "symbolic link: ", "nowhere": "symbolic link: ", "/dev/zero": "symbolic link: ",
	} {
		dir := t.TempDir()
		write(t, dir, "real.p", "r")
		write(t, dir, "folder/x.txt", "")
		if err := os.Symlink(target, filepath.Join(dir, "link.p")); err != nil {
			t.Fatal(err)
		}
		source, err := tree.Dir(dir)
		if err != nil {
			t.Fatal(err)
		}
		e := &engine{}
		switch err := keep(e, source).Reload(t.Context()); {
		case want == "" && (err != nil || len(e.last().Files) != 2):
			t.Error(target, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), filepath.ToSlash(dir)+"/link.p: ") || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v; want %q", target, err, want)
		}
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// No two trees share a revision by moving a border, and the salt is part of it.
func TestRevision(t *testing.T) {
	seen := map[string]string{}
	for name, test := range map[string]struct {
		files fstest.MapFS
		salt  string
	}{
		"one": {files("a.p", "b"), ""}, "moved": {files("ab.p", ""), ""}, "name": {files("b.p", "b"), ""},
		"two": {files("a.p", "", "b.p", ""), ""}, "joined": {files("a.p", "b.p"), ""}, "salt": {files("a.p", "b"), "s"},
		"none": {files(), ""}, "salt alone": {files(), "a.pb"},
	} {
		e := &engine{}
		k := keep(e, of(t, test.files))
		k.Salt = []byte(test.salt)
		if err := k.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		revision := e.last().Revision
		if other, taken := seen[revision]; taken || !strings.HasPrefix(revision, "sha256:") {
			t.Errorf("%s and %s are both %s", name, other, revision)
		}
		seen[revision] = name
	}
}

// What cannot be a source says so; a folder that is not there is found when it is read.
func TestSources(t *testing.T) {
	if _, err := tree.FS(nil); err == nil {
		t.Error("nil file system accepted")
	}
	source, err := tree.Dir(filepath.Join(t.TempDir(), "gone"))
	if err != nil {
		t.Fatal(err)
	}
	if err := keep(&engine{}, source).Reload(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if got := source.Display("a.p"); !strings.HasSuffix(got, "/gone/a.p") {
		t.Error(got)
	}
}

// A message ends in a log.
func TestOneLine(t *testing.T) {
	got := tree.OneLine(" a\n\tb " + strings.Repeat("é", 200))
	if !strings.HasPrefix(got, "a b é") || len(got) > 303 || strings.ContainsRune(got, '\uFFFD') || !strings.HasSuffix(got, "…") {
		t.Errorf("%q", got)
	}
	f := tree.FileError{File: "a.p", Line: 3, Policy: "a", Message: "bad"}
	if f.Error() != "a.p:3: policy a: bad" {
		t.Error(f.Error())
	}
}
