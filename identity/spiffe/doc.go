// Package spiffe is the identity of a workload that a SPIFFE Workload API, such as SPIRE's agent, knows (SPEC §8 SPIRE,
// F-ID-01…05). The principal is the workload's SPIFFE ID.
//
// SPIRE issues EC and RSA keys, and entries are signed with Ed25519. So a [Provider] signs with a session key that lives
// in memory, and the workload's SVID certifies that key by a binding (see [lineage.KeyBinding]): by a statement that the
// key of the X.509-SVID signs, or by a JWT-SVID whose audience names the session key. Signing an entry calls nobody.
//
// One watch of the Workload API drives everything. A new SVID gives a new session key; the bindings of earlier keys hold
// until their end. When the agent says that the workload has no identity any more, every key is taken away at once. When
// the agent is silent, away or restarting, the key in use stays until its SVID ends, and then nothing is signed.
//
// A Provider is also the [lineage.RootSource] of its trust domain and those federated with it, and [ServerTLS] and
// [ClientTLS] use its X.509-SVID for mutual TLS. A process that only verifies uses [WatchRoots].
package spiffe
