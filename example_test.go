package kest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

type Payment struct {
	Order  string
	Amount float64
}

type Receipt struct{ Order, Status string }

func processPayment(ctx context.Context, p Payment) (Receipt, error) {
	passport := kest.CurrentPassport(ctx)
	fmt.Println("chain length:", passport.Len())
	return Receipt{p.Order, "completed"}, nil
}

// trusted stands in for a policy engine: it allows calls whose trust score is at least 40.
func trusted(_ context.Context, _ string, in *policy.Input) (policy.Decision, error) {
	return policy.Decision{Allow: in.TrustScore >= 40, Reason: fmt.Sprintf("trust score %d", in.TrustScore)}, nil
}

func exampleGuard() *kest.Guard {
	guard, err := kest.New(kest.Config{
		Engine:   policytest.Func(trusted),                          // in production: rego.Dir, opa.New
		Identity: identitytest.New("spiffe://example.org/payments"), // in production: left out, and detected
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	return guard
}

// A guarded function is called like the function itself. When a policy refuses, its body does not run.
func ExampleVerified() {
	guard := exampleGuard()
	pay, err := kest.Verified(guard, processPayment, kest.Policy("kest/allow_trusted"), kest.SourceType(lineage.SourceInternal))
	if err != nil {
		panic(err)
	}
	fmt.Println(pay(context.Background(), Payment{Order: "ORD-123", Amount: 99.95}))

	scraped, err := kest.Verified(guard, processPayment, kest.Policy("kest/allow_trusted"), kest.SourceType(lineage.SourceInternet))
	if err != nil {
		panic(err)
	}
	_, err = scraped(context.Background(), Payment{Order: "ORD-666", Amount: 1e6})
	fmt.Println(errors.Is(err, kest.ErrDenied), err)
	// Output:
	// chain length: 1
	// {ORD-123 completed} <nil>
	// true kest: kest_test.processPayment: denied by function policy kest/allow_trusted: trust score 10
}

// Within a session calls in sequence chain, calls in parallel fork, and the next call joins them.
func ExampleStartSession() {
	guard := exampleGuard()
	var both sync.WaitGroup // the pages are fetched at the same time
	both.Add(2)
	fetch := kest.MustVerified(guard, func(context.Context, string) (string, error) { both.Done(); both.Wait(); return "text", nil },
		kest.Operation("fetch"), kest.Policy("kest/allow_trusted"), kest.SourceType(lineage.SourceUserInput), kest.AddTaints("web"))
	merge := kest.MustVerified(guard, func(context.Context, struct{}) (string, error) { return "summary", nil },
		kest.Operation("merge"), kest.Policy("kest/allow_trusted"))

	ctx, session := kest.StartSession(context.Background())
	merge(ctx, struct{}{})
	var wg sync.WaitGroup
	for _, page := range []string{"a", "b"} {
		wg.Go(func() { fetch(ctx, page) })
	}
	wg.Wait()
	merge(ctx, struct{}{})

	for _, signed := range session.Passport().All() {
		e := signed.Entry()
		fmt.Println(e.Operation, "parents:", len(e.Parents), "trust:", e.TrustScore, "taints:", e.Taints)
	}
	// Output:
	// merge parents: 0 trust: 100 taints: []
	// fetch parents: 1 trust: 40 taints: [web]
	// fetch parents: 1 trust: 40 taints: [web]
	// merge parents: 2 trust: 40 taints: [web]
}

// Configure sets the guard of the process; functions wrapped with nil use it.
func ExampleConfigure() {
	pay := kest.MustVerified(nil, processPayment, kest.Policy("kest/allow_trusted"))
	_, err := pay(context.Background(), Payment{})
	fmt.Println(errors.Is(err, kest.ErrNotConfigured))

	err = kest.Configure(kest.Config{
		Engine: policytest.Allow(), Identity: identitytest.New("spiffe://example.org/payments"),
		Enterprise: []string{"baseline-auth", "data-classification"},
	})
	if err != nil {
		panic(err)
	}
	defer kest.Reset()
	fmt.Println(pay(context.Background(), Payment{Order: "ORD-123", Amount: 99.95}))
	// Output:
	// true
	// chain length: 1
	// {ORD-123 completed} <nil>
}

// Join brings in lineage that came another way than with the context, for example with a queue message.
func ExampleJoin() {
	guard := exampleGuard()
	handle := kest.MustVerified(guard, processPayment, kest.Policy("kest/allow_trusted"))

	sender, session := kest.StartSession(context.Background())
	handle(sender, Payment{Order: "ORD-123"})
	message := session.Passport() // a receiver in another process gets it from lineage.Verifier.Verify

	receiver, _ := kest.StartSession(context.Background())
	if err := kest.Join(receiver, message); err != nil {
		panic(err)
	}
	handle(receiver, Payment{Order: "ORD-124"})
	// Output:
	// chain length: 1
	// chain length: 2
}
