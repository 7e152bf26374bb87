// Package rego decides with Rego policies inside the process, on OPA's Go library (SPEC §7 "Rego in process").
//
//	engine, err := rego.Dir("policies") // policies/kest/allow_trusted.rego
//
// # Policies
//
// The policy kest/allow_trusted is the rule allow of package kest.allow_trusted, in whatever file it is written:
//
//	package kest.allow_trusted
//
//	default allow := false
//
//	allow if input.trust_score >= 40
//
// The rule's value is a boolean, or the object {"allow": boolean} and nothing else. Only true allows. A rule that
// has no value or another one, a policy that fails, and an input that is no JSON are errors that match
// [policy.ErrIndefinite]; a name without a package and an allow rule matches [policy.ErrUnknownPolicy]; everything else
// that goes wrong, deadlines included, matches [policy.ErrUnavailable]. Every error denies.
//
// input is the document of [policy.Input.Document]. What no rule that the policy leads to can read of it is not made. The
// history of the call is read when one can read a member of lineage that comes from it, or takes lineage or the input
// as a value, and what is made of it serves all policies of the call. With [Config.CheckInput], what policies read is
// checked against [policy.InputSchema] when they are loaded.
//
// # Files
//
// A tree holds any number of these, in any folder:
//
//   - *.rego: a module. Rego v1 is tried first, then v0 (rules without "if"), which works and is reported
//     as deprecated with file and line. *_test.rego is left out.
//   - data.json, data.yaml, data.yml: data, mounted at the path of its folder.
//   - *.tar.gz: an OPA bundle. A signed bundle is refused, because no keys can be given here.
//
// Names that begin with a dot are skipped (.git, and the hidden folders behind a mounted ConfigMap). A symbolic link
// to a file is followed if it stays in the tree; a link to a folder is an error, since a silently missing folder
// could miss the rule that denies.
//
// # What a policy cannot do
//
// Built-ins that reach the network, files or the process, that make a decision impossible to repeat, or whose time
// or memory has no bound and which cannot be interrupted, are refused when the policy is loaded, with file and line:
// [Refused] lists them and why. An evaluation ends at its deadline; OPA looks at it between expressions and inside
// its long built-ins. Memory is bounded by time only: a policy that doubles a string in every rule
// can use a lot of it within its second, so policies remain the operator's code, as input remains the caller's.
package rego
