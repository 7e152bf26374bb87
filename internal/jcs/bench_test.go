package jcs_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/kest-go/kest/internal/jcs"
)

// entry1K is an object of the shape and size of an entry (SPEC §2), in
// canonical form.
var entry1K = []byte(`{"added_taints":["contains_data"],"classification":"data","content_hash":"","entry_id":"0199f0a5-8a11-7c31-9d2e-4f6b1c0a9e57","environment":{"region":"eu-central-1","release":"2026.11.2"},"input_hash":"` +
	strings.Repeat("0a", 32) + `","labels":{"kest.identity":"{\"agent\":\"planner\",\"user\":\"alice\"}","kest.source_type":"internal","principal":"spiffe://example.org/payments","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"},"metadata":null,"operation":"payments.Transfer","otel_context":{"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},"parent_ids":["` +
	strings.Repeat("9f", 32) + `"],"policy_context":{"app_policies":["payments"],"deviations":[],"enterprise_policies":["baseline"],"function_policies":[],"platform_policies":[]},"removed_taints":[],"runtime":{"name":"kest-go","version":"v0.1.0"},"schema_version":"0.3.0","taints":["contains_data","external"],"timestamp_ms":1795000000000,"trust_score":40}`)

func BenchmarkParse1K(b *testing.B) {
	b.SetBytes(int64(len(entry1K)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := jcs.Parse(entry1K, jcs.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCanonicalize1K(b *testing.B) {
	b.SetBytes(int64(len(entry1K)))
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		var err error
		if dst, err = jcs.Canonicalize(dst[:0], entry1K, jcs.Options{}); err != nil {
			b.Fatal(err)
		}
	}
	if !bytes.Equal(dst, entry1K) {
		b.Fatal("canonical form of a canonical entry differs from it")
	}
}

func BenchmarkAppend1K(b *testing.B) {
	v, err := jcs.Parse(entry1K, jcs.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		if dst, err = v.Append(dst[:0], jcs.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendString(b *testing.B) {
	s := strings.Repeat("spiffe://example.org/payments", 4)
	dst := make([]byte, 0, 2*len(s))
	b.SetBytes(int64(len(s)))
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = jcs.AppendString(dst[:0], s); err != nil {
			b.Fatal(err)
		}
	}
}
