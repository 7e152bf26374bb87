package lineage_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kest-go/kest/lineage"
)

func receiptFor(s *lineage.Signed) lineage.Receipt {
	return lineage.Receipt{
		EntryHash: s.Hash(), EntryID: s.Entry().ID, Status: lineage.OutcomeOK,
		ContentHash: strings.Repeat("0b", 32), StartedMS: 1795000000000, EndedMS: 1795000000007, Tips: []lineage.Hash{s.Hash()},
	}
}

// SPEC §10: what is signed is what is read.
func TestReceiptRoundTrip(t *testing.T) {
	chain := chain(t, 2)
	v := newVerifier(t, lineage.VerifierConfig{})
	for _, r := range []lineage.Receipt{
		receiptFor(chain[0]),
		{EntryHash: chain[0].Hash(), EntryID: chain[0].Entry().ID, Status: lineage.OutcomeError, ErrorType: "*fs.PathError", Tips: []lineage.Hash{chain[1].Hash(), chain[0].Hash()}},
		{EntryHash: chain[0].Hash(), EntryID: chain[0].Entry().ID, Status: lineage.OutcomePanic, StartedMS: 1<<53 - 1, EndedMS: 1<<53 - 1, Tips: []lineage.Hash{chain[0].Hash()}},
	} {
		jws, err := lineage.SignReceipt(t.Context(), signerOf(t, web), r, lineage.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := v.VerifyReceipt(t.Context(), jws, chain[0])
		if err != nil {
			t.Fatal(err)
		}
		if got.Status != r.Status || got.ContentHash != r.ContentHash || got.ErrorType != r.ErrorType || got.EndedMS != r.EndedMS ||
			got.StartedMS != r.StartedMS || len(got.Tips) != len(r.Tips) || got.EntryHash != r.EntryHash {
			t.Errorf("got %+v, want %+v", got, r)
		}
		if _, err := v.VerifyReceipt(t.Context(), jws, chain[1]); !errors.Is(err, lineage.ErrUnverified) {
			t.Errorf("the receipt of another entry: %v", err)
		}
	}
}

func TestReceiptCannotBeSigned(t *testing.T) {
	one := chain(t, 1)[0]
	for name, edit := range map[string]func(*lineage.Receipt){
		"entry id":      func(r *lineage.Receipt) { r.EntryID = "x" },
		"status":        func(r *lineage.Receipt) { r.Status = "fine" },
		"content hash":  func(r *lineage.Receipt) { r.ContentHash = "0b" },
		"negative time": func(r *lineage.Receipt) { r.StartedMS = -1 },
		"huge time":     func(r *lineage.Receipt) { r.EndedMS = 1 << 53 },
		"no tips":       func(r *lineage.Receipt) { r.Tips = nil },
		"error type":    func(r *lineage.Receipt) { r.ErrorType = "\xff" },
		"many tips":     func(r *lineage.Receipt) { r.Tips = make([]lineage.Hash, 1025) },
	} {
		r := receiptFor(one)
		edit(&r)
		if jws, err := lineage.SignReceipt(t.Context(), signerOf(t, web), r, lineage.Limits{EntryBytes: 1 << 20}); err == nil || jws != "" {
			t.Errorf("%s: signed as %.40s", name, jws)
		}
	}
}

func TestReceiptAttacks(t *testing.T) {
	one := chain(t, 1)[0]
	const header = `{"alg":"EdDSA","typ":"kest-receipt+jws"}`
	good, err := lineage.SignReceipt(t.Context(), signerOf(t, web), receiptFor(one), lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	payload := payloadOf(t, good)
	v := newVerifier(t, lineage.VerifierConfig{})
	if _, err := v.VerifyReceipt(t.Context(), seal(web, header, payload), one); err != nil {
		t.Fatal(err)
	}
	edit := func(old, new string) string { return seal(web, header, replaced(t, payload, old, new)) }
	for name, jws := range map[string]string{
		"key of another principal": seal(pay, header, payload),
		"unknown status":           edit(`"status":"ok"`, `"status":"good"`),
		"status missing":           edit(`"status":"ok",`, ``),
		"status is a number":       edit(`"status":"ok"`, `"status":1`),
		"other entry":              edit(one.Hash().String(), strings.Repeat("ab", 32)),
		"other entry id":           edit(entryID(0), entryID(1)),
		"hash in upper case":       edit(one.Hash().String(), strings.ToUpper(one.Hash().String())),
		"tips empty":               edit(`"tips":["`+one.Hash().String()+`"]`, `"tips":[]`),
		"tips null":                edit(`"tips":["`+one.Hash().String()+`"]`, `"tips":null`),
		"fraction":                 edit(`1795000000000`, `1795000000000.5`),
		"spaced":                   edit(`{`, `{ `),
		"duplicate":                edit(`{`, `{"content_hash":"",`),
		"not an object":            seal(web, header, `[]`),
		"empty":                    "",
		"too large":                seal(web, header, `"`+strings.Repeat("a", 64<<10)+`"`),
	} {
		if r, err := v.VerifyReceipt(t.Context(), jws, one); !errors.Is(err, lineage.ErrUnverified) || r.EntryID != "" {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
	}
	for i := range len(good) {
		altered := good[:i] + string(good[i]^1) + good[i+1:]
		if _, err := v.VerifyReceipt(t.Context(), altered, one); !errors.Is(err, lineage.ErrUnverified) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
}

// SPEC §7: a denial proves who refused what, and is held to the rules of entries.
func TestDenial(t *testing.T) {
	parent := chain(t, 1)[0]
	d := lineage.Denial{Entry: draft(t, call{n: 5, by: pay, source: lineage.SourceInternet}, parent), Policy: "kest/allow_trusted", Tier: "function", Reason: "trust 10 is below 40"}
	jws, err := lineage.SignDenial(t.Context(), signerOf(t, pay), d, lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, lineage.VerifierConfig{})
	got, err := v.VerifyDenial(t.Context(), jws)
	if err != nil {
		t.Fatal(err)
	}
	if got.Policy != d.Policy || got.Tier != d.Tier || got.Reason != d.Reason || got.Entry.ID != d.Entry.ID || got.Entry.Principal() != pay {
		t.Errorf("got %+v", got)
	}
	if _, err := lineage.SignDenial(t.Context(), signerOf(t, web), d, lineage.Limits{}); err == nil {
		t.Error("a denial of another principal's call is signed")
	}
	const header = `{"alg":"EdDSA","typ":"kest-denial+jws"}`
	payload := payloadOf(t, jws)
	edit := func(old, new string) string { return seal(pay, header, replaced(t, payload, old, new)) }
	if _, err := v.VerifyDenial(t.Context(), seal(pay, header, payload)); err != nil {
		t.Fatal(err)
	}
	for name, jws := range map[string]string{
		"key of another principal": seal(web, header, payload),
		"principal unknown":        seal(pay, header, strings.ReplaceAll(payload, pay, unknown)),
		"entry missing":            seal(pay, header, `{"denied_policy":"p","denied_tier":"t","reason":""}`),
		"entry malformed":          edit(`"schema_version":"0.3.0"`, `"schema_version":"0.2.0"`),
		"source type missing":      edit(`"kest.source_type":"internet",`, ``),
		"trace id missing":         edit(`,"trace_id":"`+traceA+`"`, ``),
		"taints unsorted":          edit(`"added_taints":[]`, `"added_taints":["b","a"]`),
		"policy missing":           edit(`"denied_policy":"kest/allow_trusted",`, ``),
		"reason is null":           edit(`"reason":"trust 10 is below 40"`, `"reason":null`),
		"spaced":                   edit(`{`, ` {`),
		"empty":                    "",
	} {
		if d, err := v.VerifyDenial(t.Context(), jws); !errors.Is(err, lineage.ErrUnverified) || d.Policy != "" {
			t.Errorf("%s: got %+v, %v", name, d, err)
		}
	}
	for i := range len(jws) {
		if _, err := v.VerifyDenial(t.Context(), jws[:i]+string(jws[i]^1)+jws[i+1:]); !errors.Is(err, lineage.ErrUnverified) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
}

// What SignDenial and SignReceipt accept can be read under the same limits; the record is a level around its entry.
func TestRecordLimits(t *testing.T) {
	v := newVerifier(t, lineage.VerifierConfig{})
	for depth, ok := range map[int]bool{61: true, 62: true, 63: false, 64: false} { // the entry and the record are two more
		d := lineage.Denial{Entry: draft(t, call{n: 5}), Policy: "p", Tier: "function"}
		d.Entry.Environment = lineage.Object(strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth))
		jws, err := lineage.SignDenial(t.Context(), signerOf(t, web), d, lineage.Limits{})
		if (err == nil) != ok || !ok && !errors.Is(err, lineage.ErrLimit) {
			t.Errorf("environment of depth %d: %v", depth, err)
		}
		if err != nil {
			continue
		}
		if _, err := v.VerifyDenial(t.Context(), jws); err != nil {
			t.Errorf("environment of depth %d: %v", depth, err)
		}
	}
	large := lineage.Denial{Entry: draft(t, call{n: 5}), Policy: "p", Tier: "function", Reason: strings.Repeat("x", 64<<10)}
	if jws, err := lineage.SignDenial(t.Context(), signerOf(t, web), large, lineage.Limits{}); !errors.Is(err, lineage.ErrLimit) || jws != "" {
		t.Errorf("a denial of over 64 KiB: %v", err)
	}
}
