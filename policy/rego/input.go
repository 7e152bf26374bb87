package rego

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/kest-go/kest/policy"
)

// Limits of the attributes of one input.
const (
	maxDepth = 64      // SPEC §12: JSON depth
	maxNodes = 1 << 16 // values, nested ones included
)

// fields is a set of top-level members of the input.
type fields uint8

const (
	fSubject fields = 1 << iota
	fObject
	fEnvironment
	fIdentity
	fTrustScore
	fLineage
	fAttributes
	allFields fields = 1<<iota - 1
)

// Keys are terms made once: OPA does not change the terms of an object, and says so of its own interned ones.
var (
	kSubject, kObject, kEnvironment = key("subject"), key("object"), key("environment")
	kIdentity, kTrustScore          = key("identity"), key("trust_score")
	kLineage, kAttributes           = key("lineage"), key("attributes")

	kWorkload, kUser, kAgent, kTask = key("workload"), key("user"), key("agent"), key("task")
	kTaints, kID                    = key("taints"), key("id")

	kIsRoot, kSourceType         = key("is_root"), key("source_type")
	kParentHash, kParentHashes   = key("parent_hash"), key("parent_hashes")
	kPolicyNames, kPolicyTier    = key("policy_names"), key("policy_tier")
	kDeviations, kOperation      = key("active_deviations"), key("operation")
	kClassification              = key("classification")
	kEntryID, kTraceID           = key("entry_id"), key("trace_id")
	kLength, kPrincipals         = key("length"), key("principals")
	kMinTrust, kSourceTypes      = key("min_trust"), key("source_types")
	kPolicy, kTier               = key("policy"), key("tier")
	kReason, kApprover, noParent = key("reason"), key("approver"), key("0")
)

var topLevel = map[string]fields{
	"subject": fSubject, "object": fObject, "environment": fEnvironment, "identity": fIdentity,
	"trust_score": fTrustScore, "lineage": fLineage, "attributes": fAttributes,
}

func key(s string) *ast.Term { return ast.StringTerm(s) }

// inputTerm builds the document of [policy.Input.Document] as OPA's own value, without the map between, and with
// only the top-level members that the policies read.
func inputTerm(in *policy.Input, want fields) (*ast.Term, error) {
	c := &converter{}
	var items [7][2]*ast.Term
	top := items[:0]
	put := func(f fields, k *ast.Term, build func(*policy.Input) *ast.Term) {
		if want&f != 0 {
			top = append(top, [2]*ast.Term{k, build(in)})
		}
	}
	put(fSubject, kSubject, subject)
	put(fObject, kObject, c.object)
	put(fEnvironment, kEnvironment, environmentOf)
	put(fIdentity, kIdentity, identity)
	put(fTrustScore, kTrustScore, func(in *policy.Input) *ast.Term { return number(in.TrustScore) })
	put(fLineage, kLineage, ancestors)
	put(fAttributes, kAttributes, func(in *policy.Input) *ast.Term { return c.attributes("attributes", in.Attributes) })
	if err := c.err(); err != nil {
		return nil, err
	}
	return object(top...), nil
}

func subject(in *policy.Input) *ast.Term {
	s := &in.Subject
	return object(
		[2]*ast.Term{kWorkload, text(s.Workload)},
		[2]*ast.Term{kUser, orNull(s.User)},
		[2]*ast.Term{kAgent, orNull(s.Agent)},
		[2]*ast.Term{kTask, orNull(s.Task)},
		[2]*ast.Term{kTrustScore, number(s.TrustScore)},
		[2]*ast.Term{kTaints, list(s.Taints)},
	)
}

func identity(in *policy.Input) *ast.Term {
	s := &in.Subject
	return object(
		[2]*ast.Term{kWorkload, text(s.Workload)},
		[2]*ast.Term{kUser, orNull(s.User)},
		[2]*ast.Term{kAgent, orNull(s.Agent)},
		[2]*ast.Term{kTask, orNull(s.Task)},
	)
}

func environmentOf(in *policy.Input) *ast.Term {
	env := &in.Environment
	parent := noParent
	if len(env.ParentHashes) > 0 {
		parent = text(env.ParentHashes[0])
	}
	deviations := make([]*ast.Term, len(env.ActiveDeviations))
	for i := range env.ActiveDeviations {
		deviations[i] = deviation(&env.ActiveDeviations[i])
	}
	return object(
		[2]*ast.Term{kIsRoot, ast.InternedTerm(env.IsRoot)},
		[2]*ast.Term{kSourceType, text(env.SourceType)},
		[2]*ast.Term{kParentHash, parent},
		[2]*ast.Term{kParentHashes, list(env.ParentHashes)},
		[2]*ast.Term{kPolicyNames, list(env.PolicyNames)},
		[2]*ast.Term{kPolicyTier, text(string(env.PolicyTier))},
		[2]*ast.Term{kDeviations, array(deviations)},
		[2]*ast.Term{kOperation, text(env.Operation)},
		[2]*ast.Term{kClassification, text(env.Classification)},
		[2]*ast.Term{kEntryID, text(env.EntryID)},
		[2]*ast.Term{kTraceID, text(env.TraceID)},
	)
}

func deviation(d *policy.Deviation) *ast.Term {
	return object(
		[2]*ast.Term{kPolicy, text(d.Policy)},
		[2]*ast.Term{kTier, text(string(d.Tier))},
		[2]*ast.Term{kReason, orNull(d.Reason)},
		[2]*ast.Term{kApprover, orNull(d.Approver)},
	)
}

func ancestors(in *policy.Input) *ast.Term {
	l := &in.Lineage
	return object(
		[2]*ast.Term{kLength, number(l.Length)},
		[2]*ast.Term{kPrincipals, list(l.Principals)},
		[2]*ast.Term{kMinTrust, number(l.MinTrust)},
		[2]*ast.Term{kSourceTypes, list(l.SourceTypes)},
	)
}

func text(s string) *ast.Term { return &ast.Term{Value: ast.String(s)} }

func number(n int) *ast.Term { return ast.InternedTerm(n) }

func orNull(s string) *ast.Term {
	if s == "" {
		return ast.InternedNullTerm
	}
	return text(s)
}

func list(ss []string) *ast.Term {
	terms := make([]*ast.Term, len(ss))
	for i, s := range ss {
		terms[i] = text(s)
	}
	return array(terms)
}

func array(terms []*ast.Term) *ast.Term {
	if len(terms) == 0 {
		return ast.InternedEmptyArray
	}
	return &ast.Term{Value: ast.NewArray(terms...)}
}

func object(items ...[2]*ast.Term) *ast.Term {
	if len(items) == 0 {
		return ast.InternedEmptyObject
	}
	return &ast.Term{Value: ast.NewObject(items...)}
}

// A converter turns the caller's attributes into terms. The first fault stops it; where collects the path to the
// fault on the way out, so that the usual case pays nothing for it.
type converter struct {
	nodes        int
	fault, where string
}

func (c *converter) object(in *policy.Input) *ast.Term {
	return object(
		[2]*ast.Term{kID, orNull(in.Object.ID)},
		[2]*ast.Term{kAttributes, c.attributes("object.attributes", in.Object.Attributes)},
	)
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
