package lineage

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Source types with fixed scores (F-TS-01).
const (
	SourceSystem        = "system"
	SourceInternal      = "internal"
	SourceVerifiedRAG   = "verified_rag"
	SourceThirdPartyAPI = "third_party_api"
	SourceUserInput     = "user_input"
	SourceInternet      = "internet"
	SourceLLM           = "llm"
)

var fixedOrigins = map[string]int{
	SourceSystem: 100, SourceInternal: 100, SourceVerifiedRAG: 90, SourceThirdPartyAPI: 60,
	SourceUserInput: 40, SourceInternet: 10, SourceLLM: 0,
}

// Origins maps source types to scores. The zero value knows the seven fixed ones.
type Origins struct{ more map[string]int }

// NewOrigins adds source types to the fixed ones, which cannot be overridden (F-TS-02).
func NewOrigins(more map[string]int) (Origins, error) {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(more)) {
		score := more[name]
		if _, fixed := fixedOrigins[name]; fixed {
			errs = append(errs, fmt.Errorf("origin %q is fixed; choose another name", name))
		}
		if name == "" {
			errs = append(errs, errors.New("origin with an empty name"))
		}
		if score < 0 || score > 100 {
			errs = append(errs, fmt.Errorf("origin %q: score %d is outside 0…100", name, score))
		}
	}
	return Origins{more: maps.Clone(more)}, errors.Join(errs...)
}

// Score returns the score of a source type, and whether it is known.
func (o Origins) Score(sourceType string) (score int, known bool) {
	if score, known = fixedOrigins[sourceType]; known {
		return score, true
	}
	score, known = o.more[sourceType]
	return score, known
}

// Names lists the known source types, sorted.
func (o Origins) Names() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for _, m := range []map[string]int{fixedOrigins, o.more} {
			for name := range m {
				if !yield(name) {
					return
				}
			}
		}
	})
}

// A TrustEvaluator computes the score of a call without an override from the score of its source type and the
// scores of its direct parents, all 0…100; parents is empty for a root. It must be a pure function: signer and
// verifier each compute it, and must agree (F-TS-03…06, SPEC §6).
type TrustEvaluator interface {
	Trust(self int, parents []int) int
}

// Attenuate is the default evaluator: a root has its origin's score; any other entry has
// floor(min(parents) × self / 100). Integers only.
type Attenuate struct{}

// Trust implements [TrustEvaluator].
func (Attenuate) Trust(self int, parents []int) int {
	if len(parents) == 0 {
		return self
	}
	return slices.Min(parents) * self / 100
}

// Weighted blends instead of multiplying: floor((History × min(parents) + (100 − History) × self) / 100), never
// above the weakest parent. History is the weight of the past in percent; values outside 0…100 count as the
// nearest bound. With the zero value a call has the lower of its own score and its weakest parent's.
type Weighted struct{ History int }

// Trust implements [TrustEvaluator].
func (w Weighted) Trust(self int, parents []int) int {
	if len(parents) == 0 {
		return self
	}
	weakest, history := slices.Min(parents), min(max(w.History, 0), 100)
	return min(weakest, (history*weakest+(100-history)*self)/100)
}

// MergeTaints computes (union of parents ∪ added) − removed, sorted and unique (F-TT-01…06, SPEC §6). The result
// may share memory with an argument: treat it as read-only.
func MergeTaints(parents [][]string, added, removed []string) []string {
	nonEmpty, only := 0, []string(nil)
	for _, taints := range parents {
		if len(taints) > 0 {
			nonEmpty, only = nonEmpty+1, taints
		}
	}
	if nonEmpty <= 1 && len(added) == 0 && len(removed) == 0 && ascending(only, strings.Compare) {
		return only
	}
	var all []string
	for _, taints := range parents {
		all = append(all, taints...)
	}
	all = append(all, added...)
	slices.Sort(all)
	all = slices.Compact(all)
	if len(removed) > 0 {
		// Searched, not scanned: hundreds of parents may bring very many taints.
		removed = slices.Sorted(slices.Values(removed))
		all = slices.DeleteFunc(all, func(t string) bool { _, found := slices.BinarySearch(removed, t); return found })
	}
	if len(all) == 0 {
		return nil
	}
	return all
}
