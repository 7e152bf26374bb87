# Separation of duties: nobody performs two of the duties.
#
# Rule    Dynamic separation of duty (Clark and Wilson 1987; ANSI RBAC): a user who performed one duty performs no
#         other one of the same lineage. Repeating a duty is allowed.
# Data    separation_of_duties.duties: {initiate, approve, execute, review}, each the name of an operation, or ""
#         where a process has no such duty; separation_of_duties.workloads: those whose word on who the user is counts
# Cannot  see what the user did in other lineages, or under another name. The steps before a duty must be under this
#         policy, too: a duty that was performed for nobody names nobody.
# Others  Operations that are no duty are allowed.
package kest.separation_of_duties

import data.kest.deployment.separation_of_duties as given
import data.kest.lineage

default allow := false

allow if {
	lineage.known
	is_string(given.duties.initiate)
	is_string(given.duties.approve)
	is_string(given.duties.execute)
	is_string(given.duties.review)
	is_array(given.workloads)
	count(deny) == 0
}

op := input.environment.operation

duties := {given.duties.initiate, given.duties.approve, given.duties.execute, given.duties.review}

duty if op in duties

deny contains "a duty needs a user" if {
	duty
	not personal
}

personal if is_string(input.subject.user)

deny contains "the workload may not say who performs a duty" if {
	duty
	not witnessed
}

witnessed if input.subject.workload in given.workloads

deny contains "the user performed another duty" if {
	duty
	some other in duties
	other != op
	lineage.by_user(other, input.subject.user)
}
