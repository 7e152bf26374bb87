package lineage

import (
	"context"
	"slices"
)

type offerKey struct{}

// WithOffered returns a context in which a [KeySource] finds the bindings that came along with a message, as they came:
// anybody may have written them, in any number, so whoever reads them bounds what is spent on them. They replace those
// of ctx.
func WithOffered(ctx context.Context, bindings []string) context.Context {
	return context.WithValue(ctx, offerKey{}, slices.Clone(bindings))
}

// Offered returns the bindings that came along, none by default. The caller must not change them.
func Offered(ctx context.Context) []string {
	bindings, _ := ctx.Value(offerKey{}).([]string)
	return bindings
}
