# A call pays up to 1,000 when it is trusted and carries no personal data.
package payments.limit

default allow := false

allow if {
	input.trust_score >= 40
	not "contains_data" in input.subject.taints
	input.object.attributes.amount <= 1000
}
