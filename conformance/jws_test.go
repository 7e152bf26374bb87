package conformance_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest/lineage"
)

const principal = "spiffe://example.org/payments"

// signingKey is a fixed key: the tests must not differ between runs.
func signingKey() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("kest conformance tests"))
	return ed25519.NewKeyFromSeed(seed[:])
}

// anyKey answers every question with one good key, so that nothing here is
// refused for want of one.
type anyKey struct{ key ed25519.PublicKey }

func (k anyKey) Keys(context.Context, string, string) ([]ed25519.PublicKey, error) {
	return []ed25519.PublicKey{k.key}, nil
}

// verifyJWS is the one place where these tests meet the verifier. It returns
// nil for an entry that is accepted and the typed failure otherwise.
func verifyJWS(t *testing.T, jws string) *lineage.VerifyError {
	t.Helper()
	v, err := lineage.NewVerifier(lineage.VerifierConfig{
		Keys:       anyKey{signingKey().Public().(ed25519.PublicKey)},
		Limits:     lineage.Limits{EntryBytes: 1 << 20},
		CacheBytes: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = v.Verify(t.Context(), lineage.Unverified{Entries: []string{jws}})
	if err == nil {
		return nil
	}
	var failure *lineage.VerifyError
	if !errors.As(err, &failure) || !errors.Is(err, lineage.ErrUnverified) {
		t.Fatalf("got %v (%T), want a *VerifyError", err, err)
	}
	return failure
}

// signedEntry returns the compact form of a good entry.
func signedEntry(t *testing.T) string {
	t.Helper()
	signer, err := lineage.NewSigner(principal, signingKey())
	if err != nil {
		t.Fatal(err)
	}
	s, err := lineage.Sign(t.Context(), signer, lineage.Entry{
		Runtime:        lineage.Runtime{Name: "kest-go", Version: "v0.1.0"},
		ID:             "0199f0a5-8a11-7c31-9d2e-4f6b1c0a9e57",
		Operation:      "payments.Transfer",
		Classification: "system",
		TrustScore:     100,
		Labels: map[string]string{
			lineage.LabelPrincipal:  principal,
			lineage.LabelTraceID:    "4bf92f3577b34da6a3ce929d0e0e4736",
			lineage.LabelSourceType: lineage.SourceInternal,
		},
		TimestampMS: 1795000000000,
	}, lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return s.JWS()
}

// seal signs payload under any header with the good key.
func seal(header, payload string) string {
	input := header + "." + payload
	return input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(signingKey(), []byte(input)))
}

// jwsFiles are the Wycheproof files with JWS vectors. None of them uses EdDSA,
// so what is valid there must be refused here for its algorithm.
var jwsFiles = []string{"json_web_signature_test.json", "json_web_crypto_test.json", "json_web_key_test.json"}

// jwsVectors calls yield with every JWS vector; a JWS that is a JSON object
// comes as its text.
func jwsVectors(t *testing.T, yield func(v vector, jws string)) {
	t.Helper()
	for _, name := range jwsFiles {
		count := 0
		for _, v := range vectors(t, name) {
			if v.JWS == nil {
				continue // a JWE
			}
			jws := string(v.JWS)
			if err := json.Unmarshal(v.JWS, &jws); err != nil {
				jws = string(v.JWS)
			}
			yield(v, jws)
			count++
		}
		if count < 26 {
			t.Fatalf("%s: only %d vectors", name, count)
		}
	}
}

// F-ID-03, SPEC §3: every JWS vector is refused before any key is used.
func TestWycheproofJWS(t *testing.T) {
	count := map[lineage.Reason]int{}
	jwsVectors(t, func(v vector, jws string) {
		failure := verifyJWS(t, jws)
		if failure == nil {
			t.Errorf("vector %s %d (%s): accepted", v.group, v.TcID, v.Comment)
			return
		}
		count[failure.Reason]++
		switch {
		case failure.Reason == lineage.Algorithm:
		case failure.Reason == lineage.Malformed && (v.Result != "valid" || strings.Contains(jws, "?")):
			// A question mark is not base64url, whatever the file says of it.
		default:
			t.Errorf("vector %s %d (%s, %s): refused as %q: %v", v.group, v.TcID, v.Comment, v.Result, failure.Reason, failure)
		}
	})
	if count[lineage.Algorithm] < 300 || count[lineage.Malformed] < 30 {
		t.Errorf("reasons %v, want at least 300 for the algorithm and 30 malformed", count)
	}
}

// F-ID-03, SPEC §3: the headers of the vectors over a good entry, with a good
// EdDSA signature by the known key. Only the algorithm they name is wrong.
func TestWycheproofHeaderConfusion(t *testing.T) {
	parts := strings.Split(signedEntry(t), ".")
	if failure := verifyJWS(t, seal(parts[0], parts[1])); failure != nil {
		t.Fatalf("a good entry is refused: %v", failure)
	}
	seen := map[string]bool{}
	jwsVectors(t, func(v vector, jws string) {
		header, _, ok := strings.Cut(jws, ".")
		if !ok || seen[header] {
			return
		}
		seen[header] = true
		if failure := verifyJWS(t, seal(header, parts[1])); failure == nil ||
			failure.Reason != lineage.Algorithm && failure.Reason != lineage.Malformed {
			t.Errorf("vector %s %d (%s): header %.80s: got %v", v.group, v.TcID, v.Comment, header, failure)
		}
	})
	if len(seen) < 30 {
		t.Fatalf("only %d headers", len(seen))
	}
}

// SPEC §3: the ways in which the vectors damage a JWS, applied to an entry that
// is good. The first one is not damaged, so the table can fail.
func TestWycheproofDamage(t *testing.T) {
	jws := signedEntry(t)
	parts := strings.Split(jws, ".")
	h, p, s := parts[0], parts[1], parts[2]
	b64 := base64.RawURLEncoding
	for _, c := range []struct {
		name, jws string
		reason    lineage.Reason // "" is accepted
	}{
		{"none", jws, ""},
		{"missing signature", h + "." + p + ".", lineage.Malformed},
		{"missing signature and separator", h + "." + p, lineage.Malformed},
		{"missing payload", h + ".." + s, lineage.Malformed},
		{"missing payload and separator", h + "." + s, lineage.Malformed},
		{"missing header", "." + p + "." + s, lineage.Malformed},
		{"missing header and separator", p + "." + s, lineage.Malformed},
		{"empty", "", lineage.Malformed},
		{"separators only", "..", lineage.Malformed},
		{"extra empty component", jws + ".", lineage.Malformed},
		{"extra component", jws + ".Zm8", lineage.Malformed},
		{"spaces in signature", h + "." + p + ".  " + s, lineage.Malformed},
		{"space behind", jws + " ", lineage.Malformed},
		{"line feed in signature", h + "." + p + "." + s[:40] + "\n" + s[40:], lineage.Malformed},
		{"question mark in signature", h + "." + p + ".?" + s, lineage.Malformed},
		{"padding in signature", jws + "==", lineage.Malformed},
		{"signature in the standard alphabet", h + "." + p + "." + strings.Repeat("+", 86), lineage.Malformed},
		{"unused bits of the signature", h + "." + p + "." + withUnusedBits(s), lineage.Malformed},
		{"sealed with spaces in header", seal(h+"   ", p), lineage.Malformed},
		{"sealed with padding in header", seal(h+"=", p), lineage.Malformed},
		{"sealed with line feed in header", seal(h[:8]+"\n"+h[8:], p), lineage.Malformed},
		{"sealed with spaces in payload", seal(h, "   "+p), lineage.Malformed},
		{"sealed with padding in payload", seal(h, p+"="), lineage.Malformed},
		{"sealed with carriage return in payload", seal(h, p[:8]+"\r"+p[8:]), lineage.Malformed},
		{"algorithm none", b64.EncodeToString([]byte(`{"alg":"none"}`)) + "." + p + ".", lineage.Algorithm},
		{"sealed with algorithm none", seal(b64.EncodeToString([]byte(`{"alg":"none"}`)), p), lineage.Algorithm},
		{"sealed with algorithm of another case", seal(b64.EncodeToString([]byte(`{"alg":"eddsa"}`)), p), lineage.Algorithm},
		{"sealed with white space in header", seal(b64.EncodeToString([]byte("{ \"typ\" : \"JWS\",\r\n\t\"alg\":\"EdDSA\" }")), p), ""},
		{"sealed with two algorithms", seal(b64.EncodeToString([]byte(`{"alg":"none","alg":"EdDSA"}`)), p), lineage.Malformed},
		{"sealed with two algorithms, escaped", seal(b64.EncodeToString([]byte(`{"alg":"EdDSA","\u0061lg":"none"}`)), p), lineage.Malformed},
		{"JSON serialization", `{"payload":"` + p + `","protected":"` + h + `","signature":"` + s + `"}`, lineage.Malformed},
		{"modified signature", h + "." + p + "." + flip(s, 3), lineage.BadSignature},
		{"truncated signature", h + "." + p + "." + b64.EncodeToString(decoded(t, s)[:63]), lineage.Malformed},
		{"signature with garbage", h + "." + p + "." + b64.EncodeToString(append(decoded(t, s), 0)), lineage.Malformed},
		{"malleable signature", h + "." + p + "." + b64.EncodeToString(plusOrder(decoded(t, s))), lineage.BadSignature},
		{"zero signature", h + "." + p + "." + b64.EncodeToString(make([]byte, 64)), lineage.BadSignature},
	} {
		var reason lineage.Reason
		if failure := verifyJWS(t, c.jws); failure != nil {
			reason = failure.Reason
		}
		if reason != c.reason {
			t.Errorf("%s: refused as %q, want %q", c.name, reason, c.reason)
		}
	}
}

func decoded(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// flip changes a bit of character i of base64url text without touching the
// unused bits at its end.
func flip(s string, i int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return s[:i] + string(alphabet[strings.IndexByte(alphabet, s[i])^1]) + s[i+1:]
}

// withUnusedBits sets one of the bits at the end that stand for nothing.
func withUnusedBits(s string) string { return flip(s, len(s)-1) }

// plusOrder adds the order of the base point to S: the same equation, another
// spelling (RFC 8032 §5.1.7 forbids it).
func plusOrder(signature []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	be := slices.Clone(signature[32:])
	slices.Reverse(be)
	sum := new(big.Int).Add(new(big.Int).SetBytes(be), order).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	return append(slices.Clone(signature[:32]), sum...)
}
