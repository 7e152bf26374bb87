package cedar

import (
	"math/bits"
	"slices"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
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
	fLabels
	fAttributes
	allFields fields = 1<<iota - 1
)

var topLevel = map[string]fields{
	"subject": fSubject, "object": fObject, "environment": fEnvironment, "identity": fIdentity,
	"trust_score": fTrustScore, "lineage": fLineage, "labels": fLabels, "attributes": fAttributes,
}

// reads is what the statements of one policy can read of the context. Only that is built: a policy that reads the
// trust score alone should not pay for the rest. Cedar names attributes literally, so it is known at load.
type reads struct {
	all     bool        // the context itself is used as a value
	some    fields      // members that something is read of
	whole   fields      // of those, the ones that are used as values
	members [8][]string // of the others, what is read in them
	leaves  [8][]leaf   // what is read in them by dotted path
	below   []below     // the same of open records, which are built first
}

// index is the place of one member in the lists of [reads].
func (f fields) index() int { return bits.TrailingZeros8(uint8(f)) & 7 }

// leaf is a dotted path to a member of ours: context["subject.user"].
type leaf struct {
	name string
	key  types.String
}

// below is one into an open record, whose names may have dots: context["attributes.a.b"] is attributes, a.b.
type below struct {
	key  types.String
	rest string
}

// add notes the attributes of the context that a statement mentions.
func (r *reads) add(p *cedar.Policy) {
	for _, c := range (*ast.Policy)(p.AST()).Conditions {
		ast.Inspect(ast.NewNode(c.Body), r.visit)
	}
}

// visit notes context.x, context.x.y and tests for them; any other use of the context may read all of it.
func (r *reads) visit(n ast.IsNode) (inside bool) {
	if arg, name, ok := attributeOf(n); ok {
		if isContext(arg) {
			r.attribute(name)
			return false
		}
		if above, top, ok := attributeOf(arg); ok && isContext(above) {
			r.member(top, name)
			return false
		}
	}
	r.all = r.all || isContext(n)
	return true
}

// attributeOf takes x.name and x has name apart.
func attributeOf(n ast.IsNode) (arg ast.IsNode, name types.String, ok bool) {
	switch n := n.(type) {
	case ast.NodeTypeAccess:
		return n.Arg, n.Value, true
	case ast.NodeTypeHas:
		return n.Arg, n.Value, true
	}
	return nil, "", false
}

func isContext(n ast.IsNode) bool {
	v, ok := n.(ast.NodeTypeVariable)
	return ok && v.Name == "context"
}

func (r *reads) attribute(key types.String) {
	if f, ok := topLevel[string(key)]; ok {
		r.some |= f
		r.whole |= f
		return
	}
	head, rest, ok := strings.Cut(string(key), ".")
	f := topLevel[head]
	if !ok || f == 0 {
		return
	}
	r.some |= f
	switch {
	case open(key):
		note(&r.below, below{key, rest})
		first, _, _ := strings.Cut(rest, ".") // the attributes of object; names of ours have no dots
		note(&r.members[f.index()], first)
	default:
		note(&r.leaves[f.index()], leaf{rest, key})
	}
}

func (r *reads) member(top, name types.String) {
	if f, ok := topLevel[string(top)]; ok {
		r.some |= f
		note(&r.members[f.index()], string(name))
	}
}

// note adds to a list, once.
func note[T comparable](list *[]T, item T) {
	if !slices.Contains(*list, item) {
		*list = append(*list, item)
	}
}
