package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/kest-go/kest/store"
)

// long is a time that no check lives to see the end of.
const long = store.MaxTTL

var background = context.Background()

// holds expects value under key.
func holds(s store.Store, key string, value []byte) error {
	got, err := get(background, s, key, nil)
	if err == nil && !bytes.Equal(got, value) {
		err = fmt.Errorf("get: another value, %d bytes instead of %d", len(got), len(value))
	}
	return err
}

func (p *probe) roundTrip() error {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	values := map[string][]byte{
		"nil": nil, "empty": {}, "NUL": {0}, "0xff": {0xff}, "not UTF-8": []byte("a\xff\xfeb\x00"), "every byte": every,
		"text": []byte(`["eyJhbGciOiJFZERTQSJ9.e30.c2ln"]`), "space": []byte(" \r\n\t "), "quotes": []byte(`'"` + "`" + `\'; --`),
		"64 KiB": bytes.Repeat([]byte{0, 1, 0xff}, 64<<10/3)[:min(p.MaxValue, 64<<10/3*3)],
		"limit":  bytes.Repeat([]byte("\xff"), p.MaxValue),
	}
	var errs []error
	for name, value := range values {
		key := p.key()
		err := put(background, p.first, key, value, long, nil)
		if err == nil {
			err = holds(p.first, key, value)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("value %q: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// distinct: keys are compared byte by byte, and every key that is allowed works.
func (p *probe) distinct() error {
	r := p.random
	keys := []string{
		r + "a", r + "A", r + "a.", r + ".a", r + "..a", r + ":a", r + "_a", r + "-a", r + "a:b", r + "a.b", r + "a_b", r + "a-b",
		r + "a.b.c", "." + r, ".." + r, ":" + r, "-" + r, "--" + r, "_" + r, "0" + r, r, r + ".", r + ":", r + "-", r + "_",
		r + "3A", r + "_3A", strings.ToUpper("x" + r), "x" + r, "kest.claim." + r[:8] + "-4711-4711-8711-" + r[:12],
		r + strings.Repeat("k", store.MaxKey-len(r)), r + strings.Repeat("k", store.MaxKey-len(r)-1),
	}
	var errs []error
	for i, key := range keys {
		if err := put(background, p.first, key, fmt.Appendf(nil, "value %d", i), long, nil); err != nil {
			errs = append(errs, fmt.Errorf("key %q: %w", key, err))
		}
	}
	for i, key := range keys {
		if err := holds(p.first, key, fmt.Appendf(nil, "value %d", i)); err != nil {
			errs = append(errs, fmt.Errorf("key %q: %w", key, err))
		}
	}
	return errors.Join(errs...)
}

// HostileKeys returns keys that every store must refuse before it does anything with them.
func HostileKeys() []string {
	return []string{
		"", " ", "a b", "a\x00b", "a\nb", "a\r\nSET x y", "a\tb", "*", ">", "a.*", "a.>", "a/b", "../a", `a\b`, "a,b", "a;b", "a=b",
		"a%b", "a%2eb", "a+b", "{a}b", "[a]", "(a)", "<a>", "a|b", "a&b", "a?b", "a#b", "a@b", "a!b", "a~b", "a^b", "a$b", "$1", "?",
		"a'b", `a"b`, "a`b", "'; DROP TABLE kest_store; --", "ä", "a\u200b", "\u212a", "a\xff", "\xff\xfe", "a\x7f", "a\x1b[0m",
		strings.Repeat("k", store.MaxKey+1), strings.Repeat("k", 1<<20),
	}
}

// refused: nothing of what is refused gets in.
func (p *probe) refused() error {
	var errs []error
	for _, key := range HostileKeys() {
		err := put(background, p.first, key, []byte("hostile value"), long, store.ErrRefused)
		_, unread := get(background, p.first, key, store.ErrRefused)
		if err = errors.Join(err, unread); err != nil {
			errs = append(errs, fmt.Errorf("key %.40q: %w", key, err))
		}
	}
	right := []byte("a right value")
	for name, bad := range map[string]struct {
		value []byte
		ttl   time.Duration
	}{
		"value over the limit":  {bytes.Repeat([]byte("long value"), p.MaxValue/10+1), long},
		"one byte over":         {make([]byte, p.MaxValue+1), long},
		"no time":               {right, 0},
		"negative time":         {right, -time.Second},
		"most negative time":    {right, -1 << 63},
		"time over the limit":   {right, store.MaxTTL + 1},
		"greatest time":         {right, 1<<63 - 1},
		"both, with empty time": {make([]byte, p.MaxValue+1), 0},
	} {
		key := p.key()
		err := put(background, p.first, key, bad.value, bad.ttl, store.ErrRefused)
		if err == nil {
			_, err = get(background, p.first, key, store.ErrNotFound)
		}
		if err == nil {
			err = errors.Join(put(background, p.first, key, right, long, nil), holds(p.first, key, right))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// notFound: what was never written is not there, also when what is near it was.
func (p *probe) notFound() error {
	key := p.key()
	errs := []error{put(background, p.first, key, []byte("near by"), long, nil)}
	for _, other := range []string{p.key(), key + "x", key[:len(key)-1], strings.ToUpper(key), key + ".", "x" + key} {
		_, err := get(background, p.first, other, store.ErrNotFound)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// writtenOnce: a second writer gets ErrExists and changes nothing, whatever the values are.
func (p *probe) writtenOnce() error {
	var errs []error
	for _, first := range [][]byte{[]byte("the first value"), {}, {0}} {
		key := p.key()
		errs = append(errs, put(background, p.first, key, first, long, nil))
		for _, second := range [][]byte{[]byte("the second value"), first, {}, nil} {
			for _, s := range []store.Store{p.first, p.second} {
				errs = append(errs, put(background, s, key, second, long, store.ErrExists), holds(s, key, first))
			}
		}
	}
	return errors.Join(errs...)
}

// A race is many writers of one key, half of them with each client.
type race struct {
	mu   sync.Mutex
	won  [][]byte // the values whose Put succeeded
	seen [][]byte // what readers saw meanwhile
	errs []error
}

const writers = 16

// write puts a value of this writer; it reports whether it won.
func (r *race) write(s store.Store, key string, value []byte) bool {
	err := s.Put(background, key, value, long)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.won = append(r.won, value)
	} else if bad := fault(err, store.ErrExists, key, value); bad != nil {
		r.errs = append(r.errs, bad)
	}
	return err == nil
}

func (r *race) read(s store.Store, key string) {
	got, err := s.Get(background, key)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.seen = append(r.seen, got)
	} else if bad := fault(err, store.ErrNotFound, key, nil); bad != nil {
		r.errs = append(r.errs, bad)
	}
}

// verdict: one won, and nobody has ever seen another value, but those in before.
func (r *race) verdict(key string, clients []store.Store, before ...[]byte) error {
	if len(r.errs) > 0 {
		return errors.Join(r.errs...)
	}
	if len(r.won) != 1 {
		return fmt.Errorf("%d of %d writers succeeded; want one", len(r.won), writers)
	}
	for _, got := range r.seen {
		known := bytes.Equal(got, r.won[0])
		for _, value := range before {
			known = known || bytes.Equal(got, value)
		}
		if !known {
			return errors.New("a reader saw the value of a writer that did not succeed")
		}
	}
	var errs []error
	for _, s := range clients {
		errs = append(errs, holds(s, key, r.won[0]))
	}
	return errors.Join(errs...)
}

func (p *probe) clients() []store.Store { return []store.Store{p.first, p.second} }

func (p *probe) oneWins() error {
	for range 20 {
		key, r := p.key(), &race{}
		start := make(chan struct{})
		var wg sync.WaitGroup
		for w := range writers {
			s := p.clients()[w%2]
			wg.Go(func() {
				<-start
				r.write(s, key, fmt.Appendf(nil, "value of writer %d", w))
				r.read(s, key)
			})
			wg.Go(func() {
				<-start
				r.read(s, key)
			})
		}
		close(start)
		wg.Wait()
		if err := r.verdict(key, p.clients()); err != nil {
			return err
		}
	}
	return nil
}

// oneWinsLater writes all the time while an old value comes to its end: the first to notice must not be two.
func (p *probe) oneWinsLater() error {
	key, r, old := p.key(), &race{}, []byte("the old value")
	if err := put(background, p.first, key, old, p.TTL, nil); err != nil {
		return err
	}
	deadline := time.Now().Add(p.TTL + p.Late + patience)
	over := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	for w := range writers {
		s := p.clients()[w%2]
		wg.Go(func() {
			for last := false; !last && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				select {
				case <-over:
					last = true // one more try of everybody after the first success
				default:
				}
				if r.write(s, key, fmt.Appendf(nil, "value of writer %d", w)) {
					once.Do(func() { close(over) })
				}
				r.read(s, key)
			}
		})
	}
	wg.Wait()
	return r.verdict(key, p.clients(), old)
}

// shared: what one client writes is there for the other at once, in both directions.
func (p *probe) shared() error {
	var errs []error
	for _, pair := range [][2]store.Store{{p.first, p.second}, {p.second, p.first}} {
		key, value := p.key(), []byte("a value of one client")
		_, err := get(background, pair[1], key, store.ErrNotFound) // a cached "no" must not last
		errs = append(errs, err,
			put(background, pair[0], key, value, long, nil),
			holds(pair[1], key, value),
			put(background, pair[1], key, []byte("a value of the other"), long, store.ErrExists))
	}
	return errors.Join(errs...)
}

// unshared: the value that was put and the values that were got are the caller's, to change as he likes.
func (p *probe) unshared() error {
	const text = "a value to scribble over"
	key, value := p.key(), []byte(text)
	if err := put(background, p.first, key, value, long, nil); err != nil {
		return err
	}
	if string(value) != text {
		return errors.New("put changed its argument")
	}
	clear(value)
	for range 3 {
		got, err := get(background, p.first, key, nil)
		if err != nil {
			return err
		}
		if string(got) != text {
			return errors.New("a change of the caller's slice changed the stored value")
		}
		clear(got[:cap(got)])
	}
	return nil
}

// expires: a value is there for its time, and not after it; then the key is free. Times that are no whole number of
// the store's unit are not cut.
func (p *probe) expires() error {
	stays := p.key()
	if err := put(background, p.first, stays, []byte("a value that stays"), long, nil); err != nil {
		return err
	}
	for _, ttl := range []time.Duration{p.TTL, p.TTL + p.TTL*3/4} {
		key, value := p.key(), []byte("a value for a while")
		start := time.Now()
		if err := put(background, p.first, key, value, ttl, nil); err != nil {
			return err
		}
		if err := p.lasts(key, value, ttl, start); err != nil {
			return fmt.Errorf("%v after it was put for %v: %w", time.Since(start), ttl, err)
		}
		if err := p.ends(key, start.Add(ttl)); err != nil {
			return fmt.Errorf("%v after it was put for %v: %w", time.Since(start), ttl, err)
		}
		next := []byte("the next value")
		if err := errors.Join(put(background, p.second, key, next, long, nil), holds(p.first, key, next)); err != nil {
			return fmt.Errorf("after its time: %w", err)
		}
	}
	return holds(p.second, stays, []byte("a value that stays"))
}

// lasts watches a value until its time is over. An answer that came late says nothing.
func (p *probe) lasts(key string, value []byte, ttl time.Duration, start time.Time) error {
	watched := 0
	for time.Since(start) < ttl {
		err := errors.Join(holds(p.first, key, value), holds(p.second, key, value),
			put(background, p.first, key, []byte("a value too early"), ttl, store.ErrExists))
		if time.Since(start) >= ttl {
			break
		}
		if err != nil {
			return err
		}
		watched++
		time.Sleep(ttl / 20)
	}
	if watched == 0 {
		return errors.New("the store is too slow for the harness's TTL: the value was never seen in its time")
	}
	return nil
}

// ends waits until a value is gone, for both clients.
func (p *probe) ends(key string, at time.Time) error {
	for _, s := range p.clients() {
		for {
			asked := time.Now()
			_, err := get(background, s, key, store.ErrNotFound)
			if err == nil {
				break
			}
			if asked.After(at.Add(p.Late)) {
				return err
			}
			time.Sleep(p.TTL / 50)
		}
	}
	return nil
}

// notExtended: neither reading a value nor trying to write it again makes it live longer.
func (p *probe) notExtended() error {
	key, value, start := p.key(), []byte("a value for a while"), time.Now()
	err := put(background, p.first, key, value, p.TTL, nil)
	for err == nil && time.Since(start) < p.TTL*4/5 {
		err = errors.Join(put(background, p.second, key, value, long, store.ErrExists), holds(p.first, key, value))
		if time.Since(start) >= p.TTL {
			err = nil // too slow to say
		}
		time.Sleep(p.TTL / 10)
	}
	if err != nil {
		return err
	}
	return p.ends(key, start.Add(p.TTL))
}

// endedBefore: an ended context gives its own error, at once.
func (p *probe) endedBefore() error {
	cancelled, cancel := context.WithCancel(background)
	cancel()
	expired, cancel := context.WithDeadline(background, time.Now().Add(-time.Second))
	defer cancel()
	var errs []error
	for _, ctx := range []context.Context{cancelled, expired} {
		there, absent := p.key(), p.key()
		errs = append(errs, put(background, p.first, there, []byte("a value to miss"), long, nil))
		start := time.Now()
		_, err := get(ctx, p.first, there, ctx.Err())
		_, missed := get(ctx, p.first, absent, ctx.Err())
		errs = append(errs, err, missed,
			put(ctx, p.first, absent, []byte("a value too late"), long, ctx.Err()),
			put(ctx, p.first, there, []byte("a value too late"), long, ctx.Err()))
		if took := time.Since(start); took > patience/5 {
			errs = append(errs, fmt.Errorf("four operations with an ended context took %v", took))
		}
	}
	return errors.Join(errs...)
}

// concurrent gives each goroutine keys of its own: each must read what it wrote.
func (p *probe) concurrent() error {
	const rounds = 20
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		keys := make([]string, rounds)
		for i := range keys {
			keys[i] = p.key()
		}
		wg.Go(func() {
			for i, key := range keys {
				value := bytes.Repeat(fmt.Appendf(nil, "%s %d ", key, i), w+1)
				errs[w] = put(background, p.clients()[i%2], key, value, long, nil)
				if errs[w] == nil {
					errs[w] = holds(p.clients()[(i+w)%2], key, value)
				}
				if errs[w] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
