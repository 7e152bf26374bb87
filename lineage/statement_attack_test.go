package lineage_test

import (
	"crypto/elliptic"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/lineage"
)

func TestAttacksOnStatements(t *testing.T) {
	p := newPlatform(t)
	var attacks []attack
	for _, form := range []lineage.BindingForm{lineage.FormX509, lineage.FormKMS, lineage.FormSelf} {
		attacks = append(attacks, []attack{
			{"for another key", form, func(f *forgery) { f.session = p.another }, malformed, "about another key"},
			{"replayed for another principal", form, func(f *forgery) { f.principal = web }, malformed, "about another principal"},
			{"session key of small order", form, func(f *forgery) {
				f.session = append([]byte{1}, make([]byte, 31)...)
				f.jkt = lineage.Thumbprint(f.session)
			}, malformed, "small order"},
			{"more than 24 hours", form, func(f *forgery) { f.exp = seconds(begin.Add(24*time.Hour + time.Second)) }, malformed, "at most 24h"},
			{"ends before it begins", form, func(f *forgery) { f.exp = f.nbf }, malformed, "ends before it begins"},
			{"without typ", form, func(f *forgery) { f.typ = "" }, malformed, "typ"},
			{"token as a statement", form, func(f *forgery) { f.typ = "JWT" }, malformed, "typ"},
			{"entry as a statement", form, func(f *forgery) { f.typ = "JWS" }, malformed, "typ"},
			{"receipt as a statement", form, func(f *forgery) { f.typ = "kest-receipt+jws" }, malformed, "typ"},
			{"denial as a statement", form, func(f *forgery) { f.typ = "kest-denial+jws" }, malformed, "typ"},
			{"fraction", form, func(f *forgery) { f.nbf += ".5" }, malformed, "nbf"},
			{"1e300", form, func(f *forgery) { f.exp = "1e+300" }, malformed, "2^53"},
			{"negative", form, func(f *forgery) { f.nbf = "-5" }, malformed, "nbf"},
			{"before 1970", form, func(f *forgery) { f.nbf, f.exp = "0", "60" }, malformed, "1970"},
			{"unknown member", form, func(f *forgery) { f.claims = `,"use":"tests"` }, malformed, "members that no statement has"},
			{"not canonical", form, func(f *forgery) { f.nbf = " " + f.nbf }, malformed, "canonical"},
			{"alg none", form, func(f *forgery) { f.alg, f.signer = "none", nil }, malformed, `alg "none"`},
			{"signature cut", form, func(f *forgery) { f.raw = func(s []byte) []byte { return s[:len(s)-1] } }, forged, ""},
			{"signature with a trailing byte", form, func(f *forgery) { f.raw = func(s []byte) []byte { return append(s, 0) } }, forged, ""},
			{"no signature", form, func(f *forgery) { f.raw = func([]byte) []byte { return nil } }, forged, ""},
			{"zero signature", form, func(f *forgery) { f.raw = func(s []byte) []byte { return make([]byte, len(s)) } }, forged, ""},
			{"embedded key", form, func(f *forgery) { f.header = `,"jwk":{"kty":"OKP"}` }, malformed, "is not allowed"},
			{"unknown form", form, func(f *forgery) { f.form = "x509" }, malformed, `form "x509"`},
		}...)
	}
	p.run(t, append(attacks, []attack{
		{"signed with another key", lineage.FormX509, func(f *forgery) { f.signer = ecKey(t, elliptic.P256()) }, forged, ""},
		{"DER in the JWS", lineage.FormX509, func(f *forgery) {
			f.raw = func(s []byte) []byte {
				der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(s[:32]), new(big.Int).SetBytes(s[32:])})
				if err != nil {
					t.Fatal(err)
				}
				return der
			}
		}, forged, ""},
		{"key that signs TLS", lineage.FormX509, func(f *forgery) { f.alg, f.signer = "ES384", ecKey(t, elliptic.P384()) }, forged, "does not suit"},
		{"unknown KMS key", lineage.FormKMS, func(f *forgery) { f.kid = "other" }, untrusted, `no KMS key "other"`},
		{"principal that the KMS key does not certify", lineage.FormKMS, func(f *forgery) { f.principal, f.sub = web, web }, untrusted, "no KMS key"},
		{"KMS key of another", lineage.FormKMS, func(f *forgery) { f.signer = privateKey("other") }, forged, ""},
		{"self for a SPIFFE ID", lineage.FormSelf, func(f *forgery) { f.principal, f.sub = pay, pay }, untrusted, "nobody vouches"},
		{"self signed by another key", lineage.FormSelf, func(f *forgery) { f.kid, f.signer = lineage.Thumbprint(p.another), privateKey("another session") }, untrusted, "signed by another key"},
		{"self with a kid that lies", lineage.FormSelf, func(f *forgery) { f.signer = privateKey("another session") }, forged, ""},
		{"self as KMS", lineage.FormSelf, func(f *forgery) { f.form = lineage.FormKMS }, untrusted, "no KMS key"},
		{"KMS as self", lineage.FormKMS, func(f *forgery) { f.form, f.principal, f.sub = lineage.FormSelf, lonely, lonely }, untrusted, "signed by another key"},
	}...))
}

