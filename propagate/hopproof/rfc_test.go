package hopproof_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"testing"

	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/hopproof"
)

// RFC 9421 appendix B.2.6, with the key of B.1.4 and the request of B.2.
func TestVectorEd25519(t *testing.T) {
	decode := func(e *base64.Encoding, s string) []byte {
		raw, err := e.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	key := ed25519.NewKeyFromSeed(decode(base64.RawURLEncoding, "n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU"))
	public := ed25519.PublicKey(decode(base64.RawURLEncoding, "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"))
	signature := decode(base64.StdEncoding, "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==")
	r := propagate.HopRequest{Method: "POST", Authority: "example.com", Path: "/foo", Query: "?param=Value&Pet=dog", Fields: map[string][]string{
		"date":           {"Tue, 20 Apr 2021 02:07:55 GMT"},
		"content-type":   {"application/json"},
		"content-length": {"18"},
	}}
	base, err := hopproof.SignatureBase([]string{"date", "@method", "@path", "@authority", "content-type", "content-length"},
		`("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`, r)
	if err != nil {
		t.Fatal(err)
	}
	const want = `"date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@authority": example.com
"content-type": application/json
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`
	if string(base) != want {
		t.Errorf("base\n%s\nwant\n%s", base, want)
	}
	if !key.Public().(ed25519.PublicKey).Equal(public) || !ed25519.Verify(public, base, signature) {
		t.Error("the signature of the RFC does not verify")
	}
	if string(ed25519.Sign(key, base)) != string(signature) {
		t.Error("the signature of the RFC is not reproduced")
	}
}

// RFC 9421 §2.1 and §2.2: how the values are written.
func TestComponents(t *testing.T) {
	for _, c := range []struct {
		name, want string
		r          propagate.HopRequest
	}{
		{"@authority", "www.example.com:8443", propagate.HopRequest{Authority: "WWW.Example.COM:8443"}},
		{"@path", "/", propagate.HopRequest{}},
		{"@path", "/a//b/../%2f", propagate.HopRequest{Path: "/a//b/../%2f"}},
		{"@query", "?", propagate.HopRequest{}},
		{"@query", "?", propagate.HopRequest{Query: "?"}},
		{"@query", "?a=%20&b", propagate.HopRequest{Query: "?a=%20&b"}},
		{"@method", "get", propagate.HopRequest{Method: "get"}},
		{"baggage", "a=1;p, b=\t2, ", propagate.HopRequest{Fields: map[string][]string{"baggage": {" a=1;p\t", "b=\t2 ", ""}}}},
	} {
		base, err := hopproof.SignatureBase([]string{c.name}, "()", c.r)
		if want := `"` + c.name + `": ` + c.want + "\n" + `"@signature-params": ()`; string(base) != want || err != nil {
			t.Errorf("base %q, %v; want %q", base, err, want)
		}
	}
}
