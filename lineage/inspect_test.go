package lineage_test

import (
	"strings"
	"testing"

	"github.com/kest-go/kest/lineage"
)

// TestInsecureInspectDenial shows what a denial record claims, also when its signature is wrong, and reads nothing else
// as one.
func TestInsecureInspectDenial(t *testing.T) {
	t.Parallel()
	signer, e := signerOf(t, pay), draft(t, call{by: pay, n: 3})
	jws, err := lineage.SignDenial(t.Context(), signer, lineage.Denial{Entry: e, Policy: "kest/allow_trusted", Tier: "function", Reason: "r"}, lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	at := strings.LastIndexByte(jws, '.') + 1
	other := byte('A')
	if jws[at] == other {
		other = 'B'
	}
	for _, text := range []string{jws, jws[:at] + string(other) + jws[at+1:]} {
		d, kid, err := lineage.InsecureInspectDenial(text, lineage.Limits{})
		if err != nil || d.Policy != "kest/allow_trusted" || d.Tier != "function" || d.Reason != "r" || d.Entry.ID != e.ID || kid != signer.KeyID() {
			t.Errorf("%v: %+v, %q", err, d, kid)
		}
	}
	signed, err := lineage.Sign(t.Context(), signer, e, lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "a.b.c", signed.JWS(), jws + "A", jws[:at]} {
		if d, kid, err := lineage.InsecureInspectDenial(bad, lineage.Limits{}); err == nil || d.Policy != "" || kid != "" {
			t.Errorf("%.20q: %v: %+v", bad, err, d)
		}
	}
	if _, _, err := lineage.InsecureInspectDenial(jws, lineage.Limits{EntryBytes: 100}); err == nil {
		t.Error("no limit")
	}
}
