package avp

import (
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions/types"

	"github.com/kest-go/kest/policy"
)

// decide reads one decision. The error matches policy.ErrIndefinite.
func decide(decision types.Decision, by []types.DeterminingPolicyItem, errs []types.EvaluationErrorItem) (policy.Decision, error) {
	switch decision {
	case types.DecisionDeny: // nothing can make it an allow
		if len(errs) > 0 { // a denial all the same, and as policy/cedar says it
			return policy.Decision{}, uncomputed("DENY", len(errs))
		}
		return policy.Decision{Reason: reason(by)}, nil
	case types.DecisionAllow:
	case "":
		return policy.Decision{}, indefinite("the answer has no decision")
	default:
		return policy.Decision{}, indefinite("the decision is a string other than ALLOW and DENY")
	}
	switch {
	case len(errs) > 0: // Cedar skips a policy whose condition fails, so a forbid that could not be computed forbids nothing
		return policy.Decision{}, uncomputed("ALLOW", len(errs))
	case errs == nil: // required by the API reference: without it nobody has said that all policies were computed
		return policy.Decision{}, indefinite("ALLOW without a list of errors")
	case len(by) == 0: // Cedar allows nothing that no policy permits
		return policy.Decision{}, indefinite("ALLOW without a policy that determined it")
	}
	return policy.Decision{Allow: true, Reason: reason(by)}, nil
}

func uncomputed(decision string, n int) error {
	return indefinite("%s with %d errors: a policy could not be computed, and it may forbid; test with `has` what may be missing", decision, n)
}

// maxReason bounds the ids of the determining policies in bytes.
const maxReason = 256

// reason names the policies that determined the decision. The ids are left out when they are long or not printable
// ASCII.
func reason(by []types.DeterminingPolicyItem) string {
	ids := make([]string, len(by))
	for i, p := range by {
		ids[i] = aws.ToString(p.PolicyId)
	}
	slices.Sort(ids)
	if list := strings.Join(ids, ", "); list != "" && printable(list) {
		return "determined by " + list
	}
	return ""
}

func printable(s string) bool {
	return len(s) <= maxReason && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
