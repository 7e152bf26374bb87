package binding_test

import (
	"math"
	"testing"
	"time"

	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/lineage"
)

// longAgo is when the workloads of audits lived: nothing of theirs holds today.
var longAgo = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// past is an authority of the year 2020, with an archive that has it and a workload that held for the first hour.
func past(t *testing.T) (*ca, *binding.Archive, workload) {
	t.Helper()
	c := caFor(t, longAgo.Add(-time.Hour), longAgo.Add(24*time.Hour), newKey(t))
	w := c.workloadFor(shop, longAgo, longAgo.Add(time.Hour))
	a := &binding.Archive{}
	a.Add(w.binding)
	if err := a.AddRoots(c.roots()); err != nil {
		t.Fatal(err)
	}
	return c, a, w
}

// judge verifies one entry in audit mode and returns the evidence, or "".
func judge(t *testing.T, a *binding.Archive, c binding.AuditConfig, u lineage.Unverified) (evidence string, err error) {
	t.Helper()
	_, report, err := verifier(t, must(a.Source(c))(t)).Verify(t.Context(), u)
	if err != nil {
		return "", err
	}
	k := report.Entries()[0].Key
	if k == nil || k.Form != lineage.FormX509 || k.Issuer != "example.org" {
		t.Errorf("certified by %+v", k)
	}
	return k.Time, nil
}

// TestAuditTimes: years after all has expired, an entry is believed for the time in which its key was, to the leeway, and
// by the best evidence that there is.
func TestAuditTimes(t *testing.T) {
	const leeway, ms = time.Minute, time.Millisecond
	end := longAgo.Add(time.Hour)
	for name, c := range map[string]struct {
		signed, seen time.Time // seen is zero: not observed
		want         string
	}{
		"begin":                 {signed: longAgo, want: binding.EvidenceSigner},
		"end":                   {signed: end, want: binding.EvidenceSigner},
		"leeway before":         {signed: longAgo.Add(-leeway), want: binding.EvidenceSigner},
		"more before":           {signed: longAgo.Add(-leeway - ms)},
		"leeway after":          {signed: end.Add(leeway), want: binding.EvidenceSigner},
		"more after":            {signed: end.Add(leeway + ms)},
		"today":                 {signed: time.Now()},
		"seen at once":          {signed: longAgo, seen: longAgo, want: binding.EvidenceObserved},
		"seen at the end":       {signed: longAgo, seen: end.Add(leeway), want: binding.EvidenceObserved},
		"seen late":             {signed: longAgo, seen: end.Add(leeway + ms)},
		"seen years later":      {signed: end, seen: time.Now()},
		"seen just before":      {signed: end, seen: end.Add(-leeway), want: binding.EvidenceObserved},
		"seen before":           {signed: end, seen: end.Add(-leeway - ms)},
		"seen in 1970":          {signed: longAgo, seen: time.UnixMilli(1)},
		"late, seen before":     {signed: end.Add(leeway + ms), seen: end.Add(leeway)},
		"both late, but not by": {signed: end.Add(leeway), seen: end.Add(leeway), want: binding.EvidenceObserved},
	} {
		t.Run(name, func(t *testing.T) {
			_, a, w := past(t)
			u := w.entry(t, c.signed)
			config := binding.AuditConfig{Leeway: leeway}
			if !c.seen.IsZero() {
				a.Observe(lineage.HashJWS(u.Entries[0]), c.seen.Add(time.Hour)) // the earliest counts
				a.Observe(lineage.HashJWS(u.Entries[0]), c.seen)
			}
			for range 2 {
				if got, err := judge(t, a, config, u); got != c.want {
					t.Errorf("%q, %v; want %q", got, err, c.want)
				}
			}
			config.RequireObserved = true
			if got, err := judge(t, a, config, u); (got != "") != (c.want == binding.EvidenceObserved) {
				t.Errorf("only what was observed: %q, %v", got, err)
			}
		})
	}
	_, a, w := past(t)
	if got, err := judge(t, a, binding.AuditConfig{}, w.entry(t, end.Add(30*time.Second))); got == "" {
		t.Errorf("30 s are the default: %v", err)
	}
	if got, _ := judge(t, a, binding.AuditConfig{}, w.entry(t, end.Add(31*time.Second))); got != "" {
		t.Error("31 s are more than the default")
	}
	for _, leeway := range []time.Duration{-1, 5*time.Minute + 1} {
		if _, err := a.Source(binding.AuditConfig{Leeway: leeway}); err == nil {
			t.Errorf("Leeway of %s", leeway)
		}
	}
}

