package fastverify

import (
	"sync"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

// A point is a point of edwards25519 in extended coordinates: x = X/Z,
// y = Y/Z, x·y = T/Z (Hisil, Wong, Carter, Dawson 2008, §3).
//
// The formulas below are complete on this curve (a = −1 is a square and d is
// not, §3.1 there): they are right for every pair of points, also for the
// identity, for a point added to itself and for points of small order. So a
// key or a nonce with a small-order part needs no special case.
type point struct{ x, y, z, t field.Element }

// A niels is an affine point in the form that is cheapest to add. The halves
// save the 2·Z of the usual (y+x, y−x, 2d·x·y).
type niels struct{ sum, diff, dxy field.Element } // (y+x)/2, (y−x)/2, d·x·y

// constants are 1/2 and 2d, for the d = −121665/121666 of RFC 8032 §5.1.
var constants = sync.OnceValue(func() (c struct{ half, twoD field.Element }) {
	var one, den field.Element
	one.One()
	c.half.Invert(den.Add(&one, &one))
	c.twoD.Mult32(&one, 2*121665)
	den.Mult32(&one, 121666)
	c.twoD.Multiply(&c.twoD, den.Invert(&den))
	c.twoD.Negate(&c.twoD)
	return c
})

func (p *point) identity() {
	p.x.Zero()
	p.y.One()
	p.z.One()
	p.t.Zero()
}

func (p *point) set(q *edwards25519.Point) {
	x, y, z, t := q.ExtendedCoordinates()
	p.x, p.y, p.z, p.t = *x, *y, *z, *t
}

// add sets p = p + q: 7 multiplications.
func (p *point) add(q *niels) {
	var a, b, c, d, e field.Element
	a.Multiply(e.Subtract(&p.y, &p.x), &q.diff)
	b.Multiply(e.Add(&p.y, &p.x), &q.sum)
	c.Multiply(&p.t, &q.dxy)
	e.Subtract(&b, &a)
	b.Add(&b, &a)
	a.Subtract(&p.z, &c)
	d.Add(&p.z, &c)
	p.join(&e, &a, &d, &b)
}

// sub sets p = p − q. The negative of (x, y) is (−x, y), so y+x and y−x
// change places and x·y changes sign.
func (p *point) sub(q *niels) {
	var a, b, c, d, e field.Element
	a.Multiply(e.Subtract(&p.y, &p.x), &q.sum)
	b.Multiply(e.Add(&p.y, &p.x), &q.diff)
	c.Multiply(&p.t, &q.dxy)
	e.Subtract(&b, &a)
	b.Add(&b, &a)
	a.Add(&p.z, &c)
	d.Subtract(&p.z, &c)
	p.join(&e, &a, &d, &b)
}

// join sets p to the point x = e/g, y = h/f.
func (p *point) join(e, f, g, h *field.Element) {
	p.x.Multiply(e, f)
	p.y.Multiply(g, h)
	p.z.Multiply(f, g)
	p.t.Multiply(e, h)
}

// double sets p = [2^n]p for n ≥ 1. T is not an input of a doubling, so only
// the last one makes it.
func (p *point) double(n int) {
	var a, b, c, e, g field.Element
	for ; n > 0; n-- {
		a.Square(&p.x)
		b.Square(&p.y)
		c.Square(&p.z)
		c.Add(&c, &c)
		e.Add(&p.x, &p.y)
		e.Square(&e)
		g.Add(&a, &b)
		e.Subtract(&e, &g)
		a.Subtract(&b, &a)
		c.Subtract(&a, &c)
		g.Negate(&g)
		if n == 1 {
			p.join(&e, &c, &a, &g)
			return
		}
		p.x.Multiply(&e, &c)
		p.y.Multiply(&a, &g)
		p.z.Multiply(&c, &a)
	}
}

// affine sets out[i] to ps[i] with one inversion for all of them (Montgomery's
// trick). len(out) = len(ps) = len(prefix).
func affine(out []niels, ps []point, prefix []field.Element) {
	k := constants()
	var x, y, h field.Element
	invertAll(ps, prefix, func(i int, zinv *field.Element) {
		h.Multiply(zinv, &k.half)
		x.Multiply(&ps[i].x, &h)
		y.Multiply(&ps[i].y, &h)
		out[i].sum.Add(&y, &x)
		out[i].diff.Subtract(&y, &x)
		out[i].dxy.Multiply(out[i].dxy.Multiply(&ps[i].t, &h), &k.twoD)
	})
}

// invertAll calls yield once for every point with 1/Z of it, for one inversion
// and three multiplications per point. len(prefix) = len(ps). Z is never zero
// for a point of the curve, since the formulas are complete; if one were, no
// point would be yielded, rather than all of them with a false 1/Z = 0.
func invertAll(ps []point, prefix []field.Element, yield func(i int, zinv *field.Element)) {
	var acc, zinv, zero field.Element
	acc.One()
	for i := range ps {
		prefix[i] = acc
		acc.Multiply(&acc, &ps[i].z)
	}
	if acc.Equal(&zero) == 1 {
		return
	}
	acc.Invert(&acc)
	for i := len(ps) - 1; i >= 0; i-- {
		zinv.Multiply(&acc, &prefix[i])
		acc.Multiply(&acc, &ps[i].z)
		yield(i, &zinv)
	}
}
