package hopproof_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/hopproof"
)

// synctestBegins is the time of every bubble: 2000-01-01T00:00:00Z.
const synctestBegins = 946684800

// FuzzFields gives the reader of the two fields a proof that holds for the request at hand, and what becomes of it:
// only the same members, beside others, may pass.
func FuzzFields(f *testing.F) {
	proof := forge()
	proof.set("created", fmt.Sprint(synctestBegins)) // the same in every process of the fuzzer
	input, signature := proof.make(f)
	const gateway = `sig1=("@method" "@target-uri";req "x-dict";key="a,b" "x-raw";bs);created=1618884473;keyid="k\"1\\";tag="gateway", `
	const rfc = `sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`
	const rfcSignature = `sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:`
	for _, seed := range [][2]string{
		{input, signature}, {rfc, rfcSignature}, {rfc + ", " + input, rfcSignature + ",\t" + signature}, {gateway + input, "sig1=:AAAA:;x, " + signature},
		{input + ", " + input, signature}, {"", ""}, {`a=%"f%c3%bc\", b=?1, c=@1, d=1.5, e=*t/x, f=:AA==:`, "a=(1 2);b"},
		{strings.ReplaceAll(input, `"`, `\"`), signature}, {strings.ReplaceAll(input, ";", "; "), strings.ReplaceAll(signature, "=:", "=: ")},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, in, sig string) {
		seen := &nonces{}
		var err error
		synctest.Test(t, func(t *testing.T) {
			err = verifier(t, hopproof.Config{Store: seen}).VerifyHop(t.Context(), web, with(proof.request, in, sig))
		})
		switch {
		case in == input && sig == signature && err != nil:
			t.Errorf("the proof itself is refused: %v", err)
		case err == nil:
			if !strings.Contains(in, input[len("kest"):]) || !strings.Contains(sig, signature[len("kest"):]) {
				t.Errorf("%q with %q passes for %q with %q", in, sig, input, signature)
			}
		case !errors.Is(err, propagate.ErrBadProof) && !errors.Is(err, propagate.ErrNoProof):
			t.Errorf("error %v is neither ErrBadProof nor ErrNoProof", err)
		case seen.puts != 0:
			t.Error("what does not hold is in the store")
		}
	})
}

// FuzzRequest: what the signer signs, the verifier takes, and takes for this request only.
func FuzzRequest(f *testing.F) {
	f.Add("POST", "ledger:8443", "/pay/a%2Fb", "?order=7", "kest.passport_z=eJw,kest.chain_tip=9f86", digest)
	f.Add("GET", "LEDGER", "", "", "a=1;p=\" \"\t", "")
	f.Add("POST", "x", "/\n\"@query\": ?", "?", "a\r\n b", "é")
	f.Fuzz(func(t *testing.T, method, authority, path, query, baggage, digest string) {
		r := propagate.HopRequest{Method: method, Authority: authority, Path: path, Query: query,
			Fields: map[string][]string{"baggage": {baggage}}}
		if digest != "" {
			r.Fields["content-digest"] = []string{digest}
		}
		input, signature, err := hopproof.Signer{}.SignHop(t.Context(), signerOf(t, web), r)
		if err != nil {
			return
		}
		v := verifier(t, hopproof.Config{})
		if err := v.VerifyHop(t.Context(), web, with(r, input, signature)); err != nil {
			t.Fatalf("signed and refused: %v", err)
		}
		for _, change := range []func(*propagate.HopRequest){
			func(r *propagate.HopRequest) { r.Method += "x" }, func(r *propagate.HopRequest) { r.Authority += "x" },
			func(r *propagate.HopRequest) { r.Path += "x" }, func(r *propagate.HopRequest) { r.Query += "?x" },
			func(r *propagate.HopRequest) { r.Path, r.Query = r.Path+r.Query+"/x", "" },
			func(r *propagate.HopRequest) { r.Fields["baggage"] = append(r.Fields["baggage"], "") },
		} {
			changed := with(r, input, signature)
			change(&changed)
			refused(t, v.VerifyHop(t.Context(), web, changed), "does not match")
		}
	})
}
