// Package why explains one entry, or one denial, by its ancestors: which of them made its trust score, which brought
// each taint, and without which of them a policy would have allowed the call. It reads entries and verifies nothing:
// whoever asks verifies first, or says plainly that nobody did.
//
// Every walk costs time in proportion to the entries and links that it sees, and every list in an answer is bounded, so
// that lineage which somebody else made can cost no more than its size.
package why

import (
	"cmp"
	"slices"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
)

// A Record is an entry as it was found.
type Record struct {
	JWS   string
	Hash  lineage.Hash
	Entry lineage.Entry
	Pos   int // in what it was found in; decides the order of ancestors where links do not
}

// Records are what was found, by hash.
type Records map[lineage.Hash]*Record

// Add decodes an entry, and keeps it unless it is there already. Nothing about it is verified.
func (r Records) Add(jws string, l lineage.Limits) (*Record, error) {
	hash := lineage.HashJWS(jws)
	if found := r[hash]; found != nil {
		return found, nil
	}
	entry, _, err := lineage.InsecureInspect(jws, l)
	if err != nil {
		return nil, err
	}
	r[hash] = &Record{JWS: jws, Hash: hash, Entry: entry, Pos: len(r)}
	return r[hash], nil
}

// A Case is an entry and its ancestors. It never changes and is safe for concurrent use.
type Case struct {
	denied  *Denied
	nodes   []node            // the ancestors, parents before children, and the entry itself
	seen    []policy.Ancestor // the nodes as policies see them, without parents
	missing []lineage.Hash
	rules   Rules
}

// Rules are those by which trust follows (SPEC §6): what the verifiers use. The zero value is the usual ones.
type Rules struct {
	Origins lineage.Origins
	Trust   lineage.TrustEvaluator // nil means lineage.Attenuate
}

// node is an entry among the others.
type node struct {
	*Record
	parents []int // positions, ascending
	lacks   bool  // a parent that was not found
}

// Denied says what refused a call.
type Denied struct {
	Policy string `json:"policy"`
	Tier   string `json:"tier"`
	Reason string `json:"reason,omitempty"` // what the engine said, or why it could not decide
}

// Of returns the case of an entry that was signed.
func Of(r *Record, found Records, rules Rules) *Case { return link(r, nil, found, rules) }

// OfDenial returns the case of a call that was denied.
func OfDenial(d lineage.Denial, found Records, rules Rules) *Case {
	return link(&Record{Entry: d.Entry}, &Denied{Policy: d.Policy, Tier: d.Tier, Reason: d.Reason}, found, rules)
}

func link(target *Record, denied *Denied, found Records, rules Rules) *Case {
	if rules.Trust == nil {
		rules.Trust = lineage.Attenuate{}
	}
	c := &Case{denied: denied, rules: rules}
	order := ancestors(target, found)
	at := make(map[lineage.Hash]int, len(order))
	for i, r := range order {
		n := node{Record: r}
		for _, parent := range r.Entry.Parents {
			if p, ok := at[parent]; ok {
				n.parents = append(n.parents, p)
				continue
			}
			n.lacks = true
			c.missing = append(c.missing, parent)
		}
		slices.Sort(n.parents)
		n.parents = slices.Compact(n.parents)
		c.nodes, at[r.Hash] = append(c.nodes, n), i
		c.seen = append(c.seen, kest.AncestorOf(r.Entry))
	}
	slices.SortFunc(c.missing, func(a, b lineage.Hash) int { return cmp.Compare(a.String(), b.String()) })
	c.missing = slices.Compact(c.missing)
	return c
}

// Ended returns the case as policies saw it that knew these outcomes: of each ancestor whose receipt says that it had ended
// when the call began. The receipts have to be verified.
func (c *Case) Ended(receipts map[lineage.Hash]lineage.Receipt) *Case {
	told := *c
	told.seen = slices.Clone(c.seen)
	for i := range c.nodes {
		r, known := receipts[c.nodes[i].Hash]
		if known && r.EndedMS <= c.Entry().TimestampMS {
			told.seen[i].Outcome = string(r.Status)
		}
	}
	return &told
}

// ancestors lists the target last, and before it what its links lead to, parents before children. A link is the hash of
// what it leads to, so there are no cycles (SPEC §2).
func ancestors(target *Record, found Records) []*Record {
	type frame struct {
		record *Record
		next   int // the parent to look at
	}
	var order []*Record
	seen := map[lineage.Hash]bool{target.Hash: true}
	for stack := []frame{{record: target}}; len(stack) > 0; {
		top := &stack[len(stack)-1]
		if top.next == len(top.record.Entry.Parents) {
			order, stack = append(order, top.record), stack[:len(stack)-1]
			continue
		}
		hash := top.record.Entry.Parents[top.next]
		top.next++
		if parent := found[hash]; parent != nil && !seen[hash] {
			seen[hash] = true
			stack = append(stack, frame{record: parent})
		}
	}
	return asFound(order)
}

// asFound puts the ancestors into the order in which they were found, which is the one that policies saw, if parents
// come before children there.
func asFound(order []*Record) []*Record {
	past := slices.Clone(order[:len(order)-1])
	slices.SortFunc(past, func(a, b *Record) int { return a.Pos - b.Pos })
	at := make(map[lineage.Hash]int, len(past))
	for i, r := range past {
		at[r.Hash] = i
	}
	for i, r := range past {
		for _, parent := range r.Entry.Parents {
			if p, ok := at[parent]; ok && p > i {
				return order
			}
		}
	}
	return append(past, order[len(order)-1])
}

// Entry is what is explained.
func (c *Case) Entry() lineage.Entry { return c.target().Entry }

func (c *Case) target() *node { return &c.nodes[len(c.nodes)-1] }

// Lineages returns the entries that have to be verified for the case to be believed, each connected part on its own,
// with its ends. A denial, which is no entry, is not among them; what it follows may have begun in several places.
func (c *Case) Lineages() []lineage.Unverified {
	last := len(c.nodes)
	if c.denied != nil {
		last--
	}
	part := make([]int, last) // union-find: the part that a node belongs to, by its first node
	find := func(i int) int {
		for part[i] != i {
			part[i] = part[part[i]]
			i = part[i]
		}
		return i
	}
	for i := range last {
		part[i] = i
		for _, p := range c.nodes[i].parents {
			a, b := find(i), find(p)
			part[max(a, b)] = min(a, b)
		}
	}
	followed := make([]bool, last)
	for i := range last {
		for _, p := range c.nodes[i].parents {
			followed[p] = true
		}
	}
	var parts []lineage.Unverified
	index := map[int]int{}
	for i := range last {
		root := find(i)
		at, known := index[root]
		if !known {
			at = len(parts)
			index[root], parts = at, append(parts, lineage.Unverified{})
		}
		parts[at].Entries = append(parts[at].Entries, c.nodes[i].JWS)
		if !followed[i] { // nothing can be cut off behind it: the case names it
			parts[at].Tips = append(parts[at].Tips, c.nodes[i].Hash)
		}
	}
	return parts
}

// A Ref names an entry for people and machines.
type Ref struct {
	EntryID    string       `json:"entry_id"`
	Hash       lineage.Hash `json:"hash,omitzero"` // zero for a denial, whose entry was never signed
	Operation  string       `json:"operation"`
	Principal  string       `json:"principal"`
	TrustScore int          `json:"trust_score"`
}

func (c *Case) ref(i int) Ref {
	n := &c.nodes[i]
	return Ref{n.Entry.ID, n.Hash, n.Entry.Operation, n.Entry.Principal(), n.Entry.TrustScore}
}
