package rego

import (
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// unfolded bounds what aliases make of a YAML file before OPA writes them out: with them, a file of five megabytes can
// stand for terabytes. What is wrong with the file otherwise is left to OPA.
func (l *loader) unfolded(data []byte) error {
	if json.Valid(data) {
		return nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil //nolint:nilerr // OPA says so, with the line
	}
	// Without aliases, texts and one byte for each value are never more than twice the file.
	u := unfolding{most: 2 * l.left.FileBytes, known: map[*yaml.Node]int64{}}
	if u.size(&doc) > u.most {
		return fmt.Errorf("its aliases stand for more than the %d bytes that Limits.FileBytes allows; write less, or in fewer aliases",
			l.left.FileBytes)
	}
	return nil
}

type unfolding struct {
	most  int64
	known map[*yaml.Node]int64 // of those that have an anchor
}

// size counts the bytes that n stands for, up to most and a little more. It visits every node once.
func (u *unfolding) size(n *yaml.Node) int64 {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if size, known := u.known[n]; known {
		return size
	}
	if n.Anchor != "" {
		u.known[n] = 0 // while it is counted: one that holds itself is refused as such
	}
	size := int64(len(n.Value)) + 1
	for _, child := range n.Content {
		size = min(size+u.size(child), u.most+1)
	}
	if n.Anchor != "" {
		u.known[n] = size
	}
	return size
}
