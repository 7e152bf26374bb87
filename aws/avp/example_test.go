package avp_test

import (
	"context"
	"fmt"
	"log"

	"github.com/kest-go/kest/aws/avp"
	"github.com/kest-go/kest/policy"
)

// The policy store is asked with the credentials and the region of the environment.
func ExampleNew() { //nolint:testableexamples // it needs AWS
	ctx := context.Background()
	engine, err := avp.New(ctx, avp.Config{PolicyStoreID: "PSEXAMPLEabcdefg111111", Namespace: "Kest"})
	if err != nil {
		log.Fatal(err)
	}
	decision, err := engine.Evaluate(ctx, "kest/allow_trusted", &policy.Input{
		Subject: policy.Subject{Workload: "spiffe://example.org/payments"}, TrustScore: 100,
	})
	fmt.Println(decision.Allow, decision.Reason, err) // true determined by SP… <nil>
}
