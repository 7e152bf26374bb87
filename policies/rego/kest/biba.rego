# Biba: what is less trustworthy does not shape what is more so.
#
# Rule    Integrity is 0 to 100, as trust is. Strict integrity policy, and the low-water mark of the lineage:
#         Simple integrity (no read down): to read, the object's integrity is not below the workload's.
#         *-integrity (no write up): to write, the workload's integrity is not below the object's, nor is the trust of
#         the call or of any ancestor. A score that the call sets itself (TrustOverride) counts for nothing.
#         Invocation: no workload among the ancestors has less integrity than the one that acts.
# Data    workloads[id].integrity and resources[id].integrity; biba.read and .write: operations. One that is in both
#         lists, or in none, reads and writes. Objects are found by their whole id.
# Cannot  raise integrity again: endorsing what a sanitizer made needs a deviation, because min_trust has no
#         sanitizer.
# Others  Calls without an object are judged by their ancestors only; a call that reads or writes must name its
#         object. An object, and a workload, without integrity are refused.
package kest.biba

import data.kest.deployment
import data.kest.deployment.biba as given
import data.kest.lineage

default allow := false

allow if {
	lineage.known
	is_array(given.read)
	is_array(given.write)
	is_number(own)
	count(deny) == 0
}

own := deployment.workloads[input.subject.workload].integrity

object := deployment.resources[input.object.id].integrity

not_below(a, b) if {
	is_number(a)
	is_number(b)
	a >= b
}

op := input.environment.operation

named if is_string(input.object.id)

read if op in given.read

write if op in given.write

# What is in no list does both.
reads if read

reads if not write

writes if write

writes if not read

deny contains "the operation must name its object" if {
	accesses
	not named
}

accesses if read

accesses if write

deny contains "simple integrity: no read down" if {
	named
	reads
	not readable
}

readable if not_below(object, own)

deny contains "*-integrity: no write up" if {
	named
	writes
	not writable
}

writable if not_below(own, object)

deny contains "low-water mark: the object is above the trust of the call" if {
	named
	writes
	not worthy
}

worthy if {
	input.environment.trust_override == null
	not_below(input.trust_score, object)
	not_below(input.lineage.min_trust, object)
}

deny contains "invocation: a workload of less integrity is among the ancestors" if not invocable

invocable if {
	every principal in input.lineage.principals {
		not_below(deployment.workloads[principal].integrity, own)
	}
}
