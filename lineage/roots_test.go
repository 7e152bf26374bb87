package lineage_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest/lineage"
)

func TestNewRootsReportsEverything(t *testing.T) {
	p := newPlatform(t)
	good := lineage.RootKey{ID: "k", Public: p.jwt.Public()}
	off := &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)} //nolint:staticcheck // no other way to make a bad key
	_, err := lineage.NewRoots(lineage.RootsConfig{
		Domains: map[string]lineage.DomainRoots{
			"Example.org": {},
			"a.example": {X509: []*x509.Certificate{p.leaf, nil, p.root.leaf(t, rsaKey(t, 1024).Public(), func(c *x509.Certificate) { c.IsCA = true })},
				JWT: []lineage.RootKey{{Public: p.jwt.Public()}, {ID: "weak", Public: rsaKey(t, 1024).Public()}}},
		},
		Issuers: map[string]lineage.IssuerRoots{
			"issuer.example": {Principals: []string{"issuer.example#x"}}, "https://a.example#x": {Principals: []string{"https://a.example#x#y"}},
			"https://b.example": {}, "https://c.example": {Principals: []string{"https://b.example#*"}},
			"https://d.example": {Principals: []string{"https://d.example#a*b"}},
		},
		KMS: []lineage.KMSRoot{{Key: good}, {Key: lineage.RootKey{ID: strings.Repeat("x", 2000), Public: 7}, Principals: []string{"*"}},
			{Key: lineage.RootKey{ID: "alg", Algorithm: "HS256", Public: p.jwt.Public()}, Principals: []string{role}},
			{Key: lineage.RootKey{ID: "small", Public: make(ed25519.PublicKey, 32)}, Principals: []string{role}},
			{Key: lineage.RootKey{ID: "off", Public: off}, Principals: []string{role}}},
		Self: []string{"", "*", "a**"},
	})
	if err == nil {
		t.Fatal("no problem")
	}
	for _, want := range []string{`"Example.org": not the name`, "not that of an authority", "a certificate is nil", "id of 0 bytes",
		`key "weak": RSA key of 1024 bits`, `certificate "": RSA key of 1024 bits`, `"issuer.example": not the URL`, `"https://a.example#x": not the URL`,
		`"https://b.example": Principals is empty`, `begin with "https://c.example#"`, `principal "https://d.example#a*b"`, `KMS key "k": Principals is empty`,
		"id of 2000 bytes", "type int", `principal "*"`, `alg "HS256"`, "small order", "not a point on its curve", `self: principal ""`, `self: principal "a**"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}

// Roots do not change when the configuration that they were made of does.
func TestRootsAreACopy(t *testing.T) {
	p := newPlatform(t)
	b := p.bind(t, lineage.FormSelf)
	p.config.Self[0] = "nobody:*"
	p.config.Issuers[issuer] = lineage.IssuerRoots{}
	if _, err := b.Verify(begin, 0, p.roots); err != nil {
		t.Error(err)
	}
	if r, err := p.roots.Roots(context.Background(), b); r != p.roots || err != nil {
		t.Error("a source of itself returned others")
	}
}

func TestRootsRoundTrip(t *testing.T) {
	p := newPlatform(t)
	for i, key := range []crypto.PublicKey{ecKey(t, elliptic.P384()).Public(), ecKey(t, elliptic.P521()).Public(), p.oidc.Public(), publicKey("k")} {
		p.config.KMS = append(p.config.KMS, lineage.KMSRoot{Key: lineage.RootKey{ID: fmt.Sprint("key \"é\"\n", i), Public: key}, Principals: []string{"a", "b*"}})
	}
	ed := newAuthority(t, nil, nil)
	d := p.config.Domains["example.org"]
	d.X509 = append(d.X509, ed.cert, ed.leaf(t, publicKey("ca"), func(c *x509.Certificate) { c.IsCA = true }), ed.leaf(t, p.oidc.Public(), func(c *x509.Certificate) { c.IsCA = true }))
	p.config.Domains["example.org"] = d
	p.roots = rootsOf(t, p.config)
	text, err := p.roots.AppendJSON([]byte("x"))
	if err != nil || text[0] != 'x' {
		t.Fatalf("%.20s, %v", text, err)
	}
	again, err := lineage.ParseRoots(text[1:])
	if err != nil {
		t.Fatal(err)
	}
	second, err := again.AppendJSON(nil)
	if err != nil || string(second) != string(text[1:]) {
		t.Errorf("%v\n%s\n%s", err, text[1:], second)
	}
	for _, form := range forms {
		if _, err := p.bind(t, form).Verify(begin, 0, again); err != nil {
			t.Errorf("%s: %v", form, err)
		}
	}
	for _, nobody := range []*lineage.Roots{nil, {}} {
		text, err := nobody.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lineage.ParseRoots(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// The form that SPIFFE bundle endpoints serve: other members, keys without alg, keys of kinds that are new to us.
func TestParseSPIFFEBundle(t *testing.T) { // SPIFFE Trust Domain and Bundle §4
	p := newPlatform(t)
	point, err := p.jwt.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	jwk := fmt.Sprintf(`{"use":"jwt-svid","kty":"EC","kid":"jwt-1","crv":"P-256","x":%s,"y":%s}`, quoted(b64(point[1:33])), quoted(b64(point[33:])))
	bundle := fmt.Sprintf("{\n  \"keys\": [\n{\"use\":\"x509-svid\",\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\",\"x5c\":[%q]},\n%s,{\"use\":\"wit-svid\",\"kty\":\"EC\"},{\"kty\":\"EC\"}],\n"+
		"\"spiffe_sequence\": 12, \"spiffe_refresh_hint\": 300}", base64.StdEncoding.EncodeToString(p.root.cert.Raw), jwk)
	roots, err := lineage.ParseRoots([]byte(`{"trust_domains":{"example.org":` + bundle + `}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []lineage.BindingForm{lineage.FormX509, lineage.FormJWT} {
		if _, err := p.bind(t, form).Verify(begin, 0, roots); err != nil {
			t.Errorf("%s: %v", form, err)
		}
	}
}

func TestParseRootsIsStrict(t *testing.T) {
	p := newPlatform(t)
	jwk := func(more string) string {
		return `{"kty":"OKP","crv":"Ed25519","kid":"k","x":"` + b64(publicKey("k")) + `"` + more + `}`
	}
	x5c := func(c *x509.Certificate, more string) string {
		return `{"trust_domains":{"d":{"keys":[{"use":"x509-svid","x5c":["` + base64.StdEncoding.EncodeToString(c.Raw) + `"` + more + `}]}}}`
	}
	kms := func(key string) string { return `{"kms":[{"key":` + key + `,"principals":["p"]}]}` }
	issuer := func(rest string) string { return `{"issuers":{"https://i.example":{` + rest + `}}}` }
	if _, err := lineage.ParseRoots([]byte(kms(jwk("")))); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "array": "[]", "unknown": `{"trust_domain":{}}`, "duplicate": `{"self":[],"self":[]}`, "trailing": "{} x",
		"too large": `{"self":["` + strings.Repeat("x", 4<<20) + `"]}`, "deep": strings.Repeat("[", 100),
		"1025 names": `{"self":[` + strings.Repeat(`"a",`, 1024) + `"a"]}`, "self is a string": `{"self":"a"}`, "domains are a list": `{"trust_domains":[]}`,
		"domain without keys": `{"trust_domains":{"d":{}}}`, "issuer without principals": issuer(`"keys":[]`),
		"issuer with no principals": issuer(`"keys":[],"principals":[]`), "issuer without keys": issuer(`"principals":["https://i.example#x"]`),
		"misspelled restriction": issuer(`"keys":[],"principals":["https://i.example#*"],"audience":"x"`),
		"KMS without principals": `{"kms":[{"key":` + jwk("") + `}]}`, "KMS with more": `{"kms":[{"key":` + jwk("") + `,"principals":["p"],"until":1}]}`,
		"private key": kms(jwk(`,"d":"AAAA"`)), "key for encryption": kms(`{"kty":"RSA","alg":"RSA-OAEP","kid":"k"}`), "symmetric key": kms(`{"kty":"oct","k":"AA","kid":"k"}`),
		"no kid": kms(`{"kty":"OKP","crv":"Ed25519","x":"` + b64(publicKey("k")) + `"}`), "alg of another": kms(jwk(`,"alg":"ES256"`)),
		"padded": kms(strings.Replace(jwk(""), `"}`, `="}`, 1)), "small order": kms(`{"kty":"OKP","crv":"Ed25519","kid":"k","x":"` + b64(make([]byte, 32)) + `"}`),
		"RSA 1024":             kms(`{"kty":"RSA","kid":"k","e":"AQAB","n":"` + b64(rsaKey(t, 1024).N.Bytes()) + `"}`),
		"RSA 16384":            kms(`{"kty":"RSA","kid":"k","e":"AQAB","n":"` + b64(append([]byte{0x80}, make([]byte, 2047)...)) + `"}`),
		"exponent 1":           kms(`{"kty":"RSA","kid":"k","e":"AQ","n":"` + b64(p.oidc.N.Bytes()) + `"}`),
		"exponent even":        kms(`{"kty":"RSA","kid":"k","e":"AQAA","n":"` + b64(p.oidc.N.Bytes()) + `"}`),
		"exponent huge":        kms(`{"kty":"RSA","kid":"k","e":"` + b64(slices.Repeat([]byte{0xff}, 100)) + `","n":"` + b64(p.oidc.N.Bytes()) + `"}`),
		"P-224":                kms(`{"kty":"EC","crv":"P-224","kid":"k","x":"AA","y":"AA"}`),
		"off the curve":        kms(`{"kty":"EC","crv":"P-256","kid":"k","x":"` + b64(make([]byte, 32)) + `","y":"` + b64(make([]byte, 32)) + `"}`),
		"short point":          kms(`{"kty":"EC","crv":"P-256","kid":"k","x":"AA","y":"AA"}`),
		"certificate is no CA": x5c(p.leaf, "]"), "two certificates": x5c(p.root.cert, `,"AA"]`), "private certificate": x5c(p.root.cert, `],"d":"AA"`),
		"no certificate": `{"trust_domains":{"d":{"keys":[{"use":"x509-svid"}]}}}`, "line break": strings.Replace(x5c(p.root.cert, "]"), `["MII`, `["MI\nI`, 1),
		"empty x5c": `{"trust_domains":{"d":{"keys":[{"use":"x509-svid","x5c":[]}]}}}`, "domain with a path": `{"trust_domains":{"d/x":{"keys":[]}}}`,
	} {
		if roots, err := lineage.ParseRoots([]byte(text)); roots != nil || err == nil || len(err.Error()) > 2000 {
			t.Errorf("%s: %v, %v", name, roots != nil, err)
		}
	}
	if _, err := lineage.ParseRoots([]byte(`{"kms":[{"key":` + jwk("") + `,"principals":["p"]}],"self":[` + strings.Repeat(`"a",`, 1024) + `"a"]}`)); !errors.Is(err, lineage.ErrLimit) {
		t.Errorf("over a limit: %v", err)
	}
}

