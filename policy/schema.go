package policy

import _ "embed" // for the schema

//go:embed input.schema.json
var inputSchema string

// InputSchema returns the JSON Schema (draft 2020-12) of the document that engines see, [Input.Document]. It is
// closed: nothing but the two attributes members may hold what it does not list.
func InputSchema() string { return inputSchema }
