package report_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kest-go/kest/internal/report"
	"github.com/kest-go/kest/internal/report/reporttest"
)

// FuzzPassport: whatever a file holds, every command ends with a result or a diagnostic that a terminal shows as it
// is, and nothing that was not signed is called verified.
func FuzzPassport(f *testing.F) {
	dir := f.TempDir()
	names, err := reporttest.Write(dir)
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil && len(text) < 20_000 {
			f.Add(text)
		}
	}
	nobody := filepath.Join(dir, "nobody.json") // knows no key, so only the empty passport verifies
	if err := os.WriteFile(nobody, []byte("{}"), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, command := range []string{"verify", "inspect", "graph"} {
			for _, json := range []bool{false, true} {
				var out, diagnostics bytes.Buffer
				env := &report.Env{Name: "kest", Stdin: bytes.NewReader(text), Stdout: &out, Stderr: &diagnostics, JSON: json}
				var err error
				switch command {
				case "verify":
					err = env.Verify(t.Context(), report.VerifyOptions{File: "-", Keys: nobody})
				case "inspect":
					err = env.Inspect(t.Context(), "-")
				case "graph":
					err = env.Graph(t.Context(), report.VerifyOptions{File: "-"})
				}
				code := env.Exit(err)
				if (code == 2) != (diagnostics.Len() > 0) || code != 2 && out.Len() == 0 {
					t.Fatalf("%s: exit code %d with %q and %q", command, code, out.String(), diagnostics.String())
				}
				if command == "verify" && code == 0 && strings.Contains(string(text), `"`) {
					t.Fatalf("verified without keys: %q", text)
				}
				for line := range strings.SplitSeq(out.String()+diagnostics.String(), "\n") {
					if !harmless(line) {
						t.Fatalf("%s shows %q", command, line)
					}
				}
			}
		}
	})
}
