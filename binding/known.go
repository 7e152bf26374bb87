package binding

import (
	"crypto/ed25519"
	"crypto/sha256"
	"maps"
	"slices"
	"time"

	"github.com/kest-go/kest/lineage"
)

// known is a binding that was verified under some roots.
type known struct {
	binding *lineage.KeyBinding
	key     *lineage.BoundKey
	keys    []ed25519.PublicKey // the one key, as Keys returns it
	roots   *lineage.Roots
}

func (k *known) claim() claim { return claim{k.binding.Principal(), k.binding.KeyID()} }

func (s *Source) recall(c claim) *known {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.known[c]
}

// meanBytes is the size of a binding for which there is room: one with a chain of three has about 3 KiB.
const meanBytes = 4 << 10

// cost bounds both the number of keys and their bytes, when it is bounded for all.
func (k *known) cost() int { return max(meanBytes, len(k.binding.Text())) }

// sweepEvery is how often what has ended is looked for, among keys that nobody asks for any more.
const sweepEvery = time.Minute

// remember reports whether the binding is new. What is refused is never remembered here, so only whoever has an identity
// can take the place of others.
func (s *Source) remember(k *known) (fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, now := k.claim(), time.Now()
	old := s.known[c]
	if old != nil {
		s.drop(c)
	}
	if now.Sub(s.swept) >= sweepEvery {
		s.sweep(now)
	}
	if s.size+k.cost() > s.config.MaxKeys*meanBytes {
		s.sweep(now)
		s.makeRoom()
	}
	s.known[c] = k
	s.size += k.cost()
	return old == nil || old.binding != k.binding && old.binding.Text() != k.binding.Text()
}

// sweep forgets what has ended.
func (s *Source) sweep(now time.Time) {
	s.swept = now
	for c, k := range s.known {
		if now.After(k.key.NotAfter.Add(s.config.Leeway)) {
			s.drop(c)
		}
	}
}

// makeRoom forgets an eighth of all, at least, so that it is not called for every new key. A workload may have its
// platform certify as many keys as it likes, so the principals with the most give way, down to the same for each.
func (s *Source) makeRoom() {
	held := map[string]int{}
	for c, k := range s.known {
		held[c.principal] += k.cost()
	}
	share := fairShare(slices.Sorted(maps.Values(held)), (s.config.MaxKeys-s.config.MaxKeys/8-1)*meanBytes)
	for c, k := range s.known {
		if held[c.principal] > share {
			held[c.principal] -= k.cost()
			s.drop(c)
		}
	}
}

// fairShare is what everybody may hold of a total, when those who hold less leave the rest to the others. held is sorted.
func fairShare(held []int, total int) int {
	for i, h := range held {
		if left := len(held) - i; h > total/left {
			return total / left
		}
		total -= h
	}
	return total
}

// drop forgets a key, so completely that the store is asked for it again.
func (s *Source) drop(c claim) {
	s.size -= s.known[c].cost()
	delete(s.known, c)
	delete(s.asked, c.keyID)
}

// forget drops k, unless another has taken its place.
func (s *Source) forget(c claim, k *known) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[c] == k {
		s.drop(c)
	}
}

// misses remember what led nowhere: for a while, and under the roots of the time, because others may prove more.
type misses[K comparable] map[K]miss

type miss struct {
	roots *lineage.Roots
	until time.Time
}

func (m misses[K]) has(key K, roots *lineage.Roots) bool {
	e, there := m[key]
	return there && e.roots == roots && time.Now().Before(e.until)
}

// add forgets everything when there is no room: what that costs is bounded by what it took to fill it.
func (m misses[K]) add(key K, most int, e miss) {
	if len(m) >= most {
		clear(m)
	}
	m[key] = e
}

func (s *Source) miss(roots *lineage.Roots) miss {
	return miss{roots, time.Now().Add(s.config.NegativeTTL)}
}

// refuse notes that a binding proves nothing, so that a request that names a key many times has it checked once. Only
// its hash is kept: neither a stranger's text nor its length.
func (s *Source) refuse(text string, roots *lineage.Roots) {
	hash := sha256.Sum256([]byte(text))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused.add(hash, s.config.MaxKeys, s.miss(roots))
}

func (s *Source) wasRefused(text string, roots *lineage.Roots) bool {
	hash := sha256.Sum256([]byte(text))
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.refused.has(hash, roots)
}
