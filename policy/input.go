package policy

import "encoding/json"

// Input is the document that every engine sees (SPEC §7, F-PE-09). Its shape is published as a JSON Schema in
// [InputSchema]. Types are fixed here, before any engine sees them, because engines compare across types
// (`"high" >= 40` is true in Rego). It never holds a bearer token or an argument of the call.
type Input struct {
	Subject     Subject
	Object      Object
	Environment Environment
	TrustScore  int // the same as Subject.TrustScore, where the guide's policies read it
	Lineage     Lineage

	// Labels are those that the application gives this call's entry, which will be signed. nil when there are none.
	Labels map[string]string
	// Attributes are the caller's own facts for the policy, as JSON values. nil when there are none.
	Attributes map[string]any
}

// Subject is who acts. User, Agent and Task are empty, and null in the document, when the call has none.
type Subject struct {
	Workload          string
	User, Agent, Task string
	TrustScore        int
	Taints            []string // sorted
}

// Object is what is acted on. ID is empty, and null in the document, when the call names none.
type Object struct {
	ID         string
	Attributes map[string]any // JSON values; nil when there are none
}

// Environment is the circumstances of the call.
type Environment struct {
	IsRoot           bool
	SourceType       string
	ParentHashes     []string // lower-case hex, sorted; empty for a root
	PolicyNames      []string // of the tier that is being asked
	PolicyTier       Tier
	ActiveDeviations []Deviation
	Operation        string
	Classification   string
	EntryID          string
	TraceID          string

	// What the call declares beyond what follows from its parents (SPEC §6). Verifiers may refuse it.
	TrustOverride *int     // the score that it sets; nil for none
	RemovedTaints []string // sorted
	Sanitizer     string   // the procedure that justifies RemovedTaints; "" for none
}

// Lineage summarises the verified ancestors of the call. For a root it is empty, with a MinTrust of 100.
type Lineage struct {
	Length      int      // entries before this one
	Principals  []string // sorted, unique
	MinTrust    int      // lowest score among the ancestors; 100 when there are none
	SourceTypes []string // sorted, unique

	History *History // the ancestors themselves; nil for a root
}

// Document returns the input as JSON-like Go values (nil, bool, int, string, []any, map[string]any). Maps in
// Attributes are shared, not copied: treat the result as read-only.
func (in *Input) Document() map[string]any {
	env := &in.Environment
	parent := any("0")
	if len(env.ParentHashes) > 0 {
		parent = env.ParentHashes[0]
	}
	deviations := make([]any, len(env.ActiveDeviations))
	for i, d := range env.ActiveDeviations {
		deviations[i] = map[string]any{
			"policy": d.Policy, "tier": string(d.Tier), "reason": orNull(d.Reason), "approver": orNull(d.Approver),
			"approver_key": orNull(d.ApproverKey),
		}
	}
	return map[string]any{
		"subject": map[string]any{
			"workload": in.Subject.Workload, "user": orNull(in.Subject.User), "agent": orNull(in.Subject.Agent),
			"task": orNull(in.Subject.Task), "trust_score": in.Subject.TrustScore, "taints": list(in.Subject.Taints),
		},
		"object": map[string]any{"id": orNull(in.Object.ID), "attributes": object(in.Object.Attributes)},
		"environment": map[string]any{
			"is_root": env.IsRoot, "source_type": env.SourceType,
			"parent_hash": parent, "parent_hashes": list(env.ParentHashes),
			"policy_names": list(env.PolicyNames), "policy_tier": string(env.PolicyTier),
			"active_deviations": deviations, "operation": env.Operation, "classification": env.Classification,
			"entry_id": env.EntryID, "trace_id": env.TraceID,
			"trust_override": override(env.TrustOverride), "removed_taints": list(env.RemovedTaints),
			"sanitizer": orNull(env.Sanitizer),
		},
		"identity": map[string]any{
			"workload": in.Subject.Workload, "user": orNull(in.Subject.User),
			"agent": orNull(in.Subject.Agent), "task": orNull(in.Subject.Task),
		},
		"trust_score": in.TrustScore,
		"lineage":     in.Lineage.document(),
		"labels":      texts(in.Labels),
		"attributes":  object(in.Attributes),
	}
}

// MarshalJSON writes the document of [Input.Document], for a value as for a pointer: no other JSON form exists.
func (in Input) MarshalJSON() ([]byte, error) { return json.Marshal(in.Document()) }

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func override(score *int) any {
	if score == nil {
		return nil
	}
	return *score
}

func list(ss []string) []any {
	out := make([]any, len(ss))
	for i, s := range ss {
		out[i] = s
	}
	return out
}

func object(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}
