// Package bearer verifies the JWTs that requests carry as bearer tokens (SPEC §9, identity interceptor): [Verifier]
// is a [propagate.TokenVerifier] for one issuer, [Any] for several.
//
//	tokens, err := bearer.New(bearer.Config{
//		Issuer:    "https://login.example.com",
//		Audiences: []string{"https://orders.example.com"},
//	})
//	ingress, err := propagate.NewIngress(propagate.IngressConfig{Tokens: tokens, RequireToken: true, …})
//
// # What is accepted
//
// A JWS in compact form (RFC 7515 §7.1) of at most 16 KiB, whose three parts are base64url without padding and without
// stray bits, so that no two texts are the same token. Header and claims are strict JSON: a name that stands twice
// makes the token no good. In the header,
//
//	alg        is one of Config.Algorithms, all of which are asymmetric, and fits the key. "Ed25519" (RFC 9864), which
//	           go-jose does not verify, is not among them: such tokens say EdDSA
//	kid        names exactly one key of the issuer that fits; without it exactly one key must fit
//	typ        is absent, JWT or at+jwt (RFC 9068 §2.1): a token made for something else is none (RFC 8725 §3.11)
//	crit, b64  must not be there (RFC 7515 §4.1.11, RFC 7797)
//	jwk, jku,  are never used: which keys count is for the issuer to say, not for the token
//	x5c, x5u
//
// and of the claims,
//
//	iss       is Config.Issuer, byte for byte
//	aud       is one of Config.Audiences, or has one of them
//	exp       is required and not over; nbf and iat, where present, are not in the future; all of it give or take
//	          Config.Leeway
//	sub       is required
//	act       is the chain of actors of RFC 8693 §4.1, at most 8, each with a sub. An actor of another issuer (iss) is
//	          refused, because [propagate.Caller] could not tell it from one of this issuer
//
// A token that is bound to a key (cnf: DPoP, mutual TLS) is taken as the bearer token that it was sent as.
//
// The user, the agent and the task of the caller come from the claims that the Config names. They, like every actor,
// are text of 1 to 256 bytes without control or format characters, because they are signed into entries, sent as
// baggage and read by people: a token with a longer one is refused, not cut. A task claim other than "scope" may also
// be an array, whose elements are joined by spaces.
//
// # Errors
//
// A token that is no good is a [propagate.ErrBadToken], which ingress answers by 401. When the issuer's keys cannot be
// had the error matches [ErrKeys] instead, which it answers by 503. No error repeats anything of a token.
//
// # Keys
//
// Keys are fetched when the first token needs them, not by [New], so that a service starts while its issuer is down.
//
//	age of the keys        what happens
//	below KeysMaxAge/2     they are used
//	below KeysMaxAge       they are used, and new ones are fetched in the background
//	below KeysMaxStale     new ones are waited for; once they could not be had the old ones are used, and nobody waits
//	above                  new ones are waited for; when they cannot be had: ErrKeys
//
// A key that the issuer withdraws thus counts for KeysMaxAge, 10 minutes unless configured, plus the time of one fetch,
// and for KeysMaxStale, an hour, at the most, while its endpoint is down. A token whose key is unknown makes new ones be
// fetched, too, but whatever happens there is one fetch at a time, and none begins within KeysMinRefresh, 10 seconds,
// of the last: tokens with made-up key ids are refused without one. A fetch belongs to nobody: a caller waits for it as
// long as its own context lets it, and leaves it to the others. A new key under an old kid, or without one, counts when
// the keys are next fetched. Every fetch that fails is logged as a warning.
//
// A key set has at most 1 MiB and 100 keys. Keys that are no good are skipped: symmetric and private ones, RSA below
// 2048 or above 4096 bits, Ed25519 of small order, and those whose use, key_ops or alg is not for these signatures.
//
// # Why not go-oidc
//
// Its RemoteKeySet (v3.21.0) fetches again after every signature that does not hold, so whoever makes them up keeps it
// asking the issuer; it has no limit on what it reads and no deadline; and keys that were withdrawn count until somebody
// does that. JWK and JWS are left to go-jose, and reading the discovery document is one GET.
package bearer
