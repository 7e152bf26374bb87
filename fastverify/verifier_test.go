package fastverify_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"

	"github.com/kest-go/kest/fastverify"
)

// The interface of package lineage, which this module does not import.
var _ interface {
	VerifyBatch(keys []ed25519.PublicKey, messages, signatures [][]byte, ok []bool)
} = (*fastverify.Verifier)(nil)

// items is a batch.
type items struct {
	keys       []ed25519.PublicKey
	messages   [][]byte
	signatures [][]byte
}

func (it *items) add(key ed25519.PublicKey, message, sig []byte) {
	it.keys = append(it.keys, key)
	it.messages = append(it.messages, message)
	it.signatures = append(it.signatures, sig)
}

func (it *items) insert(i int, key ed25519.PublicKey, message, sig []byte) {
	it.keys = slices.Insert(it.keys, i, key)
	it.messages = slices.Insert(it.messages, i, message)
	it.signatures = slices.Insert(it.signatures, i, sig)
}

func (it *items) clone() *items {
	return &items{slices.Clone(it.keys), slices.Clone(it.messages), slices.Clone(it.signatures)}
}

// standard is the answer of the standard library, with false where it panics.
func standard(key ed25519.PublicKey, message, sig []byte) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, message, sig)
}

// check compares every answer for the batch with the standard library's and
// returns how many were yes. ok starts with every answer wrong.
func check(t testing.TB, v *fastverify.Verifier, it *items) (yes int) {
	t.Helper()
	want := make([]bool, len(it.keys))
	ok := make([]bool, len(it.keys))
	for i := range want {
		want[i] = standard(it.keys[i], it.messages[i], it.signatures[i])
		ok[i] = !want[i]
		if want[i] {
			yes++
		}
	}
	v.VerifyBatch(it.keys, it.messages, it.signatures, ok)
	for i := range want {
		if ok[i] != want[i] {
			t.Errorf("item %d of %d: got %v, standard library says %v\nkey %x\nmsg %x\nsig %x",
				i, len(want), ok[i], want[i], it.keys[i], it.messages[i], it.signatures[i])
		}
	}
	return yes
}

// allFast fails unless every accepted signature was accepted by way of tables,
// without which the standard library would hide faults of the arithmetic.
func allFast(t testing.TB, v *fastverify.Verifier, yes int) {
	t.Helper()
	if s := v.Stats(); s.Fast != uint64(yes) || yes == 0 {
		t.Errorf("%d valid signatures, %d accepted by way of tables, want all and more than none", yes, s.Fast)
	}
}

func private(n int) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0], seed[1] = byte(n), byte(n>>8)
	return ed25519.NewKeyFromSeed(seed)
}

func public(n int) ed25519.PublicKey { return private(n).Public().(ed25519.PublicKey) }

// signed returns n valid signatures, by the given number of keys in turn, of
// messages of the given size.
func signed(n, keys, size int) *items {
	it := new(items)
	for i := range n {
		priv := private(i % keys)
		message := make([]byte, size)
		copy(message, fmt.Sprint("message ", i))
		it.add(priv.Public().(ed25519.PublicKey), message, ed25519.Sign(priv, message))
	}
	return it
}

// Batch sizes around the window of a shared inversion, one to many keys.
func TestValid(t *testing.T) {
	for _, n := range []int{0, 1, 2, 63, 64, 65, 129, 300} {
		for _, keys := range []int{1, 3, 64, 300} {
			v := fastverify.New(fastverify.Config{MinUses: 1})
			it := signed(n, keys, 40)
			if yes := check(t, v, it); yes != n {
				t.Fatalf("%d of %d valid signatures accepted by the standard library", yes, n)
			}
			if n > 0 {
				allFast(t, v, n)
			}
		}
	}
}

// mutate returns a signature of some key that may or may not be valid.
func mutate(r *rand.Rand) (ed25519.PublicKey, []byte, []byte) {
	priv := private(r.IntN(5))
	message := make([]byte, r.IntN(300))
	for i := range message {
		message[i] = byte(r.Uint32())
	}
	key, sig := slices.Clone(priv.Public().(ed25519.PublicKey)), ed25519.Sign(priv, message)
	flip := func(b []byte) {
		if len(b) > 0 {
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		}
	}
	switch r.IntN(12) {
	case 0:
		flip(sig)
	case 1:
		flip(sig[:32])
	case 2:
		flip(sig[32:])
	case 3:
		flip(key)
	case 4:
		flip(message)
	case 5:
		key = public(r.IntN(5))
	case 6:
		sig = append(sig, 0)[:r.IntN(66)]
	case 7:
		key = append(key, 0)[:r.IntN(34)]
	case 8:
		copy(sig[32:], sig[:32])
	}
	return key, message, sig
}

// NF: same answers as ed25519.Verify, for random batches of mutated signatures.
func TestMutatedAgainstStandard(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	verifiers := []*fastverify.Verifier{
		fastverify.New(fastverify.Config{}),
		fastverify.New(fastverify.Config{MinUses: 1}),
		fastverify.New(fastverify.Config{MinUses: 1, MaxKeys: 1}),
		fastverify.New(fastverify.Config{MinUses: 3, MaxKeys: 2}),
		new(fastverify.Verifier),
	}
	total, yes := 0, 0
	for total < 6000 {
		it := new(items)
		for range 1 + r.IntN(120) {
			it.add(mutate(r))
		}
		total += len(it.keys)
		yes += check(t, verifiers[r.IntN(len(verifiers))], it)
	}
	if yes < total/10 || total-yes < total/10 {
		t.Errorf("%d of %d signatures valid: both answers should be common", yes, total)
	}
}

