// Package config reads what the people who run a program decide about it (SPEC §11): a file in YAML or JSON and KEST_*
// variables become a validated [Deployment], and that becomes the parts of a guard, of verifiers and of borders.
//
//	d, err := config.Load("", config.Options{Engines: …})  // KEST_CONFIG
//	engine, err := d.Engine(ctx)
//	id, err := d.Identity(ctx)
//	c, err := d.Apply(kest.Config{Engine: engine, Identity: id, Application: []string{"app/limits"}})
//	guard, err := kest.New(c)
//
// # The file
//
// All sections are optional. testdata/kest.yaml is an example with every one of them, and [Schema] describes every key.
//
//	policies         enterprise, platform, application: names of policies; shadow: those under trial, by tier; timeout
//	deviations       list of policy, tier, scope, reason, approver, not_after, signature
//	approvers        keys, required: who signs deviations
//	origins          source type: score
//	classifications  classification: taints
//	authority        grants: list of principal, originate, root_trust, override_trust, remove_taints; refuse_observed
//	trust            attenuate or weighted
//	engine           one of rego, opa, cedar, cedaragent, avp, or a kind of the program
//	decision_log     output, sample_allows, input, masks, max_input
//	decision_cache   max_entries, ttl, ignore
//	identity         one of spiffe, aws, bedrock, oidc, device, local, auto, or a kind of the program
//	store            one of memory, redis, sql, nats, or a kind of the program
//	verifier         keys, legacy, linear, cache_bytes
//	ingress          listener, proofs, authorities, tokens (bearer, or a kind of the program) …
//	egress           allow, proofs, strict_return
//	propagation      threshold, compress_first, claim_ttl, claim_prefix
//	telemetry        span_passport_bytes, receipts
//	limits           those of lineage.Limits
//	trust_bundle     path of a file for lineage.ParseRoots
//
// The kinds that need an SDK are made by builders that the program hands over ([Options], [Build]), so that this module
// links none. Their settings are checked in any case.
//
// A file is read strictly, because what is misspelt here is a policy that is not enforced: unknown and duplicate keys,
// values of another type, empty values, aliases, anchors, tags, further documents and more than 1 MiB or 32 levels are
// errors. Every problem is reported at once, with file, line, column and what to do ([Error]). JSON is read as the YAML
// that it is; write / and characters beyond U+FFFF as themselves, not as \/ or two \u escapes.
//
// A secret never stands in the file: where one is needed stands {file: PATH} or {env: NAME}, see [Secret].
//
// # Precedence
//
// Each setting that is a number, a duration, text or a truth value has a variable: KEST_ and its path in capitals, as in
// KEST_POLICIES_TIMEOUT or KEST_ENGINE_OPA_URL. The variable replaces what the file says. Lists of text have one too, with
// commas between the items, as in KEST_POLICIES_PLATFORM; the items are added to the file's, so a variable takes no policy
// away. A variable that begins like a section and is no setting is an error.
//
// The deployment comes before application code, which can add to what the deployment set and take nothing away:
// [Deployment.Apply] says what that means for each part.
//
// # While the program runs
//
// [Deployment.Watch] follows the file. Policies, deviations, approvers and authority can change; everything else says that
// it takes effect at the next start. The files of an engine have a watch of their own, in the engine.
//
// Package deploy links every kind, makes all parts from a file in one call, and follows it.
package config
