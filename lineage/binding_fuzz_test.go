package lineage_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/lineage"
)

func golden(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(goldenBindings, name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// FuzzParseBinding: what is read is written as it was, and nothing verifies but what was certified.
func FuzzParseBinding(f *testing.F) {
	roots, err := lineage.ParseRoots(golden(f, "roots"))
	if err != nil {
		f.Fatal(err)
	}
	known := map[string]bool{}
	for _, form := range forms {
		text := string(golden(f, string(form)))
		known[text] = true
		f.Add(text)
		f.Add(text[:len(text)/2])
		f.Add(strings.Replace(text, string(form), string(forms[0]), 1))
	}
	f.Add("{}")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := lineage.ParseBinding(text)
		if err != nil {
			if b != nil || reason(t, err) != malformed {
				t.Fatalf("%v, %v", b, err)
			}
			return
		}
		again, err := lineage.ParseBinding(b.Text())
		if err != nil || b.Text() != text || again.String() != b.String() || again.KeyID() != b.KeyID() || !again.NotAfter().Equal(b.NotAfter()) {
			t.Fatalf("%q becomes %v, %v", text, again, err)
		}
		k, err := b.Verify(begin.Add(time.Minute), time.Hour, roots)
		switch {
		case err != nil:
			reason(t, err)
		case !known[text] && b.Form() != lineage.FormX509 && b.Form() != lineage.FormJWT: // ECDSA: (r, n-s) is a signature too
			t.Fatalf("nobody certified %s", text)
		case k.Principal != b.Principal() || k.KeyID != lineage.Thumbprint(k.Key) || lineage.CheckKey(k.Key) != nil || k.NotAfter.Before(k.NotBefore):
			t.Fatalf("verified %+v", k)
		}
	})
}

// FuzzParseRoots: what is read is written so that it reads the same.
func FuzzParseRoots(f *testing.F) {
	f.Add(golden(f, "roots"))
	for _, seed := range []string{"{}", `{"self":["a*"]}`, `{"trust_domains":{"d":{"keys":[]}}}`, `{"kms":[]}`, `{"issuers":{"https://i":{"keys":[],"principals":["https://i#x"]}}}`,
		`{"kms":[{"key":{"kty":"OKP","crv":"Ed25519","kid":"k","x":"` + b64(publicKey("k")) + `"},"principals":["p"]}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		roots, err := lineage.ParseRoots(text)
		if err != nil {
			if roots != nil {
				t.Fatal("roots with an error")
			}
			return
		}
		written, err := roots.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := lineage.ParseRoots(written)
		if err != nil {
			t.Fatalf("%s becomes %s: %v", text, written, err)
		}
		if second, err := again.AppendJSON(nil); err != nil || !bytes.Equal(second, written) {
			t.Fatalf("%s becomes %s, %v", written, second, err)
		}
	})
}

// FuzzParseJWKS: every key that is read could be one of roots.
func FuzzParseJWKS(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"` + b64(publicKey("k")) + `"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"r","alg":"RS256","e":"AQAB","n":"` + b64(rsaKey(f, 2048).N.Bytes()) + `"}]}`))
	if key, err := ecKey(f, elliptic.P256()).PublicKey.Bytes(); err == nil {
		f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","kid":"e","use":"sig","x":"` + b64(key[1:33]) + `","y":"` + b64(key[33:]) + `"}]}`))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := lineage.ParseJWKS(text)
		if err != nil {
			if keys != nil {
				t.Fatal("keys with an error")
			}
			return
		}
		for _, k := range keys {
			switch key := k.Public.(type) {
			case ed25519.PublicKey:
				err = lineage.CheckKey(key)
			case *rsa.PublicKey:
				if n := key.N.BitLen(); n < 2048 || n > 8192 || key.E < 3 {
					t.Fatalf("RSA key of %d bits, exponent %d", n, key.E)
				}
			case *ecdsa.PublicKey:
				_, err = key.ECDH() // refuses points off the curve
			default:
				t.Fatalf("a key of type %T", key)
			}
			if err != nil {
				t.Fatal(err)
			}
			if k.ID = "k"; len(text) > 0 {
				rootsOf(t, lineage.RootsConfig{KMS: []lineage.KMSRoot{{Key: k, Principals: []string{"p"}}}})
			}
		}
	})
}

// FuzzSPIFFEDomain: an id that is accepted means the same to a URL parser, and nothing of it is normalised.
func FuzzSPIFFEDomain(f *testing.F) {
	for _, seed := range []string{pay, web, "spiffe://example.org", "spiffe://example.org/", "spiffe://e/a/../b", "spiffe://u@e:1/a?b#c", "spiffe://E/x", "https://e/x", "spiffe://e/%41", "spiffe://e/a//b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		domain, ok := lineage.SPIFFEDomain(id)
		if !ok {
			if domain != "" {
				t.Fatalf("%q: no, but %q", id, domain)
			}
			return
		}
		u, err := url.Parse(id)
		if err != nil || u.Scheme != "spiffe" || u.Host != domain || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.String() != id || len(u.Path) < 2 ||
			u.JoinPath().String() != id || strings.ToLower(domain) != domain {
			t.Fatalf("%q: domain %q, URL %#v, %v", id, domain, u, err)
		}
	})
}

// BenchmarkVerifyBinding is the cost of a binding that was not seen before, read and verified; beside it the cost of
// one bare signature.
func BenchmarkVerifyBinding(b *testing.B) {
	p := newPlatform(b)
	for _, form := range forms {
		text := p.bind(b, form).Text()
		b.Run(string(form), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.check(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	digest := sha256.Sum256([]byte("message"))
	signature, err := p.leafKey.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("floor-ECDSA-P256", func(b *testing.B) {
		for b.Loop() {
			if !ecdsa.VerifyASN1(&p.leafKey.PublicKey, digest[:], signature) {
				b.Fatal("does not verify")
			}
		}
	})
}
