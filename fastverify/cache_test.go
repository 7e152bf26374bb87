package fastverify_test

import (
	"testing"

	"github.com/kest-go/kest/fastverify"
)

// use verifies n signatures of key k in one call.
func use(t *testing.T, v *fastverify.Verifier, k, n int) {
	t.Helper()
	it := new(items)
	one := signed(k+1, k+1, 10)
	for range n {
		it.add(one.keys[k], one.messages[k], one.signatures[k])
	}
	if yes := check(t, v, it); yes != n {
		t.Fatalf("%d of %d valid signatures accepted", yes, n)
	}
}

func built(t *testing.T, v *fastverify.Verifier, tables, built uint64) {
	t.Helper()
	if s := v.Stats(); s.Tables != tables || s.Built != built {
		t.Errorf("%d tables held, %d made, want %d and %d", s.Tables, s.Built, tables, built)
	}
}

func TestMinUses(t *testing.T) {
	v := fastverify.New(fastverify.Config{MinUses: 5})
	use(t, v, 0, 4)
	built(t, v, 0, 0)
	use(t, v, 1, 5)
	built(t, v, 1, 1)
	if s := v.Stats(); s.Fast != 5 || s.Standard != 4 {
		t.Errorf("got %+v, want 5 fast and 4 standard", s)
	}
	use(t, v, 1, 1) // a table that is there is used for a single signature
	if s := v.Stats(); s.Fast != 6 {
		t.Errorf("got %+v, want 6 fast", s)
	}
}

// A key that comes with one signature at a time gets a table in the end.
func TestCarriedUses(t *testing.T) {
	v := fastverify.New(fastverify.Config{MinUses: 2})
	for i := range 15 {
		use(t, v, 0, 1)
		if s := v.Stats(); s.Built != 0 {
			t.Fatalf("table made after %d signatures, want 16", i+1)
		}
	}
	use(t, v, 0, 1)
	built(t, v, 1, 1)
}

func TestLeastRecentlyUsedGoes(t *testing.T) {
	v := fastverify.New(fastverify.Config{MaxKeys: 2, MinUses: 1})
	use(t, v, 0, 1)
	use(t, v, 1, 1)
	use(t, v, 0, 1)
	use(t, v, 2, 1) // pushes out 1
	built(t, v, 2, 3)
	use(t, v, 0, 1)
	use(t, v, 2, 1)
	built(t, v, 2, 3)
	use(t, v, 1, 1)
	built(t, v, 2, 4)
}

// A flood of keys costs no tables, and a flood of batches no more than MaxKeys.
func TestKeyFlood(t *testing.T) {
	v := fastverify.New(fastverify.Config{MaxKeys: 3, MinUses: 2})
	use(t, v, 0, 2)
	for range 20 { // 40 keys > 8·MaxKeys: counts are forgotten before they add up
		check(t, v, signed(40, 40, 10))
	}
	if s := v.Stats(); s.Built != 1 {
		t.Errorf("%d tables made for keys that come one by one, want 1", s.Built)
	}
	check(t, v, signed(40, 20, 10))
	if s := v.Stats(); s.Tables != 3 || s.Built < 20 {
		t.Errorf("got %+v, want 3 tables held and at least 20 made", s)
	}
}

// Bytes that are no point take no room and push nothing out.
func TestUndecodableKey(t *testing.T) {
	v := fastverify.New(fastverify.Config{MinUses: 1})
	it := signed(10, 2, 10)
	for i := range it.keys {
		if i%2 == 0 {
			it.keys[i] = notAPoint()
		}
	}
	if yes := check(t, v, it); yes != 5 {
		t.Errorf("%d signatures accepted, want 5", yes)
	}
	built(t, v, 1, 1)
}

// The package comment says 32 KB.
func TestTableBytes(t *testing.T) {
	if fastverify.TableBytes < 31_000 || fastverify.TableBytes > 33_000 {
		t.Errorf("a table takes %d bytes", fastverify.TableBytes)
	}
}
