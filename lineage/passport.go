package lineage

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/kest-go/kest/internal/jcs"
)

// A Passport is a lineage that can be trusted: entries signed here or verified, in topological order, forming one
// directed acyclic graph (F-PA-01…07). The zero value is the empty passport, which is valid.
//
// A Passport is an immutable value. Appending returns another one that shares everything before it, so any
// number of goroutines may extend the same passport at the same time.
type Passport struct{ last *link }

// link is one position in a passport. Links are shared and never change.
type link struct {
	signed  *Signed
	prev    *link
	n       int // position, from 1
	bytes   int // of all compact forms up to here
	memory  int // estimate of what all links up to here hold
	roots   int // entries without parents up to here
	leaves  []*Signed
	sum     summary
	skipped Check // checks that were not made for this entry (SPEC §15)
}

// summary accumulates what policies and the verifier ask of the whole history. Its slices are shared between
// links as long as nothing new comes in.
type summary struct {
	minTrust    int
	principals  []string // sorted
	sourceTypes []string // sorted
	signers     []signer // distinct, of verified entries
}

type signer struct {
	principal, keyID string
	key              string // the public key's bytes
}

func (s *Signed) signer() signer { return signer{s.entry.Principal(), s.keyID, string(s.key)} }

// Summary describes the entries of a passport: the verified ancestors of the next call (SPEC §7). Its slices
// are shared: do not modify them.
type Summary struct {
	Length      int
	Principals  []string // sorted, unique
	SourceTypes []string // sorted, unique
	MinTrust    int      // 100 for the empty passport
}

// Summary returns in constant time what was accumulated while the passport grew.
func (p Passport) Summary() Summary {
	if p.last == nil {
		return Summary{MinTrust: 100}
	}
	s := &p.last.sum
	return Summary{Length: p.last.n, Principals: s.principals, SourceTypes: s.sourceTypes, MinTrust: s.minTrust}
}

// Len is the number of entries.
func (p Passport) Len() int {
	if p.last == nil {
		return 0
	}
	return p.last.n
}

// Size is the length in bytes of the text form.
func (p Passport) Size() int {
	if p.last == nil {
		return len("[]")
	}
	return p.last.bytes + 3*p.last.n + 1 // two quotes and a separator each, and the brackets
}

// Last is the entry at the end of the list, nil for the empty passport.
func (p Passport) Last() *Signed {
	if p.last == nil {
		return nil
	}
	return p.last.signed
}

// Leaves are the entries that no other entry names as a parent: the parents of the next call. Sorted by hash.
func (p Passport) Leaves() []*Signed {
	if p.last == nil {
		return nil
	}
	return slices.Clone(p.last.leaves)
}

// Tips are the hashes of the leaves, sorted: what kest.chain_tip announces.
func (p Passport) Tips() []Hash {
	leaves := p.Leaves()
	tips := make([]Hash, len(leaves))
	for i, s := range leaves {
		tips[i] = s.hash
	}
	return tips
}

// All yields the entries in order.
func (p Passport) All() iter.Seq2[int, *Signed] {
	return func(yield func(int, *Signed) bool) {
		for i, l := range p.links() {
			if !yield(i, l.signed) {
				return
			}
		}
	}
}

// Entries returns the compact JWS of every entry in order, as the guide's passport.entries.
func (p Passport) Entries() []string {
	out := make([]string, 0, p.Len())
	for _, s := range p.All() {
		out = append(out, s.jws)
	}
	return out
}

// Find returns the entry with the given hash, nil when there is none. It takes time linear in the length.
func (p Passport) Find(h Hash) *Signed {
	for l := p.last; l != nil; l = l.prev {
		if l.signed.hash == h {
			return l.signed
		}
	}
	return nil
}

// MarshalText writes the text form: a JSON array of strings, without white space (F-PA-02, NF-INTER-01). Compact
// JWS characters need no escaping.
func (p Passport) MarshalText() ([]byte, error) {
	out := append(make([]byte, 0, p.Size()), '[')
	for i, s := range p.All() {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, '"')
		out = append(out, s.jws...)
		out = append(out, '"')
	}
	return append(out, ']'), nil
}

// MarshalJSON is [Passport.MarshalText].
func (p Passport) MarshalJSON() ([]byte, error) { return p.MarshalText() }

// links returns the chain in order.
func (p Passport) links() []*link {
	out := make([]*link, p.Len())
	for l := p.last; l != nil; l = l.prev {
		out[l.n-1] = l
	}
	return out
}

// Append returns the passport with one more entry, whose parents must be in it. It does not check that the
// entry's id is fresh; the verifier does. Its cost does not grow with the length of the passport when the
// parents are its leaves.
func (p Passport) Append(s *Signed) (Passport, error) {
	for _, parent := range s.entry.Parents {
		if _, leaf := slices.BinarySearchFunc(p.leaves(), parent, compareLeaf); !leaf && p.Find(parent) == nil {
			return Passport{}, fmt.Errorf("append: parent %s is not in the passport", parent)
		}
	}
	return p.extend(s, 0), nil
}

func (p Passport) leaves() []*Signed {
	if p.last == nil {
		return nil
	}
	return p.last.leaves
}

