package lineage

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/kest-go/kest/internal/jcs"
)

// SchemaVersion is the entry format that this package reads and writes (F-AE-01).
const SchemaVersion = "0.3.0"

// Labels that the library owns. A caller's labels can never replace them (SPEC §2).
const (
	LabelPrincipal          = "principal"          // workload id of the signer
	LabelTraceID            = "trace_id"           // 32 lower-case hex digits
	LabelIdentity           = "kest.identity"      // canonical JSON of user, agent, task
	LabelIssuer             = "kest.identity.iss"  // who named the workload, for OIDC identities
	LabelSubject            = "kest.identity.sub"  // and what it is called there
	LabelResourceID         = "kest.resource_id"   // what is acted on
	LabelResourceAttributes = "kest.resource_attr" // canonical JSON object
	LabelSourceType         = "kest.source_type"   // also when it was defaulted
	LabelTrustOverride      = "kest.trust_override"
	LabelSanitizer          = "kest.sanitizer"
	LabelJoined             = "kest.joined"          // trace ids of parents from other traces, comma-separated
	LabelPolicyRevision     = "kest.policy_revision" // of the policies that decided, where their engine has one; comma-separated
	LabelObserved           = "kest.observed"        // policies under trial and what they said; see [Entry.Observed]
)

// MaxPolicyRevision is how many bytes of each revision [LabelPolicyRevision] has: the beginning, which is enough to tell it
// from all others: a whole git hash, 132 bits of a SHA-256.
const MaxPolicyRevision = 40

// ReservedLabel reports whether a label name belongs to the library.
func ReservedLabel(name string) bool {
	return name == LabelPrincipal || name == LabelTraceID || strings.HasPrefix(name, "kest.")
}

// An Entry is what one protected call signs before its body runs (F-AE-01…13). Slices and maps of an entry that
// was signed or verified must not be modified.
type Entry struct {
	Runtime        Runtime
	ID             string // UUID v7, lower case
	Operation      string
	Classification string
	TrustScore     int    // 0…100
	Parents        []Hash // empty for a root; sorted in the signed form

	AddedTaints, RemovedTaints, Taints []string // sorted, unique, non-empty strings

	Labels      map[string]string
	Policies    PolicyContext
	Environment Object
	OTelContext Object

	InputHash   string // 64 hex digits, or "" when input hashing was turned off
	ContentHash string // "" in entries of this library: they are signed before the body runs
	TimestampMS int64  // Unix milliseconds; never used to order or to validate (NF-SEC-05)

	// Extra holds unknown members that were read, as a JSON object; [Sign] refuses an entry that has any.
	Extra Object

	unsorted string // the first taint list that was not strictly ascending in the signed bytes, or ""
}

// Runtime names the software that wrote an entry. It is a claim: nothing is decided by it.
type Runtime struct{ Name, Version string }

// PolicyContext lists the policies that were in force for the call, by tier (F-AE-08).
type PolicyContext struct {
	Enterprise, Platform, Application, Function []string
	Deviations                                  []Deviation
}

// Deviation is an exemption that was in force for the call. Reason and Approver are empty when not given; ApproverKey is
// the id of the key with which Approver signed it, "" when nobody did. See [Approval].
type Deviation struct{ Policy, Tier, Reason, Approver, ApproverKey string }

// Object is a JSON object in canonical text form. The zero value stands for {}.
type Object string

// NewObject encodes v, which must marshal to a JSON object, in canonical form.
func NewObject(v any) (Object, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	if len(raw) == 0 || raw[0] != '{' {
		return "", errors.New("value does not encode to a JSON object")
	}
	canonical, err := jcs.Canonicalize(nil, raw, jcs.Options{Integers: jcs.Reject})
	if err != nil {
		return "", err
	}
	return Object(canonical), nil
}

func (o Object) text() string {
	if o == "" {
		return "{}"
	}
	return string(o)
}

// check holds an object that is about to be signed to what readers demand of it: it may be any text, because
// Object is a string type. One level of nesting is the entry's own.
func (o Object) check(l Limits) error {
	if o == "" {
		return nil
	}
	if l.Depth--; l.Depth < 1 {
		return fmt.Errorf("nested too deeply: %w", ErrLimit)
	}
	doc, err := canonicalDocument([]byte(o), l)
	if err == nil && doc.Kind != jcs.Object {
		err = fmt.Errorf("is a JSON %s; want an object", doc.Kind)
	}
	return err
}

// MarshalJSON writes the object itself.
func (o Object) MarshalJSON() ([]byte, error) { return []byte(o.text()), nil }

// Principal is the workload that signed, by its own label; the verifier holds it against the key.
func (e Entry) Principal() string { return e.Labels[LabelPrincipal] }

// TraceID is the trace that the entry belongs to.
func (e Entry) TraceID() string { return e.Labels[LabelTraceID] }

// SourceType is the declared origin of the call's data, "" only in entries of legacy principals.
func (e Entry) SourceType() string { return e.Labels[LabelSourceType] }

// Sanitizer is the name of the sanitizer that the call declared, or "".
func (e Entry) Sanitizer() string { return e.Labels[LabelSanitizer] }

// TrustOverride returns the declared override, if there is one.
func (e Entry) TrustOverride() (score int, present bool, err error) {
	text, present := e.Labels[LabelTrustOverride]
	if !present {
		return 0, false, nil
	}
	score, err = strconv.Atoi(text)
	if err != nil || strconv.Itoa(score) != text || score < 0 || score > 100 {
		return 0, true, fmt.Errorf("label %s: %q is not an integer from 0 to 100", LabelTrustOverride, clip(text))
	}
	return score, true, nil
}

// An Observation is what a policy under trial said of a call that it could not stop.
type Observation struct {
	Tier, Policy string
	Verdict      string // "allow", "deny", or "error" when it could not decide
}

// Observed reads the label kest.observed: tier:policy=verdict, comma-separated. What is not of that form reads as a
// verdict of "error", so that it counts as a refusal for those who look.
func (e Entry) Observed() []Observation {
	label := e.Labels[LabelObserved]
	if label == "" {
		return nil
	}
	var out []Observation
	for item := range strings.SplitSeq(label, ",") {
		name, verdict, _ := strings.Cut(item, "=")
		tier, policy, _ := strings.Cut(name, ":")
		if policy == "" || verdict != VerdictAllow && verdict != VerdictDeny {
			verdict = VerdictError
		}
		out = append(out, Observation{tier, policy, verdict})
	}
	return out
}

// Verdicts of an [Observation].
const (
	VerdictAllow = "allow"
	VerdictDeny  = "deny"
	VerdictError = "error"
)

// IsRoot reports whether the entry has no parents.
func (e Entry) IsRoot() bool { return len(e.Parents) == 0 }

// clip bounds untrusted text that is quoted in an error.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
