package lineage_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/lineage"
)

// An attack changes an honest binding of a form. The binding is refused for the reason, in words that contain text.
type attack struct {
	name   string
	form   lineage.BindingForm
	edit   func(*forgery)
	reason lineage.BindingReason
	text   string
}

const (
	malformed = lineage.BindingMalformed
	untrusted = lineage.BindingUntrusted
	forged    = lineage.BindingSignature
	untimely  = lineage.BindingTime
)

// run holds every attack to its refusal, after it has seen that the same binding without the attack verifies.
func (p *platform) run(t *testing.T, attacks []attack) {
	t.Helper()
	for _, a := range attacks {
		t.Run(string(a.form)+"/"+a.name, func(t *testing.T) {
			f := p.honest(a.form)
			if _, err := p.check(f.text(t)); err != nil {
				t.Fatalf("before the attack: %v", err)
			}
			a.edit(&f)
			k, err := p.check(f.text(t))
			if err == nil || k != nil {
				t.Fatalf("verifies: %+v, %v", k, err)
			}
			if got := reason(t, err); got != a.reason || !strings.Contains(err.Error(), a.text) {
				t.Errorf("%v; want reason %q with %q", err, a.reason, a.text)
			}
		})
	}
}

func seconds(at time.Time) string { return fmt.Sprint(at.Unix()) }

