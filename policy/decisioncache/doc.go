// Package decisioncache remembers the answers of a policy engine (SPEC §7). Nobody gets it without asking:
//
//	engine, err := decisioncache.New(decisioncache.Config{
//		Engine: rules, // a *rego.Engine
//		Ignore: []string{"environment.entry_id", "environment.trace_id", "environment.parent_hashes"},
//	})
//
// An answer is found again for the same policy, the same revision of the policies and the same input: all of it,
// what [policy.Input.Document] leaves out included. It pays when an engine is slower than a hash of the input, which
// takes a few microseconds, and more where there are many ancestors: an OPA server or a large Rego policy, but hardly
// Cedar in the process.
//
// # What never comes from the cache
//
//   - Errors. Whoever could not decide is asked again at the next call.
//   - Answers of another revision. The revision is read before the answer is looked up, so a reload counts from that
//     instant; and an answer is kept only if it says itself that it is of that revision, so one that was under way
//     during a reload is kept for neither.
//   - Answers about attributes that are not JSON values or are deeply nested, about inputs of more than 64 KiB, such as
//     those with a long lineage, and answers whose reason is large. They are passed through.
//   - Answers to a context that has ended. The engine is asked, and says so.
//
// # What it cannot know
//
// The policy must be a function of input and revision. A policy that reads a clock, asks a network, or reads data
// that changes without the revision gets answers that are up to [Config.TTL] old. The Reason of an answer from the
// cache is that of the first call; where an engine names the entry of its own log in it, that is the first call's
// entry. A decision log belongs outside the cache (decisionlog around decisioncache), or it misses what the cache
// answers.
package decisioncache
