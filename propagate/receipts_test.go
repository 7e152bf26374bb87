package propagate_test

import (
	"strings"
	"testing"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// receiptOf has the signer of an entry say how its call ended.
func receiptOf(t testing.TB, by string, s *lineage.Signed, o lineage.Outcome) string {
	t.Helper()
	r := lineage.Receipt{EntryHash: s.Hash(), EntryID: s.Entry().ID, Status: o, StartedMS: 1, EndedMS: 2, Tips: []lineage.Hash{s.Hash()}}
	if o == lineage.OutcomeError {
		r.ErrorType = "*errors.errorString"
	}
	jws, err := lineage.SignReceipt(t.Context(), signerOf(t, by), r, lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return jws
}

// TestReceiptsComeBack: the caller learns how the callee's calls ended, in the callee's own signed words, and passes
// them on.
func TestReceiptsComeBack(t *testing.T) {
	p := propagator(t, propagate.Config{Receipts: true})
	sent := chain(t, 2)
	i := ingress(t, propagate.IngressConfig{Propagator: p})
	callee, admission, err := i.Admit(t.Context(), propagate.Request{Carrier: carry(headerOf(t, p, sent))})
	if err != nil {
		t.Fatal(err)
	}
	entry, err := call(t, callee)
	if err != nil {
		t.Fatal(err)
	}
	value := i.Return(callee, admission, propagate.Whole)
	session := propagate.NewSession(sent, trace, "")
	caller := propagate.WithSession(t.Context(), session)
	e := egress(t, propagate.EgressConfig{Propagator: propagator(t, propagate.Config{}), Verifier: verifier(t), StrictReturn: true})
	if _, err := e.Learn(caller, sent, []string{value}); err != nil {
		t.Fatal(err)
	}
	if o, r := session.Outcome(entry.Hash()), session.Receipt(entry.Hash()); o != lineage.OutcomeOK || r == "" || !strings.Contains(value, r) {
		t.Errorf("outcome %q, receipt %.40q", o, r)
	}
	if again, err := p.Return(caller, sent, session.Passport(), propagate.Whole); err != nil || !strings.Contains(again, session.Receipt(entry.Hash())) {
		t.Errorf("what the caller sends on: %v", err)
	}
	without := propagator(t, propagate.Config{})
	if value, err := without.Return(callee, sent, propagate.SessionFrom(callee).Passport(), propagate.Whole); err != nil || strings.Contains(value, propagate.KeyReceipts) {
		t.Errorf("nobody asked for receipts: %.80q, %v", value, err)
	}
	if value, err := p.Return(t.Context(), sent, session.Passport(), propagate.Whole); err != nil || strings.Contains(value, propagate.KeyReceipts) {
		t.Errorf("without a session: %.80q, %v", value, err)
	}
}

// TestReceiptsFit: the youngest, 16 at most, and never more than the header has room for.
func TestReceiptsFit(t *testing.T) {
	p := propagator(t, propagate.Config{Receipts: true, Store: newShelf(), Threshold: -1})
	sent := chain(t, 1)
	for _, n := range []int{1, 5, 40} {
		now := sent
		session := propagate.NewSession(sent, trace, "")
		for i := range n {
			now = grow(t, now, 5+i, pay)
			session.Settle(now.Last().Hash(), lineage.OutcomeOK, receiptOf(t, pay, now.Last(), lineage.OutcomeOK))
		}
		value, err := p.Return(propagate.WithSession(t.Context(), session), sent, now, propagate.Whole)
		if err != nil || len(value) > propagate.MaxHeader {
			t.Fatalf("%d entries: %d bytes, %v", n, len(value), err)
		}
		list, _ := valueOf(value, propagate.KeyReceipts)
		got := strings.Split(list, "~")
		if len(got) != min(n, len(got)) || len(got) < min(n, 5) || got[0] != session.Receipt(now.Last().Hash()) {
			t.Errorf("%d entries: %d receipts", n, len(got))
		}
	}
}

// TestReceiptAttacks: one receipt that does not hold makes the whole answer a lie, and nothing of it is learned.
func TestReceiptAttacks(t *testing.T) {
	p := propagator(t, propagate.Config{})
	sent := chain(t, 2)
	now := grow(t, sent, 5, pay)
	good, err := p.Return(t.Context(), sent, now, propagate.Whole)
	if err != nil {
		t.Fatal(err)
	}
	ok := receiptOf(t, pay, now.Last(), lineage.OutcomeOK)
	elsewhere := grow(t, sent, 6, pay).Last()
	denial := now.Last().JWS()
	for name, receipts := range map[string][]string{
		"empty":                      {""},
		"garbage":                    {"x"},
		"signature of another":       {ok[:len(ok)-8] + "AAAAAAAA"},
		"another's key":              {receiptOf(t, web, now.Last(), lineage.OutcomeOK)},
		"entry that did not come":    {receiptOf(t, pay, elsewhere, lineage.OutcomeOK)},
		"an entry for a receipt":     {denial},
		"contradict":                 {ok, receiptOf(t, pay, now.Last(), lineage.OutcomeError)},
		"one good, one bad":          {ok, "x"},
		"too many":                   strings.Split(strings.Repeat(ok[:10]+"~", 17)[:17*11-1], "~"),
		"of the caller, by a callee": {receiptOf(t, web, sent.Last(), lineage.OutcomeOK)},
	} {
		session := propagate.NewSession(sent, trace, "")
		e := egress(t, propagate.EgressConfig{Verifier: verifier(t), StrictReturn: true, Logger: new(logs).logger()})
		_, err := e.Learn(propagate.WithSession(t.Context(), session), sent, []string{good + "," + propagate.KeyReceipts + "=" + strings.Join(receipts, "~")})
		if err == nil || session.Passport().Len() != 2 || session.Outcome(now.Last().Hash()) != "" || session.Outcome(sent.Last().Hash()) != "" {
			t.Errorf("%s: %v, %d entries", name, err, session.Passport().Len())
		}
	}
	// A request cannot bring any: only answers are read for receipts.
	i := ingress(t, propagate.IngressConfig{})
	ctx, _, err := i.Admit(t.Context(), propagate.Request{Carrier: carry(headerOf(t, p, sent) + "," + propagate.KeyReceipts + "=" + receiptOf(t, pay, sent.Last(), lineage.OutcomeOK))})
	if err == nil && propagate.SessionFrom(ctx).Outcome(sent.Last().Hash()) != "" {
		t.Error("a receipt in a request counts")
	}
}

// TestSettle: the first word on an entry stays, whoever speaks later.
func TestSettle(t *testing.T) {
	s := propagate.NewSession(lineage.Passport{}, trace, "")
	h := chain(t, 1).Last().Hash()
	if s.Outcome(h) != "" || s.Receipt(h) != "" {
		t.Error("known before anybody said a word")
	}
	s.Settle(h, lineage.OutcomeError, "r")
	s.Settle(h, lineage.OutcomeOK, "s")
	branch, body := s.Branch(), s.Body(chain(t, 1), true)
	for name, scope := range map[string]*propagate.Session{"itself": s, "a branch": branch, "a body": body} {
		if scope.Outcome(h) != lineage.OutcomeError || scope.Receipt(h) != "r" {
			t.Errorf("%s: %q, %q", name, scope.Outcome(h), scope.Receipt(h))
		}
	}
	apart, other := s.Body(chain(t, 1), false), grow(t, chain(t, 1), 7, pay).Last().Hash()
	apart.Settle(other, lineage.OutcomeOK, "x")
	branch.Settle(other, lineage.OutcomeOK, "x")
	if apart.Outcome(h) != lineage.OutcomeError || apart.Outcome(other) != lineage.OutcomeOK || s.Outcome(other) != "" {
		t.Error("a scope from which nothing flows back fills the one around it, or does not see it")
	}
	s.Settle(other, "fine", "x")
	if s.Outcome(other) != "" {
		t.Error("a word that policies do not know is kept")
	}
	if other := propagate.NewSession(lineage.Passport{}, trace, ""); other.Outcome(h) != "" {
		t.Error("another scope knows")
	}
}