func TestAttacksOnCertificates(t *testing.T) {
	p := newPlatform(t)
	svid := func(a *authority, edit func(*x509.Certificate)) func(*forgery) {
		return func(f *forgery) { f.chain = []*x509.Certificate{a.leaf(t, p.leafKey.Public(), edit), a.cert} }
	}
	leaf := func(edit func(*x509.Certificate)) func(*forgery) { return svid(p.middle, edit) }
	uris := func(ids ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.URIs = nil
			for _, id := range ids {
				c.URIs = append(c.URIs, parseURL(t, id))
			}
		}
	}
	named := func(id string) func(*forgery) {
		return func(f *forgery) {
			leaf(uris(id))(f)
			f.principal, f.sub = id, id
		}
	}
	stranger := newAuthority(t, nil, nil)
	short := newAuthority(t, p.root, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	below := newAuthority(t, short, func(c *x509.Certificate) { c.Subject.CommonName = "below" })
	constrained := newAuthority(t, p.root, func(c *x509.Certificate) { c.PermittedURIDomains = []string{"other.example"} })
	late := newAuthority(t, p.root, func(c *x509.Certificate) { c.NotAfter = begin.Add(10 * time.Minute) })
	notCA := newAuthority(t, p.root, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature })
	weak := func(f *forgery) {
		key := rsaKey(t, 1024)
		f.alg, f.signer, f.chain = "RS256", key, []*x509.Certificate{p.middle.leaf(t, key.Public(), nil), p.middle.cert}
	}
	p.run(t, []attack{
		{"expired", lineage.FormX509, leaf(func(c *x509.Certificate) { c.NotAfter = begin.Add(time.Minute) }), untimely, "it ended 29m0s before"},
		{"not yet valid", lineage.FormX509, leaf(func(c *x509.Certificate) { c.NotBefore = begin.Add(50 * time.Minute) }), untimely, "it begins 20m0s later"},
		{"expired intermediate", lineage.FormX509, svid(late, nil), untimely, "it ended 20m0s before"},
		{"never valid", lineage.FormX509, leaf(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = begin.Add(3*time.Hour), begin.Add(4*time.Hour) }), untimely, "no common time"},
		{"wrong trust domain", lineage.FormX509, named("spiffe://evil.example/web"), untrusted, `no X.509 root of trust domain "evil.example"`},
		{"self-signed leaf", lineage.FormX509, func(f *forgery) {
			own := &authority{cert: &x509.Certificate{Subject: pkix.Name{CommonName: "me"}}, key: p.leafKey}
			f.chain = []*x509.Certificate{own.leaf(t, p.leafKey.Public(), func(c *x509.Certificate) { c.Subject.CommonName = "me" })}
		}, untrusted, "does not lead to a root"},
		{"chain of a stranger", lineage.FormX509, svid(stranger, nil), untrusted, "does not lead to a root"},
		{"truncated chain", lineage.FormX509, func(f *forgery) { f.chain = f.chain[:1] }, untrusted, "does not lead to a root"},
		{"path length", lineage.FormX509, func(f *forgery) {
			f.chain = []*x509.Certificate{below.leaf(t, p.leafKey.Public(), nil), below.cert, short.cert}
		}, untrusted, "does not lead to a root"},
		{"name constraints", lineage.FormX509, svid(constrained, nil), untrusted, "does not lead to a root"},
		{"intermediate is no CA", lineage.FormX509, svid(notCA, nil), untrusted, "does not lead to a root"},
		{"leaf signed by a leaf", lineage.FormX509, func(f *forgery) {
			mine := &authority{cert: p.leaf, key: p.leafKey}
			key := ecKey(t, elliptic.P256())
			f.signer, f.chain = key, []*x509.Certificate{mine.leaf(t, key.Public(), nil), p.leaf, p.middle.cert}
		}, untrusted, "does not lead to a root"},
		{"nine certificates", lineage.FormX509, func(f *forgery) {
			for len(f.chain) < 9 {
				f.chain = append(f.chain, p.middle.cert)
			}
		}, malformed, "9 items"},
		{"one key twice", lineage.FormX509, func(f *forgery) { f.chain = append(f.chain, p.middle.cert) }, malformed, "x5c[2]: has the key of"},
		{"no certificate", lineage.FormX509, func(f *forgery) { f.chain = []*x509.Certificate{} }, malformed, "x5c is empty"},
		{"x5c with a line break", lineage.FormX509, func(f *forgery) { f.chain, f.header = nil, `,"x5c":["MII\n"]` }, malformed, "not strict base64"},
		{"x5c is no certificate", lineage.FormX509, func(f *forgery) { f.chain, f.header = nil, `,"x5c":["AAAA"]` }, malformed, "x5c[0]"},
		{"no URI name", lineage.FormX509, leaf(uris()), untrusted, "0 URI names"},
		{"two URI names", lineage.FormX509, leaf(uris(pay, web)), untrusted, "2 URI names"},
		{"name of another", lineage.FormX509, leaf(uris(web)), untrusted, "the certificate is for"},
		{"name with an empty fragment", lineage.FormX509, leaf(func(c *x509.Certificate) {
			c.URIs = nil
			c.ExtraExtensions = []pkix.Extension{uriExtension(t, pay+"#")}
		}), untrusted, "the certificate is for"},
		{"name with another case of the scheme", lineage.FormX509, leaf(func(c *x509.Certificate) {
			c.URIs = nil
			c.ExtraExtensions = []pkix.Extension{uriExtension(t, strings.Replace(pay, "spiffe", "SPIFFE", 1))}
		}), untrusted, "the certificate is for"},
		{"leaf is a CA", lineage.FormX509, leaf(func(c *x509.Certificate) { c.IsCA = true }), untrusted, "that of an authority"},
		{"leaf may sign certificates", lineage.FormX509, leaf(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign; c.IsCA = true }), untrusted, "that of an authority"},
		{"no usage for signatures", lineage.FormX509, leaf(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), untrusted, "not for signatures"},
		{"no path", lineage.FormX509, named("spiffe://example.org"), untrusted, "not the SPIFFE ID of a workload"},
		{"no path but a slash", lineage.FormX509, named("spiffe://example.org/"), untrusted, "not the SPIFFE ID of a workload"},
		{"upper case", lineage.FormX509, named("spiffe://EXAMPLE.org/web"), untrusted, "not the SPIFFE ID of a workload"},
		{"dot segments", lineage.FormX509, named("spiffe://example.org/a/../web"), untrusted, "not the SPIFFE ID of a workload"},
		{"port", lineage.FormX509, named("spiffe://example.org:80/web"), untrusted, "not the SPIFFE ID of a workload"},
		{"escape", lineage.FormX509, named("spiffe://example.org/%77eb"), untrusted, "not the SPIFFE ID of a workload"},
		{"RSA 1024", lineage.FormX509, weak, malformed, "RSA key of 1024 bits"},
		{"intermediate of RSA 1024", lineage.FormX509, func(f *forgery) { f.chain = append(f.chain, stranger.leaf(t, rsaKey(t, 1024).Public(), nil)) }, malformed, "x5c[2]: RSA key of 1024 bits"},
		{"P-224", lineage.FormX509, func(f *forgery) {
			f.chain[0] = p.middle.leaf(t, ecKey(t, elliptic.P224()).Public(), nil)
		}, malformed, "curve other than"},
	})
}

