package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/deploy"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

type Payment struct {
	Order  string  `json:"order_id"`
	Amount float64 `json:"amount"`
}

func processPayment(ctx context.Context, p Payment) (string, error) {
	return fmt.Sprintf("%s paid under %v", p.Order, kest.CurrentPassport(ctx).Last().Entry().Policies.Enterprise), nil
}

// A program has functions and says what they are; the file has everything else. testdata/example.yaml is
//
//	policies:
//	  enterprise: [baseline]
//	engine:
//	  rego: {dir: policies}
//	identity:
//	  local: {name: shop}
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	d, err := deploy.Open(ctx, deploy.Config{File: "testdata/example.yaml", Logger: quiet}) // or KEST_CONFIG=…
	if err != nil {
		log.Fatal(err) // everything that is wrong, with file and line
	}
	defer d.Close()
	go d.Watch(ctx) // the file may change while the program runs

	pay, err := kest.Verified(d.Guard, processPayment, kest.Policy("kest/allow_trusted"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pay(ctx, Payment{Order: "ORD-123", Amount: 99.95}))

	fetch, err := kest.Verified(d.Guard, processPayment, kest.Operation("fetch"), kest.SourceType("internet"), kest.Policy("kest/allow_trusted"))
	if err != nil {
		log.Fatal(err)
	}
	_, err = fetch(ctx, Payment{Order: "ORD-666"})
	var denied *kest.DeniedError
	fmt.Println(errors.As(err, &denied) && denied.Policy == "baseline")
	// Output:
	// ORD-123 paid under [baseline] <nil>
	// true
}

// By hand: package config reads the file, and the builders of this package make what it asks for.
func ExampleOptions() {
	ctx := context.Background()
	d, err := config.Load("testdata/example.yaml", deploy.Options(deploy.Kinds{Logger: quiet}))
	if err != nil {
		log.Fatal(err)
	}
	engine, err := d.Engine(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer engine.(io.Closer).Close() // it follows its folder until then
	id, err := d.Identity(ctx)
	if err != nil {
		log.Fatal(err)
	}
	c, err := d.Apply(kest.Config{Engine: engine, Identity: id, Application: []string{"kest/allow_trusted"}, Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := kest.New(c)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(guard.Config().Enterprise, guard.Config().Application)
	// Output: [baseline] [kest/allow_trusted]
}
