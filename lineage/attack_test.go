package lineage_test

import (
	"crypto/ed25519"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/lineage"
)

// Each position of each segment of a 3-entry passport is altered in several ways. None verifies, the report names
// the altered entry or, when the change hides in what the next one links to, an entry after it (TC-02, TC-03).
func TestAlteredByteEverywhere(t *testing.T) {
	good := jwsOf(chain(t, 3)...)
	v := newVerifier(t, lineage.VerifierConfig{}) // with its cache: a changed byte must be another entry for it
	accepted(t, v, lineage.Unverified{Entries: good})
	plausible := map[int]map[lineage.Reason]bool{
		0: {lineage.Malformed: true, lineage.Algorithm: true, lineage.UnknownKey: true, lineage.BadSignature: true},
		1: {lineage.Malformed: true, lineage.UnknownKey: true, lineage.BadSignature: true, lineage.BrokenLink: true,
			lineage.Duplicate: true, lineage.Limit: true},
		2: {lineage.Malformed: true, lineage.BadSignature: true},
	}
	count, reasons := 0, map[lineage.Reason]int{}
	for index, jws := range good {
		segment := 0
		for i := range len(jws) {
			if jws[i] == '.' {
				segment++
			}
			for _, c := range []byte{jws[i] ^ 1, jws[i] ^ 0x20, 'A', '.', '=', '\n', 0, 0xff} {
				if c == jws[i] {
					continue
				}
				count++
				altered := append([]string(nil), good...)
				altered[index] = jws[:i] + string([]byte{c}) + jws[i+1:]
				p, report, err := v.Verify(t.Context(), lineage.Unverified{Entries: altered})
				failure := report.Failure
				if err == nil || failure == nil || p.Len() != 0 || report.Valid() {
					t.Fatalf("entry %d with byte %d changed to %q is accepted", index, i, c)
				}
				// A changed entry also has another hash, so its child is found without parent; but the lowest
				// index wins, and that is the entry's own.
				if failure.Index != index && !(failure.Reason == lineage.BrokenLink && failure.Index == index+1) {
					t.Errorf("entry %d, byte %d: failure is %v", index, i, failure)
				}
				if failure.Index == index && !plausible[min(segment, 2)][failure.Reason] {
					t.Errorf("entry %d, byte %d, segment %d: reason %q", index, i, segment, failure.Reason)
				}
				reasons[failure.Reason]++
			}
		}
	}
	if count < 20_000 || reasons[lineage.BadSignature] < 900 || reasons[lineage.Malformed] < 1000 || reasons[lineage.Algorithm] == 0 {
		t.Errorf("%d alterations, reasons %v", count, reasons)
	}
}

