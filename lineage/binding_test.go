package lineage_test

import (
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/lineage"
)

// statement is what every test certifies.
func (p *platform) statement(form lineage.BindingForm) lineage.Statement {
	return lineage.Statement{Principal: formPrincipal(form), Key: p.session, NotBefore: begin, NotAfter: begin.Add(time.Hour)}
}

// bind makes the binding of a form with the API.
func (p *platform) bind(t testing.TB, form lineage.BindingForm) *lineage.KeyBinding {
	t.Helper()
	var b *lineage.KeyBinding
	var err error
	s := p.statement(form)
	switch form {
	case lineage.FormX509:
		b, err = lineage.Certify(t.Context(), s, lineage.StatementKey{Public: p.leafKey.Public(), Chain: []*x509.Certificate{p.leaf, p.middle.cert},
			Sign: signing(p.leafKey, crypto.SHA256, false)})
	case lineage.FormKMS:
		b, err = lineage.Certify(t.Context(), s, lineage.StatementKey{Public: p.kms.Public(), ID: kmsID, Sign: signing(p.kms, 0, false)})
	case lineage.FormSelf:
		signer, err := lineage.NewSigner(lonely, privateKey("session"))
		if err != nil {
			t.Fatal(err)
		}
		b, err = lineage.CertifySelf(t.Context(), s, signer)
		if err != nil {
			t.Fatal(err)
		}
		return b
	case lineage.FormJWT, lineage.FormOIDC:
		b, err = lineage.CertifyToken(form, s.Principal, p.session, p.honest(form).jws(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBindingRoundTrip(t *testing.T) { // SPEC §4 keys, F-ID-04
	p := newPlatform(t)
	for _, form := range forms {
		t.Run(string(form), func(t *testing.T) {
			made := p.bind(t, form)
			b, err := lineage.ParseBinding(made.Text())
			if err != nil {
				t.Fatal(err)
			}
			principal := formPrincipal(form)
			if b.Text() != made.Text() || b.Form() != form || b.Principal() != principal || b.KeyID() != lineage.Thumbprint(p.session) || !b.NotAfter().Equal(begin.Add(time.Hour)) {
				t.Errorf("read %v of %s", b, b.Text())
			}
			k, err := b.Verify(begin.Add(time.Minute), 0, p.roots)
			if err != nil {
				t.Fatal(err)
			}
			issuers := map[lineage.BindingForm]string{lineage.FormX509: "example.org", lineage.FormJWT: "example.org", lineage.FormOIDC: issuer, lineage.FormKMS: kmsID}
			if k.Principal != principal || !k.Key.Equal(p.session) || k.KeyID != b.KeyID() || k.Form != form || k.Issuer != issuers[form] {
				t.Errorf("verified %+v", k)
			}
			if !k.NotBefore.Equal(begin) || !k.NotAfter.Equal(begin.Add(time.Hour)) {
				t.Errorf("holds from %v to %v", k.NotBefore, k.NotAfter)
			}
			if c := k.Certificate("by the clock"); c.Form != form || c.Proves != form.Proves() || c.Proves == "nothing" || c.Issuer != k.Issuer || c.Time != "by the clock" || !c.NotAfter.Equal(k.NotAfter) {
				t.Errorf("certificate %+v", c)
			}
			k.Key[0] ^= 1 // the caller's
			if again, err := b.Verify(begin.Add(time.Minute), 0, p.roots); err != nil || !again.Key.Equal(p.session) {
				t.Errorf("a caller changed the binding: %v", err)
			}
			var nobody *lineage.Roots
			if _, err := b.Verify(begin.Add(time.Minute), 0, nobody); reason(t, err) != lineage.BindingUntrusted {
				t.Errorf("nil roots: %v", err)
			}
			if _, err := b.Verify(begin.Add(time.Minute), 0, &lineage.Roots{}); reason(t, err) != lineage.BindingUntrusted {
				t.Errorf("zero roots: %v", err)
			}
		})
	}
}

// Every algorithm, of an SVID's key and of a KMS key: what Certify makes verifies, and so does what others write.
func TestBindingAlgorithms(t *testing.T) {
	p := newPlatform(t)
	rsa, ed := rsaKey(t, 2048), privateKey("platform")
	for _, c := range []struct {
		alg  string
		key  crypto.Signer
		hash crypto.Hash
	}{
		{"ES256", ecKey(t, elliptic.P256()), crypto.SHA256}, {"ES384", ecKey(t, elliptic.P384()), crypto.SHA384}, {"ES512", ecKey(t, elliptic.P521()), crypto.SHA512},
		{"RS256", rsa, crypto.SHA256}, {"RS384", rsa, crypto.SHA384}, {"RS512", rsa, crypto.SHA512},
		{"PS256", rsa, crypto.SHA256}, {"PS384", rsa, crypto.SHA384}, {"PS512", rsa, crypto.SHA512},
		{"EdDSA", ed, 0}, {"Ed25519", ed, 0},
	} {
		t.Run(c.alg, func(t *testing.T) {
			key := lineage.StatementKey{Public: c.key.Public(), Algorithm: c.alg, ID: kmsID, Sign: signing(c.key, c.hash, c.alg[0] == 'P')}
			p.config.KMS = []lineage.KMSRoot{{Key: lineage.RootKey{ID: kmsID, Algorithm: c.alg, Public: c.key.Public()}, Principals: []string{role}}}
			p.roots = rootsOf(t, p.config)
			b, err := lineage.Certify(t.Context(), p.statement(lineage.FormKMS), key)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.check(b.Text()); err != nil {
				t.Error(err)
			}
			leaf := p.middle.leaf(t, c.key.Public(), nil)
			key.ID, key.Chain = "", []*x509.Certificate{leaf, p.middle.cert}
			if b, err = lineage.Certify(t.Context(), p.statement(lineage.FormX509), key); err != nil {
				t.Fatal(err)
			}
			if _, err := p.check(b.Text()); err != nil {
				t.Error(err)
			}
			foreign := p.honest(lineage.FormX509)
			foreign.alg, foreign.signer, foreign.chain = c.alg, c.key, key.Chain
			if _, err := p.check(foreign.text(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// The usual algorithm of a key is used when none is given.
func TestCertifyChoosesTheAlgorithm(t *testing.T) {
	p := newPlatform(t)
	for want, key := range map[string]crypto.Signer{"ES384": ecKey(t, elliptic.P384()), "RS256": p.oidc, "EdDSA": p.kms} {
		hash := map[string]crypto.Hash{"ES384": crypto.SHA384, "RS256": crypto.SHA256}[want]
		b, err := lineage.Certify(t.Context(), p.statement(lineage.FormKMS), lineage.StatementKey{Public: key.Public(), ID: "k", Sign: signing(key, hash, false)})
		if err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		if header := headerOf(t, b.Text()); header["alg"] != want || header["kid"] != "k" || header["typ"] != "kest-key-statement+jws" {
			t.Errorf("header %v, want alg %s", header, want)
		}
		if b.ProofKeyID() != "k" || b.Issuer() != "" {
			t.Errorf("kid %q, issuer %q", b.ProofKeyID(), b.Issuer())
		}
	}
}

func headerOf(t testing.TB, text string) (header map[string]any) {
	t.Helper()
	var doc struct{ Proof string }
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	part, _, _ := strings.Cut(doc.Proof, ".")
	if err := json.Unmarshal([]byte(payloadOf(t, "."+part+".")), &header); err != nil {
		t.Fatal(err)
	}
	return header
}

// goldenBindings is a directory of bindings that this and every later version must read, with their roots.
const goldenBindings = "testdata/bindings"

func TestGoldenBindings(t *testing.T) {
	if *update {
		writeGoldenBindings(t)
	}
	text, err := os.ReadFile(filepath.Join(goldenBindings, "roots.json"))
	if err != nil {
		t.Fatal(err)
	}
	roots, err := lineage.ParseRoots(text)
	if err != nil {
		t.Fatal(err)
	}
	p := newPlatform(t)
	for _, form := range forms {
		text, err := os.ReadFile(filepath.Join(goldenBindings, string(form)+".json"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := lineage.ParseBinding(string(text))
		if err != nil {
			t.Fatal(err)
		}
		if k, err := b.Verify(begin.Add(time.Minute), 0, roots); err != nil || k.Principal != formPrincipal(form) {
			t.Errorf("%s: %+v, %v", form, k, err)
		}
		if form == lineage.FormKMS || form == lineage.FormSelf { // Ed25519 signs the same bytes the same way
			if made := p.bind(t, form).Text(); made != string(text) {
				t.Errorf("%s: made\n%s\nwant\n%s", form, made, text)
			}
		}
	}
}

func writeGoldenBindings(t *testing.T) {
	p := newPlatform(t)
	roots, err := p.roots.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"roots": string(roots)}
	for _, form := range forms {
		files[string(form)] = p.bind(t, form).Text()
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(goldenBindings, name+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