// TestAuditAnyTimestamp: those beyond reason are refused as any other.
func TestAuditAnyTimestamp(t *testing.T) {
	_, a, w := past(t)
	a.Observe(lineage.HashJWS("seen"), longAgo)
	s := must(a.Source(binding.AuditConfig{}))(t)
	for _, ms := range []int64{math.MinInt64, -1, 0, 1 << 53, math.MaxInt64} {
		for _, document := range []string{"seen", "unseen"} {
			_, err := s.Certify(t.Context(), lineage.Signature{Principal: shop, KeyID: w.id(), SignedMS: ms, Document: lineage.HashJWS(document)})
			if err == nil || len(err.Error()) > 500 {
				t.Errorf("%d, %s: %v", ms, document, err)
			}
		}
	}
}

// TestAuditStrangers: what the archive does not show is not believed, whoever claims it.
func TestAuditStrangers(t *testing.T) {
	c, a, w := past(t)
	other := newCA(t)
	unrooted := other.workloadFor(shop, longAgo.Add(2*time.Hour), longAgo.Add(3*time.Hour))
	a.Add(unrooted.binding)
	for name, w := range map[string]workload{
		"another key": c.workloadFor(shop, longAgo, longAgo.Add(time.Hour)), "another principal": {pay, w.public, signerOf(w, pay), nil},
		"no root": unrooted,
	} {
		s := must(a.Source(binding.AuditConfig{}))(t)
		keys, err := s.Keys(t.Context(), w.principal, w.id())
		_, certErr := s.Certify(t.Context(), lineage.Signature{Principal: w.principal, KeyID: w.id(), SignedMS: longAgo.UnixMilli()})
		if len(keys) > 0 || err != nil || certErr == nil {
			t.Errorf("%s: %d keys, %v, %v", name, len(keys), err, certErr)
		}
	}
	rootless := &binding.Archive{}
	rootless.Add(w.binding)
	if got, _ := judge(t, rootless, binding.AuditConfig{}, w.entry(t, longAgo)); got != "" {
		t.Error("an archive without roots is believed")
	}
}

// signerOf only names another principal.
func signerOf(w workload, principal string) lineage.Signer { return renamed{w.signer, principal} }

type renamed struct {
	lineage.Signer
	principal string
}

func (r renamed) Principal() string { return r.principal }

// TestAuditOfArchiveInUse: what is added counts at once, roots too.
func TestAuditOfArchiveInUse(t *testing.T) {
	c, _, w := past(t)
	a := &binding.Archive{}
	s := must(a.Source(binding.AuditConfig{}))(t)
	v, u := verifier(t, s), w.entry(t, longAgo)
	for i, add := range []func(){
		func() {}, func() { a.Add(w.binding) }, func() { a.AddRoots(newCA(t).roots()) }, func() { a.AddRoots(c.roots()) },
	} {
		add()
		if _, _, err := v.Verify(t.Context(), u); (err == nil) != (i == 3) {
			t.Errorf("step %d: %v", i, err)
		}
	}
	a.Observe(lineage.HashJWS(u.Entries[0]), longAgo.Add(2*time.Hour))
	if _, _, err := v.Verify(t.Context(), u); err == nil {
		t.Error("an entry that was verified before it was known to be late")
	}
}