// extend adds an entry whose parents are known to be present.
func (p Passport) extend(s *Signed, skipped Check) Passport {
	l := &link{signed: s, prev: p.last, n: 1, bytes: len(s.jws), skipped: skipped}
	l.sum = summary{minTrust: 100}
	if p.last != nil {
		l.n, l.bytes, l.roots, l.sum = p.last.n+1, p.last.bytes+l.bytes, p.last.roots, p.last.sum
	}
	if s.entry.IsRoot() {
		l.roots++
	}
	l.leaves = make([]*Signed, 0, len(p.leaves())+1)
	for _, leaf := range p.leaves() {
		if _, parent := slices.BinarySearchFunc(s.entry.Parents, leaf.hash, Hash.compare); !parent {
			l.leaves = append(l.leaves, leaf)
		}
	}
	l.leaves = insertLeaf(l.leaves, s)
	l.sum.add(s)
	l.memory = l.estimate()
	if p.last != nil {
		l.memory += p.last.memory
	}
	return Passport{last: l}
}

func insertLeaf(leaves []*Signed, s *Signed) []*Signed {
	i, _ := slices.BinarySearchFunc(leaves, s.hash, compareLeaf)
	return slices.Insert(leaves, i, s)
}

func compareLeaf(leaf *Signed, h Hash) int { return leaf.hash.compare(h) }

func (s *summary) add(e *Signed) {
	s.minTrust = min(s.minTrust, e.entry.TrustScore)
	s.principals = withString(s.principals, e.entry.Principal())
	if source := e.entry.SourceType(); source != "" {
		s.sourceTypes = withString(s.sourceTypes, source)
	}
	if e.key != nil {
		if ref := e.signer(); !slices.Contains(s.signers, ref) {
			s.signers = append(slices.Clip(s.signers), ref)
		}
	}
}

// withString returns a sorted list that contains item; the argument is never changed.
func withString(list []string, item string) []string {
	i, found := slices.BinarySearch(list, item)
	if found {
		return list
	}
	return slices.Insert(slices.Clip(list), i, item)
}

// ErrConflict is returned by [Merge] for two different entries that carry the same id.
var ErrConflict = errors.New("two different entries have the same id")

// Merge returns a passport with the entries of both, those of p first. Its leaves are those entries that have no
// child in either. It costs time in proportion to what p and q do not share as a prefix.
func Merge(p, q Passport) (Passport, error) {
	ours, theirs := diverge(p.last, q.last)
	if len(theirs) == 0 {
		return p, nil
	}
	if len(ours) == 0 {
		return q, nil
	}
	known, ids := make(map[Hash]bool, len(ours)), make(map[string]bool, len(ours))
	for _, l := range ours {
		known[l.signed.hash], ids[l.signed.entry.ID] = true, true
	}
	merged := p
	for _, l := range theirs {
		if known[l.signed.hash] {
			continue
		}
		if ids[l.signed.entry.ID] {
			return Passport{}, fmt.Errorf("merge: entry %s: %w", l.signed.entry.ID, ErrConflict)
		}
		merged = merged.extend(l.signed, l.skipped)
	}
	return merged, nil
}

// diverge returns the links of a and b after their longest shared prefix, each in order.
func diverge(a, b *link) (as, bs []*link) {
	for a != b {
		switch {
		case b == nil || a != nil && a.n > b.n:
			as, a = append(as, a), a.prev
		case a == nil || b.n > a.n:
			bs, b = append(bs, b), b.prev
		default:
			as, bs, a, b = append(as, a), append(bs, b), a.prev, b.prev
		}
	}
	slices.Reverse(as)
	slices.Reverse(bs)
	return as, bs
}

// Check reports whether the passport is within the limits.
func (p Passport) Check(l Limits) error {
	l = l.withDefaults()
	if p.Len() > l.PassportEntries {
		return fmt.Errorf("passport of %d entries, more than the limit of %d: %w", p.Len(), l.PassportEntries, ErrLimit)
	}
	if p.Size() > l.PassportBytes {
		return fmt.Errorf("passport of %d bytes, more than the limit of %d: %w", p.Size(), l.PassportBytes, ErrLimit)
	}
	return nil
}

// ErrLimit is matched by every error about something that exceeds a field of [Limits].
var ErrLimit = errors.New("over a limit")

// Unverified is a passport as it came from outside. Nothing in it may be believed; only
// [Verifier.Verify] turns it into a [Passport].
type Unverified struct {
	Entries []string // compact JWS strings
	Tips    []Hash   // leaf hashes that were announced with it; nil when none came
}

// ParsePassport reads the text form within the limits: a JSON array of strings, with any spacing. It checks
// nothing about the entries.
func ParsePassport(text []byte, l Limits) (Unverified, error) {
	l = l.withDefaults()
	if len(text) > l.PassportBytes {
		return Unverified{}, fmt.Errorf("passport of %d bytes, more than the limit of %d: %w", len(text), l.PassportBytes, ErrLimit)
	}
	// A parsed value takes much more memory than its text, so the number of entries is bounded first. No compact
	// JWS contains a comma.
	if commas := bytes.Count(text, []byte{','}); commas >= l.PassportEntries {
		return Unverified{}, fmt.Errorf("passport of %d entries, more than the limit of %d: %w", commas+1, l.PassportEntries, ErrLimit)
	}
	doc, err := jcs.Parse(text, jcs.Options{MaxDepth: 1})
	if err != nil {
		return Unverified{}, fmt.Errorf("passport: %w", err)
	}
	if doc.Kind != jcs.Array {
		return Unverified{}, fmt.Errorf("passport is a JSON %s; want an array of compact JWS strings", doc.Kind)
	}
	u := Unverified{Entries: make([]string, len(doc.Elems))}
	for i, item := range doc.Elems {
		if item.Kind != jcs.String {
			return Unverified{}, fmt.Errorf("passport: entry %d is a JSON %s; want a string", i, item.Kind)
		}
		u.Entries[i] = item.Text
	}
	return u, nil
}
