package fastverify_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"github.com/kest-go/kest/fastverify"
)

// FuzzVerifyBatch compares every answer with ed25519.Verify. When sign is set,
// key is the seed of a key that signs the message, so that valid signatures stay
// common; then one bit is flipped (none for flip 0). The item is verified alone
// and at several places of a batch of valid ones.
func FuzzVerifyBatch(f *testing.F) {
	for _, e := range edges() {
		f.Add([]byte(e.key), e.message, e.sig, false, uint16(0), uint8(3))
	}
	for flip := uint16(0); flip < 900; flip += 4 {
		f.Add([]byte{byte(flip % 12)}, []byte("message"), []byte{}, true, flip, uint8(flip))
	}
	valid := signed(40, 3, 30)
	warm := fastverify.New(fastverify.Config{MinUses: 1, MaxKeys: 128})
	f.Fuzz(func(t *testing.T, key, message, sig []byte, sign bool, flip uint16, at uint8) {
		if sign {
			seed := make([]byte, ed25519.SeedSize)
			copy(seed, key)
			priv := ed25519.NewKeyFromSeed(seed)
			key, sig = priv.Public().(ed25519.PublicKey), ed25519.Sign(priv, message)
		}
		key, message, sig = bytes.Clone(key), bytes.Clone(message), bytes.Clone(sig)
		flipBit(int(flip), key, message, sig)

		one := new(items)
		one.add(key, message, sig)
		check(t, warm, one)
		check(t, fastverify.New(fastverify.Config{}), one)

		n := 1 + int(at)%8
		many := valid.clone()
		many.keys, many.messages, many.signatures = many.keys[:n], many.messages[:n], many.signatures[:n]
		many.insert(int(at)%(n+1), key, message, sig)
		many.insert(0, key, message, valid.signatures[0])
		many.add(key, message, sig)
		if yes := check(t, warm, many); yes < n {
			t.Errorf("%d of %d valid signatures accepted", yes, n)
		}
	})
}

// flipBit flips bit n−1 of the concatenation of the parts, if there is one.
func flipBit(n int, parts ...[]byte) {
	n--
	for _, p := range parts {
		if n >= 0 && n < 8*len(p) {
			p[n/8] ^= 1 << (n % 8)
			return
		}
		n -= 8 * len(p)
	}
}
