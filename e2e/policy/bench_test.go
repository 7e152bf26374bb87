package policy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/kest-go/kest/e2e/internal/peer"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// guide is the policy of the guide.
var guide = map[string]source{policytest.AllowTrusted: {
	rego:  "package kest.allow_trusted\n\ndefault allow := false\n\nallow if input.trust_score >= 40\n",
	cedar: permit(policytest.AllowTrusted, "context.trust_score >= 40"),
}}

// BenchmarkEvaluateOPAServer asks a real OPA server with the adapter and, in turn, with a bare http.Client that sends
// the same body.
func BenchmarkEvaluateOPAServer(b *testing.B) {
	dir := b.TempDir()
	peer.Put(b, dir, policytest.AllowTrusted+".rego", guide[policytest.AllowTrusted].rego)
	url := peer.OPA(b, dir).URL
	beside(b, func(url string) policy.Engine { return opaEngine(b, url) }, url)
}

// BenchmarkEvaluateCedarREST is the same with the Rust engine of Cedar behind REST.
func BenchmarkEvaluateCedarREST(b *testing.B) {
	dir := b.TempDir()
	peer.Put(b, dir, policytest.AllowTrusted+".cedar", guide[policytest.AllowTrusted].cedar)
	url := startAgent(b, dir)
	beside(b, func(url string) policy.Engine { return agentEngine(b, url) }, url)
}

// beside reports the medians of both, and what the adapter adds: at most 25 % or 2 µs, whichever is more. Each iteration
// asks once with each, so that both meet the same machine.
func beside(b *testing.B, open func(url string) policy.Engine, url string) {
	b.Helper()
	ctx, engine, bare := context.Background(), open(url), question(b, open)
	client := &http.Client{Transport: &http.Transport{}, Timeout: patient}
	defer client.CloseIdleConnections()
	var ours, theirs []time.Duration
	for i := range 50 + b.N { // the first warm up
		if i == 50 {
			b.ResetTimer()
			ours, theirs = nil, nil
		}
		in := policytest.Input(100) // as the guard makes it: its history is read anew in each call
		start := time.Now()
		d, err := engine.Evaluate(ctx, policytest.AllowTrusted, in)
		ours = append(ours, time.Since(start))
		if err != nil || !d.Allow {
			b.Fatalf("%+v, %v", d, err)
		}
		start = time.Now()
		if err := bare.post(ctx, client, url); err != nil {
			b.Fatal(err)
		}
		theirs = append(theirs, time.Since(start))
	}
	b.StopTimer()
	adapter, plain := median(ours), median(theirs)
	b.ReportMetric(adapter, "adapter-µs")
	b.ReportMetric(plain, "bare-µs")
	b.ReportMetric(adapter-plain, "added-µs")
	b.ReportMetric(100*(adapter-plain)/plain, "added-%")
}

func median(all []time.Duration) float64 {
	slices.Sort(all)
	return float64(all[len(all)/2].Nanoseconds()) / 1000
}

// A request is what an engine sends.
type request struct {
	path string // with the query
	body []byte
}

// question takes down what an engine sends to its server.
func question(b *testing.B, open func(url string) policy.Engine) request {
	b.Helper()
	var got request
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got.path = r.URL.RequestURI()
		got.body, _ = io.ReadAll(r.Body)
	}))
	defer s.Close()
	if _, err := open(s.URL).Evaluate(context.Background(), policytest.AllowTrusted, policytest.Input(100)); err == nil || len(got.body) == 0 {
		b.Fatalf("nothing was sent (%v)", err)
	}
	return got
}

func (q request) post(ctx context.Context, client *http.Client, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+q.path, bytes.NewReader(q.body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %v", resp.Status, err)
	}
	return nil
}
