package lineage_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/kest-go/kest/lineage"
)

// The entry in the package comment is the one that ExampleSign makes, with its header, payload and hash.
func TestPackageCommentShowsARealEntry(t *testing.T) {
	signer, keys := exampleSigner()
	s, err := lineage.Sign(t.Context(), signer, exampleRoot(), lineage.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	plain := regexp.MustCompile(`\n//\t?`).ReplaceAllString(string(text), "")
	header := `{"alg":"EdDSA","kid":"` + s.KeyID() + `","typ":"JWS"}`
	for name, want := range map[string]string{"entry": s.JWS(), "payload": payloadOf(t, s.JWS()), "hash": s.Hash().String(), "header": header} {
		if !strings.Contains(plain, want) {
			t.Errorf("the package comment lacks the %s:\n%s", name, want)
		}
	}
	v := newVerifier(t, lineage.VerifierConfig{Keys: keys})
	accepted(t, v, lineage.Unverified{Entries: []string{s.JWS()}})
}

// The binding in the package comment is the golden one that TestGoldenBindings makes again and verifies.
func TestPackageCommentShowsARealBinding(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	plain := regexp.MustCompile(`\n//\t?`).ReplaceAllString(string(text), "")
	f := newPlatform(t).honest(lineage.FormKMS)
	header := `{"alg":"EdDSA","kid":"` + kmsID + `","typ":"kest-key-statement+jws"}`
	parts := strings.Split(f.jws(t), ".")
	if headerText := payloadOf(t, "."+parts[0]+"."); headerText != header {
		t.Errorf("header %s", headerText)
	}
	for name, want := range map[string]string{"binding": string(golden(t, "kms")), "payload": payloadOf(t, f.jws(t)), "header": header} {
		if !strings.Contains(plain, want) {
			t.Errorf("the package comment lacks the %s:\n%s", name, want)
		}
	}
}
