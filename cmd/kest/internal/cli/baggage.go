package cli

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/propagation"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

var (
	errNoLineage  = errors.New("holds no lineage")
	errClaimCheck = errors.New("holds a claim check; no store here can redeem it")
)

// fromBaggage reads a baggage header as an ingress does. It has no store, so it redeems no claim checks.
func fromBaggage(ctx context.Context, value string) (lineage.Unverified, error) {
	p, err := propagate.New(propagate.Config{})
	if err != nil {
		return lineage.Unverified{}, err
	}
	arrival, err := p.Restore(ctx, propagation.MapCarrier{"baggage": value})
	var refused *propagate.RefusedError
	switch {
	case errors.As(err, &refused) && refused.Class == propagate.Unavailable: // nothing else here asks anybody
		return lineage.Unverified{}, errClaimCheck
	case refused != nil:
		return lineage.Unverified{}, refused.Err
	case err != nil:
		return lineage.Unverified{}, err
	case !arrival.Present:
		return lineage.Unverified{}, errNoLineage
	}
	return arrival.Lineage, nil
}
