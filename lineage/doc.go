// Package lineage is the heart of Kest: the format of a signed execution lineage, and its verification. It uses the
// standard library only, and has no clock, network, file, environment or randomness of its own: whatever of that a
// lineage needs is an argument. A program that only verifies imports this package and nothing else of Kest.
//
// This comment is the specification of the format, version 0.3.0. IDs such as F-AE-04 are the requirement IDs of
// the public Kest 0.3.0 specification.
//
// # In short
//
// A protected call writes an [Entry]: who calls what, on data of which origin, with which parents. The entry is
// encoded canonically and signed ([Sign]) before the body of the call runs. A signed entry is named by its [Hash].
// Entries name their parents by hash, so they form a directed acyclic graph; a list of them in topological order is
// a [Passport]. A passport that comes from outside is [Unverified], a different type: only [Verifier.Verify] turns
// it into a Passport, after it has checked every signature, recomputed every trust score and taint list, and found
// the graph whole.
//
// # Entry (F-AE-01…13)
//
// An entry is a JSON object (RFC 8259) in the canonical form of RFC 8785: no white space, members in the order of
// their UTF-16 code units, which is the order of this table, shortest escapes and numbers. All 18 members are always
// present.
//
//	added_taints    array of taints that the call adds
//	classification  non-empty string, by default "system"
//	content_hash    "" (an entry is signed before there is a result; see Receipts) or a digest
//	entry_id        UUID v7 (RFC 9562), lower case
//	environment     object, by default {}
//	input_hash      digest of the canonical JSON of the arguments, or "" when that was turned off
//	labels          object of strings; see below
//	metadata        null
//	operation       non-empty string
//	otel_context    object; "traceparent" when there is one, else {}
//	parent_ids      ["0"] for a root, else the hashes of all parents
//	policy_context  {"app_policies":[…],"deviations":[…],"enterprise_policies":[…],"function_policies":[…],
//	                "platform_policies":[…]}; names in the order of configuration; a deviation is
//	                {"approver":…,"policy":"…","reason":…,"tier":"…"}, approver and reason a string or null; and
//	                "approver_key", the id of the key with which the approver signed it, when that was verified
//	removed_taints  array of taints that the call removes
//	runtime         {"name":"…","version":"…"}: a claim, nothing is decided by it
//	schema_version  "0.3.0"
//	taints          array of taints that hold after the call
//	timestamp_ms    integer 0…2^53−1, Unix milliseconds; never used to order or to validate (NF-SEC-05)
//	trust_score     integer 0…100
//
// A digest is 64 lower-case hexadecimal digits of a SHA-256 or an equally long MAC. Taints are non-empty strings;
// each of the three arrays is sorted by its UTF-8 bytes and has no duplicates, and so has parent_ids.
//
// Labels. The library owns "principal", "trace_id" and every name that begins with "kest."; callers may add others.
//
//	principal            id of the workload that signs, for example a SPIFFE URI; always
//	trace_id             32 lower-case hex digits, not all zero (W3C trace id); always
//	kest.source_type     origin of the call's data; always, also when it was defaulted
//	kest.trust_override  decimal integer 0…100 without sign or leading zeros; when trust is overridden
//	kest.sanitizer       name of the sanitizer; when the call declares one
//	kest.joined          trace ids of parents from other traces, comma-separated, no spaces
//	kest.observed        policies under trial, tier:policy=verdict with verdict allow, deny or error, comma-separated
//	kest.policy_revision beginnings of the revisions of the policies that decided, comma-separated; when there are any
//	kest.identity        canonical JSON object of the present ones of user, agent, task
//	kest.resource_id, kest.resource_attr  what is acted on: a name, and a canonical JSON object
//
// Reading is strict. A reader refuses bytes that differ from their own canonical form, duplicate member names (by
// exact comparison, without case folding or Unicode normalisation), invalid UTF-8 and lone surrogates, numbers
// beyond ±(2^53−1), a missing member, a value of another type or out of range. Unknown members are tolerated and
// kept ([Entry.Extra]); they are covered by the signature.
//
// # JWS (F-ID-03)
//
// A signed entry is a JWS in compact serialisation (RFC 7515 §7.1), header.payload.signature. The three parts are
// base64url without padding; a reader refuses padding, line breaks, and unused bits that are not zero (RFC 4648
// §3.5). The protected header is written canonically:
//
//	{"alg":"EdDSA","kid":"<RFC 7638 thumbprint of the Ed25519 public key's JWK>","typ":"JWS"}
//
// and read in any member order and spacing, of at most 16 KiB. alg must be "EdDSA" (RFC 8037), or "Ed25519", its
// fully specified name (RFC 9864); typ, if present, must be "JWS"; kid may be missing and has at most 1,024 bytes.
// crit, b64, jwk, jku and x5u are refused, other members ignored: neither algorithm nor key is ever taken from the
// token. The signature is Ed25519 (RFC 8032 §5.1, pure) over the received text header.payload.
//
// The hash of an entry is SHA-256 over the ASCII bytes of the complete compact form ([HashJWS]), written as 64
// lower-case hexadecimal digits.
//
// # A signed entry
//
// The payload, here on several lines,
//
//	{"added_taints":[],"classification":"system","content_hash":"",
//	"entry_id":"0199f0a5-8a11-7c31-9d2e-4f6b1c0a9e57","environment":{},"input_hash":"",
//	"labels":{"kest.source_type":"internal","principal":"spiffe://example.org/payments",
//	"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"},"metadata":null,"operation":"payments.Transfer",
//	"otel_context":{},"parent_ids":["0"],"policy_context":{"app_policies":[],"deviations":[],
//	"enterprise_policies":[],"function_policies":["kest/allow_trusted"],"platform_policies":[]},
//	"removed_taints":[],"runtime":{"name":"kest-go","version":"v0.1.0"},"schema_version":"0.3.0",
//	"taints":[],"timestamp_ms":1795000000000,"trust_score":100}
//
// signed with the Ed25519 key whose 32-byte seed is 00 01 02 … 1f, under the header
//
//	{"alg":"EdDSA","kid":"1IG2tMH7J2wbJZnOf8LJzQitKf7LMvoAElsuDMVM54Y","typ":"JWS"}
//
// is the entry, here on several lines,
//
//	eyJhbGciOiJFZERTQSIsImtpZCI6IjFJRzJ0TUg3SjJ3Ykpabk9mOExKelFpdEtmN0xNdm9BRWxzdURNVk01NFkiLCJ0eXAiOiJK
//	V1MifQ.eyJhZGRlZF90YWludHMiOltdLCJjbGFzc2lmaWNhdGlvbiI6InN5c3RlbSIsImNvbnRlbnRfaGFzaCI6IiIsImVudHJ5X
//	2lkIjoiMDE5OWYwYTUtOGExMS03YzMxLTlkMmUtNGY2YjFjMGE5ZTU3IiwiZW52aXJvbm1lbnQiOnt9LCJpbnB1dF9oYXNoIjoiI
//	iwibGFiZWxzIjp7Imtlc3Quc291cmNlX3R5cGUiOiJpbnRlcm5hbCIsInByaW5jaXBhbCI6InNwaWZmZTovL2V4YW1wbGUub3JnL
//	3BheW1lbnRzIiwidHJhY2VfaWQiOiI0YmY5MmYzNTc3YjM0ZGE2YTNjZTkyOWQwZTBlNDczNiJ9LCJtZXRhZGF0YSI6bnVsbCwib
//	3BlcmF0aW9uIjoicGF5bWVudHMuVHJhbnNmZXIiLCJvdGVsX2NvbnRleHQiOnt9LCJwYXJlbnRfaWRzIjpbIjAiXSwicG9saWN5X
//	2NvbnRleHQiOnsiYXBwX3BvbGljaWVzIjpbXSwiZGV2aWF0aW9ucyI6W10sImVudGVycHJpc2VfcG9saWNpZXMiOltdLCJmdW5jd
//	Glvbl9wb2xpY2llcyI6WyJrZXN0L2FsbG93X3RydXN0ZWQiXSwicGxhdGZvcm1fcG9saWNpZXMiOltdfSwicmVtb3ZlZF90YWlud
//	HMiOltdLCJydW50aW1lIjp7Im5hbWUiOiJrZXN0LWdvIiwidmVyc2lvbiI6InYwLjEuMCJ9LCJzY2hlbWFfdmVyc2lvbiI6IjAuM
//	y4wIiwidGFpbnRzIjpbXSwidGltZXN0YW1wX21zIjoxNzk1MDAwMDAwMDAwLCJ0cnVzdF9zY29yZSI6MTAwfQ.rHcqmZM28ru6Pj
//	DYuizovRgNiFhZ2k5g0erHiEja5eNNwC5GbUsDzZJcOlvAjyszHURO7pyCFALnBTKwxxt1CA
//
// and its hash is
//
//	f9aeb77c93adc3a23733bf61c04eb49e96496e747db7f2d95d9979d9e4659110
//
// The example of [Sign] makes it again.
//
// # Passport (F-PA-01…07)
//
// A passport is an ordered list of compact forms: every parent comes before its children. Its text form is a JSON
// array of strings, written without white space and read with any (NF-INTER-01). The empty list is a valid
// passport. A fork is two entries with one parent; a join is an entry with several parents. The leaves, entries
// that are nobody's parent, are the parents of the next call. Their hashes are the tips, which a sender announces
// beside the passport, so that a receiver notices when the end was cut off.
//
// # Verification (F-PA-05, F-PA-06)
//
// For each entry, in order:
//
//  1. Structure: limits, strict header, strict payload.
//  2. Links: every parent is an earlier entry; no hash and no entry_id occurs twice. All entries hang together: a
//     second root needs an entry that joins it. With [VerifierConfig] Linear, the only parent is the entry before.
//  3. Key: the [KeySource] is asked by the entry's principal and kid. Unknown is a failure.
//  4. Signature: by one of these keys, with the semantics of crypto/ed25519.
//  5. Trust, taints, trace and authority: the rules below.
//
// and for the whole passport:
//
//  6. Tips: the leaves are exactly the announced tips, when some came.
//
// The failure that is reported is the one of the entry with the lowest index, and for one entry that of the
// earliest check; a root that nothing joins counts as a failure of that root. No signature is checked of anything
// after the first malformed entry. After a failure nothing is believed: the returned passport is empty.
//
// Keys of small order and non-canonical keys are refused wherever they come from ([CheckKey]). A [BatchVerifier]
// may say yes to a signature on its own authority, so it must be exact; what it refuses is asked again of
// crypto/ed25519. Keys are asked for at every verification, also for entries that this Verifier remembers: a key
// that is removed invalidates them at once.
//
// # Trust (F-TS-01…06)
//
// The source type has a score: system 100, internal 100, verified_rag 90, third_party_api 60, user_input 40,
// internet 10, llm 0, and what [NewOrigins] adds. A root has the score of its source type. Any other entry has
//
//	floor(min(parents) × score / 100)
//
// over its direct parents, in integers ([Attenuate]), unless signers and verifiers agree on another
// [TrustEvaluator]. With the label kest.trust_override the score is that number instead; descendants look at their
// parents only, so an override holds for them.
//
// # Taints (F-TT-01…06)
//
//	taints = (union of the parents' taints ∪ added_taints) − removed_taints
//
// An entry that removes taints carries kest.trust_override or kest.sanitizer. A removal holds for descendants.
//
// # Trace
//
// An entry has the trace_id of its parents. A parent of another trace must be named in kest.joined.
//
// # Authority
//
// Lineage proves who said what. [Authority] is the deployment's word on who may: which principals may begin a
// lineage from which source types or up to which score, raise trust by override up to what, and remove which
// taints; and whether entries that a policy under trial did not allow are refused. Lowering trust needs no permission.
// Without an Authority any known principal may do all of it, and the report says so.
//
// # Legacy principals (SPEC §15)
//
// Entries of the Python implementation lack kest.source_type, may lack trace_id, and have unsorted taints.
// [VerifierConfig] Legacy names principals whose entries may do so; what an entry says about its runtime has no
// influence. Structure, links, keys, signatures and the taint rule are always checked. Checks that need what is
// missing are skipped and named in the report; under an Authority a legacy principal still begins no lineage and
// raises no trust beyond its grants.
//
// # Receipts and denials
//
// How a call ended is a [Receipt], a JWS with typ "kest-receipt+jws" signed by the entry's principal. Its payload is
// canonical JSON:
//
//	content_hash  digest of the result's canonical JSON, or ""
//	ended_ms      Unix milliseconds
//	entry_hash    hash of the signed entry
//	entry_id      its entry_id
//	error_type    type of the error that the body returned, never its text; "" for ok, and may be "" for panic
//	started_ms    Unix milliseconds
//	status        "ok", "error" or "panic"
//	tips          hashes of the leaves when the call ended, at least one
//
// A refused call leaves a [Denial], a JWS with typ "kest-denial+jws" and the payload
// {"denied_policy":"…","denied_tier":"…","entry":{…},"reason":"…"}, whose entry is as it would have been signed. It
// is never part of a passport. In both, typ is required, so none of the documents can stand in for another.
//
// # Approvals
//
// A deviation from a policy may be signed by whoever approves it. The signature is a JWS with typ "kest-deviation+jws" and
// detached payload (RFC 7515 appendix F), header..signature. The payload is the canonical JSON of
//
//	approver   name of the approver; its keys are those of the principal of that name in a [KeySource]
//	not_after  the end as RFC 3339, in UTC and whole seconds, or null
//	policy, tier, scope, reason
//
// # Key bindings (F-ID-04)
//
// An entry is signed with a session key, an Ed25519 key that lives in the memory of one process. A [KeyBinding] says
// which platform credential stands behind it. It is a document of its own, beside passports, and needs no protection:
// canonical JSON of at most 48 KiB with exactly the members
//
//	form       "x509-svid", "jwt-svid", "kms", "oidc" or "self"
//	key        the session key's 32 bytes, base64url
//	principal  whom it signs for: a SPIFFE ID, an ARN, or the issuer of a token, "#" and its subject
//	proof      a compact JWS: a statement or a token
//	schema     "kest-binding/1"
//
// A statement (x509-svid, kms, self) has the protected header members alg, typ "kest-key-statement+jws", and kid or, for
// x509-svid, x5c (RFC 7515 §4.1.6) with 1 to 8 certificates, the leaf first. Its payload is canonical JSON with exactly
// these members: the thumbprint of the session key (RFC 9449 §6.1), the end and the beginning in Unix seconds, at most
// 24 hours apart, and the principal,
//
//	{"cnf":{"jkt":"…"},"exp":…,"nbf":…,"sub":"…"}
//
// A token (jwt-svid, oidc) is a JWT of the platform whose only audience is "kest-key:" and that thumbprint. Its typ is
// "JWT", "JOSE" (jwt-svid only), "at+jwt" (oidc only) or missing, so that neither an entry nor a statement is one.
// In both, crit, b64, jwk, jku, x5u, zip and enc are refused. alg is ES256, ES384, ES512, RS256…RS512, PS256…PS512 with
// RSA keys of 2,048 to 8,192 bits, EdDSA or Ed25519, and must suit the key, which comes from [Roots]: for x509-svid from
// a certificate that leads to a root of the principal's trust domain and holds to the X.509-SVID profile, for jwt-svid
// from the JWT authorities of that trust domain, by kid; for oidc from the keys of the issuer, and for kms by kid, both
// only for principals that the roots name; for self it is the session key, and the roots must name the principal too.
//
// A binding holds for the time that statement or token and all certificates of the chain have in common. This one
//
//	{"form":"kms","key":"rGCn1ezGkthRw-3mNuqlN0-LchP9PdTKW_UVkAuOt90","principal":"arn:aws:iam::12345678
//	9012:role/payments","proof":"eyJhbGciOiJFZERTQSIsImtpZCI6ImFybjphd3M6a21zOmV1LXdlc3QtMToxMjM0NTY3ODk
//	wMTI6a2V5LzEyMzQiLCJ0eXAiOiJrZXN0LWtleS1zdGF0ZW1lbnQrandzIn0.eyJjbmYiOnsiamt0IjoiNWo0VVZITElCNDBmNWp
//	qRkhlTHN6UFlqcUZHUU5PWURCNlQ5aWdNNHlLdyJ9LCJleHAiOjE3OTUwMDM2MDAsIm5iZiI6MTc5NTAwMDAwMCwic3ViIjoiYXJ
//	uOmF3czppYW06OjEyMzQ1Njc4OTAxMjpyb2xlL3BheW1lbnRzIn0.h3e5uYDRWZzOJpKw45YoOh94Hwr1VrvTBTc10HhlpFFei89
//	u2ERyj0aMlHWwiha99Q8qnSgsENQuG_JJDGh-CQ","schema":"kest-binding/1"}
//
// has the form kms. The key that certifies is the one whose seed is the SHA-256 of "kest lineage test key: kms", the
// session key that of "kest lineage test key: session"; the header and the payload of its statement are
//
//	{"alg":"EdDSA","kid":"arn:aws:kms:eu-west-1:123456789012:key/1234","typ":"kest-key-statement+jws"}
//	{"cnf":{"jkt":"5j4UVHLIB40f5jjFHeLszPYjqFGQNOYDB6T9igM4yKw"},"exp":1795003600,"nbf":1795000000,
//	"sub":"arn:aws:iam::123456789012:role/payments"}
//
// A verifier whose [KeySource] is a [Certifier] asks it about every entry, receipt and denial after its signature was
// checked, and about entries that it remembers every time. What cannot be certified is not believed.
//
// # Limits (SPEC §12)
//
// [Limits] bound what is read and written, before any cryptography: entry 64 KiB, passport 1,024 entries and 4 MiB,
// 64 labels of 8 KiB each, 256 taints a list, policy names of 256 bytes and 1,024 of them a list, JSON depth 64. Sign
// applies the same limits, so what it signs is readable under them. Verification ends with its context.
//
// # What it does not prove
//
// A good lineage says that known workloads signed these claims in this order. It does not say that a workload is
// honest about its own inputs, that the entries are recent, or that the sender is the one they were issued to. A
// replayed or stolen passport verifies: binding a passport to the request that carries it is not part of this format.
// Entries that ran in parallel may stand in any order.
package lineage
