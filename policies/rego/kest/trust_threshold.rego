# Trust threshold: a call goes on only with enough trust.
#
# Rule    trust_score >= min. The score is the one that follows from the lineage: a call that sets its own
#         (TrustOverride) is refused, unless its workload is one that may.
# Data    trust_threshold.min: 0 to 100; trust_threshold.may_override: workloads
# Cannot  judge overrides of ancestors. Those of this guard were refused by this policy when they were made; those of
#         others are for the verifier's authority (lineage.Grant.OverrideTrust).
package kest.trust_threshold

import data.kest.deployment.trust_threshold as given

default allow := false

allow if {
	is_number(given.min)
	is_array(given.may_override)
	count(deny) == 0
}

deny contains "the trust score is below the threshold" if not enough

enough if input.trust_score >= given.min

deny contains "the workload may not set its own trust score" if not computed

computed if input.environment.trust_override == null

computed if input.subject.workload in given.may_override
