# Taint block: protected operations do not follow from blocked taints.
#
# Rule    A protected operation carries no blocked taint. A blocked taint is removed by certified sanitizers alone, so
#         that a call cannot clean its own input.
# Data    taint_block.taints; taint_block.operations: the protected ones, "*" for all; taint_block.sanitizers:
#         {operation, workload}
# Cannot  know data that nobody tainted: taints come from classifications and from kest.AddTaints.
# Others  Other operations are allowed, as long as they do not remove blocked taints.
package kest.taint_block

import data.kest.deployment.taint_block as given
import data.kest.lineage

default allow := false

allow if {
	is_array(given.taints)
	is_array(given.operations)
	is_array(given.sanitizers)
	count(deny) == 0
}

deny contains "a protected operation follows from a blocked taint" if {
	protected
	not clean
}

clean if lineage.clean_of(given.taints)

protected if "*" in given.operations

protected if input.environment.operation in given.operations

deny contains "only a certified sanitizer removes a blocked taint" if {
	not keeps
	not sanitizer
}

sanitizer if lineage.certified(given.sanitizers)

keeps if {
	is_array(input.environment.removed_taints)
	count({t | some t in given.taints; t in input.environment.removed_taints}) == 0
}
