package report

import (
	"fmt"

	"github.com/kest-go/kest/lineage"
)

// remarks says what an auditor must not miss about an entry: policies that were lifted, by whose approval, and policies
// under trial that would have refused it. An entry may have hundreds.
func remarks(e *lineage.Entry) []string {
	var all []string
	for _, d := range e.Policies.Deviations {
		text := fmt.Sprintf("deviation: %s policy %s lifted", Name(d.Tier, 20), Name(d.Policy, nameColumns))
		if d.Approver != "" {
			text += ", approver " + Name(d.Approver, nameColumns)
		}
		if d.ApproverKey != "" {
			text += ", signed with key " + Name(d.ApproverKey, nameColumns)
		} else {
			text += ", not signed"
		}
		all = append(all, text)
	}
	for _, o := range e.Observed() {
		if o.Verdict != lineage.VerdictAllow {
			all = append(all, "on trial: "+observed(o))
		}
	}
	const most = 16
	if more := len(all) - most; more > 0 {
		all = append(all[:most], fmt.Sprintf("and %d more; inspect shows them", more))
	}
	return all
}

// observed says what a policy under trial said of a call.
func observed(o lineage.Observation) string {
	verdict := map[string]string{lineage.VerdictAllow: "allowed", lineage.VerdictDeny: "would have denied"}[o.Verdict]
	if verdict == "" {
		verdict = "could not decide"
	}
	return fmt.Sprintf("%s policy %s %s", Name(o.Tier, 20), Name(o.Policy, nameColumns), verdict)
}
