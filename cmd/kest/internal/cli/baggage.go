package cli

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/propagation"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

var errNoLineage = errors.New("holds no lineage")

// fromBaggage reads a baggage header as an ingress does. It has no store, so it redeems no claim checks.
func fromBaggage(ctx context.Context, value string) (lineage.Unverified, error) {
	p, err := propagate.New(propagate.Config{})
	if err != nil {
		return lineage.Unverified{}, err
	}
	arrival, err := p.Restore(ctx, propagation.MapCarrier{"baggage": value})
	var refused *propagate.RefusedError
	switch {
	case errors.As(err, &refused):
		return lineage.Unverified{}, refused.Err
	case err != nil:
		return lineage.Unverified{}, err
	case !arrival.Present:
		return lineage.Unverified{}, errNoLineage
	}
	return arrival.Lineage, nil
}
