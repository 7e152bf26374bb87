package bench_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/propagation"

	"github.com/kest-go/kest/fastverify"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/store"
)

// shelf is a store without bounds, so that what is measured is not the store.
type shelf map[string][]byte

func (s shelf) Put(_ context.Context, key string, value []byte, _ time.Duration) error {
	s[key] = value
	return nil
}

func (s shelf) Get(_ context.Context, key string) ([]byte, error) {
	if value, ok := s[key]; ok {
		return value, nil
	}
	return nil, store.ErrNotFound
}

func propagator(tb testing.TB, c propagate.Config) *propagate.Propagator {
	tb.Helper()
	p, err := propagate.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// benchmarkInject writes one passport of n entries; member is the representation that it must take.
func benchmarkInject(b *testing.B, p *propagate.Propagator, n int, member string) {
	passport := chain(b, n)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		carrier := propagation.MapCarrier{}
		if err := p.Attach(ctx, carrier, passport); err != nil {
			b.Fatal(err)
		}
	}
	carrier := propagation.MapCarrier{}
	if err := p.Attach(ctx, carrier, passport); err != nil {
		b.Fatal(err)
	}
	if ctx = p.Extract(ctx, carrier); propagate.Refusal(ctx) != nil {
		b.Fatal(propagate.Refusal(ctx))
	}
	if !strings.Contains(carrier["baggage"], member+"=") {
		b.Fatalf("not as %s: %.80s", member, carrier["baggage"])
	}
}

func BenchmarkInjectInline(b *testing.B) {
	benchmarkInject(b, propagator(b, propagate.Config{}), 2, propagate.KeyPassport)
}

func BenchmarkInjectCompressed(b *testing.B) {
	benchmarkInject(b, propagator(b, propagate.Config{CompressFirst: true}), 3, propagate.KeyPassportZ)
}

func BenchmarkInjectClaimCheck(b *testing.B) {
	benchmarkInject(b, propagator(b, propagate.Config{Store: shelf{}, Threshold: -1}), 10, propagate.KeyClaimCheck)
}

// arrivals are the headers of requests whose passports share all but their last entry.
func arrivals(b *testing.B, p *propagate.Propagator, n, count int) (base lineage.Passport, headers []propagation.MapCarrier) {
	base = chain(b, n-1)
	for i := range count {
		carrier := propagation.MapCarrier{}
		if err := p.Attach(context.Background(), carrier, extend(b, base, 1000+3*i)); err != nil {
			b.Fatal(err)
		}
		headers = append(headers, carrier)
	}
	return base, headers
}

// claimChecks is what passports of ten real entries travel as.
func claimChecks(b *testing.B) *propagate.Propagator {
	return propagator(b, propagate.Config{Store: shelf{}, Threshold: -1})
}

// BenchmarkExtractVerifyCold10 is an ingress that has seen none of ten entries.
func BenchmarkExtractVerifyCold10(b *testing.B) {
	for name, batch := range map[string]lineage.BatchVerifier{"std": nil, "fastverify": fastverify.New(fastverify.Config{})} {
		b.Run(name, func(b *testing.B) {
			p := claimChecks(b)
			_, headers := arrivals(b, p, 10, 1)
			ingress, err := propagate.NewIngress(propagate.IngressConfig{
				Listener: propagate.Internal, Propagator: p, Verifier: verifier(b, batch, -1),
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := ingress.Admit(context.Background(), propagate.Request{Carrier: headers[0]}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkExtractVerifyWarm10 is an ingress that has seen nine of ten entries. Every round has another last entry.
func BenchmarkExtractVerifyWarm10(b *testing.B) {
	const rounds = 2048
	for name, batch := range map[string]lineage.BatchVerifier{"std": nil, "fastverify": fastverify.New(fastverify.Config{})} {
		b.Run(name, func(b *testing.B) {
			p := claimChecks(b)
			base, headers := arrivals(b, p, 10, rounds)
			var ingress *propagate.Ingress
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%rounds == 0 {
					b.StopTimer()
					v := verifier(b, batch, 0)
					if _, _, err := v.Verify(context.Background(), lineage.Unverified{Entries: base.Entries()}); err != nil {
						b.Fatal(err)
					}
					var err error
					if ingress, err = propagate.NewIngress(propagate.IngressConfig{
						Listener: propagate.Internal, Propagator: p, Verifier: v,
					}); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				if _, _, err := ingress.Admit(context.Background(), propagate.Request{Carrier: headers[i%rounds]}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
