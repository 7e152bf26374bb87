package rego

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"unicode"

	"github.com/open-policy-agent/opa/v1/bundle"
)

// Limits bound what one load reads. A zero field has the default.
type Limits struct {
	Files      int   // files and folders seen, and members of bundles; default 10,000
	FileBytes  int64 // of one file, and of one member of a bundle; default 10 MiB
	TotalBytes int64 // of all files, bundles counted unpacked; default 100 MiB
}

func (l Limits) orDefault() Limits {
	return Limits{
		Files:      cmp.Or(l.Files, 10_000),
		FileBytes:  cmp.Or(l.FileBytes, 10<<20),
		TotalBytes: cmp.Or(l.TotalBytes, 100<<20),
	}
}

// A file is one that was read: its slash-separated path in the tree, and its content.
type file struct {
	path string
	data []byte
}

// A tree is everything that one load read, in the order of the paths, and the hash of it.
type tree struct {
	files    []file
	revision string
}

// A budget is what is left of the limits.
type budget struct {
	Limits
}

func (b *budget) entry() error {
	if b.Files--; b.Files < 0 {
		return errors.New("too many files; raise Limits.Files or give a smaller tree")
	}
	return nil
}

// read takes at most what one file may have, and at most what is left for all.
func (b *budget) read(r io.Reader) ([]byte, error) {
	most := min(b.FileBytes, b.TotalBytes)
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("more than the %d bytes that Limits leave for it", most)
	}
	b.TotalBytes -= int64(len(data))
	return data, nil
}

// readTree reads every file that matters. It opens regular files only, so a pipe cannot hold it up.
func readTree(fsys fs.FS, b *budget) (*tree, error) {
	t := &tree{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return cause(err)
		}
		if err := b.entry(); err != nil {
			return err
		}
		if hidden(name) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		return t.add(fsys, name, d, b)
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (t *tree) add(fsys fs.FS, name string, d fs.DirEntry, b *budget) error {
	mode := d.Type()
	if mode&fs.ModeSymlink != 0 {
		info, err := fs.Stat(fsys, name)
		if err != nil {
			return &SourceError{File: name, Message: "symbolic link: " + cause(err).Error()}
		}
		if mode = info.Mode(); mode.IsDir() {
			return &SourceError{File: name, Message: "symbolic link to a folder; put the folder itself into the tree"}
		}
	}
	if mode.IsDir() || !wanted(name) {
		return nil
	}
	if strings.ContainsFunc(name, unicode.IsControl) {
		return &SourceError{File: fmt.Sprintf("%q", name), Message: "file name has control characters; rename it"}
	}
	if !mode.IsRegular() {
		return &SourceError{File: name, Message: "not a regular file"}
	}
	f, err := fsys.Open(name)
	if err != nil {
		return &SourceError{File: name, Message: cause(err).Error()}
	}
	defer f.Close()
	data, err := b.read(f)
	if err != nil {
		return &SourceError{File: name, Message: cause(err).Error()}
	}
	t.files = append(t.files, file{name, data})
	return nil
}

// hidden reports whether the last element of name begins with a dot. The root, ".", is not hidden.
func hidden(name string) bool { return name != "." && strings.HasPrefix(path.Base(name), ".") }

func wanted(name string) bool { return isModule(name) || isData(name) || isBundle(name) }

func isModule(name string) bool {
	return strings.HasSuffix(name, ".rego") && !strings.HasSuffix(name, "_test.rego")
}

func isData(name string) bool {
	return path.Base(name) == "data.json" || bundle.IsYAMLDataFile(name)
}

func isBundle(name string) bool { return strings.HasSuffix(name, ".tar.gz") }

// revision hashes names and contents, each with its length, so that no two trees share a hash by moving a border.
func revision(files []file, data []byte) string {
	h := sha256.New()
	var n [8]byte
	part := func(p []byte) {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	part(data)
	for _, f := range files {
		part([]byte(f.path))
		part(f.data)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// cause drops the operation and the path that package os puts before a cause: the caller names the file.
func cause(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

func (f file) reader() io.Reader { return bytes.NewReader(f.data) }
