package lineage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kest-go/kest/lineage"
)

// certifying is a key source that knows what stands behind its keys, and writes down what it was asked.
type certifying struct {
	lineage.KeySource
	mu     sync.Mutex
	asked  []lineage.Signature
	answer func(context.Context, lineage.Signature) (lineage.Certificate, error)
}

func (c *certifying) Certify(ctx context.Context, s lineage.Signature) (lineage.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, s)
	if c.answer != nil {
		return c.answer(ctx, s)
	}
	return lineage.Certificate{Form: lineage.FormX509, Proves: lineage.FormX509.Proves(), Issuer: "example.org", NotBefore: begin, NotAfter: begin.Add(time.Hour), Time: "by the clock"}, nil
}

func (c *certifying) take() []lineage.Signature {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { c.asked = nil }()
	return c.asked
}

func signatureOf(s *lineage.Signed) lineage.Signature {
	e := s.Entry()
	return lineage.Signature{Principal: e.Principal(), KeyID: s.KeyID(), Document: s.Hash(), SignedMS: e.TimestampMS}
}

func TestCertifierIsAskedAboutEveryEntry(t *testing.T) {
	entries := chain(t, 4)
	var want []lineage.Signature
	for _, s := range entries {
		want = append(want, signatureOf(s))
	}
	keys := &certifying{KeySource: keySet(t)}
	v := newVerifier(t, lineage.VerifierConfig{Keys: keys})
	for i := range 3 { // cold, and twice from the cache: time has passed in between
		_, report := accepted(t, v, lineage.Unverified{Entries: jwsOf(entries...)})
		if asked := keys.take(); !slices.Equal(asked, want) {
			t.Errorf("time %d: asked about %v", i, asked)
		}
		for _, line := range report.Entries() {
			if line.Key == nil || line.Key.Issuer != "example.org" {
				t.Errorf("time %d: line %+v", i, line)
			}
		}
		text, err := json.Marshal(report)
		if n := strings.Count(string(text), `"certified_by":{"form":"x509-svid","proves":"the holder of the workload's X.509-SVID certified this key","issuer":"example.org",`+
			`"not_before":"2026-11-18T11:06:40Z"`); err != nil || n != 4 {
			t.Errorf("time %d: report %s, %v", i, text, err)
		}
		if notes := fmt.Sprint(report.Notes()); !strings.Contains(notes, "4 entries: the key was valid by the clock") {
			t.Errorf("notes %s", notes)
		}
	}
	more := sign(t, call{n: 9}, entries[3])
	accepted(t, v, lineage.Unverified{Entries: append(jwsOf(entries...), more.JWS())})
	if asked := keys.take(); !slices.Equal(asked, append(want, signatureOf(more))) {
		t.Errorf("with one more entry asked about %v", asked)
	}
	accepted(t, v, lineage.Unverified{Entries: []string{entries[0].JWS()}})
	if asked := keys.take(); !slices.Equal(asked, want[:1]) {
		t.Errorf("of a part asked about %v", asked)
	}
}

func TestUncertified(t *testing.T) {
	entries := chain(t, 4)
	ended := errors.New("the binding has ended")
	for _, warm := range []bool{false, true} {
		for bad := range entries {
			keys := &certifying{KeySource: keySet(t)}
			v := newVerifier(t, lineage.VerifierConfig{Keys: keys})
			u := lineage.Unverified{Entries: jwsOf(entries...)}
			if warm {
				accepted(t, v, u)
			}
			keys.answer = func(_ context.Context, s lineage.Signature) (lineage.Certificate, error) {
				if s.Document == entries[bad].Hash() {
					return lineage.Certificate{}, ended
				}
				return lineage.Certificate{}, nil
			}
			f := refused(t, v, u, lineage.Uncertified, bad)
			if !errors.Is(f, ended) || f.EntryID != entryID(bad) || !strings.Contains(f.Error(), "key not certified") {
				t.Errorf("warm %v, entry %d: %v", warm, bad, f)
			}
			keys.answer = nil
			accepted(t, v, u) // nothing bad was remembered
		}
	}
}

// A signature that does not hold is never shown to the certifier, and its failure goes first.
func TestCertifierSeesGoodSignaturesOnly(t *testing.T) {
	entries := chain(t, 2)
	keys := &certifying{KeySource: keySet(t), answer: func(context.Context, lineage.Signature) (lineage.Certificate, error) {
		return lineage.Certificate{}, errors.New("no")
	}}
	v := newVerifier(t, lineage.VerifierConfig{Keys: keys})
	broken := entries[0].JWS()[:len(entries[0].JWS())-86] + strings.Repeat("A", 86)
	refused(t, v, lineage.Unverified{Entries: []string{broken}}, lineage.BadSignature, 0)
	if asked := keys.take(); asked != nil {
		t.Errorf("asked about %v", asked)
	}
	lying := sign(t, call{n: 1, edit: func(e *lineage.Entry) { e.TrustScore = 7 }}) // certification is the earlier check
	refused(t, v, lineage.Unverified{Entries: []string{lying.JWS()}}, lineage.Uncertified, 0)
}

