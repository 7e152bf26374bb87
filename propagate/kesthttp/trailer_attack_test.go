package kesthttp_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/kest-go/kest/propagate"
)

// TestTrailersOfTheHandler: an answer whose own trailer is readable stays readable with lineage beside it. Lineage that
// does not fit is missed, and not half of it taken for all.
func TestTrailersOfTheHandler(t *testing.T) {
	carries, err := propagate.New(propagate.Config{})
	must(t, err)
	for _, declared := range []bool{true, false} {
		for own := 0; own <= 3900; own += 300 {
			shop, front := newService(t, "shop"), newService(t, "front")
			shop.ingress.Propagator, front.egress.Propagator, front.egress.StrictReturn = carries, carries, false
			server := shop.serve(func(w http.ResponseWriter, r *http.Request) {
				name := "X-Sum"
				if declared {
					w.Header().Set("Trailer", name)
				} else {
					name = http.TrailerPrefix + name
				}
				_, _ = io.WriteString(w, strings.Repeat(".", 64<<10))
				must(t, shop.note(r.Context(), "sell"))
				must(t, shop.note(r.Context(), "sell"))
				w.Header().Set(name, strings.Repeat("x", own))
			})
			answer, resp, learned, err := front.get(front.client(), http.MethodGet, server.URL, nil)
			if err != nil || len(answer) != 64<<10 || len(resp.Trailer.Get("X-Sum")) != own {
				t.Errorf("declared %t, %d bytes: %d bytes of the answer, %v", declared, own, len(answer), err)
				continue
			}
			missed := strings.Contains(fmt.Sprint(front.log), "return lineage is")
			if learned.Len() != 3 != missed || own == 0 && missed {
				t.Errorf("declared %t, %d bytes: %d entries, missed %t: %s", declared, own, learned.Len(), missed, front.log)
			}
		}
	}
}
