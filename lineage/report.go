package lineage

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// ErrUnverified is matched by every error of [Verifier.Verify] that means that the lineage cannot be believed.
var ErrUnverified = errors.New("lineage is not verified")

// A Reason classifies why a lineage is not verified. Its text is stable.
type Reason string

// The reasons, in the order of the checks of SPEC §4.
const (
	Malformed     Reason = "malformed"
	Algorithm     Reason = "unsupported algorithm"
	Limit         Reason = "limit"
	BrokenLink    Reason = "broken link"
	Duplicate     Reason = "duplicate"
	UnknownKey    Reason = "unknown key"
	BadSignature  Reason = "bad signature"
	Uncertified   Reason = "key not certified"
	TaintMismatch Reason = "taint mismatch"
	TrustMismatch Reason = "trust mismatch"
	Unauthorized  Reason = "authority"
	TraceMismatch Reason = "trace mismatch"
	TipMismatch   Reason = "tip mismatch"
)

// A VerifyError is the first failure of a verification. It matches [ErrUnverified], and its cause where there is
// one, for example the error of a key source.
type VerifyError struct {
	Reason  Reason
	Index   int    // of the entry, from 0; -1 for the passport as a whole
	EntryID string // as claimed, "" when it could not be read
	Detail  string
	Err     error // cause, or nil
}

func (e *VerifyError) Error() string {
	where := "passport"
	if e.Index >= 0 {
		where = fmt.Sprintf("entry %d", e.Index)
	}
	if e.EntryID != "" {
		where += " (" + clip(e.EntryID) + ")"
	}
	return fmt.Sprintf("%s: %s: %s", where, e.Reason, e.Detail)
}

// Unwrap makes the error match [ErrUnverified] and its cause.
func (e *VerifyError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrUnverified}
	}
	return []error{ErrUnverified, e.Err}
}

// Check is a set of checks that a report can say were skipped.
type Check uint8

// Checks that entries of legacy principals may lack the labels for (SPEC §15).
const (
	CheckTaintOrder Check = 1 << iota // sorted, unique taint lists
	CheckTrust                        // trust recomputed from the declared source type
	CheckRemoval                      // taints removed under an override or a sanitizer
	CheckTrace                        // trace id equal to the parents'
)

