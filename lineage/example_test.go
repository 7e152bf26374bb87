package lineage_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"

	"github.com/kest-go/kest/lineage"
)

// exampleSigner is the workload of the examples. Its key is made from the 32 bytes 00 01 02 … 1f, so that the
// entry in the package comment can be made again, byte for byte. Real keys are random and stay in memory.
func exampleSigner() (lineage.Signer, *lineage.KeySet) {
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(i)
	}
	key := ed25519.NewKeyFromSeed(seed)
	const principal = "spiffe://example.org/payments"
	signer, err := lineage.NewSigner(principal, key)
	if err != nil {
		panic(err)
	}
	keys, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{principal: {key.Public().(ed25519.PublicKey)}})
	if err != nil {
		panic(err)
	}
	return signer, keys
}

// exampleRoot is the entry in the package comment.
func exampleRoot() lineage.Entry {
	return lineage.Entry{
		Runtime:        lineage.Runtime{Name: "kest-go", Version: "v0.1.0"},
		ID:             "0199f0a5-8a11-7c31-9d2e-4f6b1c0a9e57",
		Operation:      "payments.Transfer",
		Classification: "system",
		TrustScore:     100,
		Labels: map[string]string{
			lineage.LabelPrincipal:  "spiffe://example.org/payments",
			lineage.LabelSourceType: lineage.SourceInternal,
			lineage.LabelTraceID:    "4bf92f3577b34da6a3ce929d0e0e4736",
		},
		Policies:    lineage.PolicyContext{Function: []string{"kest/allow_trusted"}},
		TimestampMS: 1795000000000,
	}
}