func TestParseJWKS(t *testing.T) { // RFC 7517 §5
	p := newPlatform(t)
	ed := `{"kty":"OKP","crv":"Ed25519","kid":"ed","use":"sig","alg":"EdDSA","x":"` + b64(publicKey("k")) + `"}`
	n := b64(p.oidc.N.Bytes())
	keys, err := lineage.ParseJWKS([]byte(`{"keys":[` + ed + `,{"kty":"oct","k":"AA"},{"kty":"RSA","use":"enc","kid":"e","e":"AQAB","n":"` + n + `"},{"kty":"AKP","alg":"ML-DSA-65","pub":"AA"},` +
		`{"kty":"RSA","alg":"RSA-OAEP","e":"AQAB","n":"AA"},{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"},{"kty":"RSA","kid":"r","alg":"PS256","e":"AQAB","n":"` + n + `","x5c":["ignored"]}],"other":1}`))
	if err != nil || len(keys) != 2 || keys[0].ID != "ed" || keys[1].ID != "r" || keys[1].Algorithm != "PS256" || !p.oidc.PublicKey.Equal(keys[1].Public) {
		t.Errorf("%+v, %v", keys, err)
	}
	for _, text := range []string{"", "[]", "{}", `{"keys":{}}`, `{"keys":[1]}`, `{"keys":[{"kty":1}]}`, `{"keys":[` + strings.Replace(ed, `"use"`, `"d":"AA","use"`, 1) + `]}`,
		`{"keys":[{"kty":"RSA","e":"AQAB","n":"AAAA"}]}`, `{"keys":[` + strings.Repeat("{},", 1024) + "{}]}", strings.Repeat(" ", 4<<20) + `{"keys":[]}`} {
		if keys, err := lineage.ParseJWKS([]byte(text)); keys != nil || err == nil {
			t.Errorf("%.60s: %v, %v", text, keys, err)
		}
	}
}

