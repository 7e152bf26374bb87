package kesthttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
	"github.com/kest-go/kest/propagate"
	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/memory"
)

// TestOutcomesAcrossServices: a policy of the caller asks how calls in other services ended, and their receipts tell it,
// also those of a service behind the one that was asked. Long answers, whose lineage is in the trailer, have them too.
func TestOutcomesAcrossServices(t *testing.T) {
	for name, pad := range map[string]int{"short": 0, "long": 64 << 10} {
		t.Run(name, func(t *testing.T) {
			sends, err := propagate.New(propagate.Config{Receipts: true})
			must(t, err)
			ledger, shop, front := newService(t, "ledger"), newService(t, "shop"), newService(t, "front")
			ledger.ingress.Propagator, shop.ingress.Propagator = sends, sends
			audit := ledger.serve(func(w http.ResponseWriter, r *http.Request) {
				if ledger.call(r.Context(), "audit", func(context.Context) error { return errors.New("books do not balance") }) == nil {
					t.Error("the error of the body is lost")
				}
				_, _ = io.WriteString(w, strings.Repeat(".", pad))
			})
			onward := shop.client()
			counter := shop.serve(func(w http.ResponseWriter, r *http.Request) {
				must(t, shop.call(r.Context(), "sell", func(ctx context.Context) error { return fetch(ctx, onward, audit.URL) }))
				_, _ = io.WriteString(w, strings.Repeat(".", pad))
			})
			var steps []policy.Step
			engine := policytest.Func(func(_ context.Context, _ string, in *policy.Input) (policy.Decision, error) {
				steps = in.Lineage.History.Past().Steps
				return policy.Decision{Allow: true}, nil
			})
			client := front.client()
			must(t, front.call(t.Context(), "call", func(ctx context.Context) error {
				if err := fetch(ctx, client, counter.URL); err != nil {
					return err
				}
				pay := kest.MustVerified(front.guard, func(context.Context, int) (int, error) { return 0, nil },
					kest.Operation("pay"), kest.Policy("p"), kest.WithEngine(engine))
				_, err := pay(ctx, 0)
				return err
			}))
			if got := fmt.Sprint(steps); got != "[{audit ledger error} {call front unknown} {sell shop ok}]" {
				t.Errorf("the policy sees %s", got)
			}
		})
	}
}

// fetch gets url and reads the answer to its end.
func fetch(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

// TestLongTrailers: net/http reads 4 KiB of a trailer and fails the body beyond that, so lineage never makes an answer
// unreadable. What does not fit goes to the store, or is missed.
func TestLongTrailers(t *testing.T) {
	shared, err := memory.New(memory.Config{})
	must(t, err)
	for _, test := range []struct {
		store  store.Store
		calls  int
		learns bool
	}{{nil, 1, true}, {nil, 2, true}, {nil, 30, false}, {shared, 2, true}, {shared, 3, true}, {shared, 30, true}} {
		carries, err := propagate.New(propagate.Config{Store: test.store, Receipts: true})
		must(t, err)
		shop, front := newService(t, "shop"), newService(t, "front")
		shop.ingress.Propagator, front.egress.Propagator, front.egress.StrictReturn = carries, carries, false
		server := shop.serve(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat(".", 64<<10))
			for range test.calls {
				must(t, shop.note(r.Context(), "sell"))
			}
		})
		answer, _, learned, err := front.get(front.client(), http.MethodGet, server.URL, nil)
		if err != nil || len(answer) != 64<<10 {
			t.Errorf("%d calls, store %t: %d bytes, %v", test.calls, test.store != nil, len(answer), err)
		}
		if got := learned.Len() == 1+test.calls; got != test.learns {
			t.Errorf("%d calls, store %t: front knows %d entries", test.calls, test.store != nil, learned.Len())
		}
		if missed := strings.Contains(front.log.String(), "return lineage is invalid"); missed == test.learns {
			t.Errorf("%d calls, store %t: the log says %s", test.calls, test.store != nil, front.log)
		}
	}
}
