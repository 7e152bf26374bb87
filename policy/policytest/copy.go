package policytest

import (
	"maps"
	"slices"

	"github.com/kest-go/kest/policy"
)

// Copy returns a deep copy of in: no slice or map is shared but for those of the history, which nobody may change. Attributes are copied as far as they are JSON
// values (map[string]any, []any and scalars) or maps and slices of strings; other values are shared. A nil
// input gives nil.
func Copy(in *policy.Input) *policy.Input {
	if in == nil {
		return nil
	}
	out := *in
	out.Subject.Taints = slices.Clone(in.Subject.Taints)
	out.Object.Attributes = copyMap(in.Object.Attributes)
	env := &out.Environment
	env.ParentHashes = slices.Clone(env.ParentHashes)
	env.PolicyNames = slices.Clone(env.PolicyNames)
	env.ActiveDeviations = slices.Clone(env.ActiveDeviations)
	env.RemovedTaints = slices.Clone(env.RemovedTaints)
	if env.TrustOverride != nil {
		score := *env.TrustOverride
		env.TrustOverride = &score
	}
	out.Lineage.Principals = slices.Clone(in.Lineage.Principals)
	out.Lineage.SourceTypes = slices.Clone(in.Lineage.SourceTypes)
	out.Labels = maps.Clone(in.Labels)
	out.Attributes = copyMap(in.Attributes)
	return &out
}

func copyMap(m map[string]any) map[string]any {
	if m == nil {
		return nil
	}
	out := make(map[string]any, len(m))
	for key, value := range m {
		out[key] = copyValue(value)
	}
	return out
}

func copyValue(value any) any {
	switch v := value.(type) {
	case map[string]any:
		return copyMap(v)
	case []any:
		if v == nil {
			return v
		}
		out := make([]any, len(v))
		for i := range v {
			out[i] = copyValue(v[i])
		}
		return out
	case []string:
		return slices.Clone(v)
	case map[string]string:
		return maps.Clone(v)
	}
	return value
}
