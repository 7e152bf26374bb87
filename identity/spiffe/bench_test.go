package spiffe_test

import (
	"context"
	"crypto/ed25519"
	"testing"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/spiffe"
	"github.com/kest-go/kest/identity/spiffe/spiffetest"
	"github.com/kest-go/kest/lineage"
)

// BenchmarkSignSPIFFE and BenchmarkSignEd25519 are to be compared within one run: an entry signed by a certified session
// key costs what it costs with a bare key.
func BenchmarkSignSPIFFE(b *testing.B) {
	benchmarkSign(b, start(b, spiffetest.Start(b, spiffetest.Config{}), spiffe.Config{}))
}

func BenchmarkSignEd25519(b *testing.B) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	signer, err := lineage.NewSigner(workload, private)
	if err != nil {
		b.Fatal(err)
	}
	benchmarkSign(b, bare{signer})
}

type bare struct{ signer lineage.Signer }

func (p bare) Signer(context.Context) (lineage.Signer, error) { return p.signer, nil }

func benchmarkSign(b *testing.B, p identity.Provider) {
	entry := sample(workload)
	b.ReportAllocs()
	for b.Loop() {
		signer, err := p.Signer(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := lineage.Sign(b.Context(), signer, entry, lineage.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignerCall(b *testing.B) {
	p := start(b, spiffetest.Start(b, spiffetest.Config{}), spiffe.Config{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Signer(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
