package lineage

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// An Approval is what an approver signs about a deviation: every word of it, so that none can be changed afterwards.
// Its signature is a detached JWS (RFC 7515 appendix F) with typ "kest-deviation+jws" over the canonical JSON of
// {approver, not_after, policy, reason, scope, tier}; not_after is RFC 3339 in UTC, or null for none.
type Approval struct {
	Policy, Tier, Scope string
	Reason, Approver    string
	NotAfter            time.Time // whole seconds; zero for no end
}

const typApproval = "kest-deviation+jws"

// maxApproval bounds the payload of an approval, in bytes.
const maxApproval = 16 << 10

// SignApproval signs a, whose approver must be the signer's principal. The result is header..signature.
func SignApproval(ctx context.Context, s Signer, a Approval) (string, error) {
	if a.Approver != s.Principal() {
		return "", fmt.Errorf("approval: the approver is %q and the signer %q", clip(a.Approver), clip(s.Principal()))
	}
	jws, err := signCompact(ctx, s, typApproval, Limits{}.withDefaults(), nil, a.appendJSON)
	if err != nil {
		return "", fmt.Errorf("sign approval: %w", err)
	}
	header, rest, _ := strings.Cut(jws, ".")
	_, signature, _ := strings.Cut(rest, ".")
	return header + ".." + signature, nil
}

// VerifyApproval checks the detached signature of a by the keys of its approver, and returns the id of the key. Errors
// match [ErrUnverified]. keys must not be a [Certifier]: certified keys count for a time, and an approval does not say when
// it was signed.
func VerifyApproval(ctx context.Context, keys KeySource, a Approval, signature string) (keyID string, err error) {
	if _, timed := keys.(Certifier); timed {
		return "", fmt.Errorf("approval: %w: %T has keys that count for a time; use a KeySet", ErrUnverified, keys)
	}
	if len(signature) > maxHeaderBytes {
		return "", fmt.Errorf("approval: %w: signature of %d bytes: %w", ErrUnverified, len(signature), ErrLimit)
	}
	header, rest, ok := strings.Cut(signature, "..")
	if !ok {
		return "", fmt.Errorf("approval: %w: not a detached JWS, header..signature", ErrUnverified)
	}
	payload, err := a.appendJSON(nil)
	if err != nil {
		return "", fmt.Errorf("approval: %w: %w", ErrUnverified, err)
	}
	c, err := parseCompact(header+"."+string(appendBase64(nil, payload))+"."+rest, typApproval, Limits{}.withDefaults(), nil)
	if err != nil {
		return "", fmt.Errorf("approval: %w: %w", ErrUnverified, err)
	}
	key, err := signingKey(ctx, keys, "approver ", a.Approver, c)
	if err != nil {
		return "", fmt.Errorf("approval: %w", err)
	}
	if key == nil {
		return "", fmt.Errorf("approval: %w: no key of approver %q matches the signature; a changed word needs a new one",
			ErrUnverified, clip(a.Approver))
	}
	return Thumbprint(key), nil
}

func (a Approval) appendJSON(dst []byte) ([]byte, error) {
	if !a.NotAfter.Equal(a.NotAfter.Truncate(time.Second)) {
		return dst, fmt.Errorf("not_after has fractions of a second")
	}
	start := len(dst)
	w := writer{buf: dst}
	w.member(`{"approver":`, a.Approver)
	end := ""
	if !a.NotAfter.IsZero() {
		end = a.NotAfter.UTC().Format(time.RFC3339)
	}
	w.orNull(`,"not_after":`, end)
	w.member(`,"policy":`, a.Policy)
	w.member(`,"reason":`, a.Reason)
	w.member(`,"scope":`, a.Scope)
	w.member(`,"tier":`, a.Tier)
	w.raw("}")
	if w.err == nil && len(w.buf)-start > maxApproval {
		return w.buf, fmt.Errorf("of %d bytes, more than the limit of %d: %w", len(w.buf)-start, maxApproval, ErrLimit)
	}
	return w.buf, w.err
}