// The end of the context says nothing about the lineage, also when it comes during a question.
func TestCertifierWhoseContextEnds(t *testing.T) {
	entries := chain(t, 2)
	for _, warm := range []bool{false, true} {
		keys := &certifying{KeySource: keySet(t)}
		v := newVerifier(t, lineage.VerifierConfig{Keys: keys})
		if warm {
			accepted(t, v, lineage.Unverified{Entries: jwsOf(entries...)})
		}
		ctx, cancel := context.WithCancel(t.Context())
		keys.answer = func(ctx context.Context, _ lineage.Signature) (lineage.Certificate, error) {
			cancel()
			return lineage.Certificate{}, ctx.Err()
		}
		p, report, err := v.Verify(ctx, lineage.Unverified{Entries: jwsOf(entries...)})
		if !errors.Is(err, context.Canceled) || errors.Is(err, lineage.ErrUnverified) || report.Failure != nil || report.Valid() || p.Len() != 0 {
			t.Errorf("warm %v: %v, %+v", warm, err, report.Failure)
		}
	}
}

func TestCertifierAndVerifyOnto(t *testing.T) {
	entries := chain(t, 4)
	keys := &certifying{KeySource: keySet(t)}
	v := newVerifier(t, lineage.VerifierConfig{Keys: keys})
	_, report, err := v.VerifyOnto(t.Context(), passportOf(t, entries[:2]...), lineage.Unverified{Entries: jwsOf(entries[2:]...)})
	if err != nil {
		t.Fatal(err)
	}
	if asked := keys.take(); !slices.Equal(asked, []lineage.Signature{signatureOf(entries[2]), signatureOf(entries[3])}) {
		t.Errorf("asked about %v", asked)
	}
	for i, line := range report.Entries() {
		if (line.Key != nil) != (i >= 2) {
			t.Errorf("line %+v", line)
		}
	}
}

func TestCertifierIsAskedAboutRecords(t *testing.T) {
	entry := sign(t, call{by: pay})
	receipt, err := lineage.SignReceipt(t.Context(), signerOf(t, pay), lineage.Receipt{EntryHash: entry.Hash(), EntryID: entry.Entry().ID,
		Status: lineage.OutcomeOK, EndedMS: 1795000000777, Tips: []lineage.Hash{entry.Hash()}}, lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	denial, err := lineage.SignDenial(t.Context(), signerOf(t, pay), lineage.Denial{Entry: draft(t, call{by: pay, n: 3}), Policy: "p", Tier: "t"}, lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	keys := &certifying{KeySource: keySet(t)}
	v := newVerifier(t, lineage.VerifierConfig{Keys: keys})
	_, _, err = v.Verify(t.Context(), lineage.Unverified{Entries: jwsOf(entry)})
	if err != nil {
		t.Fatal(err)
	}
	keys.take()
	no := errors.New("the binding has ended")
	for _, c := range []struct {
		jws    string
		signed int64
		verify func() error
	}{
		{receipt, 1795000000777, func() error { _, err := v.VerifyReceipt(t.Context(), receipt, entry); return err }},
		{denial, 1795000000003, func() error { _, err := v.VerifyDenial(t.Context(), denial); return err }},
	} {
		keys.answer = nil
		if err := c.verify(); err != nil {
			t.Fatal(err)
		}
		want := lineage.Signature{Principal: pay, KeyID: lineage.Thumbprint(publicKey(pay)), Document: lineage.HashJWS(c.jws), SignedMS: c.signed}
		if asked := keys.take(); !slices.Equal(asked, []lineage.Signature{want}) {
			t.Errorf("asked about %v", asked)
		}
		keys.answer = func(context.Context, lineage.Signature) (lineage.Certificate, error) {
			return lineage.Certificate{}, no
		}
		if err := c.verify(); !errors.Is(err, lineage.ErrUnverified) || !errors.Is(err, no) {
			t.Errorf("uncertified: %v", err)
		}
		keys.take()
	}
}

// Without a Certifier nothing is said about keys, and nothing else is different.
func TestReportWithoutCertifier(t *testing.T) {
	_, report := accepted(t, newVerifier(t, lineage.VerifierConfig{}), lineage.Unverified{Entries: jwsOf(chain(t, 2)...)})
	text, err := json.Marshal(report)
	if err != nil || strings.Contains(string(text), "certified_by") || strings.Contains(fmt.Sprint(report.Notes()), "the key was valid") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestOffered(t *testing.T) {
	if got := lineage.Offered(t.Context()); got != nil {
		t.Errorf("offered %q", got)
	}
	mine := []string{"a", "b"}
	ctx := lineage.WithOffered(t.Context(), mine)
	mine[0] = "x"
	inner := lineage.WithOffered(ctx, []string{"c"})
	if a, b := lineage.Offered(ctx), lineage.Offered(inner); !slices.Equal(a, []string{"a", "b"}) || !slices.Equal(b, []string{"c"}) {
		t.Errorf("offered %q and %q", a, b)
	}
}
