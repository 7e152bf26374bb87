package identity_test

import (
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
)

// held is a signer whose end can be seen.
type held struct{ lineage.Signer }

// TestOldKeysAreForgotten: a key that is not used any more is gone from memory, where it could be stolen as long as its
// binding holds; the binding stays.
func TestOldKeysAreForgotten(t *testing.T) {
	ring := &identity.Keyring{}
	old, keyID := func() (weak.Pointer[held], string) {
		c := issued(t, workload, time.Hour)
		h := &held{c.Signer}
		c.Signer = h
		use(t, ring, c)
		return weak.Make(h), c.Binding.KeyID()
	}()
	runtime.GC()
	if old.Value() == nil {
		t.Fatal("the key in use is gone")
	}
	use(t, ring, issued(t, workload, time.Hour))
	runtime.GC()
	if old.Value() != nil {
		t.Error("the key before is still there")
	}
	if ring.Binding(keyID) == nil {
		t.Error("its binding is gone")
	}
}
