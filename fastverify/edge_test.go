package fastverify_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"testing"

	"filippo.io/edwards25519"

	"github.com/kest-go/kest/fastverify"
)

// order is ℓ of RFC 8032 §5.1.
var order, _ = new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)

// prime is 2^255 − 19.
var prime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))

func little(n *big.Int) []byte {
	b := n.FillBytes(make([]byte, 32))
	slices.Reverse(b)
	return b
}

func number(b []byte) *big.Int {
	b = slices.Clone(b)
	slices.Reverse(b)
	return new(big.Int).SetBytes(b)
}

// scalar is n modulo ℓ.
func scalar(n *big.Int) *edwards25519.Scalar {
	s, err := edwards25519.NewScalar().SetCanonicalBytes(little(new(big.Int).Mod(n, order)))
	if err != nil {
		panic(err)
	}
	return s
}

func decode(b []byte) *edwards25519.Point {
	p, err := new(edwards25519.Point).SetBytes(b)
	if err != nil {
		return nil
	}
	return p
}

func plus(p, q *edwards25519.Point) *edwards25519.Point { return new(edwards25519.Point).Add(p, q) }

func base(s *edwards25519.Scalar) *edwards25519.Point {
	return new(edwards25519.Point).ScalarBaseMult(s)
}

// torsion returns the points [i]T for a T of order 8.
var torsion = sync.OnceValue(func() (points [8]*edwards25519.Point) {
	identity := edwards25519.NewIdentityPoint()
	for y := byte(2); ; y++ {
		p := decode(append([]byte{y}, make([]byte, 31)...))
		if p == nil {
			continue
		}
		// ScalarMult takes scalars below ℓ: [ℓ]P = [ℓ−1]P + P has order 1, 2, 4 or 8.
		minusOne := scalar(new(big.Int).Sub(order, big.NewInt(1)))
		t := plus(new(edwards25519.Point).ScalarMult(minusOne, p), p)
		points[0] = identity
		for i := 1; i < 8; i++ {
			points[i] = plus(points[i-1], t)
		}
		if points[4].Equal(identity) == 0 && plus(points[7], t).Equal(identity) == 1 {
			return points
		}
	}
})

// smallOrder returns all 14 encodings that crypto/ed25519 decodes to a point of
// small order: the canonical ones of 8 points, then those with y ≥ p or with a
// sign on x = 0.
var smallOrder = sync.OnceValue(func() (encodings [][]byte) {
	var odd [][]byte
	for _, p := range torsion() {
		encodings = append(encodings, p.Bytes())
		y := number(p.Bytes())
		y.SetBit(y, 255, 0)
		for _, y := range []*big.Int{y, new(big.Int).Add(y, prime)} {
			for _, sign := range []uint{0, 1} {
				if y.BitLen() > 255 {
					continue
				}
				b := little(new(big.Int).SetBit(y, 255, sign))
				if q := decode(b); q != nil && q.Equal(p) == 1 && !bytes.Equal(b, p.Bytes()) {
					odd = append(odd, b)
				}
			}
		}
	}
	return append(encodings, odd...)
})

// notAPoint returns bytes of the right length that decode to no point.
func notAPoint() []byte {
	for y := byte(2); ; y++ {
		b := append([]byte{y}, make([]byte, 31)...)
		if decode(b) == nil {
			return b
		}
	}
}

// secret returns the secret scalar of a private key (RFC 8032 §5.1.5).
func secret(priv ed25519.PrivateKey) *edwards25519.Scalar {
	h := sha512.Sum512(priv.Seed())
	s, err := edwards25519.NewScalar().SetBytesWithClamping(h[:32])
	if err != nil {
		panic(err)
	}
	return s
}

func challenge(r, key, message []byte) *edwards25519.Scalar {
	h := sha512.Sum512(slices.Concat(r, key, message))
	k, err := edwards25519.NewScalar().SetUniformBytes(h[:])
	if err != nil {
		panic(err)
	}
	return k
}

// forge signs with secret scalar a for a key encoded as key, with R encoded as
// given for the nonce: S = nonce + k·a.
func forge(a, nonce *edwards25519.Scalar, key, r, message []byte) []byte {
	s := edwards25519.NewScalar().MultiplyAdd(challenge(r, key, message), a, nonce)
	return slices.Concat(r, s.Bytes())
}

// An edge is one case with the standard library's answer, where it is certain.
type edge struct {
	name         string
	key          ed25519.PublicKey
	message, sig []byte
	want         bool
}

