package lineage_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kest-go/kest/lineage"
)

// wideFork is a root with n children.
func wideFork(t testing.TB, n int) []*lineage.Signed {
	t.Helper()
	root := sign(t, call{n: 0})
	out := []*lineage.Signed{root}
	for i := range n {
		out = append(out, sign(t, call{n: i + 1, by: []string{web, pay, agent}[i%3]}, root))
	}
	return out
}

// SPEC §4 [+] cost: what was verified before costs no signature, in whatever passport it stands.
func TestIncrementalVerification(t *testing.T) {
	c := chain(t, 10)
	batch := &countingBatch{}
	keys := &countingKeys{KeySource: keySet(t)}
	v := newVerifier(t, lineage.VerifierConfig{Batch: batch, Keys: keys})
	reused := func(want int, entries ...*lineage.Signed) {
		t.Helper()
		_, report := accepted(t, v, lineage.Unverified{Entries: jwsOf(entries...)})
		if report.Reused != want {
			t.Errorf("%d of %d entries reused, want %d", report.Reused, len(entries), want)
		}
	}
	reused(0, c[:6]...)
	reused(6, c[:6]...)
	reused(6, c[:7]...)
	reused(3, c[:3]...) // a prefix of it
	reused(7, c...)
	reused(10, c...)
	before := keys.asked.Load()
	reused(10, c...)
	if n := keys.asked.Load() - before; n != 3 {
		t.Errorf("keys were asked for %d times, want once for each of the 3 signers", n)
	}
	// Another order of known entries, and a fork from the middle, in which only the new entry is new.
	f := wideFork(t, 4)
	reused(0, f...)
	reused(5, f[0], f[3], f[1], f[4], f[2])
	reused(5, f[0], f[4], f[3], f[2], f[1])
	late := sign(t, call{n: 99}, c[4])
	reused(5, append(slices.Clone(c[:5]), late)...)
	off := newVerifier(t, lineage.VerifierConfig{CacheBytes: -1})
	for range 2 {
		if _, report := accepted(t, off, lineage.Unverified{Entries: jwsOf(c...)}); report.Reused != 0 {
			t.Errorf("%d entries reused without a cache", report.Reused)
		}
	}
}

// A changed byte in a prefix that is in the cache is another entry, not that one.
func TestChangedPrefixIsNotReused(t *testing.T) {
	c := jwsOf(chain(t, 6)...)
	v := newVerifier(t, lineage.VerifierConfig{})
	accepted(t, v, lineage.Unverified{Entries: c})
	for i := range c[:5] {
		bad := slices.Clone(c)
		dot := strings.LastIndexByte(bad[i], '.')
		bad[i] = bad[i][:dot+1] + b64(make([]byte, 64))
		_, report, err := v.Verify(t.Context(), lineage.Unverified{Entries: bad})
		if err == nil || report.Failure == nil || report.Failure.Index != i {
			t.Errorf("entry %d changed: %v", i, err)
		}
	}
	// What was refused is not remembered as good.
	_, report := accepted(t, v, lineage.Unverified{Entries: c})
	if report.Reused != 6 {
		t.Errorf("%d entries reused, want 6", report.Reused)
	}
}

// switchKeys is a key set that can be replaced.
type switchKeys struct {
	mu  sync.Mutex
	now lineage.KeySource
}

func (s *switchKeys) set(k lineage.KeySource) { s.mu.Lock(); s.now = k; s.mu.Unlock() }

func (s *switchKeys) Keys(ctx context.Context, principal, keyID string) ([]ed25519.PublicKey, error) {
	s.mu.Lock()
	now := s.now
	s.mu.Unlock()
	return now.Keys(ctx, principal, keyID)
}