// Headers over a good payload, each with a good signature by the right key (SPEC §3, F-ID-03).
func TestHeaderAttacks(t *testing.T) {
	one := chain(t, 1)[0]
	kid := lineage.Thumbprint(publicKey(web))
	v := newVerifier(t, lineage.VerifierConfig{})
	for _, c := range []struct {
		name, header string
		reason       lineage.Reason // "" is accepted
	}{
		{"as written", `{"alg":"EdDSA","kid":"` + kid + `","typ":"JWS"}`, ""},
		{"spaced, other order", "{ \"typ\": \"JWS\",\n\t\"kid\": \"" + kid + "\", \"alg\": \"EdDSA\" }", ""},
		{"fully specified algorithm", `{"alg":"Ed25519","kid":"` + kid + `"}`, ""},
		{"no kid, no typ", `{"alg":"EdDSA"}`, ""},
		{"empty kid", `{"alg":"EdDSA","kid":""}`, ""},
		{"kid repeats the principal", `{"alg":"EdDSA","kid":"` + web + `"}`, ""},
		{"x5c is ignored", `{"alg":"EdDSA","x5c":["AAAA"]}`, ""},
		{"unknown member", `{"alg":"EdDSA","iat":1}`, ""},

		{"alg none", `{"alg":"none"}`, lineage.Algorithm},
		{"alg None", `{"alg":"None"}`, lineage.Algorithm},
		{"alg nOnE", `{"alg":"nOnE"}`, lineage.Algorithm},
		{"alg HS256", `{"alg":"HS256"}`, lineage.Algorithm},
		{"alg HS512", `{"alg":"HS512"}`, lineage.Algorithm},
		{"alg ES256", `{"alg":"ES256"}`, lineage.Algorithm},
		{"alg RS256", `{"alg":"RS256"}`, lineage.Algorithm},
		{"alg PS256", `{"alg":"PS256"}`, lineage.Algorithm},
		{"alg Ed448", `{"alg":"Ed448"}`, lineage.Algorithm},
		{"alg mock", `{"alg":"mock"}`, lineage.Algorithm},
		{"alg with trailing space", `{"alg":"EdDSA "}`, lineage.Algorithm},
		{"alg with NUL", `{"alg":"EdDSA\u0000"}`, lineage.Algorithm},
		{"alg in lower case", `{"alg":"eddsa"}`, lineage.Algorithm},
		{"alg empty", `{"alg":""}`, lineage.Algorithm},
		{"alg missing", `{"typ":"JWS"}`, lineage.Algorithm},
		{"alg null", `{"alg":null}`, lineage.Algorithm},
		{"alg is a list", `{"alg":["EdDSA"]}`, lineage.Algorithm},
		{"alg is a number", `{"alg":1}`, lineage.Algorithm},
		{"alg name folded", `{"Alg":"EdDSA"}`, lineage.Algorithm},
		{"alg twice", `{"alg":"EdDSA","alg":"EdDSA"}`, lineage.Malformed},
		{"alg twice, none first", `{"alg":"none","alg":"EdDSA"}`, lineage.Malformed},
		{"alg twice by escape", `{"alg":"EdDSA","\u0061lg":"none"}`, lineage.Malformed},

		{"crit", `{"alg":"EdDSA","crit":["b64"],"b64":false}`, lineage.Malformed},
		{"crit empty", `{"alg":"EdDSA","crit":[]}`, lineage.Malformed},
		{"crit null", `{"alg":"EdDSA","crit":null}`, lineage.Malformed},
		{"b64 false", `{"alg":"EdDSA","b64":false}`, lineage.Malformed},
		{"b64 true", `{"alg":"EdDSA","b64":true}`, lineage.Malformed},
		{"jwk", `{"alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"` + b64(publicKey(web)) + `"}}`, lineage.Malformed},
		{"jku", `{"alg":"EdDSA","jku":"https://evil.example/keys"}`, lineage.Malformed},
		{"x5u", `{"alg":"EdDSA","x5u":"https://evil.example/cert"}`, lineage.Malformed},

		{"typ of a receipt", `{"alg":"EdDSA","typ":"kest-receipt+jws"}`, lineage.Malformed},
		{"typ of a denial", `{"alg":"EdDSA","typ":"kest-denial+jws"}`, lineage.Malformed},
		{"typ JWT", `{"alg":"EdDSA","typ":"JWT"}`, lineage.Malformed},
		{"typ in lower case", `{"alg":"EdDSA","typ":"jws"}`, lineage.Malformed},
		{"typ empty", `{"alg":"EdDSA","typ":""}`, lineage.Malformed},
		{"typ null", `{"alg":"EdDSA","typ":null}`, lineage.Malformed},
		{"kid is a number", `{"alg":"EdDSA","kid":1}`, lineage.Malformed},
		{"kid is null", `{"alg":"EdDSA","kid":null}`, lineage.Malformed},
		{"kid too long", `{"alg":"EdDSA","kid":"` + strings.Repeat("k", 1025) + `"}`, lineage.Malformed},
		{"kid of nobody", `{"alg":"EdDSA","kid":"` + strings.Repeat("k", 1024) + `"}`, lineage.UnknownKey},
		{"kid of another principal's key", `{"alg":"EdDSA","kid":"` + lineage.Thumbprint(publicKey(pay)) + `"}`, lineage.UnknownKey},

		{"not an object", `["EdDSA"]`, lineage.Malformed},
		{"a string", `"EdDSA"`, lineage.Malformed},
		{"two values", `{"alg":"EdDSA"}{}`, lineage.Malformed},
		{"empty object", `{}`, lineage.Algorithm},
		{"byte order mark", "\ufeff" + `{"alg":"EdDSA"}`, lineage.Malformed},
		{"invalid UTF-8", "{\"alg\":\"EdDSA\",\"kid\":\"\xff\"}", lineage.Malformed},
		{"lone surrogate", `{"alg":"EdDSA","kid":"\ud800"}`, lineage.Malformed},
		{"NaN", `{"alg":"EdDSA","n":NaN}`, lineage.Malformed},
		{"1e400", `{"alg":"EdDSA","n":1e400}`, lineage.Malformed},
		{"cut", `{"alg":"EdDSA"`, lineage.Malformed},
		{"depth bomb", `{"alg":"EdDSA","x5c":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, lineage.Malformed},
		{"17 KB", `{"alg":"EdDSA","x5c":["` + strings.Repeat("A", 17<<10) + `"]}`, lineage.Limit},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := lineage.Unverified{Entries: []string{seal(web, c.header, payloadOf(t, one.JWS()))}}
			if c.reason == "" {
				accepted(t, v, u)
				return
			}
			refused(t, v, u, c.reason, 0)
		})
	}
}

// Spellings of the compact form (RFC 7515 §7.1, RFC 4648 §3.5), sealed again where a signature can be.
func TestCompactAttacks(t *testing.T) {
	jws := chain(t, 1)[0].JWS()
	parts := strings.Split(jws, ".")
	h, p, s := parts[0], parts[1], parts[2]
	// One more character than a multiple of four is never valid; and the last of an incomplete group has unused bits.
	flip := func(s string) string {
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		return s[:len(s)-1] + string(alphabet[strings.IndexByte(alphabet, s[len(s)-1])^1])
	}
	loose := func(json string) string { // a segment whose last character has unused bits
		for len(json)%3 == 0 {
			json = " " + json
		}
		return b64([]byte(json))
	}
	v := newVerifier(t, lineage.VerifierConfig{})
	accepted(t, v, lineage.Unverified{Entries: []string{sealSegments(web, loose(plainHeader), p)}})
	for _, c := range []struct {
		name, jws string
		reason    lineage.Reason
	}{
		{"empty", "", lineage.Malformed},
		{"one dot", h + "." + p, lineage.Malformed},
		{"three dots", jws + ".", lineage.Malformed},
		{"four segments", jws + "." + s, lineage.Malformed},
		{"leading dot", "." + jws, lineage.Malformed},
		{"doubled dot", h + ".." + p + "." + s, lineage.Malformed},
		{"dots only", "..", lineage.Malformed},
		{"empty header", "." + p + "." + s, lineage.Malformed},
		{"empty payload", sealSegments(web, h, ""), lineage.Malformed},
		{"empty signature", h + "." + p + ".", lineage.Malformed},
		{"padded signature", jws + "==", lineage.Malformed},
		{"padded header", sealSegments(web, h+"=", p), lineage.Malformed},
		{"padded payload", sealSegments(web, h, p+"="), lineage.Malformed},
		{"trailing bits in signature", h + "." + p + "." + flip(s), lineage.Malformed},
		{"trailing bits in header", sealSegments(web, flip(loose(plainHeader)), p), lineage.Malformed},
		{"trailing bits in payload", sealSegments(web, h, flip(loose(payloadOf(t, jws)))), lineage.Malformed},
		{"line feed in header", sealSegments(web, h[:8]+"\n"+h[8:], p), lineage.Malformed},
		{"carriage return in payload", sealSegments(web, h, p[:8]+"\r"+p[8:]), lineage.Malformed},
		{"CR LF in signature", h + "." + p + "." + s[:40] + "\r\n" + s[40:], lineage.Malformed},
		{"space around", " " + jws, lineage.Malformed},
		{"line feed behind", jws + "\n", lineage.Malformed},
		{"standard alphabet", h + "." + p + "." + strings.Repeat("+/", 43), lineage.Malformed},
		{"signature of 63 bytes", h + "." + p + "." + b64(make([]byte, 63)), lineage.Malformed},
		{"signature of 65 bytes", h + "." + p + "." + b64(make([]byte, 65)), lineage.Malformed},
		{"signature of zeros", h + "." + p + "." + b64(make([]byte, 64)), lineage.BadSignature},
		{"JSON serialization", `{"payload":"` + p + `","protected":"` + h + `","signature":"` + s + `"}`, lineage.Malformed},
		{"signature over another header", sealSegments(web, b64([]byte(plainHeader)), p)[:len(b64([]byte(plainHeader)))] +
			"." + p + "." + s, lineage.BadSignature},
		{"NUL bytes", "\x00.\x00.\x00", lineage.Malformed},
		{"not ASCII", "é.é.é", lineage.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, v, lineage.Unverified{Entries: []string{c.jws}}, c.reason, 0)
		})
	}
}

// F-ID-03: none of the three documents stands in for another.
func TestDocumentsAreNotInterchangeable(t *testing.T) {
	one := chain(t, 1)[0]
	v := newVerifier(t, lineage.VerifierConfig{})
	receipt, err := lineage.SignReceipt(t.Context(), signerOf(t, web), receiptFor(one), lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	denial, err := lineage.SignDenial(t.Context(), signerOf(t, web),
		lineage.Denial{Entry: draft(t, call{n: 9}), Policy: "p", Tier: "function"}, lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, v, lineage.Unverified{Entries: []string{receipt}}, lineage.Malformed, 0)
	refused(t, v, lineage.Unverified{Entries: []string{denial}}, lineage.Malformed, 0)
	for _, jws := range []string{one.JWS(), denial, seal(web, plainHeader, payloadOf(t, receipt)), seal(web, `{"alg":"EdDSA"}`, payloadOf(t, receipt))} {
		if r, err := v.VerifyReceipt(t.Context(), jws, one); err == nil || r.EntryID != "" {
			t.Errorf("%.30s… passes for a receipt", jws)
		}
	}
	for _, jws := range []string{one.JWS(), receipt, seal(web, plainHeader, payloadOf(t, denial)), seal(web, `{"alg":"EdDSA"}`, payloadOf(t, denial))} {
		if d, err := v.VerifyDenial(t.Context(), jws); err == nil || d.Policy != "" {
			t.Errorf("%.30s… passes for a denial", jws)
		}
	}
}

// SPEC §12: what is over a limit is refused before a key is asked for or a signature is checked, in memory that
// does not follow the size of the input.
func TestLimitsComeBeforeCryptography(t *testing.T) {
	good := jwsOf(chain(t, 2)...)
	big := func(n int) string { return good[0] + strings.Repeat("A", n) }
	many := make([]string, 10_000)
	for i := range many {
		many[i] = good[0]
	}
	for _, c := range []struct {
		name    string
		limits  lineage.Limits
		entries []string
		index   int
	}{
		{"10,000 entries", lineage.Limits{}, many, -1},
		{"1,025 entries", lineage.Limits{}, many[:1025], -1},
		{"entry of 100 MB", lineage.Limits{}, []string{big(100 << 20)}, -1},
		{"entry of 100 MB, passport unlimited", lineage.Limits{PassportBytes: 1 << 40}, []string{big(100 << 20)}, 0},
		{"entry of 64 KiB and a byte", lineage.Limits{}, []string{big(64<<10 + 1 - len(good[0]))}, 0},
		{"passport of over 4 MiB", lineage.Limits{}, manyOf(strings.Repeat("A", 64<<10), 64), -1},
		{"small limit", lineage.Limits{EntryBytes: len(good[0]) - 1}, good[:1], 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			keys, batch := &countingKeys{KeySource: keySet(t)}, &countingBatch{}
			v := newVerifier(t, lineage.VerifierConfig{Keys: keys, Batch: batch, Limits: c.limits})
			allocated := allocations(func() {
				refused(t, v, lineage.Unverified{Entries: c.entries}, lineage.Limit, c.index)
			})
			if keys.asked.Load() != 0 || batch.items.Load() != 0 {
				t.Errorf("%d questions to the key source, %d signatures", keys.asked.Load(), batch.items.Load())
			}
			if allocated > 16<<20 && c.limits.PassportBytes == 0 {
				t.Errorf("allocated %d bytes", allocated)
			}
		})
	}
	// The same limits exactly met are no failure.
	size := passportOf(t, chain(t, 2)...).Size()
	for _, l := range []lineage.Limits{
		{EntryBytes: max(len(good[0]), len(good[1]))}, {PassportEntries: 2}, {PassportBytes: size}, {Depth: 3},
	} {
		accepted(t, newVerifier(t, lineage.VerifierConfig{Limits: l}), lineage.Unverified{Entries: good})
		if err := passportOf(t, chain(t, 2)...).Check(l); err != nil {
			t.Error(err)
		}
	}
	refused(t, newVerifier(t, lineage.VerifierConfig{Limits: lineage.Limits{PassportBytes: size - 1}}),
		lineage.Unverified{Entries: good}, lineage.Limit, -1)
}

func manyOf(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}

func allocations(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Nothing after the first malformed entry is looked at: neither its keys nor its signature.
func TestNothingAfterTheFirstFailure(t *testing.T) {
	good := jwsOf(chain(t, 8)...)
	keys := &countingKeys{KeySource: keySet(t)}
	v := newVerifier(t, lineage.VerifierConfig{Keys: keys, CacheBytes: -1})
	bad := append([]string(nil), good...)
	bad[3] = "x"
	refused(t, v, lineage.Unverified{Entries: bad}, lineage.Malformed, 3)
	if n := keys.asked.Load(); n != 3 {
		t.Errorf("keys of %d entries were asked for, want those of the 3 before the failure", n)
	}
}

// Work that an unsigned passport can cause stays far from quadratic: entries with hundreds of parents behind a
// prefix that is cached, and wide forks.
func TestHostileShapesAreNotQuadratic(t *testing.T) {
	root := sign(t, call{n: 0})
	wide := []*lineage.Signed{root}
	for i := 1; i < 700; i++ {
		wide = append(wide, sign(t, call{n: i}, root))
	}
	v := newVerifier(t, lineage.VerifierConfig{})
	accepted(t, v, lineage.Unverified{Entries: jwsOf(wide...)})
	entries := jwsOf(wide...)
	join := draft(t, call{n: 1000}, wide[1:600]...)
	s, err := lineage.Sign(t.Context(), signerOf(t, web), join, lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 { // unsigned copies of the join, each with an id of its own
		payload := replaced(t, payloadOf(t, s.JWS()), entryID(1000), entryID(2000+i))
		entries = append(entries, b64([]byte(plainHeader))+"."+b64([]byte(payload))+"."+b64(make([]byte, ed25519.SignatureSize)))
	}
	start := time.Now()
	refused(t, v, lineage.Unverified{Entries: entries}, lineage.BadSignature, len(wide))
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

// Duplicates and parents are found in a remembered prefix, with and without the index that many searches make.
func TestPrefixIsSearched(t *testing.T) {
	c := chain(t, 40)
	more := func(n int) []*lineage.Signed { // new children of the chain
		out := slices.Clone(c)
		for i := range n {
			out = append(out, sign(t, call{n: 100 + i}, c[i]))
		}
		return out
	}
	for _, n := range []int{0, 1, 2, 5, 8, 9, 30} {
		for name, last := range map[string]struct {
			entry  *lineage.Signed
			reason lineage.Reason
		}{
			"an entry again":      {c[7], lineage.Duplicate},
			"its id again":        {sign(t, call{n: 7, by: pay, op: "other"}, c[3]), lineage.Duplicate},
			"no such parent":      {sign(t, call{n: 500}, sign(t, call{n: 501})), lineage.BrokenLink},
			"a parent behind all": {sign(t, call{n: 500}, c[0]), ""},
		} {
			v := newVerifier(t, lineage.VerifierConfig{})
			accepted(t, v, lineage.Unverified{Entries: jwsOf(c...)})
			u := lineage.Unverified{Entries: jwsOf(append(more(n), last.entry)...)}
			if last.reason == "" {
				accepted(t, v, u)
				continue
			}
			if f := refused(t, v, u, last.reason, 40+n); f.Reason != last.reason {
				t.Errorf("%d new entries, then %s", n, name)
			}
		}
	}
}
