package policies

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// Overlay returns one tree made of two: the library, and the folder with the data and policies of a deployment. Both
// are read when they are asked, so an engine over an overlay can reload. A file that is in both is an error, since it
// could silently weaken a policy that somebody relies on. Names of files are all that is looked at: Rego adds up the rules
// of one package, so a rule allow in package kest.payments permits whatever it says, in whichever file it stands. Leave the
// package kest to the library and to data. Safe for concurrent use if both are.
func Overlay(library, deployment fs.FS) fs.FS { return overlay{library, deployment} }

type overlay [2]fs.FS

var errBoth = errors.New("the file is in the policy library and in the deployment's folder; give yours another name")

// Open opens a file of either tree, or a folder of both.
func (o overlay) Open(name string) (fs.File, error) {
	first, err := o[0].Open(name)
	second, other := o[1].Open(name)
	switch {
	case missing(err):
		return second, other
	case missing(other):
		return first, err
	}
	if err := errors.Join(err, other); err != nil {
		closeAll(first, second)
		return nil, err
	}
	return o.both(name, first, second)
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

func closeAll(files ...fs.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

func (o overlay) both(name string, first, second fs.File) (fs.File, error) {
	defer second.Close()
	for _, f := range []fs.File{first, second} {
		info, err := f.Stat()
		if err == nil && !info.IsDir() {
			err = &fs.PathError{Op: "open", Path: name, Err: errBoth}
		}
		if err != nil {
			first.Close()
			return nil, err
		}
	}
	entries, err := o.ReadDir(name)
	if err != nil {
		first.Close()
		return nil, err
	}
	return &folder{File: first, entries: entries}, nil
}

// ReadDir lists what is in either tree.
func (o overlay) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(o[0], name)
	more, other := fs.ReadDir(o[1], name)
	switch {
	case missing(err):
		return more, other
	case missing(other):
		return entries, err
	}
	if err := errors.Join(err, other); err != nil {
		return nil, err
	}
	entries = slices.Concat(entries, more)
	slices.SortStableFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return slices.CompactFunc(entries, func(a, b fs.DirEntry) bool { return a.Name() == b.Name() }), nil
}

// A folder is one that both trees have.
type folder struct {
	fs.File
	entries []fs.DirEntry
}

func (f *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(f.entries)
	} else if len(f.entries) == 0 {
		return nil, io.EOF
	}
	part := f.entries[:min(n, len(f.entries))]
	f.entries = f.entries[len(part):]
	return part, nil
}
