package lineage

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxPolicies bounds each list of the policy context. The entry's size bounds it too; this keeps a report short.
const maxPolicies = 1024

// validate checks values that were read or are about to be signed. The error names the member.
func (e *Entry) validate(l Limits) error {
	switch {
	case !validID(e.ID):
		return fmt.Errorf("entry_id: %q is not a lower-case UUID v7", clip(e.ID))
	case e.Operation == "":
		return errors.New("operation: empty")
	case e.Classification == "":
		return errors.New("classification: empty")
	case e.Runtime.Name == "":
		return errors.New("runtime.name: empty")
	case e.TrustScore < 0 || e.TrustScore > 100:
		return fmt.Errorf("trust_score: %d is outside 0…100", e.TrustScore)
	case e.TimestampMS < 0 || e.TimestampMS > 1<<53-1:
		return fmt.Errorf("timestamp_ms: %d is outside 0…2^53-1", e.TimestampMS)
	case !validDigest(e.InputHash):
		return errors.New(`input_hash: want 64 lower-case hex digits or ""`)
	case !validDigest(e.ContentHash):
		return errors.New(`content_hash: want 64 lower-case hex digits or ""`)
	}
	for _, list := range []struct {
		member string
		taints []string
	}{{"added_taints", e.AddedTaints}, {"removed_taints", e.RemovedTaints}, {"taints", e.Taints}} {
		if err := validTaints(list.taints, l.Taints); err != nil {
			return fmt.Errorf("%s: %w", list.member, err)
		}
	}
	if err := e.validateLabels(l); err != nil {
		return err
	}
	return e.Policies.validate(l)
}

// validTaints checks count and content; order is the verifier's matter, because entries of legacy principals are
// unsorted (SPEC §15).
func validTaints(taints []string, most int) error {
	if len(taints) > most {
		return fmt.Errorf("%d taints, more than the limit of %d: %w", len(taints), most, ErrLimit)
	}
	if slices.Contains(taints, "") {
		return errors.New("empty taint")
	}
	return nil
}

func (e *Entry) validateLabels(l Limits) error {
	if len(e.Labels) > l.Labels {
		return fmt.Errorf("labels: %d labels, more than the limit of %d: %w", len(e.Labels), l.Labels, ErrLimit)
	}
	for name, value := range e.Labels {
		if name == "" {
			return errors.New("labels: empty name")
		}
		if len(value) > l.LabelBytes {
			return fmt.Errorf("%s: %d bytes, more than the limit of %d: %w", labelPath(name), len(value), l.LabelBytes, ErrLimit)
		}
	}
	if e.Principal() == "" {
		return errors.New("labels.principal: missing")
	}
	_, _, err := e.TrustOverride()
	return err
}

// labelPath names a label in an error. A name is untrusted text, so anything but a plain one is quoted.
func labelPath(name string) string {
	plain := name != "" && len(name) <= 80 && strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	}) < 0
	if plain {
		return "labels." + name
	}
	return fmt.Sprintf("labels[%q]", clip(name))
}

func (p *PolicyContext) validate(l Limits) error {
	for _, tier := range []struct {
		member string
		names  []string
	}{
		{"enterprise_policies", p.Enterprise}, {"platform_policies", p.Platform},
		{"app_policies", p.Application}, {"function_policies", p.Function},
	} {
		if err := validPolicies(tier.names, l); err != nil {
			return fmt.Errorf("policy_context.%s: %w", tier.member, err)
		}
	}
	if len(p.Deviations) > maxPolicies {
		return fmt.Errorf("policy_context.deviations: %d items, more than the limit of %d: %w", len(p.Deviations), maxPolicies, ErrLimit)
	}
	for _, d := range p.Deviations {
		if d.Policy == "" || d.Tier == "" {
			return errors.New("policy_context.deviations: policy or tier is empty")
		}
	}
	return nil
}

func validPolicies(names []string, l Limits) error {
	if len(names) > maxPolicies {
		return fmt.Errorf("%d items, more than the limit of %d: %w", len(names), maxPolicies, ErrLimit)
	}
	for _, name := range names {
		if name == "" {
			return errors.New("empty policy name")
		}
		if len(name) > l.PolicyNameBytes {
			return fmt.Errorf("policy name of %d bytes, more than the limit of %d: %w", len(name), l.PolicyNameBytes, ErrLimit)
		}
	}
	return nil
}

// unsortedTaints names the first taint list that is not strictly ascending, as SPEC §2 demands of entries that do
// not come from a legacy principal; "" when all are.
func (e *Entry) unsortedTaints() string {
	switch {
	case !ascending(e.AddedTaints, strings.Compare):
		return "added_taints"
	case !ascending(e.RemovedTaints, strings.Compare):
		return "removed_taints"
	case !ascending(e.Taints, strings.Compare):
		return "taints"
	}
	return ""
}

// ascending reports whether list is sorted and without duplicates.
func ascending[T any](list []T, compare func(a, b T) int) bool {
	for i := 1; i < len(list); i++ {
		if compare(list[i-1], list[i]) >= 0 {
			return false
		}
	}
	return true
}

// validID accepts a lower-case UUID of version 7 and the RFC 9562 variant.
func validID(id string) bool {
	if len(id) != 36 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return id[14] == '7' && strings.IndexByte("89ab", id[19]) >= 0
}

// validTraceID accepts a W3C trace id: 32 lower-case hex digits, not all zero.
func validTraceID(id string) bool {
	return len(id) == 32 && isHex(id) && id != "00000000000000000000000000000000"
}
