package cedaragent_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/kest-go/kest/policy/cedaragent"
	"github.com/kest-go/kest/policy/policytest"
)

// BenchmarkEvaluateCedarREST is the engine and, in the same run, what it is held against: a bare POST of the same
// question to the same server, which answers at once.
func BenchmarkEvaluateCedarREST(b *testing.B) {
	f := serve(b, answer(allowed))
	in := policytest.Input(100)
	b.Run("kest", func(b *testing.B) {
		e := engine(b, cedaragent.Config{URL: f.URL})
		b.ReportAllocs()
		for b.Loop() {
			if d, err := e.Evaluate(b.Context(), policytest.AllowTrusted, in); err != nil || !d.Allow {
				b.Fatalf("%+v, %v", d, err)
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		question, err := cedaragent.Question(policytest.AllowTrusted, in)
		if err != nil {
			b.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{}, Timeout: cedaragent.DefaultTimeout}
		defer client.CloseIdleConnections()
		b.ReportAllocs()
		for b.Loop() {
			resp, err := client.Post(f.URL+"/is_authorized", "application/json", bytes.NewReader(question))
			if err != nil {
				b.Fatal(err)
			}
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != allowed {
				b.Fatalf("%s, %v", body, err)
			}
			resp.Body.Close()
		}
	})
	b.Run("question", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := cedaragent.Question(policytest.AllowTrusted, in); err != nil {
				b.Fatal(err)
			}
		}
	})
}