// uriExtension is a subject alternative name that url.URL cannot write.
func uriExtension(t testing.TB, id string) pkix.Extension {
	t.Helper()
	value := append([]byte{0x30, byte(len(id) + 2), 0x86, byte(len(id))}, id...)
	return pkix.Extension{Id: []int{2, 5, 29, 17}, Value: value}
}

func TestAttacksOnTokens(t *testing.T) {
	p := newPlatform(t)
	var attacks []attack
	for _, form := range []lineage.BindingForm{lineage.FormJWT, lineage.FormOIDC} {
		public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("any")})
		attacks = append(attacks, []attack{
			{"expired", form, func(f *forgery) { f.exp = seconds(begin.Add(time.Minute)) }, untimely, "it ended 29m0s before"},
			{"not yet valid", form, func(f *forgery) { f.claims = `,"nbf":` + seconds(begin.Add(50*time.Minute)) }, untimely, "it begins 20m0s later"},
			{"clock two hours off", form, func(f *forgery) {
				f.nbf, f.exp = seconds(begin.Add(150*time.Minute)), seconds(begin.Add(200*time.Minute))
			}, untimely, "it begins 2h0m0s later"},
			{"wrong audience", form, func(f *forgery) { f.aud = "https://other.example" }, malformed, "audience"},
			{"two audiences", form, func(f *forgery) { f.aud = []string{"kest-key:" + f.jkt, "other"} }, malformed, "audience"},
			{"no audience", form, func(f *forgery) { f.aud = []string{} }, malformed, "audience"},
			{"audience is a number", form, func(f *forgery) { f.aud = 1 }, malformed, "aud"},
			{"17 audiences", form, func(f *forgery) { f.aud = make([]string, 17) }, malformed, "17 items"},
			{"audience of another key", form, func(f *forgery) { f.session = p.another }, malformed, "audience"},
			{"replayed for another principal", form, func(f *forgery) { f.principal = web }, malformed, "about"},
			{"alg none", form, func(f *forgery) { f.alg, f.signer = "none", nil }, malformed, `alg "none"`},
			{"HS256 with the public key", form, func(f *forgery) { f.alg, f.signer = "HS256", public }, malformed, `alg "HS256"`},
			{"no alg", form, func(f *forgery) { f.alg = "" }, malformed, `alg ""`},
			{"no kid", form, func(f *forgery) { f.kid = "" }, malformed, "kid is missing"},
			{"long kid", form, func(f *forgery) { f.kid = strings.Repeat("k", 1025) }, malformed, "kid of 1025 bytes"},
			{"unknown kid", form, func(f *forgery) { f.kid = "other" }, untrusted, `no key "other"`},
			{"signed by a stranger", form, func(f *forgery) {
				if f.signer = rsaKey(t, 1024); f.alg == "ES256" {
					f.signer = ecKey(t, elliptic.P256())
				}
			}, forged, "no key"},
			{"statement as a token", form, func(f *forgery) { f.typ = "kest-key-statement+jws" }, malformed, "typ"},
			{"entry as a token", form, func(f *forgery) { f.typ = "JWS" }, malformed, "typ"},
			{"receipt as a token", form, func(f *forgery) { f.typ = "kest-receipt+jws" }, malformed, "typ"},
			{"no subject", form, func(f *forgery) { f.sub = "" }, malformed, "sub is missing"},
			{"no end", form, func(f *forgery) { f.payload = `{"sub":"ci-build","iss":"i","aud":"a","iat":1}` }, malformed, "exp"},
			{"no begin", form, func(f *forgery) { f.payload = `{"sub":"ci-build","iss":"i","aud":"a","exp":1}` }, malformed, "nbf or iat"},
			{"ends before it begins", form, func(f *forgery) { f.exp = f.nbf }, malformed, "ends before it begins"},
			{"negative", form, func(f *forgery) { f.nbf = "-1" }, malformed, "iat"},
			{"almost zero", form, func(f *forgery) { f.nbf = "0.5" }, malformed, "iat"},
			{"exponent", form, func(f *forgery) { f.nbf = "1.795e9" }, malformed, "iat"},
			{"plain exponent", form, func(f *forgery) { f.exp = "2e9" }, malformed, "exp"},
			{"1e300", form, func(f *forgery) { f.exp = "1e300" }, malformed, "exp"},
			{"milliseconds", form, func(f *forgery) { f.exp = "1795000000000000" }, malformed, "exp"},
			{"text", form, func(f *forgery) { f.exp = `"1795003600"` }, malformed, "exp"},
			{"duplicate claim", form, func(f *forgery) { f.claims = `,"sub":"x"` }, malformed, "duplicate"},
			{"deep nesting", form, func(f *forgery) { f.claims = `,"x":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) }, malformed, "nested"},
		}...)
		for _, member := range []string{`"crit":["exp"]`, `"jwk":{}`, `"jku":"https://evil.example"`, `"x5u":"https://evil.example"`, `"b64":false`, `"zip":"DEF"`, `"enc":"x"`} {
			attacks = append(attacks, attack{member, form, func(f *forgery) { f.header = "," + member }, malformed, "is not allowed"})
		}
	}
	domain := func(id string) func(*forgery) { return func(f *forgery) { f.principal, f.sub = id, id } }
	p.run(t, append(attacks, []attack{
		{"wrong trust domain", lineage.FormJWT, domain("spiffe://evil.example/web"), untrusted, `trust domain "evil.example"`},
		{"no SPIFFE ID", lineage.FormJWT, domain("payments"), untrusted, "not the SPIFFE ID"},
		{"ES256 header, RSA signature", lineage.FormJWT, func(f *forgery) { f.signer = p.oidc }, forged, "no key"},
		{"EdDSA header for an EC key", lineage.FormJWT, func(f *forgery) { f.alg, f.signer = "EdDSA", privateKey("x") }, forged, "no key"},
		{"access token", lineage.FormJWT, func(f *forgery) { f.typ = "at+jwt" }, malformed, "typ"},
		{"ES256 header for an RSA key", lineage.FormOIDC, func(f *forgery) { f.alg, f.signer = "ES256", p.jwt }, forged, "no key"},
		{"PS256 by a key that is for RS256", lineage.FormOIDC, func(f *forgery) { f.alg = "PS256" }, forged, "no key"},
		{"unknown issuer", lineage.FormOIDC, func(f *forgery) { f.iss, f.principal = "https://evil.example", "https://evil.example#ci-build" }, untrusted, "is not known"},
		{"issuer with a fragment", lineage.FormOIDC, func(f *forgery) { f.iss, f.sub = issuer+"#ci", "build"; f.principal = f.iss + "#" + f.sub }, malformed, "fragment"},
		{"fragment moved into the issuer", lineage.FormOIDC, func(f *forgery) {
			f.iss, f.sub, f.principal = "https://issuer.example", "x#ci-build", issuer+"#x#ci-build"
		}, untrusted, "is not trusted for principal"},
		{"a public issuer signs for anybody", lineage.FormOIDC, func(f *forgery) { f.sub, f.principal = "attacker", issuer+"#attacker" }, untrusted, "is not trusted for principal"},
		{"no more than the prefix", lineage.FormOIDC, func(f *forgery) { f.sub, f.principal = "ci-", issuer+"#ci-" }, untrusted, "is not trusted for principal"},
		{"no issuer", lineage.FormOIDC, func(f *forgery) { f.iss = "" }, malformed, "iss is missing"},
		{"form changed to jwt-svid", lineage.FormOIDC, func(f *forgery) { f.form, f.principal = lineage.FormJWT, f.sub }, untrusted, "not the SPIFFE ID"},
		{"form changed to oidc", lineage.FormJWT, func(f *forgery) { f.iss, f.form = issuer, lineage.FormOIDC }, malformed, "not about this principal"},
	}...))
}

func TestFractionsOfSecondsInTokens(t *testing.T) { // RFC 7519 §2: "non-integer values can be represented"
	p := newPlatform(t)
	f := p.honest(lineage.FormOIDC)
	f.nbf, f.exp = f.nbf+".25", f.exp+".999999"
	k, err := p.check(f.text(t))
	if err != nil || !k.NotBefore.Equal(begin) || !k.NotAfter.Equal(begin.Add(time.Hour)) {
		t.Errorf("%+v, %v", k, err)
	}
}
