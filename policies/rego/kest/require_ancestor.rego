# Required ancestors: an operation, or an object, is reached only after certain steps.
#
# Rule    Every required step is among the ancestors: the operation, performed by the named workload, with the
#         outcome, and where that is asked for on the same object.
# Data    require_ancestor.operations and .steps: each of the operations needs all of the steps, on whatever object;
#         require_ancestor.on_object: {operations, step}, which may be left out: each of the operations names an object,
#         and needs the step on that one; resources[id].requires: steps that every call on that object needs;
#         resources[id].requires_acts: the same for steps on an object that they name, be it this one or another. A
#         step is {operation, principal, outcome}, an act has a resource, too. The outcome is what this process knows:
#         that of its own calls, and of those of services that send receipts with their answers; else "unknown".
# Cannot  tell in which order steps were performed.
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
	whole
	sound
	count(deny) == 0
}

# whole: on_object is left out, or says what it is about.
whole if not tied

whole if is_array(given.on_object.operations)

tied if _ = given.on_object

# sound: resources are left out, or an object for each id. A list of them would be there, and protect nothing.
sound if not listed

sound if {
	is_object(deployment.resources)
	not odd
}

listed if _ = deployment.resources

odd if type_name(object) != "object"

deny contains "the operation needs a step that is not among the ancestors" if {
	input.environment.operation in given.operations
	not prepared
}

prepared if happened(given.steps)

deny contains "the operation needs a step on its object that is not among the ancestors" if {
	input.environment.operation in given.on_object.operations
	not done
}

done if {
	step := given.on_object.step
	act := {
		"operation": step.operation, "principal": step.principal, "outcome": step.outcome,
		"resource": input.object.id,
	}
	act in input.lineage.acts
}

# "_ =" is true of whatever is there, false included: data that make no sense deny.
deny contains "the object needs a step that is not among the ancestors" if {
	_ = object.requires
	not object_prepared
}

object := deployment.resources[input.object.id]

object_prepared if happened(object.requires)

deny contains "the object needs a step on an object that is not among the ancestors" if {
	_ = object.requires_acts
	not object_acted
}

object_acted if {
	is_array(object.requires_acts)
	every act in object.requires_acts {
		act in input.lineage.acts
	}
}

happened(steps) if {
	is_array(steps)
	every step in steps {
		step in input.lineage.steps
	}
}
