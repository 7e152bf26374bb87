package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Deviation is an authorised exemption: it lifts exactly one policy of one tier for matching operations, and
// is recorded in the signed entry (F-PE-11…13). It comes from deployment configuration only.
type Deviation struct {
	Policy   string
	Tier     Tier
	Scope    string // operation name; "*" stands for any run of characters
	Reason   string
	Approver string
	NotAfter time.Time // zero: no end
}

// Validate reports what makes the deviation unusable. An expired one is valid: it is ignored, not wrong.
func (d Deviation) Validate() error {
	var errs []error
	if err := ValidateName(d.Policy); err != nil {
		errs = append(errs, err)
	}
	switch d.Tier {
	case Enterprise, Platform, Application:
	case Function:
		errs = append(errs, errors.New("function policies cannot be deviated; remove the policy from the call instead"))
	default:
		errs = append(errs, fmt.Errorf("unknown tier %q; use enterprise, platform or application", d.Tier))
	}
	if d.Scope == "" {
		errs = append(errs, errors.New(`empty scope; name an operation, or "*" for all`))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("deviation of %q: %w", d.Policy, err)
	}
	return nil
}

// Expired reports whether the deviation ended before now.
func (d Deviation) Expired(now time.Time) bool { return !d.NotAfter.IsZero() && now.After(d.NotAfter) }

// Lifts reports whether the deviation exempts operation from the policy name of tier at now.
func (d Deviation) Lifts(tier Tier, name, operation string, now time.Time) bool {
	return d.Covers(tier, name, operation) && !d.Expired(now)
}

// Covers is [Deviation.Lifts] without regard to time.
func (d Deviation) Covers(tier Tier, name, operation string) bool {
	return d.Tier == tier && tier != Function && d.Policy == name && matchScope(d.Scope, operation)
}

// matchScope matches "*" against any run of characters, "/" and "." included. Linear in both lengths for each
// star, and scopes come from configuration.
func matchScope(scope, operation string) bool {
	head, rest, star := strings.Cut(scope, "*")
	if !star {
		return scope == operation
	}
	after, ok := strings.CutPrefix(operation, head)
	if !ok {
		return false
	}
	for {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(after, part)
		}
		i := strings.Index(after, part)
		if i < 0 {
			return false
		}
		after, rest = after[i+len(part):], next
	}
}
