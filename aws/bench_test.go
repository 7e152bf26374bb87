package aws_test

import (
	"crypto/ed25519"
	"testing"

	kestaws "github.com/kest-go/kest/aws"
	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/identity/static"
	"github.com/kest-go/kest/lineage"
)

// BenchmarkEntrySign and BenchmarkSignKMSCertified differ in who vouches for the key. The second may take 1.05 times as long
// as the first; compare the best of several runs.
func BenchmarkEntrySign(b *testing.B) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	sign(b, must(static.New(role, key))(b))
}

func BenchmarkSignKMSCertified(b *testing.B) {
	s := awstest.Start(b)
	p := open(b, kestaws.Config{KeyID: s.NewKey("ECC_NIST_P256"), AWSConfig: sdk(s)})
	before := s.Calls("")
	sign(b, p)
	b.ReportMetric(float64(s.Calls("")-before)/float64(b.N), "aws-calls/op")
}

func sign(b *testing.B, p identity.Provider) {
	b.Helper()
	entry := lineage.Entry{
		Runtime: lineage.Runtime{Name: "kest-go", Version: "test"}, ID: "0199f0a5-8a11-7c31-8000-000000000000", Operation: "pay",
		Classification: "system", TrustScore: 100, TimestampMS: 1,
		Labels: map[string]string{lineage.LabelPrincipal: role, lineage.LabelTraceID: "4bf92f3577b34da6a3ce929d0e0e4736", lineage.LabelSourceType: lineage.SourceInternal},
	}
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
