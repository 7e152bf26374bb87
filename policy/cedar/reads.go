package cedar

import (
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
	fAttributes
	allFields fields = 1<<iota - 1
)

var topLevel = map[string]fields{
	"subject": fSubject, "object": fObject, "environment": fEnvironment, "identity": fIdentity,
	"trust_score": fTrustScore, "lineage": fLineage, "attributes": fAttributes,
}

// reads is what the statements of one policy can read of the context. Only that is built: a policy that reads the
// trust score alone should not pay for the rest. Cedar names attributes literally, so it is known at load.
type reads struct {
	all     bool                // the context itself is used as a value
	nested  fields              // members by name
	whole   fields              // of those, the ones that are used as values
	members map[fields][]string // of those that are not, what is read in them
	dotted  []dotted            // members by dotted path
}

// dotted is one such path: context["subject.user"] is subject, user.
type dotted struct {
	key  types.String
	top  fields
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
		r.nested |= f
		r.whole |= f
		return
	}
	head, rest, ok := strings.Cut(string(key), ".")
	if f := topLevel[head]; ok && f != 0 {
		if p := (dotted{key, f, rest}); !slices.Contains(r.dotted, p) {
			r.dotted = append(r.dotted, p)
		}
		first, _, _ := strings.Cut(rest, ".") // names of ours have no dots; attributes are built whole
		r.note(f, first)
	}
}

func (r *reads) member(top, name types.String) {
	if f, ok := topLevel[string(top)]; ok {
		r.nested |= f
		r.note(f, string(name))
	}
}

func (r *reads) note(f fields, name string) {
	if r.members == nil {
		r.members = map[fields][]string{}
	}
	if !slices.Contains(r.members[f], name) {
		r.members[f] = append(r.members[f], name)
	}
}

// needs are the members that dotted paths go through.
func (r *reads) needs() (f fields) {
	for _, p := range r.dotted {
		f |= p.top
	}
	return f
}
