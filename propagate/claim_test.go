package propagate_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/store"
)

const someID = "0b9f7c3e-0000-4000-8000-0123456789ab"

// TestHostileClaim: an id is a UUID or it never reaches the store; what the store has under it is worth nothing
// without the signed tip (F-CP-03).
func TestHostileClaim(t *testing.T) {
	passport := chain(t, 3)
	tips := "kest.chain_tip=" + passport.Tips()[0].String()
	another := grow(t, lineage.Passport{}, 9, web) // as valid
	wrong := passport.Entries()
	slices.Reverse(wrong)
	for name, c := range map[string]struct {
		want   propagate.Class
		stored string
		member string
	}{
		"unknown":                {propagate.Forbidden, "", "kest.claim_check=" + someID},
		"other case of it":       {propagate.Forbidden, textOf(t, passport), "kest.claim_check=" + strings.ToUpper(someID)},
		"empty":                  {propagate.Malformed, "", "kest.claim_check="},
		"not a UUID":             {propagate.Malformed, "", "kest.claim_check=latest"},
		"path":                   {propagate.Malformed, "", "kest.claim_check=../../../../../../../../../etc/passwd"},
		"path of 36":             {propagate.Malformed, "", "kest.claim_check=../../../../../../../../../../secret"},
		"wildcard":               {propagate.Malformed, "", "kest.claim_check=" + strings.Replace(someID, "0b9f", "****", 1)},
		"without hyphens":        {propagate.Malformed, "", "kest.claim_check=" + strings.ReplaceAll(someID, "-", "0")},
		"braces":                 {propagate.Malformed, "", "kest.claim_check={" + someID + "}"},
		"urn":                    {propagate.Malformed, "", "kest.claim_check=urn:uuid:" + someID},
		"longer":                 {propagate.Malformed, textOf(t, passport), "kest.claim_check=" + someID + "0"},
		"NUL behind":             {propagate.Malformed, textOf(t, passport), "kest.claim_check=" + someID + "%00"},
		"line break in it":       {propagate.Malformed, "", "kest.claim_check=" + someID[:35] + "%0A"},
		"digit of another class": {propagate.Malformed, "", "kest.claim_check=" + someID[:35] + "g"},

		"poisoned":         {propagate.Forbidden, textOf(t, another), ""},
		"cut off":          {propagate.Forbidden, textOf(t, chain(t, 2)), ""},
		"longer than sent": {propagate.Forbidden, textOf(t, grow(t, passport, 9, pay)), ""},
		"emptied":          {propagate.Forbidden, "[]", ""},
		"out of order":     {propagate.Forbidden, `["` + strings.Join(wrong, `","`) + `"]`, ""},
		"forged":           {propagate.Forbidden, forged(textOf(t, passport)), ""},
		"garbage":          {propagate.Malformed, "\x00\xff garbage", ""},
		"nothing":          {propagate.Malformed, "", ""},
		"HTML":             {propagate.Malformed, "<html>503 Service Unavailable</html>", ""},
		"compressed":       {propagate.Malformed, string(deflated(t, textOf(t, passport), 1)), ""},
		"oversized":        {propagate.TooLarge, `["` + strings.Repeat("x", store.MaxValue) + `"]`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf()
			if c.stored != "" || c.member == "" {
				s.values["kest.claim."+someID] = []byte(c.stored)
			}
			if c.member == "" {
				c.member = "kest.claim_check=" + someID
			}
			turnedAway(t, propagator(t, propagate.Config{Store: s}), c.want, tips+","+c.member)
		})
	}
	s := newShelf()
	s.values["kest.claim."+someID] = []byte(textOf(t, passport))
	p := propagator(t, propagate.Config{Store: s})
	if got := restored(t, p, tips, "kest.claim_check="+someID); got.Len() != 3 {
		t.Error("the attacks attack nothing")
	}
	t.Run("without tip", func(t *testing.T) { turnedAway(t, p, propagate.Malformed, "kest.claim_check="+someID) })
	t.Run("no store", func(t *testing.T) {
		turnedAway(t, propagator(t, propagate.Config{}), propagate.Unavailable, tips, "kest.claim_check="+someID)
	})
	t.Run("invalid id does not reach the store", func(t *testing.T) {
		down := propagator(t, propagate.Config{Store: &shelf{fail: errors.New("asked")}})
		turnedAway(t, down, propagate.Malformed, tips, "kest.claim_check=../"+someID[3:])
	})
}

// TestClaimOfAnotherTenant: tenants that share a store have prefixes; a claim check of one is unknown to the other.
func TestClaimOfAnotherTenant(t *testing.T) {
	s := newShelf()
	a, b := propagator(t, propagate.Config{Store: s, ClaimPrefix: "a."}), propagator(t, propagate.Config{Store: s, ClaimPrefix: "b."})
	header := headerOf(t, a, chain(t, 40))
	if got := restored(t, a, header); got.Len() != 40 {
		t.Fatal("not for its own tenant")
	}
	turnedAway(t, b, propagate.Forbidden, header)
}

// TestStoreDown: it is not the caller's fault, and the request is not served.
func TestStoreDown(t *testing.T) {
	cause := errors.New("connection refused")
	s := newShelf()
	p := propagator(t, propagate.Config{Store: s})
	header := headerOf(t, p, chain(t, 40))
	s.fail = errors.Join(store.ErrUnavailable, cause)
	turnedAway(t, p, propagate.Unavailable, header)
	if _, err := p.Restore(t.Context(), carry(header)); !errors.Is(err, cause) {
		t.Errorf("the cause is lost: %v", err)
	}
}

// TestStoreSlow: an ingress waits for its Timeout and no longer.
func TestStoreSlow(t *testing.T) {
	p := propagator(t, propagate.Config{Store: &shelf{hang: true}})
	header := "kest.claim_check=" + someID + ",kest.chain_tip=" + strings.Repeat("0", 64)
	for timeout, want := range map[time.Duration]time.Duration{0: 5 * time.Second, 100 * time.Millisecond: 100 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			var l logs
			i := ingress(t, propagate.IngressConfig{Propagator: p, Timeout: timeout, Logger: l.logger()})
			began := time.Now()
			refused(t, i, &l, propagate.Unavailable, propagate.Request{Carrier: carry(header)}, header)
			if took := time.Since(began); took != want {
				t.Errorf("waited %s, want %s", took, want)
			}
			began = time.Now()
			_, err := i.Passport(context.Background(), carry(header))
			if wantClass(t, err, propagate.Unavailable); time.Since(began) != want || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("waited %s: %v", time.Since(began), err)
			}
		})
	}
}
