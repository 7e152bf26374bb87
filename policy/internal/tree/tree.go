package tree

import (
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

// Limits bound what one reading takes. It is also what is left of them while reading: each is used up to zero.
type Limits struct {
	Files      int   // files and folders seen
	FileBytes  int64 // of one file
	TotalBytes int64 // of all files
}

// Entry counts a file, a folder, or the member of an archive.
func (l *Limits) Entry() error {
	if l.Files--; l.Files < 0 {
		return errors.New("too many files; raise Limits.Files or give a smaller tree")
	}
	return nil
}

// take reads at most what one file may have, and at most what is left for all.
func (l *Limits) take(r io.Reader) ([]byte, error) {
	most := min(l.FileBytes, l.TotalBytes)
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("more than the %d bytes that Limits leave for it", most)
	}
	l.TotalBytes -= int64(len(data))
	return data, nil
}

// A File is one that was read.
type File struct {
	Path string // slash-separated, in the tree
	Data []byte
}

// A Tree is everything that one reading took.
type Tree struct {
	Files    []File // in the order of their paths
	Revision string // hash of names, contents and [Keeper.Salt]
	Left     Limits
}

// Find returns the file of that path, or nil.
func (t *Tree) Find(name string) *File {
	for i := range t.Files {
		if t.Files[i].Path == name {
			return &t.Files[i]
		}
	}
	return nil
}

// read takes every file that is wanted. It opens regular files only, so a pipe cannot hold it up.
func read(fsys fs.FS, limits Limits, wanted func(string) bool) (*Tree, error) {
	t := &Tree{Left: limits}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && name != ".":
			return fmt.Errorf("%q: %w", name, cause(err)) // which may be no text
		case err != nil:
			return cause(err)
		}
		if err := t.Left.Entry(); err != nil {
			return err
		}
		if Hidden(name) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		return t.add(fsys, name, d, wanted)
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Tree) add(fsys fs.FS, name string, d fs.DirEntry, wanted func(string) bool) error {
	mode := d.Type()
	if mode&fs.ModeSymlink != 0 {
		info, err := fs.Stat(fsys, name)
		if err != nil {
			return &FileError{File: name, Message: "symbolic link: " + cause(err).Error()}
		}
		// A silently missing folder could miss the policy that denies.
		if mode = info.Mode(); mode.IsDir() {
			return &FileError{File: name, Message: "symbolic link to a folder; put the folder itself into the tree"}
		}
	}
	if mode.IsDir() || !wanted(name) {
		return nil
	}
	if strings.ContainsFunc(name, unicode.IsControl) {
		return &FileError{File: fmt.Sprintf("%q", name), Message: "file name has control characters; rename it"}
	}
	if !mode.IsRegular() {
		return &FileError{File: name, Message: "not a regular file"}
	}
	f, err := fsys.Open(name)
	if err != nil {
		return &FileError{File: name, Message: cause(err).Error()}
	}
	defer f.Close()
	data, err := t.Left.take(f)
	if err != nil {
		return &FileError{File: name, Message: cause(err).Error()}
	}
	t.Files = append(t.Files, File{name, data})
	return nil
}

// Hidden reports whether the last element of name begins with a dot. The root, ".", is not hidden.
func Hidden(name string) bool { return name != "." && strings.HasPrefix(path.Base(name), ".") }

// revision hashes names and contents, each with its length, so that no two trees share a hash by moving a border.
func revision(files []File, salt []byte) string {
	h := sha256.New()
	var n [8]byte
	part := func(p []byte) {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	part(salt)
	for _, f := range files {
		part([]byte(f.Path))
		part(f.Data)
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
