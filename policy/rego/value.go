package rego

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Limits of the attributes of one input.
const (
	maxDepth = 64      // SPEC §12: JSON depth
	maxNodes = 1 << 16 // values, nested ones included
)

// A converter turns the caller's attributes into terms. The first fault stops it; where collects the path to the
// fault on the way out, so that the usual case pays nothing for it.
type converter struct {
	nodes        int
	fault, where string
}

func (c *converter) attributes(root string, m map[string]any) *ast.Term {
	if len(m) == 0 || c.fault != "" {
		return ast.InternedEmptyObject
	}
	t := mapping(c, m, 1)
	if c.fault != "" {
		c.where = root + c.where
	}
	return t
}

func (c *converter) err() error {
	if c.fault == "" {
		return nil
	}
	return fmt.Errorf("input %s: %s", oneLine(c.where), c.fault)
}

func (c *converter) fail(format string, args ...any) *ast.Term {
	c.fault = fmt.Sprintf(format, args...)
	return ast.InternedNullTerm
}

// value converts one JSON value. Whole numbers stay exact. What JSON cannot carry is refused rather than rounded,
// so that every engine is asked about the same document.
func (c *converter) value(v any, depth int) *ast.Term {
	if c.nodes++; c.nodes > maxNodes {
		return c.fail("more than %d values", maxNodes)
	}
	if depth > maxDepth {
		return c.fail("nested deeper than %d", maxDepth)
	}
	switch v := v.(type) {
	case nil:
		return ast.InternedNullTerm
	case bool:
		return ast.InternedTerm(v)
	case string:
		return c.text(v)
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

func (c *converter) text(s string) *ast.Term {
	if !utf8.ValidString(s) {
		return c.fail("text is not valid UTF-8")
	}
	return text(s)
}

func (c *converter) number(v any) *ast.Term {
	switch v := v.(type) {
	case int:
		return number(v)
	case int8:
		return number(int(v))
	case int16:
		return number(int(v))
	case int32:
		return number(int(v))
	case int64:
		return digits(strconv.FormatInt(v, 10))
	case uint8:
		return number(int(v))
	case uint16:
		return number(int(v))
	case uint32:
		return digits(strconv.FormatUint(uint64(v), 10))
	case uint:
		return digits(strconv.FormatUint(uint64(v), 10))
	case uint64:
		return digits(strconv.FormatUint(v, 10))
	case float32:
		return c.float(float64(v), 32)
	case float64:
		return c.float(v, 64)
	case json.Number:
		return c.literal(string(v))
	}
	return c.fail("type %T is not a JSON value; convert it before the call", v)
}

func (c *converter) float(f float64, bits int) *ast.Term {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return c.fail("number is not finite")
	}
	return digits(strconv.FormatFloat(f, 'g', -1, bits))
}

// literal accepts a number as JSON writes it (RFC 8259 §6), within the range of a float64: 1e1000000000 is short
// text and a gigabyte as an integer.
func (c *converter) literal(s string) *ast.Term {
	const most = 400 // characters; the largest float64 has 309 digits before the point
	if len(s) > most || !json.Valid([]byte(s)) || s[0] != '-' && (s[0] < '0' || s[0] > '9') {
		return c.fail("not a JSON number of at most %d characters", most)
	}
	if _, err := strconv.ParseFloat(s, 64); err != nil {
		return c.fail("number is out of range")
	}
	return digits(s)
}

func digits(s string) *ast.Term { return &ast.Term{Value: ast.Number(s)} }

func sequence[T any](c *converter, vs []T, depth int) *ast.Term {
	terms := make([]*ast.Term, 0, min(len(vs), maxNodes))
	for i, v := range vs {
		terms = append(terms, c.value(v, depth+1))
		if c.fault != "" {
			c.where = "[" + strconv.Itoa(i) + "]" + c.where
			return ast.InternedNullTerm
		}
	}
	return array(terms)
}

func mapping[T any](c *converter, m map[string]T, depth int) *ast.Term {
	items := make([][2]*ast.Term, 0, min(len(m), maxNodes))
	for k, v := range m {
		name := c.text(k)
		if c.fault == "" {
			items = append(items, [2]*ast.Term{name, c.value(v, depth+1)})
		}
		if c.fault != "" {
			c.where = "." + k + c.where
			return ast.InternedNullTerm
		}
	}
	return object(items...)
}
