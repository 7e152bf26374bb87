package lineage

import "fmt"

// link is check 2 for one entry: its parents are earlier entries, and neither it nor its id was seen before.
func (r *run) link(s *seenEntry) *VerifyError {
	e := s.signed.entry
	if r.byHash[s.signed.hash] != nil {
		return &VerifyError{Reason: Duplicate, Detail: "the same entry stands earlier in the passport"}
	}
	if r.ids[e.ID] {
		return &VerifyError{Reason: Duplicate, Detail: "another entry has the same entry_id"}
	}
	if r.inPrefix(s.signed) {
		return &VerifyError{Reason: Duplicate, Detail: "an earlier entry has the same hash or entry_id"}
	}
	if r.v.config.Linear {
		if failure := r.linear(e); failure != nil {
			return failure
		}
	}
	s.parents = make([]*Entry, 0, len(e.Parents))
	for _, hash := range e.Parents {
		parent := r.find(hash)
		if parent == nil {
			return &VerifyError{Reason: BrokenLink, Detail: fmt.Sprintf("parent %s is not an earlier entry", hash)}
		}
		s.parents = append(s.parents, parent)
	}
	return nil
}

// linear is the flat rule: a root, then entries whose only parent is the one before (F-PA-04).
func (r *run) linear(e *Entry) *VerifyError {
	previous := r.prefix.Last()
	if len(r.seen) > 0 {
		previous = r.seen[len(r.seen)-1].signed
	}
	if previous == nil && e.IsRoot() || previous != nil && len(e.Parents) == 1 && e.Parents[0] == previous.hash {
		return nil
	}
	return &VerifyError{Reason: BrokenLink, Detail: "the only parent is not the previous entry, as linear mode demands"}
}

func (r *run) find(hash Hash) *Entry {
	if s := r.byHash[hash]; s != nil {
		return s.signed.entry
	}
	if r.indexed() {
		return r.prefixByHash[hash]
	}
	if s := r.prefix.Find(hash); s != nil {
		return s.entry
	}
	return nil
}

func (r *run) inPrefix(s *Signed) bool {
	if r.indexed() {
		return r.prefixByHash[s.hash] != nil || r.prefixIDs[s.entry.ID]
	}
	for l := r.prefix.last; l != nil; l = l.prev {
		if l.signed.hash == s.hash || l.signed.entry.ID == s.entry.ID {
			return true
		}
	}
	return false
}

// fewScans is how many searches of the prefix walk it before an index is made: an entry or two, the usual case,
// are cheaper without, and hundreds of entries that name hundreds of parents must not cost their product.
const fewScans = 8

func (r *run) indexed() bool {
	if r.scans < fewScans || r.prefix.last == nil {
		r.scans++
		return false
	}
	if r.prefixByHash == nil {
		n := r.prefix.Len()
		r.prefixByHash, r.prefixIDs = make(map[Hash]*Entry, n), make(map[string]bool, n)
		for l := r.prefix.last; l != nil; l = l.prev {
			r.prefixByHash[l.signed.hash], r.prefixIDs[l.signed.entry.ID] = l.signed.entry, true
		}
	}
	return true
}

// connected completes check 2: all entries hang together. Every entry but a root hangs on earlier ones, so only
// several roots can make several parts.
func (r *run) connected() *VerifyError {
	roots := 0
	if r.prefix.last != nil {
		roots = r.prefix.last.roots
	}
	for _, s := range r.seen {
		if s.signed.entry.IsRoot() {
			roots++
		}
	}
	if roots <= 1 {
		return nil
	}
	passport := r.prefix
	for _, s := range r.seen {
		passport = passport.extend(s.signed, 0)
	}
	i := passport.secondPart()
	if i < 0 {
		return nil
	}
	return &VerifyError{Reason: BrokenLink, Index: i, EntryID: passport.links()[i].signed.entry.ID,
		Detail: "a second root that no later entry joins with the first"}
}

// Connected reports whether every entry hangs together with every other, as verification demands. Only [Merge]
// makes a passport of several parts; an entry that has a leaf of each among its parents ties them.
func (p Passport) Connected() bool { return p.secondPart() < 0 }

// secondPart returns the index of the first entry that does not hang together with entry 0, or -1. Every entry
// but a root hangs on earlier ones, so only several roots can make several parts.
func (p Passport) secondPart() int {
	if p.last == nil || p.last.roots <= 1 {
		return -1
	}
	links := p.links()
	index, part := make(map[Hash]int, len(links)), make([]int, len(links))
	find := func(i int) int {
		for part[i] != i {
			part[i] = part[part[i]] // path halving keeps this near constant
			i = part[i]
		}
		return i
	}
	for i, l := range links {
		index[l.signed.hash], part[i] = i, i
		for _, parent := range l.signed.entry.Parents {
			a, b := find(i), find(index[parent])
			part[max(a, b)] = min(a, b)
		}
	}
	for i := range links {
		if find(i) != 0 {
			return i
		}
	}
	return -1
}
