package cedar

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go/types"
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

func (c *converter) number(v any) types.Value {
	switch v := v.(type) {
	case int:
		return types.Long(v)
	case int8:
		return types.Long(v)
	case int16:
		return types.Long(v)
	case int32:
		return types.Long(v)
	case int64:
		return types.Long(v)
	case uint8:
		return types.Long(v)
	case uint16:
		return types.Long(v)
	case uint32:
		return types.Long(v)
	case uint:
		return c.unsigned(uint64(v))
	case uint64:
		return c.unsigned(v)
	case float32:
		return c.float(float64(v), 32)
	case float64:
		return c.float(v, 64)
	case json.Number:
		return c.literal(string(v))
	}
	return c.fail("a type that is not a JSON value; convert it before the call")
}

func (c *converter) unsigned(n uint64) types.Value {
	if n > math.MaxInt64 {
		return c.fail("number is out of the range of a Long")
	}
	return types.Long(n)
}

func (c *converter) float(f float64, bits int) types.Value {
	if n := int64(f); f > -1<<53 && f < 1<<53 && float64(n) == f {
		return types.Long(n)
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return c.fail("number is not finite")
	}
	return c.literal(strconv.FormatFloat(f, 'g', -1, bits)) // the shortest text that means f
}

// literal converts a number as JSON writes it (RFC 8259 §6): a Long where it is whole, a decimal where four digits
// after the point are enough, and nothing else, since a rounded number is another one.
func (c *converter) literal(s string) types.Value {
	const most = 400 // characters; the largest float64 has 309 digits before the point
	if len(s) > most || !json.Valid([]byte(s)) || s[0] != '-' && (s[0] < '0' || s[0] > '9') {
		return c.fail("not a JSON number of at most " + strconv.Itoa(most) + " characters")
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return types.Long(n)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return c.fail("number is out of range")
	}
	mantissa, _, _ := strings.Cut(strings.ToLower(s), "e")
	if zero := !strings.ContainsAny(mantissa, "123456789"); zero {
		return types.Long(0)
	}
	// 1e-1000000000 is short text, and a gigabyte as a fraction.
	if math.Abs(f) < 1e-5 {
		return c.fail(digits)
	}
	return c.exact(s)
}

const digits = "number has more than the four digits after the point that a decimal has; scale it, or write it as a string"

// exact works on a number that is neither too large nor too small to be written out.
func (c *converter) exact(s string) types.Value {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return c.fail("not a number")
	}
	if r.IsInt() {
		if !r.Num().IsInt64() {
			return c.fail("number is out of the range of a Long")
		}
		return types.Long(r.Num().Int64())
	}
	if r.Mul(r, big.NewRat(10_000, 1)); !r.IsInt() {
		return c.fail(digits)
	}
	if !r.Num().IsInt64() {
		return c.fail("number is out of the range of a decimal")
	}
	d, err := types.NewDecimal(r.Num().Int64(), -4)
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