func TestMergeRoots(t *testing.T) {
	p := newPlatform(t)
	var parts []*lineage.Roots
	for _, c := range []lineage.RootsConfig{{Domains: p.config.Domains}, {Issuers: p.config.Issuers}, {KMS: p.config.KMS}, {Self: p.config.Self}} {
		parts = append(parts, rootsOf(t, c))
	}
	merged, err := lineage.MergeRoots(append(parts, nil, p.roots)...)
	if err != nil {
		t.Fatal(err)
	}
	for i, form := range []lineage.BindingForm{lineage.FormX509, lineage.FormOIDC, lineage.FormKMS, lineage.FormSelf} {
		b := p.bind(t, form)
		if _, err := b.Verify(begin, 0, merged); err != nil {
			t.Errorf("%s: %v", form, err)
		}
		for j, part := range parts {
			if _, err := b.Verify(begin, 0, part); (err == nil) != (i == j) {
				t.Errorf("%s by part %d: %v", form, j, err)
			}
		}
	}
	nobody, err := lineage.MergeRoots()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.bind(t, lineage.FormSelf).Verify(begin, 0, nobody); reason(t, err) != untrusted {
		t.Error(err)
	}
}

// TestMergedIssuersStayApart: one file trusts the issuer's real keys for the build, another a test key for a test. Together
// they do not trust the test key for the build.
func TestMergedIssuersStayApart(t *testing.T) {
	p := newPlatform(t)
	other := ecKey(t, elliptic.P256())
	test := lineage.IssuerRoots{Principals: []string{issuer + "#test-*"}, Keys: p.config.Issuers[issuer].Keys}
	real := lineage.IssuerRoots{Principals: []string{build}, Keys: []lineage.RootKey{{ID: p.config.Issuers[issuer].Keys[0].ID, Public: other.Public()}}}
	b := p.bind(t, lineage.FormOIDC) // of the build, by the key that is for tests
	merged, err := lineage.MergeRoots(rootsOf(t, lineage.RootsConfig{Issuers: map[string]lineage.IssuerRoots{issuer: test}}),
		rootsOf(t, lineage.RootsConfig{Issuers: map[string]lineage.IssuerRoots{issuer: real}}))
	if err != nil {
		t.Fatal(err)
	}
	text, err := merged.AppendJSON(nil)
	if err != nil || !strings.Contains(string(text), `"`+issuer+`":[{`) {
		t.Fatalf("%s, %v", text, err)
	}
	read, err := lineage.ParseRoots(text)
	if err != nil {
		t.Fatal(err)
	}
	for name, roots := range map[string]*lineage.Roots{"merged": merged, "read": read} {
		if _, err := b.Verify(begin, 0, roots); !errors.Is(err, lineage.ErrBinding) {
			t.Errorf("%s: a key for tests certifies the build: %v", name, err)
		}
	}
	// More keys for the same principals are one part: a rotation, not another trust.
	again, err := lineage.MergeRoots(p.roots, p.roots, rootsOf(t, lineage.RootsConfig{Issuers: map[string]lineage.IssuerRoots{
		issuer: {Principals: p.config.Issuers[issuer].Principals, Keys: real.Keys}}}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Verify(begin, 0, again); err != nil {
		t.Errorf("after a rotation: %v", err)
	}
	if text, err := again.AppendJSON(nil); err != nil || strings.Contains(string(text), `"`+issuer+`":[`) {
		t.Errorf("%s, %v", text, err)
	}
}

func TestSPIFFEDomain(t *testing.T) { // SPIFFE-ID §2
	for id, want := range map[string]string{
		"spiffe://example.org/a": "example.org", "spiffe://a_b-c.1/x/Y.Z-_/...": "a_b-c.1", "spiffe://" + strings.Repeat("a", 255) + "/x": strings.Repeat("a", 255),
		"": "", "spiffe://": "", "spiffe:///x": "", "spiffe://d": "", "spiffe://d/": "", "spiffe://d//x": "", "spiffe://d/x/": "", "spiffe://d/.": "", "spiffe://d/a/..": "",
		"SPIFFE://d/x": "", "spiffe://D/x": "", "spiffe://d:1/x": "", "spiffe://u@d/x": "", "spiffe://d/x?q": "", "spiffe://d/x#f": "", "spiffe://d/%41": "", "spiffe://d/ü": "", "spiffe://d/a b": "",
		"https://d/x": "", "spiffe://" + strings.Repeat("a", 256) + "/x": "", "spiffe://d/" + strings.Repeat("a", 2048): "",
	} {
		if got, ok := lineage.SPIFFEDomain(id); got != want || ok != (want != "") {
			t.Errorf("%.60q: %q, %v", id, got, ok)
		}
	}
}
