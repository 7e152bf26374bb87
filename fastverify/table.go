package fastverify

import (
	"encoding/binary"
	"sync"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

// A scalar has 256 signed bits in 8 levels: bit i is on level i mod 8. The 32
// bits of a level belong to the bases P, 2^8·P, 2^16·P, … 2^248·P.
const (
	levels = 8
	bases  = 32
)

// Teeth are how many bases share a row of a table, chosen by measurement (see
// the package comment).
const (
	keyTeeth  = 7  // 4 rows of 64 points and one of 8
	baseTeeth = 11 // 2 rows of 1024 points and one of 512
)

// A table is a comb (Lim, Lee 1994) with signed bits for one fixed point P. The
// bases are split into rows of teeth consecutive ones, the last row taking what
// remains. A row of h bases Q[0], …, Q[h−1] has 2^(h−1) points
//
//	row[u] = Q[h−1] + Σ ±Q[j], 0 ≤ j < h−1, with + where bit j of u is set
//
// which are, up to sign, all its sums. A table is immutable once made.
type table struct {
	teeth int
	one   niels // P
	rows  [][]niels
}

// pointsOf is the number of points in the rows of a table.
func pointsOf(teeth int) int {
	full, rest := bases/teeth, bases%teeth
	n := full << (teeth - 1)
	if rest > 0 {
		n += 1 << (rest - 1)
	}
	return n
}

// newTable makes the table of p, with two inversions in all.
func newTable(p *edwards25519.Point, teeth int) *table {
	var q [2 * bases]point // q[2j] = 2^(8j)·P, q[2j+1] = its double
	q[0].set(p)
	for j := range bases {
		if j > 0 {
			q[2*j] = q[2*j-1]
			q[2*j].double(levels - 1)
		}
		q[2*j+1] = q[2*j]
		q[2*j+1].double(1)
	}
	n := pointsOf(teeth)
	prefix := make([]field.Element, max(n, len(q)))
	var steps [2 * bases]niels
	affine(steps[:], q[:], prefix[:len(q)])

	t := &table{teeth: teeth, one: steps[0]}
	work, points := make([]point, n), make([]niels, n)
	from := 0
	for lo := 0; lo < bases; lo += teeth {
		h := min(teeth, bases-lo)
		to := from + 1<<(h-1)
		fillRow(work[from:to], &q[2*(lo+h-1)], steps[2*lo:2*(lo+h-1)])
		t.rows = append(t.rows, points[from:to:to])
		from = to
	}
	affine(points, work, prefix[:n])
	return t
}

// fillRow makes one row of a table: top is its last base, and steps[2j] and
// steps[2j+1] are base j and its double.
func fillRow(row []point, top *point, steps []niels) {
	row[0] = *top
	for j := 0; j < len(steps); j += 2 {
		row[0].sub(&steps[j])
	}
	for j, n := 1, 1; j < len(steps); j, n = j+2, 2*n {
		for u := range n {
			row[n+u] = row[u]
			row[n+u].add(&steps[j])
		}
	}
}

// digits are the signed bits of a scalar: bit j of digits[i] is set when bit
// 8j+i is +1 and clear when it is −1.
type digits [levels]uint32

// recode writes k as Σ ±2^i over all 0 ≤ i < 256, if it is odd, and k+1 if it is
// even, for a k below 2^255. Since 2^i = 2^(i+1) − 2^i, bit i is the plain bit
// i+1 of k, and the last is +1. The value is the integer itself, not one modulo
// ℓ, as it must be for points outside the prime-order subgroup.
func recode(k *[32]byte) (d digits, even bool) {
	var w [5]uint64
	for i := range 4 {
		w[i] = binary.LittleEndian.Uint64(k[8*i:])
	}
	w[4] = 1
	for i := range 4 {
		x := transpose(w[i]>>1 | w[i+1]<<63)
		for l := range levels {
			d[l] |= uint32(x>>(8*l)&0xff) << (8 * i)
		}
	}
	return d, k[0]&1 == 0
}

// transpose exchanges bit 8i+j with bit 8j+i, in blocks of 1, 2 and 4 bits.
func transpose(x uint64) uint64 {
	swap := func(shift int, mask uint64) {
		y := (x ^ x>>shift) & mask
		x ^= y ^ y<<shift
	}
	swap(7, 0x00aa00aa00aa00aa)
	swap(14, 0x0000cccc0000cccc)
	swap(28, 0x00000000f0f0f0f0)
	return x
}

// addLevel adds to acc the points of t for the bits of one level.
func (t *table) addLevel(acc *point, bits uint32) {
	for _, row := range t.rows {
		half := uint32(len(row)) // the bit of the last tooth, which has the sign
		if bits&half != 0 {
			acc.add(&row[bits&(half-1)])
		} else {
			acc.sub(&row[^bits&(half-1)])
		}
		bits >>= t.teeth
	}
}

// sum2 sets acc = [a]P + [b]Q for the points P of t and Q of u, and scalars
// below 2^255. Its time depends on the scalars: signatures, keys and messages
// are public here.
func sum2(acc *point, t *table, a *[32]byte, u *table, b *[32]byte) {
	da, evenA := recode(a)
	db, evenB := recode(b)
	acc.identity()
	for l := levels - 1; l >= 0; l-- {
		if l < levels-1 {
			acc.double(1)
		}
		t.addLevel(acc, da[l])
		u.addLevel(acc, db[l])
	}
	if evenA {
		acc.sub(&t.one)
	}
	if evenB {
		acc.sub(&u.one)
	}
}

// baseTable is the table of the generator B of RFC 8032 §5.1, made on first
// use and kept.
var baseTable = sync.OnceValue(func() *table {
	return newTable(edwards25519.NewGeneratorPoint(), baseTeeth)
})

// newKeyTable makes the table of −A for an encoded public key A, or returns nil
// when the bytes are not a point. Decoding is that of crypto/ed25519, which is
// laxer than RFC 8032 §5.1.3: a y of p or more is taken modulo p, and x = 0 may
// carry a sign.
func newKeyTable(key *[32]byte) *table {
	a, err := new(edwards25519.Point).SetBytes(key[:])
	if err != nil {
		return nil
	}
	return newTable(a.Negate(a), keyTeeth)
}
