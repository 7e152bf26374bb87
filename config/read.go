package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds of a file.
const (
	MaxBytes  = 1 << 20
	maxDepth  = 32
	maxValues = 100_000 // keys included: each costs some hundred bytes
)

// reader turns text into a tree that is plain data: mappings with unique text keys, lists and scalars, without aliases
// and tags.
type reader struct {
	problems
	file   string
	env    map[*yaml.Node]string // variables that nodes came from
	values int
	lines  int // at least as many as the file has; 0: not known
}

func (r *reader) place(n *yaml.Node) place {
	if name, ok := r.env[n]; ok {
		return place{file: name}
	}
	if r.lines > 0 && n.Line > r.lines { // of what is not there, behind the end
		return place{r.file, r.lines, 1}
	}
	return place{r.file, n.Line, n.Column}
}

func (r *reader) fail(n *yaml.Node, path, message, hint string) {
	r.add(r.place(n).problem(path, message, hint))
}

// whole reports what is wrong with the file as such.
func (r *reader) whole(message, hint string) {
	r.add(place{file: r.file}.problem("", message, hint))
}

// read returns the mapping that the text is, nil when it is not even that.
func (r *reader) read(text []byte) *yaml.Node {
	switch {
	case len(text) > MaxBytes:
		r.whole(fmt.Sprintf("the file has more than %d bytes", MaxBytes), "split off what is no configuration")
		return nil
	case !utf8.Valid(text): // YAML 1.2 §5.2 allows UTF-16, which nobody reviews
		r.add(r.invalid(text).problem("", "the text is not UTF-8", "save the file as UTF-8"))
		return nil
	}
	r.lines = 1
	for _, c := range string(text) {
		if strings.ContainsRune("\n\r\u0085\u2028\u2029", c) { // YAML 1.1 §4.1.4
			r.lines++
		}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	document, err := next(decoder)
	if errors.Is(err, io.EOF) {
		// A file cut down to nothing must not look like a deployment without policies.
		r.whole("the file is empty", "write {} for a deployment without settings")
		return nil
	}
	if err != nil {
		r.add(r.syntax(text, err))
		return nil
	}
	if second, err := next(decoder); err == nil {
		r.fail(second, "", "the file has a second document", "keep one, and take out the line ---")
	} else if !errors.Is(err, io.EOF) {
		r.add(r.syntax(text, err))
	}
	root := document.Content[0]
	if !r.plain(root, "", 1) {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		r.fail(root, "", "the file holds "+kindOf(root)+", not settings", "begin with a section, such as policies:")
		return nil
	}
	return root
}

// next parses one document. Aliases stay nodes that point to others; nothing is expanded.
func next(decoder *yaml.Decoder) (document *yaml.Node, err error) {
	document = new(yaml.Node)
	if err = decoder.Decode(document); err == nil && len(document.Content) != 1 {
		err = io.EOF
	}
	return document, err
}

// plain reports whether the tree below n may be looked at. Depth comes first, so that the walk is bounded.
func (r *reader) plain(n *yaml.Node, path string, depth int) bool {
	switch r.values++; {
	case r.values > maxValues:
		if r.values == maxValues+1 {
			r.fail(n, "", fmt.Sprintf("more than %d values", maxValues), "split off what is no configuration")
		}
		return false
	case depth > maxDepth:
		r.fail(n, path, fmt.Sprintf("more than %d levels", maxDepth), "")
		return false
	case n.Kind == yaml.AliasNode: // a few of them could stand for gigabytes
		r.fail(n, path, "aliases are not allowed", "write the value out")
		return false
	case n.Anchor != "":
		r.fail(n, path, "anchors are not allowed", "take out &"+clip(n.Anchor))
		return false
	case n.Style&yaml.TaggedStyle != 0:
		r.fail(n, path, "tags are not allowed", "take out "+choice([]string{n.Tag}))
		return false
	case n.Kind == yaml.MappingNode:
		return r.mapping(n, path, depth)
	}
	good := true
	for i, child := range n.Content {
		good = r.plain(child, fmt.Sprintf("%s[%d]", path, i), depth+1) && good
		if r.values > maxValues {
			return false
		}
	}
	return good
}

func (r *reader) mapping(n *yaml.Node, path string, depth int) bool {
	good := true
	first := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if !r.plain(key, path, depth+1) || r.values > maxValues {
			return false
		}
		if tag := key.ShortTag(); key.Kind != yaml.ScalarNode || tag != "!!str" {
			message, hint := "a key is "+kindOf(key)+", not text", "put it into quotes"
			if tag == "!!merge" {
				message, hint = "merge keys are not allowed", "write the settings out"
			}
			r.fail(key, path, message, hint)
			good = false
			continue
		}
		child := join(path, key.Value)
		if line, twice := first[key.Value]; twice { // RFC 8259 §4: which one counts is anybody's guess
			r.fail(key, child, fmt.Sprintf("the key stands twice; the first is on line %d", line), "keep one")
			good = false
			continue
		}
		first[key.Value] = key.Line
		good = r.plain(n.Content[i+1], child, depth+1) && good
	}
	return good
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// join is the path of a member.
func join(path, key string) string {
	switch {
	case !plainKey.MatchString(key):
		return path + "[" + strconv.Quote(clip(key)) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

// kindOf describes a node for people.
func kindOf(n *yaml.Node) string {
	if n.Kind == yaml.MappingNode {
		return "a mapping"
	}
	if n.Kind == yaml.SequenceNode {
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	case "!!timestamp":
		return "a date"
	}
	return "text"
}

// invalid is the place of the first byte that is not UTF-8.
func (r *reader) invalid(text []byte) place {
	line, column := 1, 1
	for len(text) > 0 {
		c, size := utf8.DecodeRune(text)
		if c == utf8.RuneError && size == 1 {
			break
		}
		if column++; c == '\n' {
			line, column = line+1, 1
		}
		text = text[size:]
	}
	return place{r.file, line, column}
}

var (
	errorLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	// The library counts lines from 0 in errors of its parser, which these are, and from 1 in those of its scanner. The
	// line is that of the fault or of the list or mapping that it is in.
	parserError = regexp.MustCompile(`^did not find expected (node content|key|'-' indicator|',' or '[\]}]'|<.*>)$`)
	anchorError = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// syntax makes a problem of what the library says. It knows the line, and in its text there is nothing of ours but the
// names of anchors.
func (r *reader) syntax(text []byte, err error) *Problem {
	lines := strings.Split(string(text), "\n")
	line, message := 1, err.Error()
	hint := "check the indentation of the line, its quotes and its brackets"
	if m := errorLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		if message = m[2]; parserError.MatchString(message) {
			line, hint = line+1, "check the indentation, the quotes and the brackets of this line and of those that belong to it"
		}
	}
	if m := anchorError.FindStringSubmatch(message); m != nil {
		before, _, _ := strings.Cut(string(text), "*"+m[1])
		column := utf8.RuneCountInString(before[strings.LastIndex(before, "\n")+1:]) + 1
		return place{r.file, strings.Count(before, "\n") + 1, column}.problem("", "aliases are not allowed", "write the value out")
	}
	line = min(max(line, 1), len(lines))
	blank := lines[line-1][:len(lines[line-1])-len(strings.TrimLeft(lines[line-1], " \t"))]
	if tab := strings.IndexByte(blank, '\t'); tab >= 0 { // YAML 1.2 §6.1
		return place{r.file, line, tab + 1}.problem("", "a tab indents the line", "use spaces")
	}
	if strings.Contains(message, "escape character") {
		hint = "write the character itself" // JSON has \/ and pairs of \u, which YAML 1.1 does not
	}
	if strings.Contains(message, "mapping values are not allowed") {
		hint = `check the indentation of the line, and put text with ": " into quotes`
	}
	return place{r.file, line, len(blank) + 1}.problem("", "not YAML: "+message, hint)
}
