package decisionlog_test

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/decisionlog"
	"github.com/kest-go/kest/policy/policytest"
)

// BenchmarkEvaluate: what the log adds to an engine that costs nothing.
func BenchmarkEvaluate(b *testing.B) {
	allow := engine(func(context.Context, string, *policy.Input) (policy.Decision, error) {
		return policy.Decision{Allow: true, Revision: "r1"}, nil
	})
	written := slog.New(slog.NewJSONHandler(io.Discard, nil))
	masks := []decisionlog.Mask{{Path: "attributes.card"}, {Path: "subject.user", With: "-"}}
	for _, bench := range []struct {
		name string
		c    decisionlog.Config
	}{
		{"quiet", decisionlog.Config{Logger: slog.New(slog.DiscardHandler)}},
		{"not sampled", decisionlog.Config{Logger: written, SampleAllows: 1 << 40}},
		{"JSON", decisionlog.Config{Logger: written}},
		{"JSON with masked input", decisionlog.Config{Logger: written, Input: true, Mask: masks}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			bench.c.Engine = allow
			e, err := decisionlog.New(bench.c)
			if err != nil {
				b.Fatal(err)
			}
			in, ctx := policytest.Input(40), context.Background()
			b.ReportAllocs()
			for b.Loop() {
				if d, err := e.Evaluate(ctx, policytest.AllowTrusted, in); err != nil || !d.Allow {
					b.Fatal(d, err)
				}
			}
		})
	}
}