// SPEC §4 [+]: removing a key takes effect at once, for prefixes and single entries in the cache alike.
func TestKeyRemoval(t *testing.T) {
	c := chain(t, 6) // web, pay, agent, web, pay, agent
	keys := &switchKeys{now: keySet(t)}
	v := newVerifier(t, lineage.VerifierConfig{Keys: keys})
	u := lineage.Unverified{Entries: jwsOf(c...)}
	accepted(t, v, u)
	keys.set(keySet(t, web, pay))
	refused(t, v, u, lineage.UnknownKey, 2)
	accepted(t, v, lineage.Unverified{Entries: u.Entries[:2]})
	extended := append(slices.Clone(u.Entries), sign(t, call{n: 50}, c[5]).JWS())
	refused(t, v, lineage.Unverified{Entries: extended}, lineage.UnknownKey, 2)
	keys.set(keySet(t, pay, agent))
	refused(t, v, u, lineage.UnknownKey, 0)
	// The principal has another key now: the old signature is not by it.
	other, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{web: {publicKey("new")}, pay: {publicKey(pay)}, agent: {publicKey(agent)}})
	if err != nil {
		t.Fatal(err)
	}
	keys.set(keyFunc(func(ctx context.Context, principal, _ string) ([]ed25519.PublicKey, error) {
		return other.Keys(ctx, principal, "")
	}))
	refused(t, v, u, lineage.BadSignature, 0)
	keys.set(keyFunc(func(context.Context, string, string) ([]ed25519.PublicKey, error) { return nil, errors.New("down") }))
	refused(t, v, u, lineage.UnknownKey, 0)
	keys.set(keySet(t))
	if _, report := accepted(t, v, u); report.Reused != 6 {
		t.Errorf("%d entries reused after the key came back, want 6", report.Reused)
	}
	f := wideFork(t, 3) // same entries in another order: reused one by one
	accepted(t, v, lineage.Unverified{Entries: jwsOf(f...)})
	keys.set(keySet(t, web, pay))
	refused(t, v, lineage.Unverified{Entries: jwsOf(f[0], f[3], f[2], f[1])}, lineage.UnknownKey, 1)
}

// The memory of the cache is bounded, whatever is presented: distinct passports, and one wide passport in ever other
// orders and extents, which anyone who has seen it can send.
func TestCacheIsBounded(t *testing.T) {
	held := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const limit = 4 << 20
	for name, present := range map[string]func(v *lineage.Verifier){
		"distinct": func(v *lineage.Verifier) {
			for i := range 400 {
				root := sign(t, call{n: i, labels: map[string]string{"pad": strings.Repeat("x", 8000)}})
				child := sign(t, call{n: 10_000 + i, labels: map[string]string{"pad": strings.Repeat("y", 8000)}}, root)
				accepted(t, v, lineage.Unverified{Entries: jwsOf(root, child)})
			}
		},
		"orders": func(v *lineage.Verifier) {
			f := jwsOf(wideFork(t, 300)...)
			random := rand.New(rand.NewPCG(1, 2))
			for i := range 250 { // each leaves out one more child, so each could leave a chain of its own behind
				some := append([]string{f[0]}, f[1+i:]...)
				random.Shuffle(len(some)-1, func(a, b int) { some[a+1], some[b+1] = some[b+1], some[a+1] })
				accepted(t, v, lineage.Unverified{Entries: some})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, lineage.VerifierConfig{CacheBytes: limit})
			before := held()
			present(v)
			if after := held(); after > before+2*limit {
				t.Errorf("the heap grew by %d bytes under a cache limit of %d", after-before, limit)
			}
			runtime.KeepAlive(v)
		})
	}
	// What is used stays, although more than the limit passes through.
	v := newVerifier(t, lineage.VerifierConfig{CacheBytes: limit})
	c := lineage.Unverified{Entries: jwsOf(chain(t, 3)...)}
	for i := range 600 {
		accepted(t, v, lineage.Unverified{Entries: jwsOf(sign(t, call{n: 1000 + i, labels: map[string]string{"pad": strings.Repeat("x", 8000)}}))})
		if _, report := accepted(t, v, c); i > 0 && report.Reused != 3 {
			t.Fatalf("round %d: %d entries reused, want 3", i, report.Reused)
		}
	}
	tiny := newVerifier(t, lineage.VerifierConfig{CacheBytes: 1})
	for range 2 {
		if _, report := accepted(t, tiny, c); report.Reused != 0 {
			t.Error("a cache of one byte holds something")
		}
	}
}

