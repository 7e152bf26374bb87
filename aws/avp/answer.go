package avp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions/types"

	"github.com/kest-go/kest/policy"
)

// decide reads one decision. The error matches policy.ErrIndefinite.
func decide(decision types.Decision, by []types.DeterminingPolicyItem, errs []types.EvaluationErrorItem) (policy.Decision, error) {
	switch decision {
	case types.DecisionDeny: // whatever else it says: nothing can make it an allow
		return policy.Decision{Reason: reason(by, len(errs))}, nil
	case types.DecisionAllow:
	case "":
		return policy.Decision{}, indefinite("the answer has no decision")
	default:
		return policy.Decision{}, indefinite("the decision is a string other than ALLOW and DENY")
	}
	switch {
	case len(errs) > 0: // Cedar skips a policy whose condition fails, so a forbid that could not be computed forbids nothing
		return policy.Decision{}, indefinite("ALLOW with %d errors: a policy could not be computed, and it may forbid; "+
			"test with `has` what may be missing", len(errs))
	case errs == nil: // required by the API reference: without it nobody has said that all policies were computed
		return policy.Decision{}, indefinite("ALLOW without a list of errors")
	case len(by) == 0: // Cedar allows nothing that no policy permits
		return policy.Decision{}, indefinite("ALLOW without a policy that determined it")
	}
	return policy.Decision{Allow: true, Reason: reason(by, 0)}, nil
}

// maxReason bounds the ids of the determining policies in bytes.
const maxReason = 256

// reason names the policies that determined the decision and, for a denial, tells of errors. The ids are left out
// when they are long or not printable ASCII.
func reason(by []types.DeterminingPolicyItem, failed int) string {
	var parts []string
	ids := make([]string, len(by))
	for i, p := range by {
		ids[i] = aws.ToString(p.PolicyId)
	}
	slices.Sort(ids)
	if list := strings.Join(ids, ", "); list != "" && printable(list) {
		parts = append(parts, "determined by "+list)
	}
	if failed > 0 {
		parts = append(parts, fmt.Sprintf("%d errors: policies that could not be computed were skipped", failed))
	}
	return strings.Join(parts, "; ")
}

func printable(s string) bool {
	return len(s) <= maxReason && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
