package lineage_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest/lineage"
)

// FuzzVerify mutates a good passport, given as lines. What verifies must be entries that were signed here; whatever
// happens, failures are typed and the report can be written.
func FuzzVerify(f *testing.F) {
	c := chain(f, 3)
	fork := sign(f, call{n: 10, by: agent}, c[1])
	join := sign(f, call{n: 11}, c[2], fork)
	lone := sign(f, call{n: 12, trace: traceB})
	known := map[string]bool{}
	all := append(slices.Clone(c), fork, join, lone)
	for _, s := range all {
		known[s.JWS()] = true
	}
	lines := func(entries ...*lineage.Signed) string { return strings.Join(jwsOf(entries...), "\n") }
	for _, seed := range []string{lines(c...), lines(c[0], c[1], fork, c[2], join), lines(all...), lines(c[0], lone), lines(c[0], c[0]), "", "..", "\n",
		seal(web, `{"alg":"none"}`, `{}`), seal(web, plainHeader, strings.Repeat("[", 100))} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	v := newVerifier(f, lineage.VerifierConfig{Legacy: []string{python}})
	if _, _, err := v.Verify(f.Context(), lineage.Unverified{Entries: jwsOf(c...)}); err != nil {
		f.Fatal(err)
	}
	cold := newVerifier(f, lineage.VerifierConfig{CacheBytes: -1, Legacy: []string{python}})
	f.Fuzz(func(t *testing.T, text string, tips bool) {
		u := lineage.Unverified{Entries: strings.Split(text, "\n")}
		if tips {
			u.Tips = []lineage.Hash{c[2].Hash()}
		}
		p, report, err := v.Verify(t.Context(), u)
		_, again, _ := cold.Verify(t.Context(), u)
		if report.Valid() != again.Valid() || report.Failure != nil && (report.Failure.Reason != again.Failure.Reason || report.Failure.Index != again.Failure.Index) {
			t.Fatalf("with cache %v, without %v", report.Failure, again.Failure)
		}
		if err != nil {
			checkRefusal(t, p, report, err, len(u.Entries), report.Failure.Reason, report.Failure.Index)
			return
		}
		for _, jws := range p.Entries() {
			if !known[jws] {
				t.Fatalf("an entry that nobody signed verifies: %s", jws)
			}
		}
	})
}

// FuzzParsePassport: what is read is written back as the same entries.
func FuzzParsePassport(f *testing.F) {
	for _, seed := range []string{"[]", `["a","b"]`, " [ \"a\" ] ", `["\u0041"]`, `[1]`, `[[]]`, "[\"\xff\"]", `{}`, "", `["a",]`, "[\"\\ud800\"]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		l := lineage.Limits{PassportEntries: 8, PassportBytes: 4096}
		u, err := lineage.ParsePassport(text, l)
		if err != nil {
			if u.Entries != nil || len(err.Error()) > 600 {
				t.Fatalf("%d entries with error %v", len(u.Entries), err)
			}
			return
		}
		if len(u.Entries) > 8 || len(text) > 4096 || u.Tips != nil {
			t.Fatalf("over the limits: %d entries, %d bytes", len(u.Entries), len(text))
		}
		if bytes.Contains(text, []byte(`\`)) {
			return
		}
		if again := `["` + strings.Join(u.Entries, `","`) + `"]`; len(u.Entries) > 0 {
			second, err := lineage.ParsePassport([]byte(again), l)
			if err == nil && !slices.Equal(second.Entries, u.Entries) {
				t.Fatalf("%q becomes %q", u.Entries, second.Entries)
			}
		}
	})
}

// FuzzParseKeySet: what is read is written so that it reads the same, and holds no key that CheckKey refuses.
func FuzzParseKeySet(f *testing.F) {
	good, err := keySet(f).AppendJSON(nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(good), "{}", `{"p":{"keys":[]}}`, `{"p":{"keys":[{"kty":"RSA"}]}}`, `{"p":{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}]}}`,
		`{"p":{"keys":[{"kty":"OKP","crv":"Ed25519","x":"` + b64(publicKey(web)) + `","kid":"é\n"}]}}`, "[", `{"p":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := lineage.ParseKeySet(text)
		if err != nil {
			if set != nil {
				t.Fatal("a set with an error")
			}
			return
		}
		for _, principal := range set.Principals() {
			keys, err := set.Keys(t.Context(), principal, "")
			if err != nil || len(keys) == 0 || principal == "" {
				t.Fatalf("principal %q: %d keys, %v", principal, len(keys), err)
			}
			for _, key := range keys {
				if err := lineage.CheckKey(key); err != nil {
					t.Fatal(err)
				}
			}
		}
		written, err := set.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := lineage.ParseKeySet(written)
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if second, err := again.AppendJSON(nil); err != nil || !bytes.Equal(second, written) {
			t.Fatalf("%s, then %s", written, second)
		}
	})
}