// Nothing that Kest signs otherwise can stand in for a statement, whoever signed it (domain separation).
func TestOtherDocumentsAreNoStatements(t *testing.T) {
	p := newPlatform(t)
	entry := sign(t, call{by: pay}).JWS()
	receipt, err := lineage.SignReceipt(t.Context(), signerOf(t, pay), lineage.Receipt{EntryID: entryID(1), Status: lineage.OutcomeOK, Tips: make([]lineage.Hash, 1)}, lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, jws := range []string{entry, receipt, "", ".", "..", "...", "a.b.c.d"} {
		for _, form := range forms {
			if _, err := lineage.CertifyToken(form, pay, p.session, jws); reason(t, err) != malformed {
				t.Errorf("%s: %v", form, err)
			}
		}
	}
}

func TestAttacksOnDocuments(t *testing.T) {
	p := newPlatform(t)
	good := p.honest(lineage.FormKMS).text(t)
	key := `"key":"` + b64(p.session) + `"`
	for name, text := range map[string]string{
		"empty": "", "array": "[]", "string": `"x"`, "no members": "{}", "space": " " + good, "line break": good + "\n",
		"trailing": good + "{}", "too large": `{"form":"` + strings.Repeat("x", 48<<10) + `"}`, "deep": strings.Repeat("[", 10_000),
		"schema":           replaced(t, good, "kest-binding/1", "kest-binding/2"),
		"unknown member":   replaced(t, good, `"principal"`, `"other":"","principal"`),
		"member for other": replaced(t, good, `"schema":"kest-binding/1"`, `"schemb":"kest-binding/1"`),
		"duplicate":        replaced(t, good, key, key+","+key),
		"order":            `{"schema":"kest-binding/1",` + replaced(t, good[1:], `,"schema":"kest-binding/1"`, ""),
		"escape":           replaced(t, good, "kms", `\u006bms`),
		"no principal":     replaced(t, good, role, ""),
		"padding":          replaced(t, good, `","principal"`, `=","principal"`),
		"trailing bits":    replaced(t, good, key, key[:len(key)-2]+"1\""),
		"small order":      replaced(t, good, key, `"key":"`+b64(append([]byte{1}, make([]byte, 31)...))+`"`),
		"short key":        replaced(t, good, key, `"key":"AAAA"`),
		"long principal":   replaced(t, good, `"principal":"`, `"principal":"`+strings.Repeat("x", 4096)),
		"key is a number":  replaced(t, good, key, `"key":1`),
	} {
		b, err := lineage.ParseBinding(text)
		if b != nil || err == nil || reason(t, err) != malformed {
			t.Errorf("%s: %v, %v", name, b, err)
		}
		if name == "unknown member" && !strings.Contains(err.Error(), "members that no binding has") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Of two keys with one id, as after a rotation in place, either may have signed.
func TestKeysWithTheSameID(t *testing.T) {
	p := newPlatform(t)
	for i := range 2 {
		other := lineage.RootKey{ID: kmsID, Public: publicKey("rotated")}
		all := []lineage.KMSRoot{{Key: other, Principals: []string{role}}, p.config.KMS[0]}
		c := lineage.RootsConfig{KMS: []lineage.KMSRoot{all[i], all[1-i]}}
		b, err := lineage.ParseBinding(p.honest(lineage.FormKMS).text(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Verify(begin, 0, rootsOf(t, c)); err != nil {
			t.Error(err)
		}
	}
}

// No single changed byte of a binding leaves a binding.
func TestEveryByteOfABindingCounts(t *testing.T) {
	p := newPlatform(t)
	for _, form := range forms {
		text := p.bind(t, form).Text()
		for i := range len(text) {
			for _, flip := range []byte{1, 0x20, 0x80} {
				changed := []byte(text)
				changed[i] ^= flip
				if k, err := p.check(string(changed)); err == nil {
					t.Fatalf("%s: byte %d ^ %#x still verifies: %+v", form, i, flip, k)
				}
			}
		}
	}
}
