package lineage

import (
	"crypto/ed25519"
	"slices"
	"sync"
)

// cache remembers verified entries by their exact compact form, so a changed byte is another entry. What it saves
// is parsing and signature checks; keys are asked for again on every use, so a removed key takes effect at once.
//
// Memory is bounded by two generations: when the younger one is full the older one is dropped. A link that is used
// moves, with everything before it, to the younger one.
type cache struct {
	mu           sync.Mutex
	most         int // bytes in one generation
	bytes        int // in young
	young, older map[string]*link
}

// linkOverhead estimates the fixed part of a remembered entry: the structs, the map of labels, the map slot.
const linkOverhead = 2 << 10

// estimate is the memory that l holds and its predecessor does not. Lists count with their length: a wide fork has
// as many leaves as entries, and an entry of short names more string headers than text.
func (l *link) estimate() int {
	e, sum := l.signed.entry, &l.sum
	names := len(e.AddedTaints) + len(e.RemovedTaints) + len(e.Taints) + len(e.Policies.Enterprise) +
		len(e.Policies.Platform) + len(e.Policies.Application) + len(e.Policies.Function) + 5*len(e.Policies.Deviations)
	size := linkOverhead + 2*len(l.signed.jws) + 32*len(e.Parents) + 16*names + 8*len(l.leaves)
	before := summary{}
	if l.prev != nil {
		before = l.prev.sum
	}
	if n := len(sum.principals); n > len(before.principals) {
		size += 16 * n
	}
	if n := len(sum.sourceTypes); n > len(before.sourceTypes) {
		size += 16 * n
	}
	if n := len(sum.signers); n > len(before.signers) {
		size += 48 * n
	}
	return size
}

func newCache(bytes int) *cache {
	if bytes < 0 {
		return nil
	}
	if bytes == 0 {
		bytes = 32 << 20
	}
	return &cache{most: bytes / 2, young: map[string]*link{}}
}

// drop forgets everything, and what verifications under way want to add.
func (c *cache) drop() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most, c.bytes, c.young, c.older = -1, 0, nil, nil
}

func (c *cache) get(jws string) *link {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.young[jws]; l != nil {
		return l
	}
	return c.older[jws]
}

// signed returns a remembered entry wherever it stood.
func (c *cache) signed(jws string) *Signed {
	if l := c.get(jws); l != nil {
		return l.signed
	}
	return nil
}

// store remembers every entry of a verified passport. The walk stops at the first link that is in the young
// generation already, because everything before it was put there with it or after it.
func (c *cache) store(p Passport) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.last != nil && p.last.memory > c.most {
		return
	}
	for l := p.last; l != nil && c.young[l.signed.jws] != l; l = l.prev {
		size := l.memory
		if l.prev != nil {
			size -= l.prev.memory
		}
		if c.bytes+size > c.most {
			c.older, c.young, c.bytes = c.young, make(map[string]*link, len(c.young)), 0
		}
		// Counted also where it takes the place of another link of the same entry: that one may live on as the
		// predecessor of a link that stays. Otherwise presenting one wide passport in many orders would hold one
		// uncounted chain for each of them.
		c.bytes += size
		c.young[l.signed.jws] = l
	}
}

// resume finds the longest prefix of the passport that was verified before and whose keys are all still valid.
// It compares every byte of the passport at most once: where a remembered lineage differs from this one, the
// search goes on before the difference.
func (r *run) resume() error {
	for n := len(r.entries); n > 0 && r.v.cache != nil; n-- {
		l := r.v.cache.get(r.entries[n-1])
		if l == nil || l.n != n {
			continue
		}
		if different := firstDifference(l, r.entries); different > 0 {
			n = different
			continue
		}
		if r.stillTrusted(l.sum.signers...) {
			r.prefix = Passport{last: l}
		} // otherwise everything is verified again, and the entry at fault is found and named
		break
	}
	return r.ctx.Err()
}

// firstDifference compares the entries before l, from the last to the first, byte for byte; l itself is known to
// be equal. It returns the position, from 1, of the first difference that it meets, or 0.
func firstDifference(l *link, entries []string) int {
	for p := l.prev; p != nil; p = p.prev {
		if p.signed.jws != entries[p.n-1] {
			return p.n
		}
	}
	return 0
}

// stillTrusted reports whether the key source still names the key of every signer.
func (r *run) stillTrusted(signers ...signer) bool {
	for _, s := range signers {
		keys, err := r.v.config.Keys.Keys(r.ctx, s.principal, s.keyID)
		if err != nil || !slices.ContainsFunc(keys, func(k ed25519.PublicKey) bool { return string(k) == s.key }) {
			return false
		}
	}
	return true
}
