package hopproof_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/propagation"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/propagate/hopproof"
	"github.com/kest-go/kest/store"
)

// workload is the sender: its lineage is one entry, and its key signs proofs.
type workload struct{ signer lineage.Signer }

func (w workload) Signer(context.Context) (lineage.Signer, error) { return w.signer, nil }

func (w workload) Seal(ctx context.Context) (lineage.Passport, error) {
	s, err := lineage.Sign(ctx, w.signer, lineage.Entry{
		Runtime: lineage.Runtime{Name: "kest-go"}, ID: "0199f0a5-8a11-7c31-8000-000000000001", Operation: "pay",
		Classification: "system", TrustScore: 100, Labels: map[string]string{
			lineage.LabelPrincipal: w.signer.Principal(), lineage.LabelTraceID: strings.Repeat("1", 32),
			lineage.LabelSourceType: lineage.SourceInternal,
		},
	}, lineage.Limits{})
	if err != nil {
		return lineage.Passport{}, err
	}
	return lineage.Passport{}.Append(s)
}

// send is a request as a transport makes it: lineage first, then the proof.
func send(t *testing.T, prove bool) (propagation.TextMapCarrier, propagate.HopRequest) {
	t.Helper()
	w := workload{signerOf(t, web)}
	e, err := propagate.NewEgress(propagate.EgressConfig{Sealer: w, Hops: hopproof.Signer{}, Identity: w})
	if err != nil {
		t.Fatal(err)
	}
	carrier := propagation.MapCarrier{}
	sent, err := e.Attach(t.Context(), carrier)
	if err != nil {
		t.Fatal(err)
	}
	r := propagate.HopRequest{Method: "POST", Authority: "ledger:8443", Path: "/pay", Fields: map[string][]string{"baggage": {carrier["baggage"]}}}
	if prove {
		input, signature, err := e.Prove(t.Context(), sent, r)
		if err != nil {
			t.Fatal(err)
		}
		r = with(r, input, signature)
	}
	return carrier, r
}

// TestModes holds the table of the package comment.
func TestModes(t *testing.T) {
	down := hopproof.Config{Store: &nonces{err: fmt.Errorf("%w: down", store.ErrUnavailable)}}
	noKeys := hopproof.Config{Keys: keyFunc(func(context.Context, string, string) ([]ed25519.PublicKey, error) {
		return nil, errors.New("key source is down")
	})}
	changed := func(r *propagate.HopRequest) { r.Path = "/refund" }
	same := func(*propagate.HopRequest) {}
	for _, c := range []struct {
		name                 string
		prove                bool
		change               func(*propagate.HopRequest)
		config               hopproof.Config
		off, accept, require int // status, 200 for a request that passes
	}{
		{"no proof", false, same, hopproof.Config{}, 200, 200, 403},
		{"good proof", true, same, hopproof.Config{}, 200, 200, 200},
		{"bad proof", true, changed, hopproof.Config{}, 200, 403, 403},
		{"store down", true, same, down, 200, 503, 503},
		{"key source down", true, same, noKeys, 200, 503, 503},
		{"no proof, store down", false, same, down, 200, 200, 403},
	} {
		for mode, want := range []int{propagate.ProofOff: c.off, propagate.ProofAccept: c.accept, propagate.ProofRequire: c.require} {
			carrier, r := send(t, c.prove)
			c.change(&r)
			i := ingress(t, propagate.ProofMode(mode), verifier(t, c.config))
			_, admission, err := i.Admit(t.Context(), propagate.Request{Carrier: carrier, Hop: &r})
			got := http.StatusOK
			if err != nil {
				got = propagate.ClassOf(err).Status()
			}
			if got != want {
				t.Errorf("%s in mode %d: %d, %v; want %d", c.name, mode, got, err, want)
			}
			if proven := c.name == "good proof" && mode != int(propagate.ProofOff); admission.Proven != proven {
				t.Errorf("%s in mode %d: proven is %t", c.name, mode, admission.Proven)
			}
		}
	}
}

func ingress(t *testing.T, mode propagate.ProofMode, hops propagate.HopVerifier) *propagate.Ingress {
	t.Helper()
	v, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keys(t)})
	if err != nil {
		t.Fatal(err)
	}
	i, err := propagate.NewIngress(propagate.IngressConfig{
		Listener: propagate.Internal, Verifier: v, Proofs: mode, Hops: hops, Authorities: []string{"ledger:8443"},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return i
}