// TestAuditSeveralBindings: a key that was certified again counts in both times, and not in between. An entry that was
// signed in one and seen in the other was seen after the key had ended.
func TestAuditSeveralBindings(t *testing.T) {
	c, a, w := past(t)
	hour := func(h float64) time.Time { return longAgo.Add(time.Duration(h * float64(time.Hour))) }
	a.Add(newCA(t).certify(shop, w.public, hour(0), hour(12))) // no root
	a.Add(c.certify(shop, w.public, hour(2), hour(3)))
	a.Add(c.certify(pay, w.public, hour(4), hour(5)))
	for _, step := range []struct {
		signed, seen float64
		want         bool
	}{{0.5, 0.6, true}, {2.5, 2.6, true}, {1.5, 1.6, false}, {0.5, 2.5, false}, {4.5, 4.6, false}} {
		u := w.entry(t, hour(step.signed))
		a.Observe(lineage.HashJWS(u.Entries[0]), hour(step.seen))
		if got, err := judge(t, a, binding.AuditConfig{}, u); (got != "") != step.want {
			t.Errorf("signed at %.1f, seen at %.1f: %q, %v", step.signed, step.seen, got, err)
		}
	}
}

// TestAuditAuthoritiesEndEarly: a certificate of the chain, or the root, may end before the binding says that it does;
// what was signed until then counts.
func TestAuditAuthoritiesEndEarly(t *testing.T) {
	half := longAgo.Add(30 * time.Minute)
	root := caFor(t, longAgo.Add(-time.Hour), longAgo.Add(24*time.Hour), newKey(t))
	for name, c := range map[string]struct{ root, issuer *ca }{
		"intermediate": {root, root.intermediate(longAgo, half)},
		"root": func() (c struct{ root, issuer *ca }) {
			c.root = caFor(t, longAgo, half, newKey(t))
			c.issuer = c.root
			return
		}(),
	} {
		w := c.issuer.workloadFor(shop, longAgo, longAgo.Add(time.Hour))
		a := &binding.Archive{}
		a.Add(w.binding)
		if err := a.AddRoots(c.root.roots()); err != nil {
			t.Fatal(err)
		}
		for at, want := range map[time.Time]bool{longAgo: true, half: true, half.Add(time.Minute): false} {
			if got, err := judge(t, a, binding.AuditConfig{}, w.entry(t, at)); (got != "") != want {
				t.Errorf("%s, signed %s after the beginning: %q, %v", name, at.Sub(longAgo), got, err)
			}
		}
	}
}

// TestAuditAuthorityRenewed: the certificate of a root was renewed while a binding held. Each covers a part of its time.
func TestAuditAuthorityRenewed(t *testing.T) {
	key := newKey(t)
	old := caFor(t, longAgo.Add(-time.Hour), longAgo.Add(30*time.Minute), key)
	renewed := caFor(t, longAgo.Add(20*time.Minute), longAgo.Add(24*time.Hour), key)
	w := old.workloadFor(shop, longAgo, longAgo.Add(time.Hour))
	a := &binding.Archive{}
	a.Add(w.binding)
	for _, c := range []*ca{old, renewed} {
		if err := a.AddRoots(c.roots()); err != nil {
			t.Fatal(err)
		}
	}
	for _, minutes := range []int{1, 25, 50} {
		u := w.entry(t, longAgo.Add(time.Duration(minutes)*time.Minute))
		a.Observe(lineage.HashJWS(u.Entries[0]), longAgo.Add(55*time.Minute))
		if got, err := judge(t, a, binding.AuditConfig{}, u); got != binding.EvidenceObserved {
			t.Errorf("after %d minutes: %q, %v", minutes, got, err)
		}
	}
}

// TestAuditRefusalsCostOnce: a binding that nothing stands behind is not checked again for every entry that names it.
func TestAuditRefusalsCostOnce(t *testing.T) {
	_, a, w := past(t)
	stranger := newCA(t).workloadFor(shop, longAgo, longAgo.Add(time.Hour))
	a.Add(stranger.binding)
	s := must(a.Source(binding.AuditConfig{}))(t)
	for name, id := range map[string]string{"refused": stranger.id(), "good": w.id()} {
		if n := testing.AllocsPerRun(50, func() { s.Keys(t.Context(), shop, id) }); n > 2 { // a check takes hundreds
			t.Errorf("%s: %.0f allocations", name, n)
		}
	}
}
