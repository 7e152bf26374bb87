package examples_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/static"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/rego"
	"github.com/kest-go/kest/propagate"
)

// message is what crosses from one service to another: the passport's text, and where it ends.
type message struct {
	passport []byte
	tips     []lineage.Hash
}

// send makes the lineage of ctx ready to leave the process.
func send(ctx context.Context, guard *kest.Guard) (message, error) {
	passport, err := guard.Seal(ctx)
	if err != nil {
		return message{}, err
	}
	text, err := passport.MarshalText()
	return message{passport: text, tips: passport.Tips()}, err
}

// receive verifies what arrived, and returns a context in which guarded calls go on from it. Nothing may run when it
// returns an error.
func receive(ctx context.Context, verifier *lineage.Verifier, m message) (context.Context, error) {
	unverified, err := lineage.ParsePassport(m.passport, lineage.Limits{})
	if err != nil {
		return nil, err
	}
	unverified.Tips = m.tips
	passport, _, err := verifier.Verify(ctx, unverified)
	if err != nil {
		return nil, err
	}
	if passport.Len() == 0 {
		return nil, fmt.Errorf("no lineage came with the message")
	}
	last := passport.Last().Entry()
	session := propagate.NewSession(passport, last.TraceID(), lineage.SourceInternet)
	return propagate.WithSession(ctx, session), nil
}

// exampleKey stands in for keys that a deployment hands out.
func exampleKey(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

func exampleGuard(principal string, key ed25519.PrivateKey, engine policy.Engine) (*kest.Guard, error) {
	provider, err := static.New(principal, key)
	if err != nil {
		return nil, err
	}
	return kest.New(kest.Config{Engine: engine, Identity: provider, Logger: quiet})
}

// Lineage crosses from the shop to the bank, and the bank's call goes on from it: what the shop read from the internet
// is still worth 10 there.
func Example_handover() {
	shopKey, bankKey := exampleKey(1), exampleKey(2)
	shop, err := exampleGuard("spiffe://example.org/shop", shopKey, policy.InsecureAllowAll(quiet))
	if err != nil {
		log.Fatal(err)
	}
	engine, err := rego.Dir("policies")
	if err != nil {
		log.Fatal(err)
	}
	bank, err := exampleGuard("spiffe://example.org/bank", bankKey, engine)
	if err != nil {
		log.Fatal(err)
	}
	keys, err := lineage.NewKeySet(map[string][]ed25519.PublicKey{
		"spiffe://example.org/shop": {shopKey.Public().(ed25519.PublicKey)},
		"spiffe://example.org/bank": {bankKey.Public().(ed25519.PublicKey)},
	})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keys}) // one for the whole process
	if err != nil {
		log.Fatal(err)
	}

	read := kest.MustVerified(shop, func(ctx context.Context, page string) (message, error) {
		return send(ctx, shop)
	}, kest.Operation("shop.read"), kest.Policy("shop/read"), kest.SourceType(lineage.SourceInternet))
	m, err := read(context.Background(), "https://example.com")
	if err != nil {
		log.Fatal(err)
	}

	ctx, err := receive(context.Background(), verifier, m)
	if err != nil {
		log.Fatal(err)
	}
	pay := kest.MustVerified(bank, processPayment, kest.Operation("bank.pay"), kest.Policy("kest/allow_trusted"),
		kest.SourceType(lineage.SourceInternal))
	_, err = pay(ctx, Payment{Order: "ORD-123", Amount: 99.95})
	fmt.Println(err)

	m.tips = nil
	m.passport = []byte(`[]`) // somebody leaves the lineage out
	_, err = receive(context.Background(), verifier, m)
	fmt.Println(err)
	// Output:
	// kest: bank.pay: denied by function policy kest/allow_trusted: rule allow in policies/kest/allow_trusted.rego is not true
	// no lineage came with the message
}
