package propagate_test

import (
	"compress/zlib"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// pythonEntry is an entry as the Python implementation writes it (SPEC §15): spaced header with the principal as kid,
// unsorted taints, no input hash, no source type, no trace unless one is given, and an identity without task.
func pythonEntry(n int, parent, traceID string) string {
	labels := `"kest.identity":"{\"user\": \"alice\", \"agent\": \"planner\"}","principal":"` + python + `"`
	if traceID != "" {
		labels += `,"trace_id":"` + traceID + `"`
	}
	payload := `{"added_taints":["raw","a"],"classification":"data","content_hash":"",` +
		fmt.Sprintf(`"entry_id":"0199f0a5-8a11-7c31-8000-%012x",`, n) + `"environment":{},"input_hash":"","labels":{` + labels + `},"metadata":null,"operation":"fetch",` +
		`"otel_context":{},"parent_ids":["` + parent + `"],"policy_context":{"app_policies":[],"deviations":[],"enterprise_policies":[],"function_policies":["p"],"platform_policies":[]},` +
		`"removed_taints":[],"runtime":{"name":"kest-python","version":"0.3.0"},"schema_version":"0.3.0","taints":["raw","a"],"timestamp_ms":1795000000000,"trust_score":40}`
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64([]byte(`{"alg": "EdDSA", "kid": "`+python+`", "typ": "JWS"}`)) + "." + b64([]byte(payload))
	return input + "." + b64(ed25519.Sign(keyOf(python), []byte(input)))
}

// pythonPassport is the text of two entries, with a space between the items, and its tip.
func pythonPassport(traceID string) (text, tip string) {
	one := pythonEntry(1, "0", traceID)
	two := pythonEntry(2, lineage.HashJWS(one).String(), traceID)
	return `["` + one + `", "` + two + `"]`, lineage.HashJWS(two).String()
}

// pythonHeaders are the forms in which it sends them, and the store that it shares.
func pythonHeaders(t *testing.T, text, tip string) (map[string]string, *shelf) {
	t.Helper()
	s := newShelf()
	s.values["kest.claim."+someID] = []byte(text)
	packed := base64.URLEncoding.EncodeToString(deflated(t, text, zlib.BestSpeed)) // with padding
	for !strings.HasSuffix(packed, "=") {
		text = strings.Replace(text, ` "`, `  "`, 1)
		packed = base64.URLEncoding.EncodeToString(deflated(t, text, zlib.BestSpeed))
	}
	tips := ",kest.chain_tip=" + tip + ",kest.user=alice,kest.agent=planner,kest.task=t"
	return map[string]string{
		"plain": "a=1,kest.passport=" + url.PathEscape(text) + tips, "compressed": "a=1,kest.passport_z=" + packed + tips, "claim": "a=1,kest.claim_check=" + someID + tips,
	}, s
}

// TestPythonArrives (SPEC §15): what the Python implementation sends arrives and verifies, in each of its forms, for
// principals that configuration names; the report says what was skipped; a call here goes on from it.
func TestPythonArrives(t *testing.T) {
	for _, traceID := range []string{"", trace} {
		text, tip := pythonPassport(traceID)
		headers, s := pythonHeaders(t, text, tip)
		p := propagator(t, propagate.Config{Store: s})
		legacy := verifier(t, func(c *lineage.VerifierConfig) { c.Legacy = []string{python} })
		for name, header := range headers {
			config := propagate.IngressConfig{Listener: propagate.Internal, Propagator: p, Verifier: legacy}
			ctx, admission := admitted(t, config, t.Context(), propagate.Request{Carrier: carry(header)})
			if admission.Lineage.Len() != 2 || admission.Lineage.Tips()[0].String() != tip {
				t.Errorf("%s: %d entries", name, admission.Lineage.Len())
			}
			if id := propagate.IdentityFrom(ctx); id != (propagate.Identity{User: "alice", Agent: "planner"}) {
				t.Errorf("%s: identity %+v; a task that nobody signed does not count", name, id)
			}
			e := entryUnder(t, ctx)
			if len(e.Parents) != 1 || e.Parents[0].String() != tip || e.TrustScore != 40 || !slices.Equal(e.Taints, []string{"a", "raw"}) || traceID != "" && e.TraceID() != traceID {
				t.Errorf("%s: %+v", name, e)
			}
			a, err := p.Restore(t.Context(), carry(header))
			if err != nil {
				t.Fatal(err)
			}
			_, report, err := legacy.Verify(t.Context(), a.Lineage)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range report.Entries() {
				if !slices.Contains(line.Skipped, "trust") || !slices.Contains(line.Skipped, "taint order") {
					t.Errorf("%s: skipped %q", name, line.Skipped)
				}
			}
			if notes := strings.Join(report.Notes(), "\n"); !strings.Contains(notes, "legacy") {
				t.Errorf("%s: notes %q", name, notes)
			}
			turnedAway(t, p, propagate.Malformed, header) // the verifier there names nobody
		}
	}
}

// TestPythonPassedOn: entries by both go on together, unchanged, and verify at the next hop.
func TestPythonPassedOn(t *testing.T) {
	text, tip := pythonPassport("")
	headers, s := pythonHeaders(t, text, tip)
	p := propagator(t, propagate.Config{Store: s, CompressFirst: true})
	legacy := verifier(t, func(c *lineage.VerifierConfig) { c.Legacy = []string{python} })
	config := propagate.IngressConfig{Propagator: p, Verifier: legacy}
	ctx, _ := admitted(t, config, t.Context(), propagate.Request{Carrier: carry(headers["plain"])})
	e := egress(t, propagate.EgressConfig{Propagator: p, Sealer: guard(t)})
	out := carry()
	sent, err := e.Attach(ctx, out)
	if err != nil || sent.Len() != 3 || sent.Last().Entry().Principal() != guarded { // decision 0008
		t.Fatalf("%d entries, %v", sent.Len(), err)
	}
	_, admission := admitted(t, config, t.Context(), propagate.Request{Carrier: out})
	if textOf(t, admission.Lineage) != textOf(t, sent) {
		t.Errorf("%d entries", admission.Lineage.Len())
	}
}

// TestPythonSmuggling: a principal that is not legacy cannot have its checks skipped by looking like one.
func TestPythonSmuggling(t *testing.T) {
	text, tip := pythonPassport("")
	p := propagator(t, propagate.Config{})
	var l logs
	i := ingress(t, propagate.IngressConfig{
		Propagator: p, Logger: l.logger(), Verifier: verifier(t, func(c *lineage.VerifierConfig) { c.Legacy = []string{web, "python"} }),
	})
	refused(t, i, &l, propagate.Malformed, propagate.Request{Carrier: carry("kest.passport_z=" + pack(t, text) + ",kest.chain_tip=" + tip)})
}
