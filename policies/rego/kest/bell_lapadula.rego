# Bell–LaPadula: information does not flow down.
#
# Rule    A label is a level and categories; it dominates another one that is not higher and has no more categories.
#         Simple security property (no read up): to read, the workload's clearance dominates the object's
#         classification.
#         *-property (no write down): to append, the object's classification dominates the workload's clearance.
#         A call hands information over, so the clearance also dominates those of all workloads among the ancestors.
#         Strong tranquility: labels change by deployment alone.
# Data    workloads[id].clearance and resources[id].classification: {level, categories}; bell_lapadula.read and
#         .append: operations. One that is in both lists, or in none, reads and appends. Objects are found by their
#         whole id.
# Cannot  see what a workload does without a guarded call. Trusted subjects need a deviation.
# Others  Calls without an object are judged by their ancestors only; a call that reads or appends must name its
#         object. An object without a classification, and a workload without a clearance, are refused.
package kest.bell_lapadula

import data.kest.deployment
import data.kest.deployment.bell_lapadula as given
import data.kest.lineage

default allow := false

allow if {
	lineage.known
	is_array(given.read)
	is_array(given.append)
	label(clearance)
	count(deny) == 0
}

clearance := deployment.workloads[input.subject.workload].clearance

classification := deployment.resources[input.object.id].classification

label(x) if {
	is_number(x.level)
	is_array(x.categories)
}

dominates(a, b) if {
	label(a)
	label(b)
	a.level >= b.level
	every category in b.categories {
		category in a.categories
	}
}

op := input.environment.operation

named if is_string(input.object.id)

read if op in given.read

append if op in given.append

# What is in no list does both.
reads if read

reads if not append

appends if append

appends if not read

deny contains "the operation must name its object" if {
	accesses
	not named
}

accesses if read

accesses if append

deny contains "simple security property: no read up" if {
	named
	reads
	not readable
}

readable if dominates(clearance, classification)

deny contains "*-property: no write down" if {
	named
	appends
	not appendable
}

appendable if dominates(classification, clearance)

deny contains "the call hears of a workload that its own does not dominate" if not hears

hears if {
	every principal in input.lineage.principals {
		dominates(clearance, deployment.workloads[principal].clearance)
	}
}
