// Package hopproof signs and verifies hop proofs: HTTP message signatures (RFC 9421) by which a request shows that it
// comes, unchanged and for the first time, from the workload that signed the tip of its lineage (SPEC §9). That stops
// a tail that was cut off a passport, a stolen passport, and a request that is sent twice.
//
// [Signer] makes proofs for a propagate.Egress, [Verifier] checks them for a propagate.Ingress.
//
// # Profile
//
// A request with a proof looks like this; the fields are in one line each:
//
//	POST /pay?order=7 HTTP/1.1
//	Host: ledger:8443
//	Baggage: kest.passport_z=eJxT…,kest.chain_tip=9f86…
//	Signature-Input: kest=("@method" "@authority" "@path" "@query" "baggage");created=1767225600;
//	    nonce="…";keyid="…";alg="ed25519";tag="kest-hop"
//	Signature: kest=:…:
//
// Covered, each exactly once and without parameters of the component: "@method"; "@authority" in lower case, with its
// port as the client addressed it (a default port is not taken off, because the scheme is not known here); "@path" and
// "@query" as on the wire, not decoded ("?" stands for no query, "/" for an empty path); "baggage", which must be there;
// and "content-digest" (RFC 9530) when the request has it. Whoever compares that digest with the content is the
// transport. Lines of a field are trimmed and joined with ", " (RFC 9421 §2.1). Fields in anything but printable ASCII
// and tabs are refused, and so are covered parts of more than 64 KiB together.
//
// Parameters: created in seconds; nonce, 16 to 64 characters of base64url (the signer's has 128 random bits); keyid, the
// RFC 7638 thumbprint of the signing key, as in lineage; tag "kest-hop"; and optionally alg "ed25519" and expires. No
// others. The signature is Ed25519 over the base of RFC 9421 §2.5, by a key that the verifier's key source has for the
// principal of the tip. Nothing in the message gives a key or chooses an algorithm.
//
// Signatures with other tags, for example a gateway's, are not looked at. There may be one proof; the two fields
// may have 8 labels each, none twice, and 8 KiB together. The members of the proof must be written in the canonical form
// of RFC 9651 §4.1, so that there is one way to write a proof.
//
// A proof is good from created−Leeway to created+MaxAge+Leeway. Its nonce is remembered, in a store that all replicas of
// a service share, for so long that no clock within Leeway of the signer's still takes it. A client that sends a request
// again must make a new proof.
//
// # Modes
//
// What an ingress lets through, of requests with lineage (without lineage there is nothing to prove):
//
//	propagate.     no proof   good proof   any other proof   replay cache or key source down
//	ProofOff       passes     passes       passes            passes
//	ProofAccept    passes     passes       403               503, if there is a proof
//	ProofRequire   403        passes       403               503, if there is a proof
//
// ProofAccept is for the time in which callers are moved one by one: who takes the proof off a request gets through.
//
// # gRPC
//
// The method is POST, the path is the full method name ("/pay.Ledger/Transfer"), there is no query, the authority is
// :authority (from which propagate/kestgrpc takes the port 443 off, at both ends), and baggage is the metadata of that
// name. Messages are not covered.
package hopproof
