package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// jsonNumber is how JSON writes one; YAML has more forms, which tables do without.
var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

// toJSON writes YAML as JSON. What JSON has no form for is refused, and so are aliases, which can make a document of
// a kilobyte into one of gigabytes. Errors begin with the line.
func toJSON(b *bytes.Buffer, n *yaml.Node, level int) error {
	fault := func(text string) error { return fmt.Errorf("%d: input: %s", n.Line, text) }
	switch {
	case level > maxLevels:
		return fault(fmt.Sprintf("nested deeper than %d", maxLevels))
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return fault("anchors and aliases are not read; write the value out")
	case n.Style&yaml.TaggedStyle != 0: // "!!bool x" is neither true nor false
		return fault("tags are not read; quote what is a text")
	case n.Kind == yaml.MappingNode, n.Kind == yaml.SequenceNode:
		return toJSONList(b, n, level)
	case n.Tag == "!!null":
		b.WriteString("null")
	case n.Tag == "!!bool":
		b.WriteString(strings.ToLower(n.Value))
	case (n.Tag == "!!int" || n.Tag == "!!float") && jsonNumber.MatchString(n.Value):
		b.WriteString(n.Value)
	case n.Tag == "!!str":
		text, err := json.Marshal(n.Value)
		if err != nil {
			return fault(err.Error())
		}
		b.Write(text)
	default:
		return fault(fmt.Sprintf("%.40q is a value that JSON has no form for; quote it to make it a text", n.Value))
	}
	return nil
}

func toJSONList(b *bytes.Buffer, n *yaml.Node, level int) error {
	begin, end := "[", "]"
	if n.Kind == yaml.MappingNode {
		begin, end = "{", "}"
	}
	b.WriteString(begin)
	for i, item := range n.Content {
		isKey := n.Kind == yaml.MappingNode && i%2 == 0
		switch {
		case isKey && (item.Kind != yaml.ScalarNode || item.Tag != "!!str"):
			return fmt.Errorf("%d: input: a name must be a text; quote it", item.Line)
		case n.Kind == yaml.MappingNode && !isKey:
			b.WriteString(":")
		case i > 0:
			b.WriteString(",")
		}
		if err := toJSON(b, item, level+1); err != nil {
			return err
		}
	}
	b.WriteString(end)
	return nil
}
