// Package policy holds the policy engines together: the same decisions, asked for through the real guard, of Rego in the
// process, an OPA server, Cedar in the process, the Rust engine of Cedar behind REST, and Verified Permissions over its
// wire. The servers are found as policy/opa and e2e/cedar find them: KEST_OPA, or opa on the PATH, is OPA's program, and
// KEST_CEDAR_AGENT a directory with the npm package of the Cedar engine.
package policy
