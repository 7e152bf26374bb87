// Package fastverify verifies many Ed25519 signatures faster than
// crypto/ed25519 and gives exactly its answers. It is meant for passports and
// audit trails, where a few keys sign many entries: a [Verifier] fits the batch
// verification interface of package lineage.
//
// # Why not a random linear combination
//
// The usual batch verification checks one random linear combination of the
// equations [S]B = R + [k]A of all signatures. That cannot have the answers of
// the standard library. A signer who adds a point of small order to R, or to
// the public key, makes signatures that the standard library refuses and that
// such a batch accepts, always or by chance according to its equation, and two
// verifiers then disagree about a chain. So this package evaluates, for each
// signature by itself, what the standard library evaluates:
//
//	k = SHA-512(R ‖ A ‖ M) mod ℓ
//	encode([S]B − [k]A) = R, byte for byte
//
// (RFC 8032 §5.1.7 without the factor 8, and without decoding R.) The time is
// saved elsewhere:
//
//   - [k]A and [S]B are sums of precomputed multiples of A and B. With signed
//     combs this takes 65 additions and 7 doublings, where the standard library
//     decodes A and does 253 doublings and some 60 additions.
//   - The points of a batch are made affine with one inversion for 64 of them.
//
// # Why the answers are the same
//
// The fast path can only say yes, and says it only when S is below ℓ and the
// encoded point equals R in all 32 bytes, which is the standard library's own
// condition. Everything else is decided by [ed25519.Verify]: a key that is not a point, a
// signature that is not 64 bytes long, S of ℓ or more, a point that does not
// match. Keys are decoded by filippo.io/edwards25519, whose code the standard
// library shares. Scalars are used as integers below ℓ, not modulo ℓ, and the
// addition formulas are complete, so keys and nonces of small or mixed order
// give the same point here as there.
//
// Time and memory access depend on the inputs. Signatures, keys and messages
// are public; do not use the arithmetic of this package for anything else.
//
// In FIPS 140 mode (GODEBUG=fips140=on) the arithmetic here is not part of the
// validated module, so a Verifier leaves every signature to the standard
// library.
//
// # Cost
//
// On one core of an AMD EPYC with Go 1.26, messages of 1,400 bytes, as parts of
// the time of [ed25519.Verify] (40 µs; signing takes 20 µs) in the same run:
//
//	100 signatures of 3 keys that have tables       0.25
//	the same, tables made in the call               0.35
//	10 signatures of 3 keys that have tables        0.27
//	one signature of a key that has a table         0.30
//	keys without tables                             1.0
//	invalid signatures of keys with tables          1.3
//	as few invalid ones as get a new key a table    2.0
//
// The last two are what a hostile sender can cause: a no is the work of both
// ways, and a new table may have been made for nothing.
//
// The table of a key takes [TableBytes] (32 KB) and 120 µs, as much as is won
// back with 4 signatures; that of B 307 KB and 0.9 ms, once per process. Tables
// of keys are combs of 7 teeth. Others measured, warm and made in the call: 6
// teeth (20 KB) 0.27 and 0.34; 8 teeth (62 KB) 0.23 and 0.36; rows of signed
// 5-bit digits (50 KB) 0.31 and 0.42. For B, 11 teeth instead of 8 saves 0.02.
// Expanded keys of curve25519-voi with its standard-library rules take 0.6.
//
// # Bounds
//
// A Verifier holds at most MaxKeys tables, besides those in use by calls that
// are running, and 8·MaxKeys counts of keys. A flood of keys can push tables
// out, and then costs what the standard library costs: a table is made only for
// a key that pays for it within the call, or that has been seen often.
package fastverify
