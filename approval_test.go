package kest_test

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
)

// approvers returns a signer for the name, and a source that knows its key.
func approvers(t testing.TB, name string, seed byte) (lineage.Signer, *lineage.KeySet) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(append(make([]byte, 31), seed))
	signer, err := lineage.NewSigner(name, key)
	must(t, err)
	keys, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{name: {key.Public().(ed25519.PublicKey)}})
	must(t, err)
	return signer, keys
}

// TestSignedDeviation (F-PE-11…13): a deviation that its approver signed lifts the policy, and the signed entry and the
// policies see who approved it with which key.
func TestSignedDeviation(t *testing.T) {
	ciso, keys := approvers(t, "ciso", 1)
	d := policy.Deviation{Policy: "e/1", Tier: policy.Enterprise, Scope: "pay.*", Reason: "CHG-1", Approver: "ciso",
		NotAfter: time.Now().Add(time.Hour).Truncate(time.Second)}
	d, err := d.Sign(t.Context(), ciso)
	must(t, err)
	r := newRig(t, tiered, func(c *kest.Config) {
		c.Deviations, c.Approvers, c.RequireApproval = []policy.Deviation{d}, keys, true
		c.Engine = allowOnly("e/2", "p/1", "a/1", "f/1", "kest/allow_trusted")
	})
	ctx, s := kest.StartSession(t.Context())
	e := r.entry(ctx, kest.Operation("pay.refund"), kest.Policy("f/1"))
	want := lineage.Deviation{Policy: "e/1", Tier: "enterprise", Reason: "CHG-1", Approver: "ciso", ApproverKey: ciso.KeyID()}
	if len(e.Policies.Deviations) != 1 || e.Policies.Deviations[0] != want {
		t.Errorf("signed %+v", e.Policies.Deviations)
	}
	// Another process reads the same in what was signed.
	report := r.verify(s.Passport())
	if got := report.Passport.Last().Entry().Policies.Deviations[0]; got != want {
		t.Errorf("verified %+v", got)
	}
	in := kest.InputOf(e, lineage.Passport{}, policy.Function)
	deviations := in.Document()["environment"].(map[string]any)["active_deviations"].([]any)
	if deviations[0].(map[string]any)["approver_key"] != ciso.KeyID() {
		t.Errorf("policies see %v", deviations)
	}
}

// TestUnapprovedDeviations: each mistake or forgery is refused at the start, in words that say what to do.
func TestUnapprovedDeviations(t *testing.T) {
	ciso, keys := approvers(t, "ciso", 1)
	mallory, _ := approvers(t, "ciso", 2)
	stranger, _ := approvers(t, "cto", 3)
	plain := policy.Deviation{Policy: "e/1", Tier: policy.Enterprise, Scope: "pay.*", Reason: "CHG-1", Approver: "ciso"}
	sign := func(by lineage.Signer, change func(*policy.Deviation)) policy.Deviation {
		d := plain
		d.Approver = by.Principal()
		d, err := d.Sign(t.Context(), by)
		must(t, err)
		if change != nil {
			change(&d)
		}
		return d
	}
	for name, test := range map[string]struct {
		deviation policy.Deviation
		keys      lineage.KeySource
		require   bool
		want      string // "" is good
	}{
		"unsigned, nobody asks":       {plain, nil, false, ""},
		"unsigned, may be":            {plain, keys, false, ""},
		"signed":                      {sign(ciso, nil), keys, false, ""},
		"unsigned":                    {plain, keys, true, "not signed"},
		"signed, and nobody can tell": {sign(ciso, nil), nil, false, "set Approvers"},
		"required without keys":       {plain, nil, true, "set Approvers"},
		"another's key":               {sign(mallory, nil), keys, false, "no key of approver"},
		"an approver nobody knows":    {sign(stranger, nil), keys, false, "no key of approver"},
		"wider":                       {sign(ciso, func(d *policy.Deviation) { d.Scope = "*" }), keys, false, "no key of approver"},
		"longer":                      {sign(ciso, func(d *policy.Deviation) { d.NotAfter = time.Now().Add(time.Hour) }), keys, false, "ErrUnverified"},
		"for another policy":          {sign(ciso, func(d *policy.Deviation) { d.Policy = "e/2" }), keys, false, "no key of approver"},
		"garbage":                     {func() policy.Deviation { d := plain; d.Signature = "x"; return d }(), keys, false, "detached JWS"},
		"only a key id":               {func() policy.Deviation { d := plain; d.ApproverKey = ciso.KeyID(); return d }(), keys, true, "not signed"},
	} {
		c := kest.Config{Engine: allowOnly(), Enterprise: []string{"e/1", "e/2"}, Deviations: []policy.Deviation{test.deviation}}
		c.RequireApproval = test.require
		if test.keys != nil {
			c.Approvers = test.keys
		}
		_, err := kest.New(c)
		switch {
		case test.want == "" && err != nil, test.want != "" && err == nil:
			t.Errorf("%s: %v", name, err)
		case test.want == "ErrUnverified":
			if !errors.Is(err, lineage.ErrUnverified) {
				t.Errorf("%s: %v", name, err)
			}
		case test.want != "" && !strings.Contains(err.Error(), test.want):
			t.Errorf("%s: %v", name, err)
		}
	}
	// A key id that nobody verified is not recorded.
	forged := plain
	forged.ApproverKey, forged.Scope = ciso.KeyID(), "*"
	r := newRig(t, tiered, func(c *kest.Config) { c.Deviations = []policy.Deviation{forged} })
	if got := r.entry(t.Context()).Policies.Deviations[0].ApproverKey; got != "" {
		t.Errorf("recorded key %q", got)
	}
}
