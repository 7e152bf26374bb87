// Package decisionlog writes down every decision of a policy engine (SPEC §7), as one structured log record and as
// the event policy.decision of the current span:
//
//	engine, err := decisionlog.New(decisionlog.Config{Engine: rules, SampleAllows: 100})
//
// # The record
//
// Its level is Info for an allow, Warn for a denial and Error when the engine could not decide. It has these members,
// and the event has them as attributes kest.decision.NAME; those that are empty are left out:
//
//	result       allow, deny or error
//	policy, tier, operation, workload, entry_id, trace_id
//	trial        true for a policy under trial: a denial stopped nothing
//	revision     of the policies that answered
//	duration     of the evaluation; in the event duration_ns
//	reason       what the engine said, or its error
//	input        what the policy saw, masked
//	input_masked   the paths of the masks that hid something in it: it is not what the policy saw
//	input_dropped  why there is no input though [Config.Input] asks for it
//
// The members are bounded and valid UTF-8. A denial is in the guard's own log and in a signed record as well; this
// log is for allows, durations and revisions, and for whoever asks what the policy saw.
//
// # The input
//
// It is not logged unless [Config.Input] is set. It holds the caller's attributes, users and tasks, which are as often
// as not personal data, and logs and traces go where passports do not, are kept for longer and are read by more
// people. [Config.Mask] takes out what must not leave all the same. It fails closed: if a rule cannot be applied to an
// input, or its function fails or panics, the record says so and has no input at all.
//
// identity, the outer trust_score and environment.parent_hash are left out: they repeat subject and parent_hashes, so
// a mask for the one would leave the other.
//
// The lineage says of the ancestors what the rest says of the call, and a mask for the one does not reach the other. To
// show no user, agent, task, label and resource takes all of these:
//
//	subject.user   lineage.users.*.user                               lineage.ancestors.*.user
//	subject.agent                                                     lineage.ancestors.*.agent
//	subject.task                                                      lineage.ancestors.*.task
//	labels         lineage.labels                                     lineage.ancestors.*.labels
//	object         lineage.resources       lineage.acts.*.resource    lineage.ancestors.*.resource
//
// # What it cannot change
//
// The decision and the error are the engine's, whatever happens to the record: a handler, a mask or a span that
// panics loses the record and nothing else. But the record is written before the guard gets the answer, so a slow
// handler delays the call; and the guard's Config.PolicyTimeout goes on, so one slower than what is left
// of it makes a denial of an allow (never an allow of a denial). Put a handler that can block behind one with a
// buffer.
package decisionlog
