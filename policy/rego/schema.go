package rego

import (
	"encoding/json"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/kest-go/kest/policy"
)

// inputSchema is [policy.InputSchema] as OPA's type checker takes it.
func inputSchema() (*ast.SchemaSet, error) {
	var schema map[string]any
	if err := json.Unmarshal([]byte(policy.InputSchema()), &schema); err != nil {
		return nil, fmt.Errorf("input schema: %w", err)
	}
	delete(schema, "$schema") // OPA does not know the draft
	spreadTypes(schema)
	set := ast.NewSchemaSet()
	set.Put(ast.SchemaRootRef, schema)
	return set, nil
}

// spreadTypes writes a list of types as anyOf. Of a list, OPA takes one type only, and would refuse what compares
// input.subject.user with null.
func spreadTypes(schema map[string]any) {
	if types, ok := schema["type"].([]any); ok {
		anyOf := make([]any, len(types))
		for i, t := range types {
			anyOf[i] = map[string]any{"type": t}
		}
		delete(schema, "type")
		schema["anyOf"] = anyOf
	}
	if items, ok := schema["items"].(map[string]any); ok {
		spreadTypes(items)
	}
	properties, _ := schema["properties"].(map[string]any)
	for _, p := range properties {
		if p, ok := p.(map[string]any); ok {
			spreadTypes(p)
		}
	}
}
