# Required ancestors: an operation, or an object, is reached only after certain steps.
#
# Rule    Every required step is among the ancestors: the operation, performed by the named workload, with the
#         outcome.
# Data    require_ancestor.operations and .steps: each of the operations needs all of the steps;
#         resources[id].requires: steps that every call on that object needs. A step is {operation, principal,
#         outcome}. The outcome is what this process sees: "ok" for a step in it, "unknown" for a step in another
#         process.
# Cannot  tell for which object a step was performed, or in which order. In Rego, lineage.performed_on can.
# Others  Operations and objects without requirements are allowed.
package kest.require_ancestor

import data.kest.deployment
import data.kest.deployment.require_ancestor as given
import data.kest.lineage

default allow := false

allow if {
	lineage.known
	is_array(given.operations)
	is_array(given.steps)
	count(deny) == 0
}

deny contains "the operation needs a step that is not among the ancestors" if {
	input.environment.operation in given.operations
	not prepared
}

prepared if happened(given.steps)

deny contains "the object needs a step that is not among the ancestors" if {
	object.requires
	not object_prepared
}

object := deployment.resources[input.object.id]

object_prepared if happened(object.requires)

happened(steps) if {
	is_array(steps)
	every step in steps {
		step in input.lineage.steps
	}
}
