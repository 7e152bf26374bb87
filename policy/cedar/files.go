package cedar

import (
	"cmp"
	"strings"
)

// Limits bound what one load reads. A zero field has the default.
type Limits struct {
	Files      int   // files and folders seen; default 10,000
	FileBytes  int64 // of one file; default 1 MiB
	TotalBytes int64 // of all files; default 100 MiB
}

func (l Limits) orDefault() Limits {
	return Limits{
		Files:      cmp.Or(l.Files, 10_000),
		FileBytes:  cmp.Or(l.FileBytes, 1<<20),
		TotalBytes: cmp.Or(l.TotalBytes, 100<<20),
	}
}

func (e *Engine) wanted(name string) bool {
	return isPolicy(name) || isSchema(name) || name == e.schema.name || name == e.entities.name
}

func isPolicy(name string) bool { return strings.HasSuffix(name, ".cedar") }

func isSchema(name string) bool { return strings.HasSuffix(name, ".cedarschema") }
