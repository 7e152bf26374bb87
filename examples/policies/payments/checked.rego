# An order is paid after a check of the same order, and not when the internet shaped it.
package payments.checked

default allow := false

allow if {
	some act in input.lineage.acts
	act.operation == "fraud.check"
	act.principal == "spiffe://example.org/fraud"
	act.outcome == "ok"
	act.resource == input.object.id
	not "internet" in input.lineage.unsanitized_sources
}
