package propagate_test

import (
	"testing"
	"time"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// TestOfferOfAnothersKey: a workload may have its platform certify any key, also one that it does not hold, and offer
// that. It must not take the key from its owner.
func TestOfferOfAnothersKey(t *testing.T) {
	c := newCloud(t)
	shop, thief := c.workload(web), c.workload(pay)
	signer, err := thief.Signer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	taken := c.certify(pay, publicOf(t, c, shop), time.Now().Truncate(time.Second))
	p := propagator(t, propagate.Config{})
	in := ingress(t, propagate.IngressConfig{Propagator: p, Verifier: verifier(t, withKeys(c.source(nil, nil))), Logger: new(logs).logger()})
	hostile := c.signed(claimsKey{signer, taken.KeyID()}, pay, 1)
	_, _, err = in.Admit(t.Context(), propagate.Request{Carrier: carry(headerOf(t, p, hostile) + "," + memberOf(taken.Text()))})
	wantClass(t, err, propagate.Forbidden)
	good := carry(headerOf(t, p, c.entry(shop, 2)) + "," + memberOf(shop.Binding("").Text()))
	if _, _, err := in.Admit(t.Context(), propagate.Request{Carrier: good}); err != nil {
		t.Errorf("the owner of the key is refused: %v", err)
	}
}

// claimsKey claims to sign with another key.
type claimsKey struct {
	lineage.Signer
	id string
}

func (k claimsKey) KeyID() string { return k.id }
