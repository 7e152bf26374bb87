package conformance_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"
	"github.com/kest-go/kest/lineage"
)

// vectorFile is what the tests here use of a Wycheproof file.
type vectorFile struct {
	NumberOfTests int
	TestGroups    []struct {
		Comment      string
		PublicKey    struct{ Pk string }
		PublicKeyJwk json.RawMessage
		Tests        []vector
	}
}

type vector struct {
	TcID             int
	Comment, Result  string
	Msg, Sig         string
	JWS              json.RawMessage
	Flags            []string
	group            string
	publicKey        ed25519.PublicKey
	publicKeyJSONWeb json.RawMessage
}

// vectors reads all vectors of a file, and fails unless the file has as many
// as it says and not none.
func vectors(t *testing.T, name string) []vector {
	t.Helper()
	text, err := fs.ReadFile(wycheproof.TestVectors, name)
	if err != nil {
		t.Fatal(err)
	}
	var f vectorFile
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var all []vector
	for _, g := range f.TestGroups {
		for _, v := range g.Tests {
			v.group, v.publicKeyJSONWeb = g.Comment, g.PublicKeyJwk
			v.publicKey = fromHex(t, g.PublicKey.Pk)
			all = append(all, v)
		}
	}
	if len(all) == 0 || len(all) != f.NumberOfTests {
		t.Fatalf("%s: read %d vectors of %d", name, len(all), f.NumberOfTests)
	}
	return all
}

func fromHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// verifyEd25519 is the check that the verifier makes for one signature: a key
// that was admitted, then the standard library (SPEC §4).
func verifyEd25519(key ed25519.PublicKey, message, signature []byte) bool {
	return lineage.CheckKey(key) == nil && ed25519.Verify(key, message, signature)
}

// F-ID-03, SPEC §4: every Ed25519 vector has its published result; a key that
// can be named in a JWKS is read from there as the same key.
func TestWycheproofEd25519(t *testing.T) {
	count := map[string]int{}
	for _, v := range vectors(t, "ed25519_test.json") {
		got := verifyEd25519(v.publicKey, fromHex(t, v.Msg), fromHex(t, v.Sig))
		if want := v.Result == "valid"; got != want {
			t.Errorf("vector %d (%s %v): verified %v, want %v", v.TcID, v.Comment, v.Flags, got, want)
		}
		count[v.Result]++
	}
	if count["valid"] < 50 || count["invalid"] < 50 || len(count) != 2 {
		t.Fatalf("results %v, want many valid and invalid ones and nothing else", count)
	}
}

// F-ID-03, SPEC §4: the JWK form of the keys of the vectors.
func TestWycheproofEd25519JWK(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range vectors(t, "ed25519_test.json") {
		if len(v.publicKeyJSONWeb) == 0 || seen[string(v.publicKey)] {
			continue
		}
		seen[string(v.publicKey)] = true
		set, err := lineage.ParseKeySet([]byte(`{"p":{"keys":[` + string(v.publicKeyJSONWeb) + `]}}`))
		if err != nil {
			t.Errorf("vector %d: %v", v.TcID, err)
			continue
		}
		keys, err := set.Keys(t.Context(), "p", lineage.Thumbprint(v.publicKey))
		if err != nil || len(keys) != 1 || !keys[0].Equal(v.publicKey) {
			t.Errorf("vector %d: JWK gives %x, %v, want %x", v.TcID, keys, err, v.publicKey)
		}
	}
	if len(seen) < 5 {
		t.Fatalf("only %d keys", len(seen))
	}
}