func (c Check) names() []string {
	var out []string
	for i, name := range [...]string{"taint order", "trust", "taint removal", "trace"} {
		if c&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

// Status of an entry in a report.
type Status string

// An entry is valid, or it is the one that failed, or nothing is said about it because an earlier one failed.
const (
	Valid     Status = "valid"
	Failed    Status = "failed"
	Unchecked Status = "unchecked"
)

// EntryReport is one line of a report. For an entry that is not [Valid], everything but Index, Status and Hash
// is what the entry claims.
type EntryReport struct {
	Index      int      `json:"index"`
	Status     Status   `json:"status"`
	Hash       Hash     `json:"hash"`
	ID         string   `json:"entry_id,omitempty"`
	Principal  string   `json:"principal,omitempty"`
	KeyID      string   `json:"kid,omitempty"`
	Operation  string   `json:"operation,omitempty"`
	SourceType string   `json:"source_type,omitempty"`
	TraceID    string   `json:"trace_id,omitempty"`
	TrustScore int      `json:"trust_score"`
	Taints     []string `json:"taints"`
	Parents    []Hash   `json:"parents"`
	Skipped    []string `json:"skipped_checks,omitempty"`
	// Key says what stands behind the entry's key; nil when the key source does not know more than the key.
	Key *Certificate `json:"certified_by,omitempty"`
}

// A Report says what a verification found.
type Report struct {
	Passport      Passport     // the verified lineage; empty unless the report is valid
	Failure       *VerifyError // nil also when verification was not completed
	Reused        int          // entries whose signatures this Verifier had verified before
	AuthorityUsed bool         // an authority policy was in force
	TipsCompared  bool         // tips were announced, and had to be those of the passport

	announced int          // entries that were presented
	verified  bool         // all checks were made and passed
	seen      []*seenEntry // what was read, when verification failed

	certificates map[Hash]Certificate
}

// Valid reports whether the whole lineage was verified. A verification that was not completed, for example
// because its context ended, is not valid although it has no failure.
func (r *Report) Valid() bool { return r.verified }

// Entries describes every entry; none when verification was not completed.
func (r *Report) Entries() []EntryReport {
	out := []EntryReport{}
	if r.Valid() {
		for i, l := range r.Passport.links() {
			e := describe(i, Valid, l.signed, l.skipped)
			if c, known := r.certificates[l.signed.hash]; known {
				e.Key = &c
			}
			out = append(out, e)
		}
		return out
	}
	for i, s := range r.seen {
		status := Unchecked
		if r.Failure.Index >= 0 && i < r.Failure.Index {
			status = Valid
		} else if i == r.Failure.Index {
			status = Failed
		}
		out = append(out, describe(i, status, s.signed, s.skipped))
	}
	return out
}

func describe(i int, status Status, s *Signed, skipped Check) EntryReport {
	r := EntryReport{Index: i, Status: status, Hash: s.hash, KeyID: s.keyID, Skipped: skipped.names(),
		Taints: []string{}, Parents: []Hash{}} // "[]" for machines, not "null"
	if e := s.entry; e != nil {
		r.ID, r.Principal, r.Operation = e.ID, e.Principal(), e.Operation
		r.SourceType, r.TraceID, r.TrustScore = e.SourceType(), e.TraceID(), e.TrustScore
		r.Taints, r.Parents = append(r.Taints, e.Taints...), append(r.Parents, e.Parents...)
	}
	return r
}

// Notes are sentences about what the verification did not establish.
func (r *Report) Notes() []string {
	notes := []string{}
	if !r.AuthorityUsed {
		notes = append(notes, "no authority policy: any known principal may begin a lineage, raise trust and remove taints")
	}
	if !r.TipsCompared {
		notes = append(notes, "no tip was announced: entries cut from the end would not be noticed")
	}
	skipped := 0
	for _, l := range r.Passport.links() {
		if l.skipped != 0 {
			skipped++
		}
	}
	if skipped > 0 {
		notes = append(notes, fmt.Sprintf("%d entries of legacy principals lack labels; some of their checks were skipped", skipped))
	}
	return append(notes, r.keyNotes()...)
}

// keyNotes says what stands behind the keys, where that is less than the platform's own signature.
func (r *Report) keyNotes() []string {
	self, token, times := 0, 0, map[string]int{}
	for _, c := range r.certificates {
		switch c.Form {
		case FormSelf:
			self++
		case FormJWT, FormOIDC:
			token++
		case FormX509, FormKMS:
		}
		times[c.Time]++
	}
	var notes []string
	if self > 0 {
		notes = append(notes, fmt.Sprintf("%s with a key that nobody vouches for: %s", entriesOf(self), FormSelf.Proves()))
	}
	if token > 0 {
		notes = append(notes, fmt.Sprintf("%s with a key that a token certifies: %s", entriesOf(token), FormOIDC.Proves()))
	}
	for _, evidence := range slices.Sorted(maps.Keys(times)) {
		notes = append(notes, fmt.Sprintf("%s: the key was valid %s", entriesOf(times[evidence]), evidence))
	}
	return notes
}

// MarshalJSON writes the report for machines.
func (r *Report) MarshalJSON() ([]byte, error) {
	type failure struct {
		Reason  Reason `json:"reason"`
		Index   int    `json:"index"`
		EntryID string `json:"entry_id,omitempty"`
		Detail  string `json:"detail"`
	}
	out := struct {
		Valid   bool     `json:"valid"`
		Failure *failure `json:"failure,omitempty"`
		Length  int      `json:"length"`
		Tips    []Hash   `json:"tips"`

		AuthorityUsed bool `json:"authority_used"`
		TipsCompared  bool `json:"tips_compared"`

		Entries []EntryReport `json:"entries"`
		Notes   []string      `json:"notes"`
	}{
		Valid: r.Valid(), Length: r.announced, Tips: r.Passport.Tips(), AuthorityUsed: r.AuthorityUsed,
		TipsCompared: r.TipsCompared, Entries: r.Entries(), Notes: r.Notes(),
	}
	if f := r.Failure; f != nil {
		out.Failure = &failure{f.Reason, f.Index, f.EntryID, f.Detail}
	}
	return json.Marshal(out)
}

func entriesOf(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}
