package demo_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kest-go/kest/cmd/kest/internal/demo"
	"github.com/kest-go/kest/lineage"
)

// The files verify on their own, as kest verify does it, and the forged ones do not.
func TestFiles(t *testing.T) {
	result, err := demo.Run(t.Context(), demo.Options{Dir: filepath.Join(t.TempDir(), "made", "by the demo")})
	if err != nil {
		t.Fatal(err)
	}
	read := func(path string) []byte {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	keys, err := lineage.ParseKeySet(read(result.Files.Keys))
	if err != nil {
		t.Fatal(err)
	}
	v, err := lineage.NewVerifier(lineage.VerifierConfig{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	tip, err := lineage.ParseHash(strings.TrimSpace(string(read(result.Files.Tip))))
	if err != nil {
		t.Fatal(err)
	}
	if result.Verify[5] != tip.String() {
		t.Errorf("the command announces %s, the file %s", result.Verify[5], tip)
	}
	check := func(path string) (lineage.Passport, error) {
		t.Helper()
		u, err := lineage.ParsePassport(read(path), lineage.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		u.Tips = []lineage.Hash{tip}
		p, _, err := v.Verify(t.Context(), u)
		return p, err
	}
	p, err := check(result.Files.Passport)
	if err != nil || p.Len() != 13 || len(keys.Principals()) != 3 {
		t.Fatalf("%d entries, %d principals, %v", p.Len(), len(keys.Principals()), err)
	}
	if len(result.Files.Forged) != 4 {
		t.Fatalf("forged files: %q", result.Files.Forged)
	}
	for _, path := range result.Files.Forged {
		if _, err := check(path); !errors.Is(err, lineage.ErrUnverified) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if w := result.Why; len(w) != 8 || w[0] != "why" || w[1] != result.Dir || len(w[7]) != 36 {
		t.Errorf("the command that explains: %q", w)
	}
	if got := read(filepath.Join(result.Why[5], "kest", "allow_trusted.rego")); !bytes.Contains(got, []byte("trust_score >= 40")) {
		t.Errorf("policies: %q", got)
	}
	checkAudit(t, read(result.Files.Audit), v, p)
	checkLog(t, read(result.Files.Log))
}

// The log names the reason of every refusal, and repeats nothing that opens a door.
func checkLog(t *testing.T, text []byte) {
	t.Helper()
	refused := map[string]int{}
	for text := range bytes.Lines(text) {
		var l struct{ Level, Msg, Service, Reason string }
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatal(err)
		}
		if l.Msg == "kest: request refused" {
			refused[l.Service]++
		}
		if l.Service == "" || l.Msg == "kest: request refused" && l.Reason == "" {
			t.Errorf("a line without service or reason: %s", text)
		}
	}
	if refused["ledger"] != 4 || len(refused) != 1 {
		t.Errorf("refused requests by service: %v", refused)
	}
	for _, secret := range []string{"eyJ", "kest.passport", "kest.claim", "nonce=", "kest=:"} {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("the log has %q", secret)
		}
	}
}

// Every line of the audit file stands for itself: entries by key, receipts by entry, denials by key.
func checkAudit(t *testing.T, text []byte, v *lineage.Verifier, p lineage.Passport) {
	t.Helper()
	kinds := map[string]int{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	receipts := 0
	for lines.Scan() {
		var l struct{ Kind, JWS, Hash string }
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		kinds[l.Kind]++
		switch l.Kind {
		case "denial":
			if _, err := v.VerifyDenial(t.Context(), l.JWS); err != nil {
				t.Error(err)
			}
		case "receipt":
			h, err := lineage.ParseHash(l.Hash)
			if err != nil {
				t.Fatal(err)
			}
			if s := p.Find(h); s != nil {
				receipts++
				if _, err := v.VerifyReceipt(t.Context(), l.JWS, s); err != nil {
					t.Error(err)
				}
			}
		case "entry":
			if lineage.HashJWS(l.JWS).String() != l.Hash {
				t.Error("an entry has another hash")
			}
		}
	}
	if kinds["entry"] != 14 || kinds["receipt"] != 14 || kinds["denial"] != 2 || len(kinds) != 3 || receipts != p.Len() {
		t.Errorf("records %v, %d receipts of the passport's %d entries", kinds, receipts, p.Len())
	}
}

// The demo overwrites an earlier demo and nothing else.
func TestFolder(t *testing.T) {
	dir := shortDir(t)
	for range 2 {
		if _, err := demo.Run(t.Context(), demo.Options{Dir: dir}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := demo.Run(t.Context(), demo.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "thesis.txt") {
		t.Errorf("a folder with other files: %v", err)
	}
	for _, link := range []string{"passport.json", "audit.jsonl", "log.jsonl"} {
		dir, victim := shortDir(t), filepath.Join(t.TempDir(), "victim")
		if err := errors.Join(os.WriteFile(victim, []byte("mine"), 0o600), os.Symlink(victim, filepath.Join(dir, link))); err != nil {
			t.Fatal(err)
		}
		_, err := demo.Run(t.Context(), demo.Options{Dir: dir})
		if text, _ := os.ReadFile(victim); err == nil || string(text) != "mine" {
			t.Errorf("%s is a link out of the folder: %v, and the file now holds %q", link, err, text)
		}
	}
	t.Setenv("TMPDIR", t.TempDir())
	result, err := demo.Run(t.Context(), demo.Options{})
	if err != nil || filepath.Dir(result.Dir) != filepath.Clean(os.TempDir()) || result.Files.Keys != filepath.Join(result.Dir, "keys.json") {
		t.Errorf("without a folder: %+v, %v", result.Files, err)
	}
}

// The demo runs the guide's policy file, not a lookalike.
func TestGuidePolicy(t *testing.T) {
	const name = "kest/allow_trusted.rego"
	ours, err := fs.ReadFile(demo.Policies(), name)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "examples", "policies", name))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ours, theirs) {
		t.Errorf("policies/%s differs from examples/policies/%s; copy it", name, name)
	}
}
