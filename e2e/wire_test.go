package e2e_test

import (
	"context"
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/propagation"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/hopproof"
	"github.com/kest-go/kest/propagate/kesthttp"
)

func headerCarrier(h http.Header) propagation.TextMapCarrier { return propagation.HeaderCarrier(h) }

// rewire is the transport of a workload over another base.
func rewire(t *testing.T, w *workload, base http.RoundTripper) http.RoundTripper {
	t.Helper()
	return must(kesthttp.NewTransport(kesthttp.TransportConfig{Egress: w.egress, Base: base}))(t)
}

// proofOf signs a request with the key of a workload, whatever lineage it carries: honest code would refuse to.
func proofOf(ctx context.Context, w *workload, r propagate.HopRequest) (input, signature string, err error) {
	var signer lineage.Signer
	if signer, err = w.guard.Config().Identity.Signer(ctx); err != nil {
		return "", "", err
	}
	return hopproof.Signer{}.SignHop(ctx, signer, r)
}
