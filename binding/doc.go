// Package binding is where key bindings are kept and found. A binding certifies a session key ([lineage.KeyBinding]); it
// proves itself, so nothing here has to be trusted but the roots.
//
// Signers publish: a provider hands the binding of every new key to [Publisher] before the key signs anything.
//
//	provider, err := spiffe.New(ctx, spiffe.Config{Publish: binding.Publisher(store)})
//
// Verifiers look up: a [Source] is the key source of a [lineage.Verifier]. It takes bindings that came along with the
// request, its own provider's, and those in the store, and believes what the roots prove now.
//
//	keys, err := binding.New(binding.Config{Roots: provider, Store: store, Own: provider})
//	verifier, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keys})
//
// Auditors look back: an [Archive] keeps bindings, roots and the times at which entries were first seen, beside the
// records. Its [AuditSource] believes what held when an entry was signed, years after certificates and authorities have
// ended.
package binding
