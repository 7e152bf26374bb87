package fastverify

import (
	"bytes"
	"crypto/ed25519"
	"crypto/fips140"
	"crypto/sha512"
	"hash"
	"sync"
	"sync/atomic"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

// Defaults of [Config].
const (
	DefaultMaxKeys = 64
	DefaultMinUses = 5
)

// TableBytes is the memory taken by the table of one key.
const TableBytes = 120 * ((bases/keyTeeth)<<(keyTeeth-1) + 1<<(bases%keyTeeth-1) + 1)

// Config configures a [Verifier]. The zero value is ready to use.
type Config struct {
	// MaxKeys is how many keys keep a table of [TableBytes] bytes; the one not
	// used for longest goes first. Below 1 means [DefaultMaxKeys].
	MaxKeys int

	// MinUses is how many signatures of one key a call must hold before a table
	// is made for it. A key that shows fewer per call gets one after 8·MinUses
	// signatures over several calls. Below 1 means [DefaultMinUses].
	MinUses int
}

// A Verifier verifies Ed25519 signatures with the answers of [ed25519.Verify].
// Make one with [New] and share it: it is safe for concurrent use, and its
// tables are worth keeping. The zero Verifier has no tables and leaves every
// signature to the standard library.
type Verifier struct {
	cache    *cache    // nil: no tables
	scratch  sync.Pool // of *batch
	fast     atomic.Uint64
	standard atomic.Uint64
}

// New returns a Verifier. It does no work until the first call. In FIPS 140
// mode it is the zero Verifier.
func New(c Config) *Verifier {
	if fips140.Enabled() {
		return new(Verifier)
	}
	if c.MaxKeys < 1 {
		c.MaxKeys = DefaultMaxKeys
	}
	if c.MinUses < 1 {
		c.MinUses = DefaultMinUses
	}
	return &Verifier{cache: newCache(c.MaxKeys, c.MinUses)}
}

// Stats counts what a [Verifier] has done since it was made.
type Stats struct {
	Fast     uint64 // signatures accepted by way of tables
	Standard uint64 // signatures decided by [ed25519.Verify], either way
	Tables   uint64 // tables held now
	Built    uint64 // tables made
}

// Stats returns the counts so far. Calls under way may be counted in part.
func (v *Verifier) Stats() Stats {
	held, built := v.cache.stats()
	return Stats{Fast: v.fast.Load(), Standard: v.standard.Load(), Tables: held, Built: built}
}

// VerifyBatch sets ok[i] to what ed25519.Verify(keys[i], messages[i],
// signatures[i]) returns, for every i. A key that is not 32 bytes long, for
// which [ed25519.Verify] panics, gives false. If the four slices differ in
// length, all of ok is false.
//
// It runs on the calling goroutine and does not keep or change its arguments
// other than ok. To use several cores, split the batch, by key if possible.
func (v *Verifier) VerifyBatch(keys []ed25519.PublicKey, messages, signatures [][]byte, ok []bool) {
	clear(ok)
	if len(keys) != len(ok) || len(messages) != len(ok) || len(signatures) != len(ok) {
		return
	}
	b, _ := v.scratch.Get().(*batch)
	if b == nil {
		b = &batch{hash: sha512.New()}
	}
	b.messages, b.signatures, b.ok = messages, signatures, ok
	for _, g := range group(keys) {
		b.key, b.table = g.key, v.cache.table(&g.key, len(g.items))
		for _, i := range g.items {
			b.verify(i)
		}
	}
	b.flush()
	v.fast.Add(b.fast)
	v.standard.Add(b.standard)
	b.reset()
	v.scratch.Put(b)
}

// A keyGroup is one key and the items of a call that are signed by it.
type keyGroup struct {
	key   [32]byte
	items []int
}

// group sorts the items by key, so that one table is in use at a time and each
// is looked up once. Keys of a wrong length are left out.
func group(keys []ed25519.PublicKey) []keyGroup {
	var groups []keyGroup
	index := make(map[[32]byte]int)
	for i, key := range keys {
		if len(key) != ed25519.PublicKeySize {
			continue
		}
		k := [32]byte(key)
		g, ok := index[k]
		if !ok {
			g = len(groups)
			index[k] = g
			groups = append(groups, keyGroup{key: k})
		}
		groups[g].items = append(groups[g].items, i)
	}
	return groups
}

// window is how many results share an inversion of about 270 multiplications,
// which makes 4 for each. The working memory of a call is then 16 KB.
const window = 64

// A batch is the state of one call of VerifyBatch.
type batch struct {
	messages, signatures [][]byte
	ok                   []bool
	fast, standard       uint64

	key   [32]byte // the key of the group at hand
	table *table   // its table, or nil
	hash  hash.Hash

	// Results not yet compared: item[j] of key keys[j] gave points[j], j < n.
	n      int
	item   [window]int
	keys   [window][32]byte
	points [window]point
	prefix [window]field.Element
}

func (b *batch) reset() {
	b.messages, b.signatures, b.ok, b.table = nil, nil, nil, nil
	b.fast, b.standard = 0, 0
}

// verify decides item i of the key at hand, or queues its result for flush.
func (b *batch) verify(i int) {
	if b.table == nil || !b.compute(i) {
		b.decide(i, &b.key)
		return
	}
	b.item[b.n], b.keys[b.n] = i, b.key
	if b.n++; b.n == window {
		b.flush()
	}
}

// decide answers item i by the standard library. Every "no" comes from here.
func (b *batch) decide(i int, key *[32]byte) {
	b.standard++
	b.ok[i] = ed25519.Verify(key[:], b.messages[i], b.signatures[i])
}

// compute sets points[n] = [S]B − [k]A for item i, with k and S as in RFC 8032
// §5.1.7, and reports false when S is not below ℓ or the signature not 64 bytes.
func (b *batch) compute(i int) bool {
	sig := b.signatures[i]
	if len(sig) != ed25519.SignatureSize {
		return false
	}
	var scalar edwards25519.Scalar
	if _, err := scalar.SetCanonicalBytes(sig[32:]); err != nil {
		return false
	}
	b.hash.Reset()
	b.hash.Write(sig[:32])
	b.hash.Write(b.key[:])
	b.hash.Write(b.messages[i])
	var digest [sha512.Size]byte
	if _, err := scalar.SetUniformBytes(b.hash.Sum(digest[:0])); err != nil {
		return false
	}
	sum2(&b.points[b.n], b.table, (*[32]byte)(scalar.Bytes()), baseTable(), (*[32]byte)(sig[32:]))
	return true
}

// flush compares the queued results with the R of their signatures, as bytes:
// an R that is not the canonical encoding of its point matches nothing, as in
// the standard library. What does not match is decided there.
func (b *batch) flush() {
	var matched [window]bool
	var x, y field.Element
	invertAll(b.points[:b.n], b.prefix[:b.n], func(j int, zinv *field.Element) {
		x.Multiply(&b.points[j].x, zinv)
		y.Multiply(&b.points[j].y, zinv)
		r := y.Bytes() // RFC 8032 §5.1.2
		r[31] |= byte(x.IsNegative() << 7)
		matched[j] = bytes.Equal(r, b.signatures[b.item[j]][:32])
	})
	for j := range b.n {
		if matched[j] {
			b.fast++
			b.ok[b.item[j]] = true
		} else {
			b.decide(b.item[j], &b.keys[j])
		}
	}
	b.n = 0
}