// FuzzInspect reads any header and payload. An entry that can be read and has nothing unusual is signed again to the
// same payload: reader and writer agree on the canonical form.
func FuzzInspect(f *testing.F) {
	payload := payloadOf(f, sign(f, call{n: 1, add: []string{"a", "b"}, override: "7", sanitizer: "s", labels: map[string]string{"é": "\u2028"}}).JWS())
	for _, header := range []string{plainHeader, `{"alg": "EdDSA", "kid": "k", "x5c": []}`, `{"alg":"none"}`, `{"alg":"EdDSA","crit":[]}`, "{", ""} {
		f.Add([]byte(header), []byte(payload))
	}
	for _, p := range []string{"", "{}", "[]", strings.Replace(payload, "100", "1e2", 1), strings.Replace(payload, "{", `{"A":1,`, 1),
		strings.Replace(payload, `["a","b"]`, `["b","a"]`, 1), strings.Replace(payload, `["0"]`, `["`+strings.Repeat("ab", 32)+`"]`, 1),
		strings.Replace(payload, `"deviations":[]`, `"deviations":[{"approver":null,"policy":"p","reason":"r","tier":"app"}]`, 1)} {
		f.Add([]byte(plainHeader), []byte(p))
	}
	signer := signerOf(f, web)
	f.Fuzz(func(t *testing.T, header, payload []byte) {
		e, _, err := lineage.InsecureInspect(b64(header)+"."+b64(payload)+"."+b64(make([]byte, 64)), lineage.Limits{})
		if err != nil {
			if e.ID != "" || len(err.Error()) > 1500 {
				t.Fatalf("entry %+v with error %v", e, err)
			}
			return
		}
		if e.Principal() != web || e.Extra != "" {
			return
		}
		s, err := lineage.Sign(t.Context(), signer, e, lineage.Limits{EntryBytes: 128 << 10})
		if err != nil {
			return // a label that Sign demands is missing
		}
		again := payloadOf(t, s.JWS())
		// Unknown members inside runtime and the like are tolerated and left out; unsorted taints are put in order.
		// Apart from that nothing may change.
		if again != string(payload) && len(again) >= len(payload) && !bytes.Contains(payload, []byte(`taints":["`)) {
			t.Fatalf("read  %s\nwrote %s", payload, again)
		}
		e, _, err = lineage.InsecureInspect(s.JWS(), lineage.Limits{EntryBytes: 128 << 10})
		if err != nil {
			t.Fatalf("what was signed cannot be read: %v", err)
		}
		second, err := lineage.Sign(t.Context(), signer, e, lineage.Limits{EntryBytes: 128 << 10})
		if err != nil || second.JWS() != s.JWS() {
			t.Fatalf("wrote %s\nthen  %s (%v)", again, payloadOf(t, second.JWS()), err)
		}
	})
}

// FuzzReceipt: only the receipt that was signed verifies; a sealed one is accepted only within its rules.
func FuzzReceipt(f *testing.F) {
	one := chain(f, 1)[0]
	good := receiptOf(f, one)
	v := newVerifier(f, lineage.VerifierConfig{})
	for _, seed := range []string{good, one.JWS(), "", "..", strings.Replace(good, "A", "B", 1)} {
		f.Add(seed, []byte(payloadOf(f, good)))
	}
	for _, p := range []string{"{}", "[]", strings.Replace(payloadOf(f, good), `"ok"`, `"bad"`, 1), strings.Replace(payloadOf(f, good), `1795000000000`, `-1`, 1)} {
		f.Add(good, []byte(p))
	}
	f.Fuzz(func(t *testing.T, jws string, payload []byte) {
		if r, err := v.VerifyReceipt(t.Context(), jws, one); err == nil && jws != good {
			t.Fatalf("%+v verifies", r)
		} else if err != nil && (!errors.Is(err, lineage.ErrUnverified) || r.EntryID != "") {
			t.Fatalf("%+v, %v", r, err)
		}
		r, err := v.VerifyReceipt(t.Context(), seal(web, `{"alg":"EdDSA","typ":"kest-receipt+jws"}`, string(payload)), one)
		if err != nil {
			if !errors.Is(err, lineage.ErrUnverified) {
				t.Fatal(err)
			}
			return
		}
		if r.EntryHash != one.Hash() || r.EntryID != one.Entry().ID || len(r.Tips) == 0 {
			t.Fatalf("%+v", r)
		}
		if _, err := lineage.SignReceipt(t.Context(), signerOf(t, web), r, lineage.Limits{EntryBytes: 128 << 10}); err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", r, err)
		}
	})
}

// FuzzDenial is FuzzReceipt for denials.
func FuzzDenial(f *testing.F) {
	good, err := lineage.SignDenial(f.Context(), signerOf(f, web), lineage.Denial{Entry: draft(f, call{n: 3}), Policy: "p", Tier: "function", Reason: "no"}, lineage.Limits{})
	if err != nil {
		f.Fatal(err)
	}
	v := newVerifier(f, lineage.VerifierConfig{})
	for _, p := range []string{payloadOf(f, good), "{}", "[]", strings.Replace(payloadOf(f, good), `"p"`, `null`, 1), `{"entry":{}}`} {
		f.Add(good, []byte(p))
	}
	f.Fuzz(func(t *testing.T, jws string, payload []byte) {
		if d, err := v.VerifyDenial(t.Context(), jws); err == nil && jws != good {
			t.Fatalf("%+v verifies", d)
		} else if err != nil && !errors.Is(err, lineage.ErrUnverified) {
			t.Fatal(err)
		}
		d, err := v.VerifyDenial(t.Context(), seal(web, `{"alg":"EdDSA","typ":"kest-denial+jws"}`, string(payload)))
		if err != nil {
			if !errors.Is(err, lineage.ErrUnverified) || d.Policy != "" {
				t.Fatalf("%+v, %v", d, err)
			}
			return
		}
		if d.Entry.Principal() != web || d.Entry.Extra != "" {
			return
		}
		if _, err := lineage.SignDenial(t.Context(), signerOf(t, web), d, lineage.Limits{EntryBytes: 128 << 10}); err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", d, err)
		}
	})
}
