package propagate_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/baggage"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

var trace = strings.Repeat("1", 32)

// passport returns p with one entry more; equal numbers give equal ids.
func passport(t testing.TB, p lineage.Passport, id int, operation string) lineage.Passport {
	t.Helper()
	s, err := lineage.NewSigner("w", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := lineage.Sign(t.Context(), s, lineage.Entry{
		Runtime: lineage.Runtime{Name: "x"}, ID: fmt.Sprintf("0190e2b0-7b3a-7c3e-8a53-%012x", id), Operation: operation,
		Classification: "system", TrustScore: 100, Parents: p.Tips(),
		Labels: map[string]string{"principal": "w", "trace_id": trace, "kest.source_type": "internal"},
	}, lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if p, err = p.Append(signed); err != nil {
		t.Fatal(err)
	}
	return p
}

func withBaggage(t testing.TB, pairs ...string) context.Context {
	t.Helper()
	var members []baggage.Member
	for i := 0; i < len(pairs); i += 2 {
		m, err := baggage.NewMemberRaw(pairs[i], pairs[i+1])
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, m)
	}
	bag, err := baggage.New(members...)
	if err != nil {
		t.Fatal(err)
	}
	return baggage.ContextWithBaggage(t.Context(), bag)
}

func TestContextValues(t *testing.T) {
	ctx := t.Context()
	if propagate.SessionFrom(ctx) != nil || propagate.IdentityFrom(ctx) != (propagate.Identity{}) || propagate.Refusal(ctx) != nil {
		t.Error("an empty context carries something")
	}
	s, id := propagate.NewSession(lineage.Passport{}, trace, "internet"), propagate.Identity{User: "u", Task: "t"}
	ctx = propagate.WithIdentity(propagate.WithSession(ctx, s), id)
	if propagate.SessionFrom(ctx) != s || propagate.IdentityFrom(ctx) != id || s.TraceID() != trace || s.Origin() != "internet" || s.Entry() != nil {
		t.Errorf("%v, %v", propagate.SessionFrom(ctx), propagate.IdentityFrom(ctx))
	}
	if propagate.SessionFrom(propagate.WithSession(ctx, nil)) != nil {
		t.Error("no session is a session")
	}
}

// TestAdmitBaggage (F-CP-04, TC-12): the three members, decoded; absent ones are empty and replace what was there.
func TestAdmitBaggage(t *testing.T) {
	ctx := propagate.AdmitBaggage(withBaggage(t, "kest.user", "älice, 100%", "kest.task", "x=y", "user", "mallory"))
	if got := propagate.IdentityFrom(ctx); got != (propagate.Identity{User: "älice, 100%", Task: "x=y"}) {
		t.Errorf("%+v", got)
	}
	if got := propagate.IdentityFrom(withBaggage(t, "kest.user", "alice")); got != (propagate.Identity{}) {
		t.Errorf("raw baggage is believed: %+v", got)
	}
	ctx = propagate.WithIdentity(t.Context(), propagate.Identity{User: "old"})
	if got := propagate.IdentityFrom(propagate.AdmitBaggage(ctx)); got != (propagate.Identity{}) {
		t.Errorf("%+v", got)
	}
}

func TestCarriesUnverified(t *testing.T) {
	for _, key := range []string{propagate.KeyPassport, propagate.KeyPassportZ, propagate.KeyClaimCheck, propagate.KeyChainTip} {
		if !propagate.CarriesUnverified(withBaggage(t, "other", "x", key, "")) {
			t.Errorf("%s is not noticed", key)
		}
	}
	if propagate.CarriesUnverified(t.Context()) || propagate.CarriesUnverified(withBaggage(t, "kest.user", "u", "passport", "[]", "Kest.Passport", "[]")) {
		t.Error("lineage is seen where there is none")
	}
}

func TestRefuse(t *testing.T) {
	cause := errors.New("cause")
	ctx := propagate.Refuse(t.Context(), cause)
	if propagate.Refusal(ctx) != cause {
		t.Error("the reason is lost")
	}
	if propagate.Refusal(propagate.Refuse(t.Context(), nil)) == nil || propagate.Refusal(propagate.Refuse(ctx, nil)) == nil {
		t.Error("a refusal without a reason is none")
	}
}

func TestSessionAbsorb(t *testing.T) {
	base := passport(t, lineage.Passport{}, 1, "a")
	s := propagate.NewSession(base, trace, "")
	branch := s.Branch()
	for i, op := range []string{"b", "c"} {
		if err := s.Absorb(passport(t, base, i+2, op)); err != nil {
			t.Fatal(err)
		}
	}
	if s.Passport().Len() != 3 || len(s.Passport().Tips()) != 2 || base.Len() != 1 {
		t.Errorf("%d entries, %d tips", s.Passport().Len(), len(s.Passport().Tips()))
	}
	if branch.Passport().Len() != 1 || branch.TraceID() != trace {
		t.Error("a branch sees what came later")
	}
	if err := branch.Absorb(passport(t, base, 9, "x")); err != nil || s.Passport().Len() != 3 {
		t.Error("a branch flows back")
	}
	body := propagate.NewBody(base, trace, "internet")
	if body.Entry() != base.Last() || body.Branch().Entry() != base.Last() || body.Branch().Origin() != "internet" {
		t.Error("a body's session does not know its entry")
	}
}

// TestSessionFails: after a conflict or Fail the session, and every branch of it, is unusable; the first reason
// stays.
func TestSessionFails(t *testing.T) {
	base := passport(t, lineage.Passport{}, 1, "a")
	s := propagate.NewSession(base, trace, "")
	before := s.Branch()
	err := s.Absorb(passport(t, lineage.Passport{}, 1, "other"))
	if !errors.Is(err, lineage.ErrConflict) || s.Err() != err || s.Passport().Len() != 1 {
		t.Fatalf("%v, %v", err, s.Err())
	}
	s.Fail(errors.New("later"))
	if s.Err() != err || s.Absorb(base) != err || s.Branch().Err() != err {
		t.Errorf("%v", s.Err())
	}
	if before.Err() != nil {
		t.Error("an earlier branch failed too")
	}
	before.Fail(nil)
	if before.Err() == nil {
		t.Error("a failure without a reason is none")
	}
}

func TestSessionConcurrency(t *testing.T) {
	base := passport(t, lineage.Passport{}, 1, "a")
	s := propagate.NewSession(base, trace, "")
	more := make([]lineage.Passport, 50)
	for i := range more {
		more[i] = passport(t, base, i+2, "b")
	}
	var wg sync.WaitGroup
	for _, p := range more {
		wg.Go(func() {
			if err := s.Absorb(p); err != nil {
				t.Error(err)
			}
			s.Branch().Passport().Len()
			s.Err()
		})
	}
	wg.Wait()
	if s.Passport().Len() != 51 || len(s.Passport().Tips()) != 50 {
		t.Errorf("%d entries, %d tips", s.Passport().Len(), len(s.Passport().Tips()))
	}
}
