package tree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A Source is where a tree is read from, again for each reading.
type Source struct {
	prefix string // put before file names, for people; "" inside a file system
	open   func() (fs.FS, io.Closer, error)
}

// Dir is a folder. Nothing outside it is read, links included ([os.Root]).
func Dir(path string) (Source, error) {
	abs, err := filepath.Abs(path) // a reload must not depend on the working directory of that moment
	if err != nil {
		return Source{}, fmt.Errorf("policies %s: %w", path, err)
	}
	return Source{filepath.ToSlash(filepath.Clean(path)), func() (fs.FS, io.Closer, error) {
		root, err := os.OpenRoot(abs)
		if err != nil {
			return nil, nil, cause(err)
		}
		return root.FS(), root, nil
	}}, nil
}

// FS is a file system, which decides whether a link can leave it.
func FS(fsys fs.FS) (Source, error) {
	if fsys == nil {
		return Source{}, errors.New("policies: nil file system")
	}
	return Source{"", func() (fs.FS, io.Closer, error) { return fsys, nopCloser{}, nil }}, nil
}

type nopCloser struct{}

func (nopCloser) Close() error { return nil }

// Display is how people see the name of a file.
func (s Source) Display(name string) string {
	if s.prefix == "" {
		return name
	}
	return strings.TrimSuffix(s.prefix, "/") + "/" + name
}

// name is how people see the whole.
func (s Source) name() string {
	if s.prefix == "" {
		return "file system"
	}
	return s.prefix
}

func (s Source) read(limits Limits, wanted func(string) bool) (*Tree, error) {
	fsys, root, err := s.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return read(fsys, limits, wanted)
}
