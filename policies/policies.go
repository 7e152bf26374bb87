// Package policies is a library of policies, each in Rego and in Cedar with the same name and the same decisions:
//
//	kest/trust_threshold       kest/bell_lapadula      kest/clark_wilson      kest/payments
//	kest/taint_block           kest/biba               kest/non_interference  kest/agent_tools
//	kest/require_ancestor      kest/brewer_nash        kest/separation_of_duties
//
// Each file begins with what it enforces, the data that it needs, and what it cannot do. All of them fit the enterprise
// and platform tiers: they are about certain calls, and say what becomes of the others.
//
// Levels, lists and certificates come from the deployment, in one document that serves both languages: in Rego it is
// data.kest.deployment, and [Entities] turns it into entities for Cedar. A policy without its data denies. Nothing that
// a caller claims (attributes of the call or of its object, labels, trust overrides) permits anything.
//
//	engine, err := rego.FS(policies.Overlay(policies.Rego(), os.DirFS("deployment"))) // kest/deployment/data.json
//	...
//	guard, err := kest.New(kest.Config{Engine: engine, Enterprise: []string{"kest/trust_threshold", "kest/payments"}})
//
// For Cedar, kest policy entities data.json prints entities.json. For a configuration file, which names one folder, copy the policies beside the data: [os.CopyFS] takes what [Rego]
// and [Cedar] return.
package policies

import (
	"embed"
	"io/fs"
)

//go:embed rego/kest/*.rego cedar/kest/*.cedar
var files embed.FS

// Rego returns the policies in Rego: kest/*.rego, with the functions of package kest.lineage, for policies of one's own
// too, and with their tests.
func Rego() fs.FS { return sub("rego") }

// Cedar returns the policies in Cedar: kest/*.cedar.
func Cedar() fs.FS { return sub("cedar") }

func sub(dir string) fs.FS {
	f, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // dir is a valid path
	}
	return f
}
