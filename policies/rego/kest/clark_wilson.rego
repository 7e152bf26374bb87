# Clark–Wilson: constrained data changes by certified procedures.
#
# Rule    E1, E2: a constrained data item (CDI) is reached by a triple alone: user, procedure and item; a procedure
#         (TP) is an operation and the workload that signs it. A procedure names its item.
#         E3: without a user there is no triple.
#         C3: who performed the item's separate_from procedure performs no other one on it (in this lineage).
#         C5: nothing from an unconstrained source (UDI) reaches an item unless a certified procedure transformed it.
#         E4: who certifies procedures performs none. C4, the log, is what the guard keeps anyway.
# Data    resources[id].triples: {user, operation, workload}; resources[id].separate_from: an operation, optional;
#         clark_wilson.procedures: operations; .certifiers: users; .unconstrained: source types; .sanitizers:
#         {operation, workload}, the procedures that are certified to transform
# Cannot  verify that an item is valid (C1) or that a procedure is right (C2): that is what certifying means.
# Others  Calls on other objects, or on none, are allowed if they are no procedure and remove no taints.
package kest.clark_wilson

import data.kest.deployment
import data.kest.deployment.clark_wilson as given
import data.kest.lineage

default allow := false

allow if {
	lineage.known
	is_array(given.procedures)
	is_array(given.certifiers)
	is_array(given.unconstrained)
	is_array(given.sanitizers)
	sound
	count(deny) == 0
}

# sound: resources are left out, or an object for each id. A list of them would be there, and protect nothing.
sound if not listed

sound if {
	is_object(deployment.resources)
	not odd
}

listed if _ = deployment.resources

odd if type_name(item) != "object"

odd if type_name(item.triples) != "array"

odd if type_name(item.separate_from) != "string"

item := deployment.resources[input.object.id]

constrained if item.triples

op := input.environment.operation

deny contains "E2: user, procedure and item are no certified triple" if {
	constrained
	not triple
}

triple if {
	is_array(item.triples)
	{"user": input.subject.user, "operation": op, "workload": input.subject.workload} in item.triples
}

deny contains "E1: a procedure must name a constrained item" if {
	op in given.procedures
	not constrained
}

deny contains "C3: the user performed the procedure that is separate" if {
	constrained
	op != item.separate_from
	lineage.by_user(item.separate_from, input.subject.user)
}

deny contains "C5: unconstrained data reaches the item" if {
	constrained
	not transformed
}

transformed if lineage.free_of(given.unconstrained)

deny contains "C5: only a certified procedure transforms data" if {
	not lineage.removes_nothing
	not sanitizer
}

sanitizer if lineage.certified(given.sanitizers)

deny contains "E4: who certifies performs no procedure" if {
	constrained
	input.subject.user in given.certifiers
}
