package bearer_test

import (
	"testing"
)

// BenchmarkVerifyToken is a verification whose keys are there, beside the price of a refusal before any signature.
func BenchmarkVerifyToken(b *testing.B) {
	k := keys()
	v := newVerifier(b, config(serving(allKeys())))
	good := goodClaims().text()
	for _, test := range []struct{ name, token string }{
		{"RS256", sign("RS256", k.rsa, `{"alg":"RS256","kid":"rsa"}`, good)},
		{"ES256", sign("ES256", k.p256, `{"alg":"ES256","kid":"p256"}`, good)},
		{"EdDSA", edToken(nil)},
	} {
		b.Run(test.name, func(b *testing.B) {
			accepted(b, v, test.token)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.VerifyToken(b.Context(), test.token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("unknown kid", func(b *testing.B) {
		token := unknown(1)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.VerifyToken(b.Context(), token); err == nil {
				b.Fatal("accepted")
			}
		}
	})
}
