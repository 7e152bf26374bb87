package cli_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kest-go/kest/cmd/kest/internal/cli"
	"github.com/kest-go/kest/internal/report"
	"github.com/kest-go/kest/lineage"
)

// FuzzWhy: whatever is given as a record is explained, refused or unreadable, with one document and nothing that a
// terminal could act on; and nothing is verified that nobody signed.
func FuzzWhy(f *testing.F) {
	signer, err := lineage.NewSigner("spiffe://td/a", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		f.Fatal(err)
	}
	e := lineage.Entry{
		Runtime: lineage.Runtime{Name: "kest-go", Version: "0.1.0"}, ID: "01900000-0000-7000-8000-000000000000",
		Operation: "pay", Classification: "system", TrustScore: 10, TimestampMS: 1, AddedTaints: []string{"a"}, Taints: []string{"a"},
		Labels: map[string]string{lineage.LabelPrincipal: "spiffe://td/a", lineage.LabelSourceType: "internet",
			lineage.LabelTraceID: "0af7651916cd43dd8448eb211c80319c", lineage.LabelObserved: "platform:p=deny"},
	}
	signed, err := lineage.Sign(f.Context(), signer, e, lineage.Limits{})
	if err != nil {
		f.Fatal(err)
	}
	e.ID, e.Parents, e.AddedTaints = "01900000-0000-7000-8000-000000000001", []lineage.Hash{signed.Hash()}, nil
	denial, err := lineage.SignDenial(f.Context(), signer, lineage.Denial{Entry: e, Policy: "p", Tier: "function", Reason: "r"}, lineage.Limits{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`{"kind":"entry","jws":"`+signed.JWS()+"\"}\n"+`{"kind":"denial","jws":"`+denial+`"}`, "denied")
	f.Add(`["`+signed.JWS()+`"]`, "0190")
	f.Add(denial, "")
	f.Add("kest.passport=%5B%5D", "")
	f.Add(`{"kind":"entry","jws":5}`, "a")
	nobody := filepath.Join(f.TempDir(), "keys.json")
	if err := os.WriteFile(nobody, []byte("{}"), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text, entry string) {
		for _, args := range [][]string{{"--unverified"}, {"--unverified", "--json"}, {"--json", "--keys", nobody}} {
			var out, diagnostics bytes.Buffer
			code := cli.Main(append([]string{"why", "-", "--entry", entry}, args...), strings.NewReader(text), &out, &diagnostics)
			for line := range strings.Lines(out.String() + diagnostics.String()) {
				if line = strings.TrimSuffix(line, "\n"); report.Clean(line) != line {
					t.Fatalf("%q: the line %q", args, line)
				}
			}
			if (code == 2) != (diagnostics.Len() > 0) {
				t.Fatalf("%q: exit code %d with %q and %q", args, code, out.String(), diagnostics.String())
			}
			if args[len(args)-1] == nobody {
				checkUnverified(t, code, out.Bytes())
			}
		}
	})
}

// checkUnverified: an entry by somebody whose key is not known is not explained.
func checkUnverified(t *testing.T, code int, out []byte) {
	t.Helper()
	var doc struct {
		Verified    bool
		Explanation *struct{}
	}
	if err := json.Unmarshal(out, &doc); err != nil || code == 0 || doc.Verified || doc.Explanation != nil {
		t.Fatalf("exit code %d, %v: %s", code, err, out)
	}
}