// Every byte of a valid signature, key and message matters.
func TestEveryByteFlipped(t *testing.T) {
	priv, message := private(7), []byte("a message of some length, signed once")
	key, sig := priv.Public().(ed25519.PublicKey), ed25519.Sign(priv, message)
	it := new(items)
	for _, bit := range []byte{0x01, 0x80} {
		for i := range sig {
			bad := slices.Clone(sig)
			bad[i] ^= bit
			it.add(key, message, bad)
		}
		for i := range key {
			bad := slices.Clone(key)
			bad[i] ^= bit
			it.add(bad, message, sig)
		}
		for i := range message {
			bad := slices.Clone(message)
			bad[i] ^= bit
			it.add(key, bad, sig)
		}
	}
	if yes := check(t, fastverify.New(fastverify.Config{MinUses: 1}), it); yes != 0 {
		t.Errorf("%d altered signatures accepted", yes)
	}
}

// Slices of different lengths are refused as a whole, and stale answers cleared.
func TestLengthsDiffer(t *testing.T) {
	it := signed(4, 1, 10)
	v := fastverify.New(fastverify.Config{MinUses: 1})
	for _, c := range []struct{ keys, messages, signatures, ok int }{
		{3, 4, 4, 4}, {4, 3, 4, 4}, {4, 4, 3, 4}, {4, 4, 4, 3}, {3, 3, 3, 4}, {0, 0, 0, 4}, {4, 4, 4, 0},
	} {
		ok := slices.Repeat([]bool{true}, c.ok)
		v.VerifyBatch(it.keys[:c.keys], it.messages[:c.messages], it.signatures[:c.signatures], ok)
		if slices.Contains(ok, true) {
			t.Errorf("%+v: got %v, want all false", c, ok)
		}
	}
	v.VerifyBatch(nil, nil, nil, nil)
	if yes := check(t, v, it); yes != 4 {
		t.Errorf("%d of 4 valid signatures accepted afterwards", yes)
	}
}

func TestArgumentsUnchanged(t *testing.T) {
	it := signed(80, 3, 50)
	it.signatures[5][0] ^= 1
	snapshot := func() string { return fmt.Sprintf("%x %x %x", it.keys, it.messages, it.signatures) }
	before := snapshot()
	check(t, fastverify.New(fastverify.Config{MinUses: 1}), it)
	if snapshot() != before {
		t.Error("VerifyBatch changed its arguments")
	}
}

// Run with -race. Verifiers share tables while they are made and pushed out.
func TestConcurrent(t *testing.T) {
	v := fastverify.New(fastverify.Config{MaxKeys: 2, MinUses: 2})
	batches := make([]*items, 4)
	for i := range batches {
		batches[i] = signed(30, 4, 20)
		for j := i; j < 30; j += 7 {
			batches[i].signatures[j][33] ^= 1
		}
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 12 {
				it := batches[(g+i)%len(batches)]
				ok := make([]bool, len(it.keys))
				v.VerifyBatch(it.keys, it.messages, it.signatures, ok)
				for j := range ok {
					if want := j < (g+i)%4 || (j-(g+i)%4)%7 != 0; ok[j] != want {
						t.Errorf("item %d: got %v, want %v", j, ok[j], want)
					}
				}
				v.Stats()
			}
		})
	}
	wg.Wait()
	if s := v.Stats(); s.Tables != 2 || s.Fast == 0 || s.Fast+s.Standard != 8*12*30 {
		t.Errorf("stats %+v, want 2 tables and %d signatures", s, 8*12*30)
	}
}

// In FIPS 140 mode the validated module decides every signature.
func TestFIPS(t *testing.T) {
	if os.Getenv("FASTVERIFY_TEST_FIPS") == "1" {
		v := fastverify.New(fastverify.Config{MinUses: 1})
		check(t, v, signed(20, 2, 10))
		fmt.Printf("standard=%d fast=%d\n", v.Stats().Standard, v.Stats().Fast)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFIPS$")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=on", "FASTVERIFY_TEST_FIPS=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("standard=20 fast=0\n")) {
		t.Errorf("in FIPS mode: %v\n%s", err, out)
	}
}

func ExampleVerifier() {
	priv := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	key := priv.Public().(ed25519.PublicKey)

	var keys []ed25519.PublicKey
	var messages, signatures [][]byte
	for i := range 100 {
		message := fmt.Appendf(nil, "entry %d", i)
		keys = append(keys, key)
		messages = append(messages, message)
		signatures = append(signatures, ed25519.Sign(priv, message))
	}
	messages[41] = []byte("another entry")

	v := fastverify.New(fastverify.Config{}) // keep it: its tables serve later calls
	ok := make([]bool, len(keys))
	v.VerifyBatch(keys, messages, signatures, ok)
	fmt.Println(ok[40], ok[41], ok[42])
	// Output: true false true
}
