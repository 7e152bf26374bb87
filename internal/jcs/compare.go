package jcs

// Compare orders a and b by their UTF-16 code units (RFC 8785 §3.2.3) and
// returns −1, 0 or +1. It does not allocate. For strings that are not valid
// UTF-8 it is still a total order, with no further meaning.
//
// UTF-8 bytes sort like UTF-16 code units with one exception: characters from
// U+10000 on (lead bytes F0…F4) are surrogates D800…DFFF in UTF-16 and so come
// before U+E000…U+FFFF (lead bytes EE and EF). Continuation bytes are below
// C0, hence ordering the bytes by rank is enough.
func Compare(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return order(rank(a[i]), rank(b[i]))
		}
	}
	return order(len(a), len(b))
}

// rank moves EE and EF behind all other bytes and keeps the rest in order.
func rank(c byte) int {
	if c == 0xEE || c == 0xEF {
		return int(c) + 0x100
	}
	return int(c)
}

func order(x, y int) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return +1
	}
	return 0
}
