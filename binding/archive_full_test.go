//go:build !race

// The race detector makes a minute of this.

package binding_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/lineage"
)

// TestFullArchive: it can still be written and read, and says that it is full.
func TestFullArchive(t *testing.T) {
	a, w := full(t)
	n := 0
	for ; a.Dropped() == 0 && n < 2_000_000; n++ {
		var text [8]byte
		binary.BigEndian.PutUint64(text[:], uint64(n))
		a.Observe(lineage.HashJWS(string(text[:])), time.UnixMilli(1<<53-1))
	}
	a.Add(newCA(t).workload(pay).binding)
	if a.Dropped() != 2 || n < 600_000 {
		t.Errorf("%d observations, %d dropped", n, a.Dropped())
	}
	text := textOf(t, a)
	if len(text) < 50<<20 || !binding.IsArchive(text) {
		t.Errorf("%d bytes", len(text))
	}
	wantHeld(t, must(binding.ParseArchive(text))(t), w, true)
}
