package rego

import (
	"cmp"
	"path"
	"strings"

	"github.com/open-policy-agent/opa/v1/bundle"
)

// Limits bound what one load reads. A zero field has the default.
type Limits struct {
	Files      int   // files and folders seen, and members of bundles; default 10,000
	FileBytes  int64 // of one file, and of one member of a bundle; default 10 MiB
	TotalBytes int64 // of all files, bundles counted unpacked; default 100 MiB
}

func (l Limits) orDefault() Limits {
	return Limits{
		Files:      cmp.Or(l.Files, 10_000),
		FileBytes:  cmp.Or(l.FileBytes, 10<<20),
		TotalBytes: cmp.Or(l.TotalBytes, 100<<20),
	}
}

func wanted(name string) bool { return isModule(name) || isData(name) || isBundle(name) }

func isModule(name string) bool {
	return strings.HasSuffix(name, ".rego") && !isTest(name)
}

func isTest(name string) bool { return strings.HasSuffix(name, "_test.rego") }

func isData(name string) bool {
	return path.Base(name) == "data.json" || bundle.IsYAMLDataFile(name)
}

func isBundle(name string) bool { return strings.HasSuffix(name, ".tar.gz") }
