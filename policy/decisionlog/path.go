package decisionlog

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a path.
const (
	maxPath     = 1 << 10 // bytes
	maxSegments = 32
)

// A segment is one step of a path: a name, or the star.
type segment struct {
	name string
	star bool
}

func (s segment) is(name string) bool { return s.star || s.name == name }

// parsePath reads the form that [Mask.Path] documents. Whatever else could be meant by a path is refused: a rule that
// is read in another way than it was meant shows what it should hide.
func parsePath(path string) ([]segment, error) {
	switch {
	case path == "":
		return nil, errors.New("empty path")
	case len(path) > maxPath:
		return nil, fmt.Errorf("path of %d bytes is longer than %d", len(path), maxPath)
	case !utf8.ValidString(path):
		return nil, errors.New("path is not UTF-8")
	}
	var segments []segment
	for rest, more := path, true; more; {
		var s segment
		var err error
		if s, rest, more, err = nextSegment(rest); err != nil {
			return nil, err
		}
		if segments = append(segments, s); len(segments) > maxSegments {
			return nil, fmt.Errorf("path has more than %d segments", maxSegments)
		}
	}
	return segments, nil
}

// nextSegment takes one segment off the path. more says that a dot followed, so that another one must.
func nextSegment(path string) (s segment, rest string, more bool, err error) {
	if after, ok := strings.CutPrefix(path, "*"); ok {
		if after == "" {
			return segment{star: true}, "", false, nil
		}
		if rest, ok = strings.CutPrefix(after, "."); ok {
			return segment{star: true}, rest, true, nil
		}
	}
	var name strings.Builder
	escaped := false
	for i, c := range path {
		switch {
		case escaped:
			if !strings.ContainsRune(`.*\`, c) {
				return s, "", false, fmt.Errorf(`'\' before %q; only '.', '*' and '\' need one`, c)
			}
			escaped = false
		case c == '\\':
			escaped = true
			continue
		case c == '.':
			s, err = named(name.String())
			return s, path[i+1:], true, err
		case c == '*':
			return s, "", false, errors.New(`'*' is not alone between dots; for a name with a star write '\*'`)
		case unicode.IsControl(c):
			return s, "", false, fmt.Errorf("control character %q", c)
		}
		name.WriteRune(c)
	}
	if escaped {
		return s, "", false, errors.New(`'\' at the end`)
	}
	s, err = named(name.String())
	return s, "", false, err
}

func named(name string) (segment, error) {
	if name == "" {
		return segment{}, errors.New("empty segment")
	}
	return segment{name: name}, nil
}
