package propagate_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// TestConcurrency: one propagator, one ingress and one egress serve many goroutines, in every form, good and bad, and
// nobody gets what is another's.
func TestConcurrency(t *testing.T) {
	p := propagator(t, propagate.Config{Store: newShelf()})
	var l logs
	i := ingress(t, propagate.IngressConfig{Propagator: p, Logger: l.logger()})
	e := egress(t, propagate.EgressConfig{Propagator: p, Verifier: verifier(t), StrictReturn: true, Allow: []string{"ledger"}, Sealer: guard(t)})
	var passports []lineage.Passport
	for n := range 12 { // plain, compressed and claim checks
		passports = append(passports, grow(t, chain(t, n), 50+n, web, signing(fmt.Sprintf(`{"user":"u%d"}`, n))))
	}
	passports = append(passports, chain(t, 40))
	answers := make([]lineage.Passport, len(passports))
	for n, passport := range passports {
		answers[n] = grow(t, passport, 500+n, pay)
	}
	bad := pack(t, noise(3000))
	var wg sync.WaitGroup
	for range 4 {
		for n, passport := range passports {
			wg.Go(func() {
				ctx := propagate.WithIdentity(t.Context(), propagate.Identity{User: fmt.Sprintf("u%d", n)})
				carrier := carry(fmt.Sprintf("n=%d", n))
				if err := p.Attach(ctx, carrier, passport); err != nil {
					t.Error(err)
					return
				}
				in, admission, err := i.Admit(t.Context(), propagate.Request{Carrier: carrier})
				if err != nil || textOf(t, admission.Lineage) != textOf(t, passport) {
					t.Errorf("%d: %v", n, err)
					return
				}
				if id := propagate.IdentityFrom(in).User; n < 12 && id != fmt.Sprintf("u%d", n) {
					t.Errorf("%d acts as %q", n, id)
				}
				if _, _, err := i.Admit(t.Context(), propagate.Request{Carrier: carry("kest.passport_z=" + bad)}); err == nil {
					t.Error("garbage is admitted")
				}
				out := carry()
				if sent, err := e.Attach(in, out); err != nil || sent.Len() != passport.Len()+1 || !e.Allows("ledger") {
					t.Errorf("%d: %d entries sent, %v", n, sent.Len(), err)
				}
				value, err := p.Return(t.Context(), passport, answers[n], propagate.Whole)
				if err != nil {
					t.Error(err)
				}
				session := propagate.NewSession(passport, trace, "")
				if _, err := e.Learn(propagate.WithSession(t.Context(), session), passport, []string{value}); err != nil || session.Passport().Len() != passport.Len()+1 {
					t.Errorf("%d: %v", n, err)
				}
			})
		}
	}
	wg.Wait()
	if refused := len(l.lines(t)); refused != 4*len(passports) {
		t.Errorf("%d log lines", refused)
	}
}
