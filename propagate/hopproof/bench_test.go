package hopproof_test

import (
	"context"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/hopproof"
)

// large is a request whose lineage just fits the plain form.
func large() propagate.HopRequest {
	r := request()
	r.Fields["baggage"] = []string{"kest.passport=" + strings.Repeat("x", 4096)}
	return r
}

func baseOf(b *testing.B, r propagate.HopRequest) []byte {
	b.Helper()
	f := forge()
	base, err := hopproof.SignatureBase(f.names, strings.Join(append([]string{`("` + strings.Join(f.names, `" "`) + `")`}, f.params...), ";"), r)
	if err != nil {
		b.Fatal(err)
	}
	return base
}

// BenchmarkSign has a proof beside the bare signature over as many bytes.
func BenchmarkSign(b *testing.B) {
	r, signer := large(), signerOf(b, web)
	b.Run("proof", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := (hopproof.Signer{}).SignHop(b.Context(), signer, r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ed25519", func(b *testing.B) {
		base, key := baseOf(b, r), privateKey(web)
		for b.Loop() {
			ed25519.Sign(key, base)
		}
	})
}

// BenchmarkVerify has a proof beside the bare signature, and what is refused before it.
func BenchmarkVerify(b *testing.B) {
	r := signed(b, web, large())
	b.Run("proof", func(b *testing.B) {
		v := verifier(b, hopproof.Config{Store: forgetful{}})
		b.ReportAllocs()
		for b.Loop() {
			if err := v.VerifyHop(b.Context(), web, r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ed25519", func(b *testing.B) {
		base, key := baseOf(b, r), publicKey(web)
		signature := ed25519.Sign(privateKey(web), base)
		for b.Loop() {
			if !ed25519.Verify(key, base, signature) {
				b.Fatal("does not match")
			}
		}
	})
	b.Run("malformed", func(b *testing.B) {
		v, r := verifier(b, hopproof.Config{}), with(r, strings.Repeat("(", 8000), "")
		for b.Loop() {
			if err := v.VerifyHop(b.Context(), web, r); err == nil {
				b.Fatal("passes")
			}
		}
	})
}

// forgetful lets one proof pass again and again.
type forgetful struct{ *nonces }

func (forgetful) Put(context.Context, string, []byte, time.Duration) error { return nil }
