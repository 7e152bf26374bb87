// Package oidc is the identity of a workload that an OpenID provider knows (SPEC §8 OIDC): a pod with a projected token,
// a job of GitHub Actions, a service with client credentials, a person who logged in by package identity/device. It reads
// tokens, never asks for passwords, and signs with an ephemeral key in memory (F-ID-04).
//
//	p, err := oidc.New(ctx, oidc.Config{Source: oidc.GitHub(), Issuer: "https://token.actions.githubusercontent.com"})
//	defer p.Close()
//
// The principal is the issuer, "#", and the subject ([lineage.OIDCPrincipal]). Issuer and subject are also labels of every
// entry. Whatever is wrong with a new token, the one before counts until its end, and nothing is signed after it.
//
// # What a token proves
//
// Everything depends on whether the token names the session key, that is, whether its only audience is
// [lineage.BindingAudience].
//
//	audience            binding                 what a verifier learns
//	the key, alone      [lineage.FormOIDC]      the issuer gave a token for this key to whoever asked as this workload
//	anything else       [lineage.FormSelf]      the workload's own word: a verifier must list the principal in
//	                                            [lineage.RootsConfig].Self to believe it
//	another key         refused                 such tokens are published, so anybody may have it
//
// The first takes a source that can ask for an audience: [GitHub], a token exchange (RFC 8693), a Kubernetes TokenRequest.
// It is a bearer token, but good for nothing else, so the binding that contains it may be published with all its claims;
// have the issuer leave out those that are nobody's business. A token with another audience is good elsewhere: it never
// leaves this process, and a warning says so once. [Config.RequireBound] refuses it.
//
// # What is accepted
//
// A JWS in compact form of at most 16 KiB, whose three parts are base64url without padding or stray bits, with strict
// JSON in which no name stands twice. The algorithm is RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 or
// EdDSA; keys in the header are not looked at. It has iss, sub and exp; it has not ended, and begins no more than a minute
// from now (nbf, iat). With [Config.Issuer] the issuer is compared and the signature verified; without it that is left to
// whoever verifies the binding, and of an unbound token nothing is verified by anybody. Errors match [ErrToken] or
// [ErrKeys] and never show a token.
//
// # Keys of issuers
//
// [NewRoots] follows the key sets of issuers for verifiers; [Config.Issuer] does the same for a workload.
//
//	age of the keys        what happens
//	below Refresh/2        they are used
//	below Refresh          they are used, and new ones are fetched in the background
//	below MaxStale         new ones are waited for; once they could not be had the old ones are used, and nobody waits
//	above                  they are not used
//
// A key id that is not known has the issuer asked at any age, but there is one fetch at a time, and none begins within ten
// seconds of the last, so made-up ids cost nothing. Issuers are https, or http on loopback; redirects are not followed;
// documents are at most 1 MiB and 100 keys. Weak, private and strange keys are skipped, and so are keys without an id.
//
// go-oidc is not used for this: its key set fetches again after every signature that does not hold, without a limit on
// how often or how much. Signatures are go-jose's.
package oidc