// edges returns the cases whose answer follows from how they are made.
func edges() []edge {
	priv, message := private(1), []byte("message")
	key, sig := priv.Public().(ed25519.PublicKey), ed25519.Sign(priv, message)
	zero := edwards25519.NewScalar()
	nonce := scalar(big.NewInt(123456789))
	es := []edge{{"valid", key, message, sig, true}}
	bad := func(name string, key, message, sig []byte) {
		es = append(es, edge{name, key, message, sig, false})
	}

	// RFC 8032 §5.1.7: S is below ℓ.
	withS := func(s *big.Int) []byte { return append(slices.Clone(sig[:32]), little(s)...) }
	s := number(sig[32:])
	for i := int64(1); i < 16; i++ {
		bad(fmt.Sprintf("S+%dℓ", i), key, message, withS(new(big.Int).Add(s, new(big.Int).Mul(order, big.NewInt(i)))))
		bad(fmt.Sprintf("S, high bits %x", i), key, message, withS(new(big.Int).Add(s, new(big.Int).Lsh(big.NewInt(i), 252))))
	}
	for _, n := range []int64{-1, 0, 1} {
		bad(fmt.Sprintf("S=ℓ%+d", n), key, message, withS(new(big.Int).Add(order, big.NewInt(n))))
	}
	bad("S=0", key, message, withS(new(big.Int)))
	bad("S=2^256-1", key, message, append(slices.Clone(sig[:32]), bytes.Repeat([]byte{0xff}, 32)...))

	// Small-order parts in R or A that a check with cofactor does not see.
	rPoint := base(nonce)
	for i, t := range torsion() {
		if i == 0 {
			continue
		}
		r := plus(rPoint, t).Bytes()
		bad(fmt.Sprintf("R+[%d]T", i), key, message, forge(secret(priv), nonce, key, r, message))
		bad(fmt.Sprintf("key+[%d]T, signature of key", i), plus(decode(key), t).Bytes(), message, sig)
	}
	// Keys of small and of mixed order.
	for i := range torsion() {
		for j := range torsion() {
			es = append(es, mixed("", zero, i, j)...)
			es = append(es, mixed("key+", secret(priv), i, j)...)
		}
	}
	// The identity as key accepts S = r for any message, however it is encoded.
	for _, enc := range smallOrder() {
		if decode(enc).Equal(torsion()[0]) == 1 {
			es = append(es, edge{fmt.Sprintf("identity key %x", enc), enc, message,
				append(rPoint.Bytes(), nonce.Bytes()...), true})
			// R is compared as bytes: only the canonical identity matches S = 0.
			for _, r := range smallOrder() {
				es = append(es, edge{fmt.Sprintf("identity key %x, R %x, S=0", enc, r), enc, message,
					append(slices.Clone(r), make([]byte, 32)...), bytes.Equal(r, torsion()[0].Bytes())})
			}
		}
	}
	// Bytes in R that decode to nothing, or to a point by leniency only.
	bad("R no point", key, message, append(notAPoint(), sig[32:]...))
	for y := int64(0); y < 19; y++ {
		for _, sign := range []uint{0, 1} {
			enc := little(new(big.Int).SetBit(new(big.Int).Add(prime, big.NewInt(y)), 255, sign))
			bad(fmt.Sprintf("R y=p+%d sign %d", y, sign), key, message, append(slices.Clone(enc), sig[32:]...))
			bad(fmt.Sprintf("key y=p+%d sign %d", y, sign), enc, message, sig)
		}
	}
	bad("key no point", notAPoint(), message, sig)

	for _, n := range []int{0, 1, 31, 33, 63, 64, 65} {
		long := slices.Concat(key, key, key)
		bad(fmt.Sprintf("key of %d bytes", n), long[:n], message, sig)
		if n != 64 {
			bad(fmt.Sprintf("signature of %d bytes", n), key, message, slices.Concat(sig, sig)[:n])
		}
	}
	bad("nil key", nil, message, sig)
	bad("nil signature", key, message, nil)
	bad("all nil", nil, nil, nil)
	bad("nil message", key, nil, sig)
	es = append(es, edge{"nil message, signed", key, nil, ed25519.Sign(priv, nil), true})
	return es
}

// mixed returns signatures by the key [a]B + [i]T with a nonce of [n]B + [j]T.
// They are valid where the small-order parts of R and of [k]A cancel.
func mixed(name string, a *edwards25519.Scalar, i, j int) (es []edge) {
	nonce := scalar(big.NewInt(987654321))
	key := plus(base(a), torsion()[i]).Bytes()
	r := plus(base(nonce), torsion()[j]).Bytes()
	for m := byte(0); m < 3; m++ {
		message := []byte{m}
		k := challenge(r, key, message)
		part := plus(torsion()[j], new(edwards25519.Point).ScalarMult(k, torsion()[i]))
		es = append(es, edge{
			fmt.Sprintf("key %s[%d]T, R+[%d]T, message %d", name, i, j, m),
			key, message, forge(a, nonce, key, r, message),
			part.Equal(edwards25519.NewIdentityPoint()) == 1,
		})
	}
	return es
}