// The signed entry of the package comment.
func ExampleSign() {
	signer, _ := exampleSigner()
	signed, err := lineage.Sign(context.Background(), signer, exampleRoot(), lineage.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for rest := signed.JWS(); rest != ""; {
		n := min(100, len(rest))
		fmt.Println(rest[:n])
		rest = rest[n:]
	}
	fmt.Println("hash", signed.Hash())
	// Output:
	// eyJhbGciOiJFZERTQSIsImtpZCI6IjFJRzJ0TUg3SjJ3Ykpabk9mOExKelFpdEtmN0xNdm9BRWxzdURNVk01NFkiLCJ0eXAiOiJK
	// V1MifQ.eyJhZGRlZF90YWludHMiOltdLCJjbGFzc2lmaWNhdGlvbiI6InN5c3RlbSIsImNvbnRlbnRfaGFzaCI6IiIsImVudHJ5X
	// 2lkIjoiMDE5OWYwYTUtOGExMS03YzMxLTlkMmUtNGY2YjFjMGE5ZTU3IiwiZW52aXJvbm1lbnQiOnt9LCJpbnB1dF9oYXNoIjoiI
	// iwibGFiZWxzIjp7Imtlc3Quc291cmNlX3R5cGUiOiJpbnRlcm5hbCIsInByaW5jaXBhbCI6InNwaWZmZTovL2V4YW1wbGUub3JnL
	// 3BheW1lbnRzIiwidHJhY2VfaWQiOiI0YmY5MmYzNTc3YjM0ZGE2YTNjZTkyOWQwZTBlNDczNiJ9LCJtZXRhZGF0YSI6bnVsbCwib
	// 3BlcmF0aW9uIjoicGF5bWVudHMuVHJhbnNmZXIiLCJvdGVsX2NvbnRleHQiOnt9LCJwYXJlbnRfaWRzIjpbIjAiXSwicG9saWN5X
	// 2NvbnRleHQiOnsiYXBwX3BvbGljaWVzIjpbXSwiZGV2aWF0aW9ucyI6W10sImVudGVycHJpc2VfcG9saWNpZXMiOltdLCJmdW5jd
	// Glvbl9wb2xpY2llcyI6WyJrZXN0L2FsbG93X3RydXN0ZWQiXSwicGxhdGZvcm1fcG9saWNpZXMiOltdfSwicmVtb3ZlZF90YWlud
	// HMiOltdLCJydW50aW1lIjp7Im5hbWUiOiJrZXN0LWdvIiwidmVyc2lvbiI6InYwLjEuMCJ9LCJzY2hlbWFfdmVyc2lvbiI6IjAuM
	// y4wIiwidGFpbnRzIjpbXSwidGltZXN0YW1wX21zIjoxNzk1MDAwMDAwMDAwLCJ0cnVzdF9zY29yZSI6MTAwfQ.rHcqmZM28ru6Pj
	// DYuizovRgNiFhZ2k5g0erHiEja5eNNwC5GbUsDzZJcOlvAjyszHURO7pyCFALnBTKwxxt1CA
	// hash f9aeb77c93adc3a23733bf61c04eb49e96496e747db7f2d95d9979d9e4659110
}

// One service signs two entries and sends the passport; another one verifies it.
func ExampleVerifier_Verify() {
	ctx := context.Background()
	signer, keys := exampleSigner()

	root, err := lineage.Sign(ctx, signer, exampleRoot(), lineage.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	next := exampleRoot()
	next.ID = "0199f0a5-8a12-7004-8c55-d0b7c4b0e1aa"
	next.Operation = "web.Fetch"
	next.Labels = map[string]string{
		lineage.LabelPrincipal:  signer.Principal(),
		lineage.LabelSourceType: lineage.SourceInternet,
		lineage.LabelTraceID:    root.Entry().TraceID(),
	}
	next.Parents = []lineage.Hash{root.Hash()}
	next.TrustScore = lineage.Attenuate{}.Trust(10, []int{root.Entry().TrustScore}) // internet is worth 10
	next.AddedTaints = []string{"external"}
	next.Taints = lineage.MergeTaints([][]string{root.Entry().Taints}, next.AddedTaints, nil)
	child, err := lineage.Sign(ctx, signer, next, lineage.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}

	var passport lineage.Passport
	for _, signed := range []*lineage.Signed{root, child} {
		if passport, err = passport.Append(signed); err != nil {
			fmt.Println(err)
			return
		}
	}
	text, err := passport.MarshalText()
	if err != nil {
		fmt.Println(err)
		return
	}

	// The receiver has the text, the announced tips, and keys that it trusts.
	verifier, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keys})
	if err != nil {
		fmt.Println(err)
		return
	}
	received, err := lineage.ParsePassport(text, lineage.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	received.Tips = []lineage.Hash{child.Hash()}
	verified, report, err := verifier.Verify(ctx, received)
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, signed := range verified.All() {
		e := signed.Entry()
		fmt.Printf("%d %s trust %d taints %v\n", i, e.Operation, e.TrustScore, e.Taints)
	}
	fmt.Println(report.Notes()[0])
	// Output:
	// 0 payments.Transfer trust 100 taints []
	// 1 web.Fetch trust 10 taints [external]
	// no authority policy: any known principal may begin a lineage, raise trust and remove taints
}

// A signed entry that claims more trust than its parents give is refused, although its signature is good.
func ExampleVerifyError() {
	ctx := context.Background()
	signer, keys := exampleSigner()
	low := exampleRoot()
	low.Labels = map[string]string{
		lineage.LabelPrincipal: signer.Principal(), lineage.LabelSourceType: lineage.SourceInternet,
		lineage.LabelTraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
	}
	low.TrustScore = 10
	root, err := lineage.Sign(ctx, signer, low, lineage.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	lie := exampleRoot()
	lie.ID = "0199f0a5-8a12-7004-8c55-d0b7c4b0e1aa"
	lie.Parents = []lineage.Hash{root.Hash()}
	lie.TrustScore = 100
	forged, err := lineage.Sign(ctx, signer, lie, lineage.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keys})
	if err != nil {
		fmt.Println(err)
		return
	}

	_, _, err = verifier.Verify(ctx, lineage.Unverified{Entries: []string{root.JWS(), forged.JWS()}})
	var failure *lineage.VerifyError
	if errors.As(err, &failure) {
		fmt.Println(failure.Reason, "at", failure.Index)
	}
	fmt.Println(err)

	// Changing the payload after the fact breaks the signature.
	altered := strings.Replace(root.JWS(), ".", ".e", 1)
	_, _, err = verifier.Verify(ctx, lineage.Unverified{Entries: []string{altered}})
	fmt.Println(errors.Is(err, lineage.ErrUnverified))
	// Output:
	// trust mismatch at 1
	// entry 1 (0199f0a5-8a12-7004-8c55-d0b7c4b0e1aa): trust mismatch: entry claims trust 100; its parents and source type give 10
	// true
}
