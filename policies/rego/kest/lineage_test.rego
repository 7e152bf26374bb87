package kest.lineage_test

import data.kest.lineage

mark := {"by": "spiffe://example.org/a", "other": "spiffe://example.org/b"}

call := {
	"subject": {"workload": mark.by, "user": "ada", "taints": ["raw"]},
	"environment": {"operation": "pay", "source_type": "internal", "removed_taints": []},
	"lineage": {
		"principals": [mark.by], "resources": ["order/1"], "taints": ["raw", "web"], "unsanitized_sources": ["internet"],
		"steps": [
			{"operation": "check", "principal": mark.by, "outcome": "ok"},
			{"operation": "read", "principal": mark.by, "outcome": "error"},
		],
		"acts": [
			{"operation": "check", "principal": mark.by, "outcome": "ok", "resource": "order/1"},
			{"operation": "ship", "principal": mark.by, "outcome": "error", "resource": "order/1"},
		],
		"users": [{"operation": "check", "user": "ada"}],
		"ancestors": [
			{"operation": "check", "principal": mark.by, "resource": "order/1", "outcome": "ok", "labels": {"tier": "gold"}},
			{"operation": "read", "principal": mark.by, "resource": null, "outcome": "error", "labels": {}},
		],
		"ancestors_omitted": 0,
	},
}

test_known if lineage.known with input as call

test_not_known_without_a_list if {
	every name in ["steps", "acts", "users", "resources", "principals", "taints", "unsanitized_sources"] {
		lame := json.remove(call, [sprintf("/lineage/%s", [name])])
		not lineage.known with input as lame
		not lineage.free_of([]) with input as lame
	}
}

test_complete if lineage.complete with input as call

test_not_complete if not lineage.complete with input.lineage.ancestors_omitted as 1

test_performed if {
	lineage.performed("read", mark.by) with input as call
	not lineage.performed("read", mark.other) with input as call
	not lineage.performed("write", mark.by) with input as call
}

test_performed_ok if {
	lineage.performed_ok("check", mark.by) with input as call
	not lineage.performed_ok("check", mark.other) with input as call
	not lineage.performed_ok("read", mark.by) with input as call
}

test_performed_on if {
	lineage.performed_on("check", mark.by, "order/1") with input as call
	not lineage.performed_on("check", mark.by, "order/2") with input as call
	not lineage.performed_on("check", mark.other, "order/1") with input as call
	not lineage.performed_on("ship", mark.by, "order/1") with input as call
	not lineage.performed_on("read", mark.by, null) with input as call
	lineage.performed_on("check", mark.by, "order/1") with input as json.remove(call, ["/lineage/ancestors"])
}

test_by_user if {
	lineage.by_user("check", "ada") with input as call
	not lineage.by_user("check", "bob") with input as call
	not lineage.by_user("read", "ada") with input as call
}

test_touched if {
	lineage.touched("order/1") with input as call
	not lineage.touched("order") with input as call
	not lineage.touched(null) with input as call
}

test_signed_label if {
	lineage.signed_label("tier", "gold", mark.by) with input as call
	not lineage.signed_label("tier", "gold", mark.other) with input as call
	not lineage.signed_label("tier", "silver", mark.by) with input as call
	not lineage.signed_label("rank", "gold", mark.by) with input as call
}

test_tainted if {
	lineage.tainted("raw") with input as call
	not lineage.tainted("web") with input as call
	lineage.ever_tainted("web") with input as call
	not lineage.ever_tainted("pii") with input as call
}

test_unsanitized if {
	lineage.unsanitized("internet") with input as call
	lineage.unsanitized("internal") with input as call
	not lineage.unsanitized("llm") with input as call
	lineage.any_unsanitized(["llm", "internet"]) with input as call
	not lineage.any_unsanitized(["llm", "user_input"]) with input as call
	not lineage.any_unsanitized([]) with input as call
}

test_free_of if {
	lineage.free_of(["llm"]) with input as call
	lineage.free_of([]) with input as call
	not lineage.free_of(["llm", "internet"]) with input as call
	not lineage.free_of(["internal"]) with input as call
	not lineage.free_of("llm") with input as call
	not lineage.free_of({"a": "llm"}) with input as call
}

test_clean_of if {
	lineage.clean_of(["web"]) with input as call
	not lineage.clean_of(["web", "raw"]) with input as call
	not lineage.clean_of("web") with input as call
	not lineage.clean_of(["web"]) with input as json.remove(call, ["/subject/taints"])
}

test_removes_nothing if {
	lineage.removes_nothing with input as call
	not lineage.removes_nothing with input as object.union(call, {"environment": {"removed_taints": ["raw"]}})
	not lineage.removes_nothing with input as json.remove(call, ["/environment/removed_taints"])
}

test_certified if {
	lineage.certified([{"operation": "pay", "workload": mark.by}]) with input as call
	not lineage.certified([{"operation": "pay", "workload": mark.other}]) with input as call
	not lineage.certified([{"operation": "read", "workload": mark.by}]) with input as call
	not lineage.certified([]) with input as call
}
