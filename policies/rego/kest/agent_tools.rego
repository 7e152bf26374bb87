# Agent tools, a worked domain: what the tool calls of an LLM agent may do.
#
# Rule    A tool is called by a named agent, and an agent calls what it is granted. Reading tools work on any input.
#         The others (what is not listed is one of them) need input that no untrusted source reaches unsanitized and
#         that has no blocked taint.
#         A human's approval of such input is a certified sanitizer: a call by the approving workload that removes
#         taints, so that it counts for what came before it and not for what the agent reads afterwards.
#         Some tools need an approval among the ancestors whatever the input. Agents set no trust.
# Data    agent_tools.read_only and .side_effects: operations; .grants: {workload, agent, operation}; .untrusted:
#         source types; .taints; .sanitizers: {operation, workload}; .approved_only: operations; .approvals:
#         {operation, principal, outcome}, the steps that approve those
# Cannot  read what the human saw, or tie a step of .approvals to one call: one approval serves a whole lineage.
# Others  Calls that are no tool and have no agent are allowed if they remove no taints.
package kest.agent_tools

import data.kest.deployment.agent_tools as given
import data.kest.lineage

default allow := false

allow if {
	lineage.known
	is_array(given.read_only)
	is_array(given.side_effects)
	is_array(given.grants)
	is_array(given.untrusted)
	is_array(given.taints)
	is_array(given.sanitizers)
	is_array(given.approved_only)
	is_array(given.approvals)
	count(deny) == 0
}

op := input.environment.operation

read_only if op in given.read_only

side_effects if op in given.side_effects

approved_only if op in given.approved_only

tool if read_only

tool if side_effects

tool if approved_only

agent if is_string(input.subject.agent)

reading if {
	read_only
	not side_effects
	not approved_only
}

deny contains "a tool is called by a named agent" if {
	tool
	not agent
}

deny contains "the agent is not granted the operation" if {
	agent
	not granted
}

granted if {
	{"workload": input.subject.workload, "agent": input.subject.agent, "operation": op} in given.grants
}

# A tool without an agent is refused above, so the agent alone tells which calls these two are about.

deny contains "an untrusted source reaches a tool with side effects" if {
	agent
	not reading
	not trusted
}

trusted if lineage.free_of(given.untrusted)

deny contains "a blocked taint reaches a tool with side effects" if {
	agent
	not reading
	not clean
}

clean if lineage.clean_of(given.taints)

deny contains "the tool needs an approval" if {
	approved_only
	not approved
}

approved if {
	some step in given.approvals
	step in input.lineage.steps
}

deny contains "an agent sets its own trust" if {
	agent
	not modest
}

modest if input.environment.trust_override == null

deny contains "only a certified sanitizer removes taints" if {
	not lineage.removes_nothing
	not sanitizer
}

sanitizer if lineage.certified(given.sanitizers)
