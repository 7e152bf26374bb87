package bench_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"testing/fstest"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/fastverify"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/policy/rego"
)

const principal = "spiffe://example.org/payments"

// guidePolicy is the guide's policy file.
const guidePolicy = `package kest.allow_trusted

default allow := false

allow if input.trust_score >= 40
`

type payment struct {
	Order  string  `json:"order"`
	Amount float64 `json:"amount"`
}

type receipt struct {
	Order  string `json:"order"`
	Status string `json:"status"`
}

func pay(_ context.Context, p payment) (receipt, error) { return receipt{p.Order, "completed"}, nil }

func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func signer(tb testing.TB, name string) lineage.Signer {
	tb.Helper()
	s, err := lineage.NewSigner(name, key(name))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func sampleEntry(n int, name string, parents ...lineage.Hash) lineage.Entry {
	return lineage.Entry{
		Runtime: lineage.Runtime{Name: "kest-go", Version: kest.Version}, ID: fmt.Sprintf("0190a5b0-0000-7000-8000-%012x", n),
		Operation: "payments.processPayment", Classification: "system", TrustScore: 100, Parents: parents,
		Labels: map[string]string{
			lineage.LabelPrincipal: name, lineage.LabelTraceID: "0af7651916cd43dd8448eb211c80319c",
			lineage.LabelSourceType: lineage.SourceInternal,
		},
		Policies:    lineage.PolicyContext{Function: []string{"kest/allow_trusted"}},
		InputHash:   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		TimestampMS: 1_700_000_000_000,
	}
}

// extend signs one more entry behind the leaves of p.
func extend(tb testing.TB, p lineage.Passport, n int) lineage.Passport {
	tb.Helper()
	name := fmt.Sprintf("spiffe://example.org/service-%d", n%3)
	s, err := lineage.Sign(context.Background(), signer(tb, name), sampleEntry(n, name, p.Tips()...), lineage.Limits{})
	if err != nil {
		tb.Fatal(err)
	}
	if p, err = p.Append(s); err != nil {
		tb.Fatal(err)
	}
	return p
}

func chain(tb testing.TB, n int) lineage.Passport {
	tb.Helper()
	var p lineage.Passport
	for i := range n {
		p = extend(tb, p, i)
	}
	return p
}

func verifier(tb testing.TB, batch lineage.BatchVerifier, cacheBytes int) *lineage.Verifier {
	tb.Helper()
	keys := map[string][]ed25519.PublicKey{}
	for i := range 3 {
		name := fmt.Sprintf("spiffe://example.org/service-%d", i)
		keys[name] = []ed25519.PublicKey{key(name).Public().(ed25519.PublicKey)}
	}
	set, err := lineage.NewKeySet(keys)
	if err != nil {
		tb.Fatal(err)
	}
	v, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: set, Batch: batch, CacheBytes: cacheBytes})
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func guarded(tb testing.TB, engine policy.Engine, noReceipts bool) func(context.Context, payment) (receipt, error) {
	tb.Helper()
	guard, err := kest.New(kest.Config{
		Engine: engine, Identity: identitytest.New(principal, "bench"), NoReceipts: noReceipts,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		tb.Fatal(err)
	}
	f, err := kest.Verified(guard, pay, kest.Policy("kest/allow_trusted"), kest.SourceType(lineage.SourceInternal))
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func regoEngine(tb testing.TB) policy.Engine {
	tb.Helper()
	engine, err := rego.FS(fstest.MapFS{"kest/allow_trusted.rego": {Data: []byte(guidePolicy)}})
	if err != nil {
		tb.Fatal(err)
	}
	return engine
}

// signingInput is what the floors sign and check: the bytes that a real entry is signed over.
func signingInput(tb testing.TB) (input, signature []byte) {
	tb.Helper()
	s, err := lineage.Sign(context.Background(), signer(tb, principal), sampleEntry(1, principal), lineage.Limits{})
	if err != nil {
		tb.Fatal(err)
	}
	jws := s.JWS()
	input = []byte(jws[:len(jws)-87]) // a dot and 86 characters of signature
	return input, ed25519.Sign(key(principal), input)
}

func BenchmarkEd25519Sign(b *testing.B) {
	input, _ := signingInput(b)
	private := key(principal)
	b.ReportAllocs()
	for b.Loop() {
		ed25519.Sign(private, input)
	}
}

func BenchmarkEd25519Verify(b *testing.B) {
	input, signature := signingInput(b)
	public := key(principal).Public().(ed25519.PublicKey)
	b.ReportAllocs()
	for b.Loop() {
		if !ed25519.Verify(public, input, signature) {
			b.Fatal("signature does not verify")
		}
	}
}

func BenchmarkEntrySign(b *testing.B) {
	s, e := signer(b, principal), sampleEntry(1, principal)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := lineage.Sign(context.Background(), s, e, lineage.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkCall(b *testing.B, call func(context.Context, payment) (receipt, error)) {
	ctx, p := context.Background(), payment{"ORD-123", 99.95}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := call(ctx, p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifiedMock(b *testing.B) {
	b.Run("receipts=off", func(b *testing.B) { benchmarkCall(b, guarded(b, policytest.Allow().Keep(0), true)) })
	b.Run("receipts=on", func(b *testing.B) { benchmarkCall(b, guarded(b, policytest.Allow().Keep(0), false)) })
}

func BenchmarkVerifiedRego(b *testing.B) {
	b.Run("receipts=off", func(b *testing.B) { benchmarkCall(b, guarded(b, regoEngine(b), true)) })
	b.Run("receipts=on", func(b *testing.B) { benchmarkCall(b, guarded(b, regoEngine(b), false)) })
}

func BenchmarkVerifiedParallel(b *testing.B) {
	call := guarded(b, policytest.Allow().Keep(0), true)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := call(context.Background(), payment{"ORD-123", 99.95}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchmarkCold(b *testing.B, n int) {
	u := lineage.Unverified{Entries: chain(b, n).Entries()}
	for _, c := range []struct {
		name  string
		batch lineage.BatchVerifier
	}{{"std", nil}, {"fastverify", fastverify.New(fastverify.Config{})}} {
		b.Run(c.name, func(b *testing.B) {
			v := verifier(b, c.batch, -1)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := v.Verify(context.Background(), u); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify10(b *testing.B)   { benchmarkCold(b, 10) }
func BenchmarkVerify100(b *testing.B)  { benchmarkCold(b, 100) }
func BenchmarkVerify1000(b *testing.B) { benchmarkCold(b, 1000) }

// BenchmarkVerifyIncremental100 verifies 100 entries of which 99 were verified before. Every round has another
// last entry, so it is never remembered; the verifier is renewed before the entries repeat.
func BenchmarkVerifyIncremental100(b *testing.B) {
	const rounds = 2048
	base := chain(b, 99)
	prefix := base.Entries()
	passports := make([]lineage.Unverified, rounds)
	for i := range passports {
		passports[i].Entries = append(prefix[:99:99], extend(b, base, 1000+3*i).Last().JWS())
	}
	for _, c := range []struct {
		name  string
		batch lineage.BatchVerifier
	}{{"std", nil}, {"fastverify", fastverify.New(fastverify.Config{})}} {
		b.Run(c.name, func(b *testing.B) {
			var v *lineage.Verifier
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%rounds == 0 {
					b.StopTimer()
					v = verifier(b, c.batch, 0)
					if _, _, err := v.Verify(context.Background(), lineage.Unverified{Entries: prefix}); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				_, report, err := v.Verify(context.Background(), passports[i%rounds])
				if err != nil || report.Reused != 99 {
					b.Fatal(err, report.Reused)
				}
			}
		})
	}
}

func BenchmarkPassportAppend(b *testing.B) {
	for _, depth := range []int{1, 1000} {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			p := chain(b, depth)
			next := extend(b, p, depth).Last()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Append(next); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkParsePassport reads the text form of 100 entries, which verification at an ingress begins with.
func BenchmarkParsePassport100(b *testing.B) {
	text, err := chain(b, 100).MarshalText()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := lineage.ParsePassport(text, lineage.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJCS1K(b *testing.B) {
	doc := []byte(`{"taints":["contains_data","requires_review"],"labels":{`)
	for i := range 20 {
		doc = fmt.Appendf(doc, `"label.%02d":"a value of some length %d",`, 19-i, i)
	}
	doc = append(doc, `"z":1},"numbers":[1,2.5,1e21,0.000001,-0],"null":null,"text":"`...)
	for len(doc) < 1020 {
		doc = append(doc, 'x')
	}
	doc = append(doc, `"}`...)
	var dst []byte
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = jcs.Canonicalize(dst[:0], doc, jcs.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
