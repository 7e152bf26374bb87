// Package cedar tests policy/cedaragent against the real Cedar engine: a Node server in agent/ puts the Rust engine
// behind Cedar Agent's REST form. It is found by KEST_CEDAR_AGENT, a directory with its node_modules:
//
//	cp e2e/cedar/agent/package*.json DIR && cd DIR && npm ci
package cedar
