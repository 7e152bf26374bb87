package cedar

import (
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
)

// Limits bound what one load reads. A zero field has the default.
type Limits struct {
	Files      int   // files and folders seen; default 10,000
	FileBytes  int64 // of one file; default 1 MiB
	TotalBytes int64 // of all files; default 100 MiB
}

func (l Limits) orDefault() Limits {
	return Limits{
		Files:      cmp.Or(l.Files, 10_000),
		FileBytes:  cmp.Or(l.FileBytes, 1<<20),
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

func (t *tree) find(name string) *file {
	for i := range t.files {
		if t.files[i].path == name {
			return &t.files[i]
		}
	}
	return nil
}

// A reader reads one tree. Its limits shrink as it goes.
type reader struct {
	Limits
	schema, entities string // names of these files
	tree             tree
}

// read takes every file that matters. It opens regular files only, so a pipe cannot hold it up.
func (r *reader) read(fsys fs.FS) error {
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return cause(err)
		}
		if r.Files--; r.Files < 0 {
			return errors.New("too many files; raise Limits.Files or give a smaller tree")
		}
		if hidden(name) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		return r.add(fsys, name, d)
	})
}

func (r *reader) add(fsys fs.FS, name string, d fs.DirEntry) error {
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
	if mode.IsDir() || !r.wanted(name) {
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
	data, err := r.take(f)
	if err != nil {
		return &SourceError{File: name, Message: cause(err).Error()}
	}
	r.tree.files = append(r.tree.files, file{name, data})
	return nil
}

// take reads at most what one file may have, and at most what is left for all.
func (r *reader) take(f io.Reader) ([]byte, error) {
	most := min(r.FileBytes, r.TotalBytes)
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("more than the %d bytes that Limits leave for it", most)
	}
	r.TotalBytes -= int64(len(data))
	return data, nil
}

func (r *reader) wanted(name string) bool {
	return isPolicy(name) || isSchema(name) || name == r.schema || name == r.entities
}

// hidden reports whether the last element of name begins with a dot. The root, ".", is not hidden.
func hidden(name string) bool { return name != "." && strings.HasPrefix(path.Base(name), ".") }

func isPolicy(name string) bool { return strings.HasSuffix(name, ".cedar") }

func isSchema(name string) bool { return strings.HasSuffix(name, ".cedarschema") }

// hash covers names and contents, each with its length, so that no two trees share one by moving a border.
func (t *tree) hash() string {
	h := sha256.New()
	var n [8]byte
	part := func(p []byte) {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	for _, f := range t.files {
		part([]byte(f.path))
		part(f.data)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// cause drops the operation and the path that package os puts before a cause: the caller names the file.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
