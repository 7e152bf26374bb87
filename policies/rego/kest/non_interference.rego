# Goguen–Meseguer non-interference: what a domain does is not shaped by domains that must not interfere with it.
#
# Rule    Every workload belongs to a domain. All ancestors of a call belong to its own domain, or to one from which
#         information may flow to it. Removing taints changes nothing: the purge of a domain's actions must not be
#         noticed.
# Data    workloads[id].domain; non_interference.flows[domain]: the domains that may interfere with it, not transitive
# Cannot  see channels that are no guarded calls: shared files, time. A downgrader is a domain of its own that may
#         hear the high one, but the high one remains an ancestor: its results must leave by a new lineage, or under a
#         deviation.
# Others  It is about every call. A workload without a domain is refused, and so is what follows from one.
package kest.non_interference

import data.kest.deployment
import data.kest.deployment.non_interference as given
import data.kest.lineage

default allow := false

allow if {
	lineage.known
	is_object(given.flows)
	is_string(domain)
	count(deny) == 0
}

domain := deployment.workloads[input.subject.workload].domain

deny contains "a domain that must not interfere is among the ancestors" if not undisturbed

undisturbed if {
	every principal in input.lineage.principals {
		interferes(deployment.workloads[principal].domain)
	}
}

interferes(other) if other == domain

interferes(other) if other in given.flows[domain]
