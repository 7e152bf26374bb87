package conformance_test

import (
	"crypto/ed25519"
	"testing"

	"github.com/kest-go/kest/fastverify"
)

// F-ID-03: fastverify gives every Wycheproof vector its published result, alone and within one batch, and it
// accepts the valid ones by its own arithmetic, not by falling back to the standard library.
func TestWycheproofFastVerify(t *testing.T) {
	all := vectors(t, "ed25519_test.json")
	keys := make([]ed25519.PublicKey, len(all))
	messages, signatures := make([][]byte, len(all)), make([][]byte, len(all))
	alone, valid := fastverify.New(fastverify.Config{MinUses: 1}), uint64(0)
	for i, v := range all {
		keys[i], messages[i], signatures[i] = v.publicKey, fromHex(t, v.Msg), fromHex(t, v.Sig)
		ok := make([]bool, 1)
		alone.VerifyBatch(keys[i:i+1], messages[i:i+1], signatures[i:i+1], ok)
		if want := v.Result == "valid"; ok[0] != want {
			t.Errorf("vector %d (%s): got %v alone, want %s", v.TcID, v.Comment, ok[0], v.Result)
		} else if want {
			valid++
		}
	}
	if s := alone.Stats(); s.Fast != valid {
		t.Errorf("%d of %d valid vectors accepted by tables", s.Fast, valid)
	}
	ok := make([]bool, len(all))
	fastverify.New(fastverify.Config{MinUses: 1}).VerifyBatch(keys, messages, signatures, ok)
	for i, v := range all {
		if ok[i] != (v.Result == "valid") {
			t.Errorf("vector %d (%s): got %v in a batch, want %s", v.TcID, v.Comment, ok[i], v.Result)
		}
	}
}
