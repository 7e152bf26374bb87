package fastverify_test

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kest-go/kest/fastverify"
)

const benchMessage = 1400 // bytes, about one entry on the wire

func BenchmarkSign(b *testing.B) {
	priv := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	message := make([]byte, benchMessage)
	for b.Loop() {
		ed25519.Sign(priv, message)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/sig")
}

func BenchmarkStdVerify(b *testing.B) {
	it := signed(100, 3, benchMessage)
	for b.Loop() {
		for i := range it.keys {
			if !ed25519.Verify(it.keys[i], it.messages[i], it.signatures[i]) {
				b.Fatal("valid signature refused")
			}
		}
	}
	perSig(b, 100)
}

func BenchmarkWarm(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			it := signed(n, 3, benchMessage)
			v := fastverify.New(fastverify.Config{MinUses: 1})
			ok := make([]bool, n)
			v.VerifyBatch(it.keys, it.messages, it.signatures, ok)
			b.ReportAllocs()
			for b.Loop() {
				v.VerifyBatch(it.keys, it.messages, it.signatures, ok)
			}
			perSig(b, n)
			if s := v.Stats(); s.Standard != 0 {
				b.Fatalf("%d signatures left to the standard library", s.Standard)
			}
		})
	}
}

// BenchmarkCold makes the tables of the keys in every batch.
func BenchmarkCold(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			it := signed(n, 3, benchMessage)
			ok := make([]bool, n)
			warmBase(b)
			b.ReportAllocs()
			for b.Loop() {
				fastverify.New(fastverify.Config{}).VerifyBatch(it.keys, it.messages, it.signatures, ok)
			}
			perSig(b, n)
		})
	}
}

// BenchmarkRatio alternates the standard library and a Verifier, so that both
// see the same noise, and reports the quotient of their fast deciles for 100
// signatures of 3 keys. Run it with -cpu 1.
func BenchmarkRatio(b *testing.B) {
	it := signed(100, 3, benchMessage)
	ok := make([]bool, 100)
	verifier := fastverify.New(fastverify.Config{MinUses: 1})
	verify := func() { verifier.VerifyBatch(it.keys, it.messages, it.signatures, ok) }
	ratio := func(b *testing.B, run func()) {
		run()
		var std, fast []time.Duration
		for b.Loop() {
			start := time.Now()
			for i := range it.keys {
				ok[i] = ed25519.Verify(it.keys[i], it.messages[i], it.signatures[i])
			}
			middle := time.Now()
			run()
			std, fast = append(std, middle.Sub(start)), append(fast, time.Since(middle))
		}
		slices.Sort(std)
		slices.Sort(fast)
		b.ReportMetric(float64(fast[len(fast)/10])/float64(std[len(std)/10]), "x-std")
	}
	b.Run("Warm", func(b *testing.B) { ratio(b, verify) })
	b.Run("Cold", func(b *testing.B) {
		ratio(b, func() {
			verifier = fastverify.New(fastverify.Config{})
			verify()
		})
	})
}

// BenchmarkNoTables100 is the cost for keys that do not pay for a table.
func BenchmarkNoTables100(b *testing.B) {
	it := signed(100, 100, benchMessage)
	ok := make([]bool, 100)
	v := fastverify.New(fastverify.Config{MaxKeys: 1})
	for b.Loop() {
		v.VerifyBatch(it.keys, it.messages, it.signatures, ok)
	}
	perSig(b, 100)
}

// BenchmarkInvalid is the cost of hostile signatures that name known keys: both
// verifications, warm, and a table thrown away besides, cold.
func BenchmarkInvalid(b *testing.B) {
	it := signed(100, 3, benchMessage)
	for i := range it.signatures {
		it.signatures[i][0] ^= 1
	}
	ok := make([]bool, 100)
	b.Run("Warm/100", func(b *testing.B) {
		v := fastverify.New(fastverify.Config{MinUses: 1})
		for b.Loop() {
			v.VerifyBatch(it.keys, it.messages, it.signatures, ok)
		}
		perSig(b, 100)
	})
	n := 3 * fastverify.DefaultMinUses
	b.Run("Cold/MinUses", func(b *testing.B) {
		warmBase(b)
		for b.Loop() {
			fastverify.New(fastverify.Config{}).VerifyBatch(it.keys[:n], it.messages[:n], it.signatures[:n], ok[:n])
		}
		perSig(b, n)
	})
}

// BenchmarkOneKey shows the break-even of a table: n signatures of one key,
// table made in the batch.
func BenchmarkOneKey(b *testing.B) {
	for _, n := range []int{2, 3, 4, 5, 6, 8, 12} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			it := signed(n, 1, benchMessage)
			ok := make([]bool, n)
			warmBase(b)
			for b.Loop() {
				fastverify.New(fastverify.Config{MinUses: 1}).VerifyBatch(it.keys, it.messages, it.signatures, ok)
			}
			perSig(b, n)
		})
	}
}

// warmBase makes the table of the generator, which is made once per process.
func warmBase(b *testing.B) {
	it := signed(1, 1, 0)
	fastverify.New(fastverify.Config{MinUses: 1}).VerifyBatch(it.keys, it.messages, it.signatures, make([]bool, 1))
}

func perSig(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/sig")
}