func TestSmallOrderEncodings(t *testing.T) {
	if n := len(smallOrder()); n != 14 {
		t.Fatalf("%d encodings, want 14", n)
	}
	for _, b := range smallOrder() {
		if new(edwards25519.Point).MultByCofactor(decode(b)).Equal(edwards25519.NewIdentityPoint()) != 1 {
			t.Errorf("%x is not of small order", b)
		}
	}
}

// Each edge alone, and as first, middle and last of valid signatures of its own
// key and of others, gives the answers of the standard library.
func TestEdges(t *testing.T) {
	v := fastverify.New(fastverify.Config{MinUses: 1})
	yes, total := 0, 0
	for _, e := range edges() {
		if got := standard(e.key, e.message, e.sig); got != e.want {
			t.Errorf("%s: standard library says %v, want %v", e.name, got, e.want)
		}
		it := new(items)
		it.add(e.key, e.message, e.sig)
		yes, total = yes+check(t, v, it), total+1
		allFast(t, v, yes)
		if t.Failed() {
			t.Fatalf("case %q", e.name)
		}
	}
	if yes < 50 || total-yes < 100 {
		t.Errorf("%d of %d cases valid: both answers should be common", yes, total)
	}
}

func TestEdgesInBatch(t *testing.T) {
	v := fastverify.New(fastverify.Config{MinUses: 1})
	all, valid := new(items), signed(4, 2, 20)
	for _, e := range edges() {
		for _, at := range []int{0, 2, 4} {
			it := valid.clone()
			it.insert(at, e.key, e.message, e.sig)
			if yes := check(t, v, it); yes < 4 {
				t.Fatalf("%s at %d: %d of 4 valid signatures accepted", e.name, at, yes)
			}
		}
		all.add(e.key, e.message, e.sig)
	}
	check(t, v, all)
	check(t, fastverify.New(fastverify.Config{}), all)
}

// Every small-order encoding as A, with every one as R, S in {0, 1, ℓ−1, ℓ}.
func TestSmallOrderMatrix(t *testing.T) {
	it := new(items)
	for _, a := range smallOrder() {
		for _, r := range smallOrder() {
			for m := byte(0); m < 4; m++ {
				it.add(a, []byte{m}, append(slices.Clone(r), make([]byte, 32)...))
			}
			for _, n := range []int64{-1, 0} {
				it.add(a, nil, append(slices.Clone(r), little(new(big.Int).Add(order, big.NewInt(n)))...))
			}
		}
		for _, t := range torsion() {
			r := plus(edwards25519.NewGeneratorPoint(), t).Bytes()
			it.add(a, nil, append(r, little(big.NewInt(1))...))
		}
	}
	v := fastverify.New(fastverify.Config{MinUses: 1})
	yes := check(t, v, it)
	allFast(t, v, yes)
	if yes < 50 || len(it.keys)-yes < 500 {
		t.Errorf("%d of %d valid: both answers should be common", yes, len(it.keys))
	}
}

// With the identity as key, R = [S]B is valid for every S. The table of B has a
// point for every choice of 11 bits of S at distances of 8, up to sign: this
// reaches each of them with both signs.
func TestBaseTableComplete(t *testing.T) {
	key := torsion()[0].Bytes()
	it := new(items)
	use := func(n *big.Int) {
		s := scalar(n)
		it.add(key, nil, append(base(s).Bytes(), s.Bytes()...))
	}
	for row := range 3 {
		for u := range 1 << min(11, 32-11*row) {
			n := big.NewInt(1) // odd, so that no correction hides a bit
			for j := range 11 {
				n.SetBit(n, 8*(11*row+j)+1, uint(u>>j&1))
			}
			use(n)
		}
	}
	for bit := range uint(253) { // ends of runs of ones carry furthest
		n := new(big.Int).Lsh(big.NewInt(1), bit)
		use(n)
		use(new(big.Int).Sub(n, big.NewInt(1)))
		use(new(big.Int).Sub(order, n))
	}
	v := fastverify.New(fastverify.Config{MinUses: 1})
	ok := make([]bool, len(it.keys))
	v.VerifyBatch(it.keys, it.messages, it.signatures, ok)
	if s := v.Stats(); slices.Contains(ok, false) || s.Standard != 0 || len(ok) < 5000 {
		t.Errorf("%d signatures, stats %+v, want all accepted by way of tables", len(ok), s)
	}
}

// Each challenge uses 8 of the 64 points of every row of a key's table, each with
// either sign: 1,500 of them miss one of the 528 with probability 10^-38.
func TestKeyTableComplete(t *testing.T) {
	v := fastverify.New(fastverify.Config{MinUses: 1})
	allFast(t, v, check(t, v, signed(1500, 1, 20)))
}
