package avp

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions/types"

	"github.com/kest-go/kest/policy"
)

// Limits of the attributes of one input. They are those of policy/cedar, so that both are asked the same.
const (
	maxDepth = 64      // SPEC §12: JSON depth; it also ends a map that holds itself
	maxNodes = 1 << 12 // values, nested ones included
	maxText  = 1 << 20 // bytes of names, texts and dotted paths, which repeat the names above them
)

type record = map[string]types.AttributeValue

// A converter turns the input into values of Verified Permissions. The first fault stops it; where collects the path
// to the fault on the way out, so that the usual case pays nothing for it.
type converter struct {
	nodes, bytes int
	fault, where string
}

func (c *converter) err() error {
	return indefinite("input %s: %s", oneLine(c.where), c.fault)
}

func (c *converter) fail(fault string) types.AttributeValue {
	if c.fault == "" {
		c.fault = fault
	}
	return nil
}

// context returns the document of the input without its nulls, which Cedar does not have, and in the same record
// every value of it that is no record by its dotted path (SPEC §7).
func (c *converter) context(in *policy.Input) record {
	doc := in.Document()
	object, _ := doc["object"].(map[string]any) // fresh, so it can be changed
	delete(object, "attributes")
	delete(doc, "attributes")
	top := c.mapping(doc, 0)
	c.nodes = 0 // only attributes are bounded in number: the guard bounds the rest
	top["attributes"] = c.attributes("attributes", in.Attributes)
	if r, ok := top["object"].(*types.AttributeValueMemberRecord); ok {
		r.Value["attributes"] = c.attributes("object.attributes", in.Object.Attributes)
	}
	for _, name := range names(top) {
		if r, ok := top[name].(*types.AttributeValueMemberRecord); ok && c.fault == "" {
			c.flatten(name, r.Value, top)
		}
	}
	return top
}

// names are those of the nested members; ranging over a map that grows would meet some of the paths.
func names(top record) []string {
	all := make([]string, 0, len(top))
	for name := range top {
		all = append(all, name)
	}
	return all
}

func (c *converter) attributes(root string, m map[string]any) types.AttributeValue {
	if c.fault != "" {
		return nil
	}
	r := c.mapping(m, 1)
	if c.fault != "" {
		c.where = root + c.where
	}
	return &types.AttributeValueMemberRecord{Value: r}
}

// flatten adds the leaves below r by their paths. Two values of one path are a fault: whoever chose one of them could
// have hidden the other.
func (c *converter) flatten(prefix string, r, top record) {
	for name, v := range r {
		if c.spend(len(prefix) + 1 + len(name)); c.fault != "" {
			return
		}
		at := prefix + "." + name
		if inner, ok := v.(*types.AttributeValueMemberRecord); ok {
			c.flatten(at, inner.Value, top)
			continue
		}
		if _, taken := top[at]; taken {
			c.where = "attributes"
			c.fail("two of them have the same dotted path; leave the dots out of their names")
			return
		}
		top[at] = v
	}
}

func (c *converter) spend(bytes int) {
	if c.bytes += bytes; c.bytes > maxText {
		c.fail("more than " + strconv.Itoa(maxText) + " bytes of text and dotted paths")
	}
}

// value converts one JSON value; null is nil. What Cedar cannot hold is refused rather than rounded.
func (c *converter) value(v any, depth int) types.AttributeValue {
	if c.nodes++; c.nodes > maxNodes && depth > 0 {
		return c.fail("more than " + strconv.Itoa(maxNodes) + " values")
	}
	if depth > maxDepth {
		return c.fail("nested deeper than " + strconv.Itoa(maxDepth))
	}
	switch v := v.(type) {
	case nil:
		return nil
	case bool:
		return &types.AttributeValueMemberBoolean{Value: v}
	case string:
		c.text(v)
		return &types.AttributeValueMemberString{Value: v}
	case []any:
		return sequence(c, v, depth)
	case []string:
		return sequence(c, v, depth)
	case map[string]any:
		return &types.AttributeValueMemberRecord{Value: c.mapping(v, depth)}
	case map[string]string:
		return &types.AttributeValueMemberRecord{Value: mapping(c, v, depth)}
	}
	return c.number(v)
}

// text refuses what is not UTF-8: the SDK would send U+FFFD, in whose place two workloads could become one.
func (c *converter) text(s string) {
	if c.spend(len(s)); !utf8.ValidString(s) {
		c.fail("text is not valid UTF-8")
	}
}

// sequence makes a set, so order, duplicates and nulls are lost.
func sequence[T any](c *converter, vs []T, depth int) types.AttributeValue {
	set := make([]types.AttributeValue, 0, min(len(vs), maxNodes))
	for i, v := range vs {
		if value := c.value(v, below(depth)); value != nil {
			set = append(set, value)
		}
		if c.fault != "" {
			c.where = "[" + strconv.Itoa(i) + "]" + c.where
			return nil
		}
	}
	return &types.AttributeValueMemberSet{Value: set}
}

func (c *converter) mapping(m map[string]any, depth int) record { return mapping(c, m, depth) }

func mapping[T any](c *converter, m map[string]T, depth int) record {
	r := make(record, min(len(m), maxNodes))
	for name, v := range m {
		if c.name(name); c.fault == "" {
			if value := c.value(v, below(depth)); value != nil {
				r[name] = value
			}
		}
		if c.fault != "" {
			c.where = "." + name + c.where
			return r
		}
	}
	return r
}

// below counts levels from the attributes down: what is above them is 0, and the same for every input.
func below(depth int) int {
	if depth == 0 {
		return 0
	}
	return depth + 1
}

// name refuses names that are none in Cedar's JSON: every engine shall be asked about the same input, and to those
// that are sent JSON such a member is an entity or an extension value of the caller's choice.
func (c *converter) name(s string) {
	c.text(s)
	if strings.HasPrefix(s, "__") && (s == "__entity" || s == "__extn" || s == "__expr") {
		c.fail("a name that Cedar keeps for itself; rename it")
	}
}

// oneLine makes a path short and printable: its names are the caller's.
func oneLine(s string) string {
	const most = 200
	s = strings.TrimPrefix(strconv.QuoteToGraphic(s), `"`)
	s = strings.TrimPrefix(strings.TrimSuffix(s, `"`), ".")
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
