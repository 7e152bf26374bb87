package lineage

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// semantics is check 5: what an entry says about trust, taints and its trace follows from its parents, and
// whatever does not follow was allowed to its principal.
func (v *Verifier) semantics(s *seenEntry) *VerifyError {
	for _, check := range []func(*seenEntry) *VerifyError{v.checkTaints, v.checkTrust, checkTrace, v.checkObserved} {
		if failure := check(s); failure != nil {
			return failure
		}
	}
	return nil
}

func (v *Verifier) checkTaints(s *seenEntry) *VerifyError {
	e := s.signed.entry
	inherited := make([][]string, len(s.parents))
	for i, parent := range s.parents {
		inherited[i] = parent.Taints
	}
	want := MergeTaints(inherited, e.AddedTaints, e.RemovedTaints)
	if !slices.Equal(want, e.Taints) {
		return &VerifyError{Reason: TaintMismatch,
			Detail: fmt.Sprintf("entry has taints %s; its parents and its own changes give %s", brief(e.Taints), brief(want))}
	}
	if len(e.RemovedTaints) == 0 {
		return nil
	}
	_, override, _ := e.TrustOverride()
	if !override && e.Sanitizer() == "" && s.skipped&CheckRemoval == 0 {
		return &VerifyError{Reason: Unauthorized, Detail: "taints were removed without a trust override or a sanitizer"}
	}
	for _, taint := range e.RemovedTaints {
		if v.config.Authority != nil && !v.config.Authority.mayRemove(e.Principal(), taint) {
			return &VerifyError{Reason: Unauthorized,
				Detail: fmt.Sprintf("principal %q may not remove taint %q", clip(e.Principal()), clip(taint))}
		}
	}
	return nil
}

// brief prints a taint list for an error, bounded and with control characters escaped.
func brief(taints []string) string {
	quoted := strconv.Quote(clip(strings.Join(taints, " ")))
	return "[" + quoted[1:len(quoted)-1] + "]"
}

func (v *Verifier) checkTrust(s *seenEntry) *VerifyError {
	e := s.signed.entry
	parents := make([]int, len(s.parents))
	for i, parent := range s.parents {
		parents[i] = parent.TrustScore
	}
	if s.skipped&CheckTrust != 0 {
		return v.checkLegacyTrust(e, parents)
	}
	self, known := v.config.Origins.Score(e.SourceType())
	if !known {
		return &VerifyError{Reason: TrustMismatch,
			Detail: fmt.Sprintf("source type %q is not known to this verifier", clip(e.SourceType()))}
	}
	want := v.config.Trust.Trust(self, parents)
	if e.IsRoot() && v.config.Authority != nil && !v.config.Authority.mayOriginate(e.Principal(), e.SourceType(), self) {
		return &VerifyError{Reason: Unauthorized,
			Detail: fmt.Sprintf("principal %q may not begin a lineage with source type %q", clip(e.Principal()), clip(e.SourceType()))}
	}
	if score, override, err := e.TrustOverride(); err != nil {
		return &VerifyError{Reason: Malformed, Detail: err.Error()}
	} else if override {
		if v.config.Authority != nil && score > want && !v.config.Authority.mayOverride(e.Principal(), score) {
			return &VerifyError{Reason: Unauthorized,
				Detail: fmt.Sprintf("principal %q may not raise trust from %d to %d", clip(e.Principal()), want, score)}
		}
		want = score
	}
	if e.TrustScore != want {
		return &VerifyError{Reason: TrustMismatch,
			Detail: fmt.Sprintf("entry claims trust %d; its parents and source type give %d", e.TrustScore, want)}
	}
	return nil
}

// checkLegacyTrust bounds what cannot be recomputed: under an authority policy, even a legacy principal begins no
// lineage and raises no trust beyond its grants.
func (v *Verifier) checkLegacyTrust(e *Entry, parents []int) *VerifyError {
	if v.config.Authority == nil {
		return nil
	}
	if len(parents) == 0 {
		if !v.config.Authority.mayOriginate(e.Principal(), "", e.TrustScore) {
			return &VerifyError{Reason: Unauthorized,
				Detail: fmt.Sprintf("legacy principal %q may not begin a lineage with trust %d", clip(e.Principal()), e.TrustScore)}
		}
		return nil
	}
	if e.TrustScore > slices.Min(parents) && !v.config.Authority.mayOverride(e.Principal(), e.TrustScore) {
		return &VerifyError{Reason: Unauthorized,
			Detail: fmt.Sprintf("legacy principal %q may not raise trust to %d", clip(e.Principal()), e.TrustScore)}
	}
	return nil
}

// checkTrace demands that an entry has its parents' trace id; a parent of another trace must be named in the
// entry's signed kest.joined label.
func checkTrace(s *seenEntry) *VerifyError {
	e := s.signed.entry
	if s.skipped&CheckTrace != 0 {
		return nil
	}
	var joined []string
	if label := e.Labels[LabelJoined]; label != "" {
		joined = strings.Split(label, ",")
	}
	for _, parent := range s.parents {
		trace := parent.TraceID()
		if trace == e.TraceID() || !validTraceID(trace) || slices.Contains(joined, trace) {
			continue
		}
		return &VerifyError{Reason: TraceMismatch,
			Detail: fmt.Sprintf("a parent belongs to trace %q, which %s does not name", clip(trace), LabelJoined)}
	}
	return nil
}

// checkObserved refuses what a policy under trial would not have allowed, when the authority policy says so.
func (v *Verifier) checkObserved(s *seenEntry) *VerifyError {
	if v.config.Authority == nil || len(v.config.Authority.RefuseObserved) == 0 {
		return nil
	}
	for _, o := range s.signed.entry.Observed() {
		if o.Verdict != VerdictAllow && (o.Policy == "" || listed(v.config.Authority.RefuseObserved, o.Policy)) {
			return &VerifyError{Reason: Unauthorized,
				Detail: fmt.Sprintf("policy %q, which was observed only, did not allow the call", clip(o.Policy))}
		}
	}
	return nil
}
