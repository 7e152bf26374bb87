# What policies may ask about the verified past of a call. Every function is about the input that is being decided, and
# every name in it was signed; outcomes are what this process knows.
#
# Undefined data are a trap in both directions. "not any_unsanitized(list)" is true where the list is empty by mistake:
# use free_of and clean_of, which are true only when there is something to look at. And "not free_of(data.list)" is
# undefined, not true, where the list is missing, because OPA looks up arguments before it negates. So every policy here
# writes "not trusted", with "trusted if lineage.free_of(…)": negation stands before names only.
package kest.lineage

# known: the input describes the past at all. An input without these lists must not pass for one without a past.
known if {
	is_array(input.lineage.steps)
	is_array(input.lineage.acts)
	is_array(input.lineage.users)
	is_array(input.lineage.resources)
	is_array(input.lineage.principals)
	is_array(input.lineage.taints)
	is_array(input.lineage.unsanitized_sources)
}

# complete: input.lineage.ancestors has every ancestor, not the youngest 128 only.
complete if input.lineage.ancestors_omitted == 0

# performed: the workload performed the operation, however that ended.
performed(op, principal) if {
	some step in input.lineage.steps
	step.operation == op
	step.principal == principal
}

# performed_ok: the workload performed the operation, and this process knows that it ended without an error.
performed_ok(op, principal) if {
	{"operation": op, "principal": principal, "outcome": "ok"} in input.lineage.steps
}

# performed_on: like performed_ok, on one object.
performed_on(op, principal, resource) if {
	{"operation": op, "principal": principal, "outcome": "ok", "resource": resource} in input.lineage.acts
}

# by_user: somebody performed the operation for the user.
by_user(op, user) if {"operation": op, "user": user} in input.lineage.users

# touched: an ancestor acted on the object.
touched(resource) if resource in input.lineage.resources

# signed_label: the workload gave one of the youngest 128 ancestors the label. A label without its signer says nothing.
signed_label(name, value, principal) if {
	some a in input.lineage.ancestors
	a.principal == principal
	a.labels[name] == value
}

# tainted: the call carries the taint now.
tainted(taint) if taint in input.subject.taints

# ever_tainted: an ancestor carried the taint, whether or not it was removed since.
ever_tainted(taint) if taint in input.lineage.taints

# unsanitized: the call's own data, or a path that leads to it without a sanitizer, comes from the source.
unsanitized(source) if source in input.lineage.unsanitized_sources

unsanitized(source) if source == input.environment.source_type

# any_unsanitized: unsanitized, for one source at least.
any_unsanitized(sources) if {
	some source in sources
	unsanitized(source)
}

# free_of: none of the sources reaches the call unsanitized.
free_of(sources) if {
	known
	is_string(input.environment.source_type)
	is_array(sources)
	not any_unsanitized(sources)
}

# clean_of: the call carries none of the taints.
clean_of(taints) if {
	is_array(input.subject.taints)
	is_array(taints)
	count({t | some t in taints; t in input.subject.taints}) == 0
}

# removes_nothing: the call itself removes no taint.
removes_nothing if count(input.environment.removed_taints) == 0

# certified: the call is one of the procedures, each an operation and the workload that signs it.
certified(procedures) if {
	{"operation": input.environment.operation, "workload": input.subject.workload} in procedures
}
