package config

import _ "embed" // for the schema

//go:embed schema.json
var schema string

// Schema returns the JSON Schema (draft 2020-12) of a configuration file, for editors. It knows the kinds that this
// package knows. A file that it accepts may still be refused: only [Parse] knows the rules about several values.
func Schema() string { return schema }
