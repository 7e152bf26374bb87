# Payments, a worked domain: pay only what was checked, and what no stranger shaped.
#
# Rule    A payment is made by a paying workload, names its object, on which some ancestor acted, and follows from a
#         fraud check of that object that the same workload performed, and that ended ok. No untrusted source reaches it
#         unsanitized. It sets no trust and removes no taints itself; whoever removes taints before it is a certified
#         sanitizer.
# Data    payments.operations; .check: the operation; .payers: workloads; .untrusted: source types; .sanitizers:
#         {operation, workload}; .check_any_object: true where a check is of something else than what is paid, such as
#         a customer, so that one check serves a whole lineage. Left out, or anything but true, it is false.
# Cannot  judge amounts, which are the caller's word, or tell whether the object changed after its check.
# Others  Other operations are allowed if they remove no taints.
package kest.payments

import data.kest.deployment.payments as given
import data.kest.lineage

default allow := false

allow if {
	lineage.known
	is_array(given.operations)
	is_string(given.check)
	is_array(given.payers)
	is_array(given.untrusted)
	is_array(given.sanitizers)
	count(deny) == 0
}

payment if input.environment.operation in given.operations

deny contains "the workload may not pay" if {
	payment
	not payer
}

payer if input.subject.workload in given.payers

deny contains "no ancestor acted on what is paid" if {
	payment
	not known
}

known if lineage.touched(input.object.id)

deny contains "this workload performed no fraud check of what is paid that ended ok" if {
	payment
	not checked
}

checked if lineage.performed_on(given.check, input.subject.workload, input.object.id)

checked if {
	given.check_any_object == true
	lineage.performed_ok(given.check, input.subject.workload)
}

deny contains "an untrusted source reaches the payment unsanitized" if {
	payment
	not trusted
}

trusted if lineage.free_of(given.untrusted)

deny contains "a payment sets its own trust or removes taints" if {
	payment
	not plain
}

plain if {
	input.environment.trust_override == null
	lineage.removes_nothing
}

deny contains "only a certified sanitizer removes taints" if {
	not lineage.removes_nothing
	not sanitizer
}

sanitizer if lineage.certified(given.sanitizers)
