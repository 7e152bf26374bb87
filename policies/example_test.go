package policies_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/identity/identitytest"
	"github.com/kest-go/kest/policies"
	"github.com/kest-go/kest/policy/rego"
)

// The library over a deployment's own folder, which has the data and the program's policies.
func ExampleOverlay() {
	engine, err := rego.FS(policies.Overlay(policies.Rego(), os.DirFS("example/rego")))
	if err != nil {
		fmt.Println(err)
		return
	}
	guard, err := kest.New(kest.Config{
		Engine: engine, Enterprise: []string{"kest/trust_threshold", "kest/payments"},
		Identity: identitytest.New("spiffe://example.org/payments"), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	step := func(operation string) func(context.Context, struct{}) (string, error) {
		return kest.MustVerified(guard, func(context.Context, struct{}) (string, error) { return operation + ": done", nil },
			kest.Operation(operation), kest.Resource("order/1"), kest.Policy("kest/taint_block"))
	}
	check, pay := step("fraud.check"), step("payment.send")

	ctx, _ := kest.StartSession(context.Background())
	_, err = pay(ctx, struct{}{})
	fmt.Println(errors.Is(err, kest.ErrDenied), err)
	fmt.Println(check(ctx, struct{}{}))
	fmt.Println(pay(ctx, struct{}{}))
	// Output:
	// true kest: payment.send: denied by enterprise policy kest/payments: rule allow in kest/payments.rego is not true
	// fraud.check: done <nil>
	// payment.send: done <nil>
}

// One document of deployment data serves Rego as it is, and Cedar as entities.
func ExampleEntities() {
	entities, err := policies.Entities([]byte(`{"trust_threshold": {"min": 60, "may_override": []}}`))
	fmt.Println(string(entities), err)
	// Output:
	// [
	//   {
	//     "uid": {
	//       "type": "Deployment",
	//       "id": "trust_threshold"
	//     },
	//     "attrs": {
	//       "may_override": [],
	//       "min": 60
	//     },
	//     "parents": []
	//   }
	// ] <nil>
}
