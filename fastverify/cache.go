package fastverify

import (
	"container/list"
	"sync"
)

// carry is how many times MinUses signatures a key must show over several
// calls, when no single call has MinUses of them, before it gets a table. Such
// a table is a guess that the key will come again. Were every guess wrong, as
// when somebody cycles through more keys than MaxKeys, the tables thrown away
// would cost about 1/carry of the time of the standard verifications in between.
const carry = 8

// A cache keeps the tables of the keys used last and counts the signatures seen
// of keys without one. It is safe for concurrent use.
type cache struct {
	maxKeys, minUses int

	mu     sync.Mutex
	tables map[[32]byte]*list.Element // of *entry
	order  *list.List                 // front: used last
	seen   map[[32]byte]int           // at most 8·maxKeys keys
	built  uint64
}

// An entry is a key's table, made once by the first caller that needs it.
type entry struct {
	key  [32]byte
	once sync.Once
	t    *table
}

func newCache(maxKeys, minUses int) *cache {
	return &cache{
		maxKeys: maxKeys, minUses: minUses,
		tables: make(map[[32]byte]*list.Element),
		order:  list.New(),
		seen:   make(map[[32]byte]int),
	}
}

// table returns the table of a key of which the caller holds n signatures, or
// nil when the standard library should verify them.
func (c *cache) table(key *[32]byte, n int) *table {
	if c == nil {
		return nil
	}
	e := c.entry(key, n)
	if e == nil {
		return nil
	}
	e.once.Do(func() {
		if e.t = newKeyTable(&e.key); e.t == nil {
			c.drop(e)
		}
	})
	return e.t
}

// entry finds the entry of the key, or makes one when a table will pay.
func (c *cache) entry(key *[32]byte, n int) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.tables[*key]; ok {
		c.order.MoveToFront(el)
		return el.Value.(*entry)
	}
	if n < c.minUses && !c.carried(key, n) {
		return nil
	}
	delete(c.seen, *key)
	if c.order.Len() >= c.maxKeys {
		oldest := c.order.Back()
		delete(c.tables, c.order.Remove(oldest).(*entry).key)
	}
	e := &entry{key: *key}
	c.tables[*key] = c.order.PushFront(e)
	c.built++
	return e
}

// carried counts n more signatures of the key and reports whether they are
// enough for a table. The counts are bounded by forgetting them all.
func (c *cache) carried(key *[32]byte, n int) bool {
	uses := c.seen[*key] + n
	if uses >= carry*c.minUses {
		return true
	}
	if uses == n && len(c.seen) >= 8*c.maxKeys {
		clear(c.seen)
	}
	c.seen[*key] = uses
	return false
}

// drop forgets an entry whose key is not a point, so that it takes no room.
func (c *cache) drop(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.built--
	if el, ok := c.tables[e.key]; ok && el.Value.(*entry) == e {
		c.order.Remove(el)
		delete(c.tables, e.key)
	}
}

func (c *cache) stats() (held, built uint64) {
	if c == nil {
		return 0, 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return uint64(c.order.Len()), c.built
}
