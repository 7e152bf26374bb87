package lineage_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/lineage"
)

// TestNothingIsNoKey: what a configuration lacks is a reported problem, not a panic.
func TestNothingIsNoKey(t *testing.T) {
	p := newPlatform(t)
	for name, key := range map[string]lineage.RootKey{
		"none": {ID: "k"}, "RSA": {ID: "k", Public: (*rsa.PublicKey)(nil)}, "EC": {ID: "k", Public: (*ecdsa.PublicKey)(nil)},
		"EC without a curve": {ID: "k", Public: &ecdsa.PublicKey{}}, "RSA without modulus": {ID: "k", Public: &rsa.PublicKey{}},
		"Ed25519": {ID: "k", Public: ed25519.PublicKey(nil)},
	} {
		keys := []lineage.RootKey{key, key}
		if _, err := lineage.NewRoots(lineage.RootsConfig{Issuers: map[string]lineage.IssuerRoots{
			issuer: {Keys: keys, Principals: []string{issuer + "#x"}}}}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, chain := range map[string][]*x509.Certificate{"nil": {nil}, "second is nil": {p.leaf, nil}, "no certificate": {{}}} {
		_, err := lineage.Certify(t.Context(), p.statement(lineage.FormX509), lineage.StatementKey{
			Public: p.leafKey.Public(), Chain: chain, Sign: signing(p.leafKey, crypto.SHA256, false)})
		if err == nil {
			t.Errorf("chain, %s: no error", name)
		}
	}
}

// TestBindingIsOneLine: the principal of a binding that nobody has verified is anybody's text, and must not write lines of
// its own into a log.
func TestBindingIsOneLine(t *testing.T) {
	public, signer := publicKey("session"), memory(t, "session", "local:a\nINFO served\x1b[2K\u202e")
	b, err := lineage.CertifySelf(t.Context(), lineage.Statement{Principal: signer.Principal(), Key: public, NotBefore: begin, NotAfter: begin.Add(time.Hour)}, signer)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{b.String(), fmt.Sprintf("%#v", b)} {
		if strings.ContainsAny(text, "\n\x1b\u202e") || !strings.Contains(text, "local:a?INFO served") {
			t.Errorf("%q", text)
		}
	}
}

func memory(t *testing.T, key, principal string) lineage.Signer {
	t.Helper()
	s, err := lineage.NewSigner(principal, privateKey(key))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