// Alternating orders of the same entries stay cheap.
func TestAlternatingOrdersAreNotQuadratic(t *testing.T) {
	f := jwsOf(wideFork(t, 1000)...)
	v := newVerifier(t, lineage.VerifierConfig{})
	reversed := slices.Clone(f)
	slices.Reverse(reversed[1:])
	start := time.Now()
	accepted(t, v, lineage.Unverified{Entries: f})
	first, quickest := time.Since(start), time.Hour
	for i := range 10 {
		entries := [][]string{reversed, f}[i%2]
		start := time.Now()
		if _, report := accepted(t, v, lineage.Unverified{Entries: entries}); report.Reused != len(f) {
			t.Fatalf("%d entries reused", report.Reused)
		}
		quickest = min(quickest, time.Since(start))
	}
	if quickest > 5*first { // the quickest, and no time of its own: the machine may be busy
		t.Errorf("a verification of known entries took %v, that of unknown ones %v", quickest, first)
	}
}

// Overlapping passports on one Verifier from many goroutines, with appends to what comes out; for the race detector.
func TestConcurrentVerification(t *testing.T) {
	c := chain(t, 12)
	f := wideFork(t, 12)
	v := newVerifier(t, lineage.VerifierConfig{CacheBytes: 64 << 10}) // small: generations rotate meanwhile
	forged := jwsOf(c...)
	forged[7] = forged[7][:strings.LastIndexByte(forged[7], '.')+1] + b64(make([]byte, 64))
	extra := sign(t, call{n: 500}, c[11])
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 7))
			for range 30 {
				n := 1 + random.IntN(12)
				p, _, err := v.Verify(context.Background(), lineage.Unverified{Entries: jwsOf(c[:n]...)})
				if err != nil || p.Len() != n {
					t.Errorf("%d entries: %v", n, err)
				}
				if n == 12 {
					if q, err := p.Append(extra); err != nil || q.Len() != 13 || p.Len() != 12 {
						t.Errorf("append: %v", err)
					}
				}
				order := append([]*lineage.Signed{f[0]}, f[1:]...)
				random.Shuffle(12, func(a, b int) { order[a+1], order[b+1] = order[b+1], order[a+1] })
				if _, report, err := v.Verify(context.Background(), lineage.Unverified{Entries: jwsOf(order...)}); err != nil || !report.Valid() {
					t.Error(err)
				}
				if _, report, err := v.Verify(context.Background(), lineage.Unverified{Entries: forged}); err == nil || report.Failure.Index != 7 {
					t.Errorf("forged entry: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// Long passports are verified on all cores, with the failure that one core would find.
func TestParallelFindsTheFirstFailure(t *testing.T) {
	c := jwsOf(chain(t, 300)...)
	random := rand.New(rand.NewPCG(3, 4))
	for range 5 {
		bad := slices.Clone(c)
		first := len(c)
		for range 1 + random.IntN(4) { // a bad signature does not break links when it is the last entry's; so cut behind it
			first = min(first, random.IntN(len(c)))
		}
		bad = bad[:first+1]
		bad[first] = bad[first][:strings.LastIndexByte(bad[first], '.')+1] + b64(make([]byte, 64))
		for _, batch := range []lineage.BatchVerifier{nil, &countingBatch{}} {
			refused(t, newVerifier(t, lineage.VerifierConfig{Batch: batch}), lineage.Unverified{Entries: bad}, lineage.BadSignature, first)
		}
	}
	// Several bad signatures among siblings: the lowest index, however the work was shared out.
	f := jwsOf(wideFork(t, 300)...)
	for range 5 {
		bad, first := slices.Clone(f), len(f)
		for range 5 {
			i := 1 + random.IntN(300)
			bad[i] = bad[i][:strings.LastIndexByte(bad[i], '.')+1] + b64(make([]byte, 64))
			first = min(first, i)
		}
		v := newVerifier(t, lineage.VerifierConfig{})
		procs := runtime.GOMAXPROCS(1)
		refused(t, v, lineage.Unverified{Entries: bad}, lineage.BadSignature, first)
		runtime.GOMAXPROCS(procs)
		for range 5 {
			refused(t, v, lineage.Unverified{Entries: bad}, lineage.BadSignature, first)
		}
	}
}

// liar answers the same to everything.
type liar bool

func (l liar) VerifyBatch(_ []ed25519.PublicKey, _, _ [][]byte, ok []bool) {
	for i := range ok {
		ok[i] = bool(l)
	}
}

// A batch verifier that says no is corrected by the standard library. One that says yes is trusted: it is part of
// the verifier, as the package comment says.
func TestBatchVerifier(t *testing.T) {
	c := jwsOf(chain(t, 100)...)
	batch := &countingBatch{}
	accepted(t, newVerifier(t, lineage.VerifierConfig{Batch: batch}), lineage.Unverified{Entries: c})
	if batch.items.Load() != 100 {
		t.Errorf("%d signatures in batches, want 100", batch.items.Load())
	}
	accepted(t, newVerifier(t, lineage.VerifierConfig{Batch: liar(false)}), lineage.Unverified{Entries: c})
	forged := slices.Clone(c)
	forged[99] = forged[99][:strings.LastIndexByte(forged[99], '.')+1] + b64(make([]byte, 64))
	refused(t, newVerifier(t, lineage.VerifierConfig{Batch: liar(false)}), lineage.Unverified{Entries: forged}, lineage.BadSignature, 99)
	accepted(t, newVerifier(t, lineage.VerifierConfig{Batch: liar(true)}), lineage.Unverified{Entries: forged})
}

// The context ends a verification with its own error, which is no verdict: neither a failure nor a valid report.
func TestCancellation(t *testing.T) {
	c := jwsOf(chain(t, 200)...)
	check := func(name string, p lineage.Passport, report *lineage.Report, err error) {
		t.Helper()
		var f *lineage.VerifyError
		if !errors.Is(err, context.Canceled) || errors.Is(err, lineage.ErrUnverified) || errors.As(err, &f) {
			t.Errorf("%s: got %v, want the error of the context", name, err)
		}
		if p.Len() != 0 || report == nil || report.Valid() || report.Failure != nil || len(report.Entries()) != 0 {
			t.Errorf("%s: report %+v", name, report)
		}
		if raw, err := report.MarshalJSON(); err != nil || !strings.Contains(string(raw), `"valid":false`) {
			t.Errorf("%s: report %s, %v", name, raw, err)
		}
	}
	v := newVerifier(t, lineage.VerifierConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, entries := range [][]string{nil, c[:1], c} {
		p, report, err := v.Verify(ctx, lineage.Unverified{Entries: entries})
		check(fmt.Sprint(len(entries), " entries, before"), p, report, err)
	}
	accepted(t, v, lineage.Unverified{Entries: c})
	p, report, err := v.Verify(ctx, lineage.Unverified{Entries: c})
	check("from the cache", p, report, err)
	for _, after := range []int{1, 5, 150} { // while keys are asked for
		ctx, cancel := context.WithCancel(t.Context())
		n, keys := 0, keySet(t)
		v := newVerifier(t, lineage.VerifierConfig{Keys: keyFunc(func(ctx context.Context, principal, keyID string) ([]ed25519.PublicKey, error) {
			if n++; n == after {
				cancel()
				return nil, ctx.Err()
			}
			return keys.Keys(ctx, principal, keyID)
		})})
		p, report, err := v.Verify(ctx, lineage.Unverified{Entries: c})
		check(fmt.Sprint("after question ", after), p, report, err)
		cancel()
	}
	ctx, cancel = context.WithCancel(t.Context())
	stop := batchFunc(func(ok []bool) { cancel(); liar(true).VerifyBatch(nil, nil, nil, ok) })
	p, report, err = newVerifier(t, lineage.VerifierConfig{Batch: stop}).Verify(ctx, lineage.Unverified{Entries: c})
	check("while signatures are checked", p, report, err)
}

type batchFunc func(ok []bool)

func (f batchFunc) VerifyBatch(_ []ed25519.PublicKey, _, _ [][]byte, ok []bool) { f(ok) }
