package decisionlog_test

import (
	"context"
	"log"
	"log/slog"
	"os"

	"github.com/kest-go/kest/policy/decisionlog"
	"github.com/kest-go/kest/policy/policytest"
)

func Example() {
	stable := func(_ []string, a slog.Attr) slog.Attr { // for this example
		if a.Key == slog.TimeKey || a.Key == "duration" {
			return slog.Attr{}
		}
		return a
	}
	engine, err := decisionlog.New(decisionlog.Config{
		Engine: policytest.Deny(),
		Logger: slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: stable})),
		Input:  true,
		Mask: []decisionlog.Mask{
			{Path: "attributes.card", With: "***"},
			{Path: "attributes.nested"}, {Path: "environment"}, {Path: "labels"}, {Path: "lineage"}, {Path: "object"}, {Path: "subject"},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := engine.Evaluate(context.Background(), "kest/allow_trusted", policytest.Input(40)); err != nil {
		log.Fatal(err)
	}
	// Output:
	// {"level":"WARN","msg":"kest: policy decision","result":"deny","policy":"kest/allow_trusted","tier":"function","operation":"payments.process","workload":"spiffe://example.org/payments","revision":"mock","reason":"the mock denies everything","entry_id":"0190e2b0-7b3a-7c3e-8a53-6f1c8a5f0001","trace_id":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","input":{"attributes":{"card":"***"}},"input_masked":"attributes.card attributes.nested environment labels lineage object subject"}
}
