package cedar

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/kest-go/kest/internal/cedarnumber"
)

// Limits of the attributes of one input.
const (
	maxDepth = 64 // SPEC §12: JSON depth; it also ends a map that holds itself

	// maxNodes bounds the values, nested ones included. It is lower than other engines need it: cedar-go keeps sets
	// by a hash without a key, so that attributes can be chosen that take the square of their number.
	maxNodes = 1 << 12

	maxText = 1 << 20 // bytes of names, texts and dotted paths, which repeat the names above them
)

// A converter turns the input into Cedar values. The first fault stops it; where collects the path to the fault on
// the way out, so that the usual case pays nothing for it.
type converter struct {
	space        *space
	nodes, bytes int
	fault, where string
}

func (c *converter) err() error {
	if c.fault == "" {
		return nil
	}
	return errors.New("input " + oneLine(c.where) + ": " + c.fault)
}

func (c *converter) fail(fault string) types.Value {
	if c.fault == "" {
		c.fault = fault
	}
	return types.False
}

func (c *converter) spend(bytes int) {
	if c.bytes += bytes; c.bytes > maxText {
		c.fail("more than " + strconv.Itoa(maxText) + " bytes of text and dotted paths")
	}
}

// text refuses what is not UTF-8: another engine would be asked about U+FFFD, in whose place two workloads could
// become one.
func (c *converter) text(name, s string) types.String {
	if !utf8.ValidString(s) && c.fault == "" {
		c.where, c.fault = name, "text is not valid UTF-8"
	}
	return types.String(s)
}

func (c *converter) attributes(root string, m map[string]any) types.Record {
	if len(m) == 0 || c.fault != "" {
		return types.Record{}
	}
	r := mapping(c, m, 1)
	if c.fault != "" {
		c.where = root + c.where
	}
	return r
}

// labels are bounded where they were signed (SPEC §12), so they do not count against the attributes.
func (c *converter) labels(root string, m map[string]string) types.Record {
	members := make(types.RecordMap, len(m))
	for name, value := range m {
		if reserved(name) && c.fault == "" {
			c.where, c.fault = root+"."+name, reservedName
		}
		members[c.text(root, name)] = c.text(root, value)
	}
	return types.NewRecord(members)
}

// crowded refuses a list that would make too large a set: workloads before this one choose most of what is in it.
func (c *converter) crowded(name string, n int) bool {
	if n > maxNodes && c.fault == "" {
		c.where, c.fault = name, "more than "+strconv.Itoa(maxNodes)+" values"
	}
	return n > maxNodes
}

// value converts one JSON value; null is nil. What Cedar cannot hold is refused rather than rounded.
func (c *converter) value(v any, depth int) types.Value {
	if c.nodes++; c.nodes > maxNodes {
		return c.fail("more than " + strconv.Itoa(maxNodes) + " values")
	}
	if depth > maxDepth {
		return c.fail("nested deeper than " + strconv.Itoa(maxDepth))
	}
	switch v := v.(type) {
	case nil:
		return nil
	case bool:
		return types.Boolean(v)
	case string:
		return c.string(v)
	case []any:
		return sequence(c, v, depth)
	case []string:
		return sequence(c, v, depth)
	case map[string]any:
		return mapping(c, v, depth)
	case map[string]string:
		return mapping(c, v, depth)
	}
	return c.number(v)
}

func (c *converter) string(s string) types.Value {
	if c.spend(len(s)); !utf8.ValidString(s) {
		return c.fail("text is not valid UTF-8")
	}
	return types.String(s)
}

// number converts what Cedar can hold exactly.
func (c *converter) number(v any) types.Value {
	n, err := cedarnumber.Of(v)
	if err != nil {
		return c.fail(err.Error())
	}
	if !n.Decimal {
		return types.Long(n.Units)
	}
	d, err := types.NewDecimal(n.Units, -4)
	if err != nil {
		return c.fail("number is out of the range of a decimal")
	}
	return d
}

// sequence makes a set, so order, duplicates and nulls are lost.
func sequence[T any](c *converter, vs []T, depth int) types.Value {
	values := make([]types.Value, 0, min(len(vs), maxNodes))
	for i, v := range vs {
		if value := c.value(v, depth+1); value != nil {
			values = append(values, value)
		}
		if c.fault != "" {
			c.where = "[" + strconv.Itoa(i) + "]" + c.where
			return types.False
		}
	}
	return types.NewSet(values...)
}

func mapping[T any](c *converter, m map[string]T, depth int) types.Record {
	members := make(types.RecordMap, min(len(m), maxNodes))
	for name, v := range m {
		c.name(name)
		if c.fault == "" {
			if value := c.value(v, depth+1); value != nil {
				members[types.String(name)] = value
			}
		}
		if c.fault != "" {
			c.where = "." + name + c.where
			return types.Record{}
		}
	}
	return types.NewRecord(members)
}

// name refuses names that are none in Cedar's JSON: every engine shall be asked about the same input, and to those
// that are sent JSON such a member is an entity or an extension value of the caller's choice.
func (c *converter) name(s string) {
	c.string(s)
	if reserved(s) {
		c.fail(reservedName)
	}
}

const reservedName = "a name that Cedar keeps for itself; rename it"

func reserved(s string) bool {
	return strings.HasPrefix(s, "__") && (s == "__entity" || s == "__extn" || s == "__expr")
}
