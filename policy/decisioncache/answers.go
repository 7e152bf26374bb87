package decisioncache

import (
	"cmp"
	"container/list"
	"sync"
	"time"

	"github.com/kest-go/kest/policy"
)

// answers is a bounded map, the least recently used entry of which goes first.
type answers struct {
	max int
	ttl time.Duration

	mu    sync.Mutex
	byKey map[key]*list.Element // of *answer
	used  list.List             // the latest first
}

type answer struct {
	key      key
	decision policy.Decision
	expires  time.Time
}

func newAnswers(limit int, ttl time.Duration) *answers {
	return &answers{
		max: cmp.Or(limit, DefaultMaxEntries), ttl: cmp.Or(ttl, DefaultTTL), byKey: map[key]*list.Element{},
	}
}

func (a *answers) get(k key, now time.Time) (policy.Decision, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, ok := a.byKey[k]
	if !ok {
		return policy.Decision{}, false
	}
	found := at.Value.(*answer)
	if !now.Before(found.expires) {
		a.remove(at)
		return policy.Decision{}, false
	}
	a.used.MoveToFront(at)
	return found.decision, true
}

// put keeps d, which was asked for at the instant asked. Of two calls that missed together the later to come stays:
// both are answers of the same revision.
func (a *answers) put(k key, d policy.Decision, asked time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old, ok := a.byKey[k]; ok {
		a.remove(old)
	}
	if a.used.Len() >= a.max {
		a.remove(a.used.Back())
	}
	a.byKey[k] = a.used.PushFront(&answer{key: k, decision: d, expires: asked.Add(a.ttl)})
}

func (a *answers) remove(at *list.Element) {
	delete(a.byKey, a.used.Remove(at).(*answer).key)
}
