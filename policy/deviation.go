package policy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kest-go/kest/lineage"
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

	// Signature is what Approver signed about all of the above, "" for nothing; see [Deviation.Sign]. It counts for
	// nothing until [Deviation.Verify].
	Signature string
	// ApproverKey is the id of the key that Verify found behind Signature. Whatever else it is set to counts for nothing.
	ApproverKey string
}

// Sign has the approver sign the deviation, every word of it. The signer's principal must be the approver.
func (d Deviation) Sign(ctx context.Context, approver lineage.Signer) (Deviation, error) {
	signature, err := lineage.SignApproval(ctx, approver, d.approval())
	if err != nil {
		return Deviation{}, fmt.Errorf("deviation of %q: %w", d.Policy, err)
	}
	d.Signature, d.ApproverKey = signature, ""
	return d, nil
}

// Verify checks the signature by the keys of the approver, and returns the deviation with its ApproverKey.
// Errors match [lineage.ErrUnverified].
func (d Deviation) Verify(ctx context.Context, approvers lineage.KeySource) (Deviation, error) {
	if d.Signature == "" {
		return Deviation{}, fmt.Errorf("deviation of %q: %w: it is not signed; have its approver sign it", d.Policy, lineage.ErrUnverified)
	}
	key, err := lineage.VerifyApproval(ctx, approvers, d.approval(), d.Signature)
	if err != nil {
		return Deviation{}, fmt.Errorf("deviation of %q: %w", d.Policy, err)
	}
	d.ApproverKey = key
	return d, nil
}

func (d Deviation) approval() lineage.Approval {
	return lineage.Approval{
		Policy: d.Policy, Tier: string(d.Tier), Scope: d.Scope, Reason: d.Reason, Approver: d.Approver, NotAfter: d.NotAfter,
	}
}

// maxText bounds what entries repeat of a deviation, in bytes.
const maxText = 1 << 10

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
	for _, text := range []struct{ name, value string }{{"scope", d.Scope}, {"reason", d.Reason}, {"approver", d.Approver}} {
		if len(text.value) > maxText || !utf8.ValidString(text.value) { // it could not be signed into entries
			errs = append(errs, fmt.Errorf("%s: %d bytes; want UTF-8 text of at most %d", text.name, len(text.value), maxText))
		}
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
