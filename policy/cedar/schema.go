package cedar

import (
	_ "embed" // for the schema
	"fmt"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/internal/tree"
)

//go:embed schema/kest.cedarschema
var inputSchema string

// InputSchema returns a Cedar schema of the context, in Cedar's own form: the common type Input and those that it is
// made of, and the entity types Workload and Resource. Its three open records, Attributes, ObjectAttributes and Labels,
// are empty. To use it, copy it to schema.cedarschema at the top of the tree, declare in these what your calls put
// there, and add an action for each policy; its first lines show how.
func InputSchema() string { return inputSchema }

// builtIn is [InputSchema] with an action for each policy of the tree.
func (l *loader) builtIn() *tree.File {
	var b strings.Builder
	b.WriteString(inputSchema)
	for _, f := range l.tree.Files {
		name, ok := strings.CutSuffix(f.Path, ".cedar")
		if ok && policy.ValidateName(name) == nil { // so there is nothing in it to quote
			fmt.Fprintf(&b, "action \"%s\" appliesTo { principal: Workload, resource: Resource, context: Input };\n", name)
		}
	}
	return &tree.File{Path: "input.cedarschema", Data: []byte(b.String())}
}

// misspelt finds a test for a member that the context never has. The validator takes it for one that is false: a forbid
// under it would never forbid. Open records may have any.
func misspelt(p *cedar.Policy, context resolved.RecordType) (fault string) {
	visit := func(n ast.IsNode) bool {
		if has, ok := n.(ast.NodeTypeHas); ok {
			record := context
			if _, top, ok := attributeOf(has.Arg); ok {
				record, _ = context[top].Type.(resolved.RecordType)
			}
			if _, ok := record[has.Value]; !ok && len(record) > 0 && underContext(has.Arg) && !open(has.Value) {
				fault = fmt.Sprintf("the context never has %q", oneLine(string(has.Value)))
			}
		}
		return true
	}
	for _, c := range (*ast.Policy)(p.AST()).Conditions {
		ast.Inspect(ast.NewNode(c.Body), visit)
	}
	return fault
}

// underContext reports whether n is the context or a member of it.
func underContext(n ast.IsNode) bool {
	above, _, ok := attributeOf(n)
	return isContext(n) || ok && isContext(above)
}

// open reports whether a dotted path leads below an open record, in which there may be anything.
func open(key types.String) bool {
	return strings.HasPrefix(string(key), "attributes.") || strings.HasPrefix(string(key), "labels.") ||
		strings.HasPrefix(string(key), "object.attributes.")
}
