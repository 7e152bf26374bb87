package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	verify "github.com/kest-go/kest/cmd/kest-verify"
	"github.com/kest-go/kest/internal/report"
	"github.com/kest-go/kest/internal/report/reporttest"
)

// fixtures is a folder with passports.
func fixtures(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if names, err := reporttest.Write(dir); err != nil || len(names) < 20 {
		t.Fatalf("%d fixtures: %v", len(names), err)
	}
	return dir
}

type result struct {
	code           int
	stdout, stderr string
}

// run gives the program a command line in which @name stands for a fixture and $TIP for the tip of the good one.
func run(t *testing.T, dir, line string, stdin io.Reader) result {
	t.Helper()
	tip, err := os.ReadFile(filepath.Join(dir, "tip.txt"))
	if err != nil {
		t.Fatal(err)
	}
	line = strings.ReplaceAll(strings.ReplaceAll(line, "$TIP", string(tip)), "@", dir+string(filepath.Separator))
	args := strings.Fields(line)
	for i, arg := range args {
		args[i] = strings.ReplaceAll(arg, "''", "")
	}
	var stdout, stderr bytes.Buffer
	env := &report.Env{Name: "kest-verify", Stdin: stdin, Stdout: &stdout, Stderr: &stderr}
	code := verify.Run(t.Context(), args, env)
	return result{code, stdout.String(), stderr.String()}
}

// TestExitCodes holds the program to SPEC §14: 0 good, 1 bad with entry and reason on standard output, 2 unreadable
// with the reason on standard error; flags before and after FILE.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	dir := fixtures(t)
	for _, c := range []struct {
		line string
		code int
		want string // in stdout for 0 and 1, in stderr for 2
	}{
		{"@good.json --keys @keys.json", 0, "VERIFIED  3 entries by 2 principals"},
		{"--keys @keys.json @good.json", 0, "VERIFIED  3 entries"},
		{"-keys=@keys.json @good.json -linear", 0, "VERIFIED  3 entries"},
		{"--keys @keys.json -- @good.json", 0, "VERIFIED  3 entries"},
		{"--keys @keys.json --tip $TIP @good.json", 0, "VERIFIED  3 entries"},
		{"@empty.json --keys @keys.json --tip ''", 0, "an empty passport"},
		{"@wide.json --keys @keys.json", 0, "VERIFIED  42 entries"},
		{"@good.json --keys @archive.json", 0, "key: kms of arn:aws:kms"},
		{"@good.json --keys @archive.json --observed", 0, "when the archive first saw"},
		{"@good.json --keys @archive-unseen.json", 0, "when its signer says"},
		{"@good.json --keys @archive-unseen.json --observed", 1, "key not certified"},
		{"@good.json --keys @archive-late.json", 1, "key not certified"},
		{"@good.json --keys @keys.json --observed", 2, "a key set knows no times"},
		{"@trust.json --keys @keys.json", 1, "NOT VERIFIED  entry 3 (01900000-0000-7000-8000-000000000003): trust mismatch"},
		{"--keys @keys.json @signature.json", 1, "NOT VERIFIED  entry 1 (01900000-0000-7000-8000-000000000001): bad signature"},
		{"@reordered.json --keys @keys.json", 1, "broken link"},
		{"@mangled.json --keys @keys.json", 1, "NOT VERIFIED  entry 1: malformed"},
		{"@good.json --keys @other-keys.json", 1, "unknown key"},
		{"@diamond.json --keys @keys.json --linear", 1, "linear mode"},
		{"@many.json --keys @keys.json", 1, "the passport as a whole: limit"},
		{"@cut.json --keys @keys.json --tip $TIP", 1, "tip mismatch"},
		{"@good.json --keys @keys.json --tip ''", 1, "tip mismatch"},
		{"@trust.json --keys @keys.json --legacy a --legacy b", 1, "trust mismatch"},
		{"@hostile.json --keys @keys.json", 1, `\x1b[2J`},
		{"inspect @trust.json", 0, "NOT VERIFIED  no signature"},
		{"inspect @hostile.json", 0, `\u202e`},
		{"--help", 0, "usage: kest-verify FILE --keys KEYS"},
		{"", 2, "0 files given"},
		{"@good.json", 2, "without them a verification proves nothing"},
		{"@good.json @empty.json --keys @keys.json", 2, "2 files given"},
		{"--keys @keys.json -- @good.json --linear", 2, "2 files given"},
		{"@good.json --key @keys.json", 2, "-key"},
		{"@good.json --keys", 2, "keys"},
		{"@nowhere.json --keys @keys.json", 2, "does not exist"},
		{"@. --keys @keys.json", 2, "is a directory"},
		{"@garbage.bin --keys @keys.json", 2, "is not UTF-8 text"},
		{"@huge.json --keys @keys.json", 2, "larger than the limit of 4194304 bytes"},
		{"@deep.json --keys @keys.json", 2, "nested too deeply"},
		{"@none.json --keys @keys.json", 2, "is empty"},
		{"@baggage.txt --keys @keys.json", 2, "is a baggage header"},
		{"@good.json --keys @private.json", 2, "holds a private key"},
		{"@good.json --keys @keys.json --tip 00", 2, "--tip"},
		{"@good.json --keys @keys.json --legacy ''", 2, "empty legacy principal"},
		{"inspect @mangled.json", 2, "1 of 3 entries could not be decoded"},
		{"inspect @good.json --keys @keys.json", 2, "-keys"},
	} {
		got := run(t, dir, c.line, strings.NewReader(""))
		where := got.stdout
		if c.code == 2 {
			where = got.stderr
			if !strings.HasPrefix(got.stderr, "kest-verify: ") {
				t.Errorf("%s: diagnostics %q", c.line, got.stderr)
			}
		} else if got.stderr != "" {
			t.Errorf("%s: diagnostics %q", c.line, got.stderr)
		}
		if got.code != c.code || !strings.Contains(where, c.want) {
			t.Errorf("%s: exit code %d: %s%s; want %d and %s", c.line, got.code, got.stdout, got.stderr, c.code, c.want)
		}
		for text := range strings.SplitSeq(got.stdout+got.stderr, "\n") {
			if text != report.Clean(text) {
				t.Errorf("%s: shows %q", c.line, text)
			}
		}
	}
}

// TestJSON: one document, also for a bad passport and for an error.
func TestJSON(t *testing.T) {
	t.Parallel()
	dir := fixtures(t)
	for line, want := range map[string]string{
		"@good.json --json --keys @keys.json":    `"valid":true`,
		"--json @trust.json --keys @keys.json":   `"index":3`,
		"@hostile.json --keys @keys.json --json": `"valid":false`,
		"inspect @good.json --json":              `"verified":false`,
		"--json @nowhere.json --keys @keys.json": `"error":`,
	} {
		got := run(t, dir, line, strings.NewReader(""))
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(got.stdout)); err != nil {
			t.Errorf("%s: %v in %s", line, err, got.stdout)
		}
		if !strings.Contains(compact.String(), want) {
			t.Errorf("%s: %s; want %s", line, compact.String(), want)
		}
	}
}

// TestStandardInput reads a passport in small pieces, and reports a fault of the stream.
func TestStandardInput(t *testing.T) {
	t.Parallel()
	dir := fixtures(t)
	text, err := os.ReadFile(filepath.Join(dir, "spaced.json"))
	if err != nil {
		t.Fatal(err)
	}
	got := run(t, dir, "- --keys @keys.json", iotest.OneByteReader(bytes.NewReader(text)))
	if got.code != 0 || !strings.Contains(got.stdout, "(standard input): 3 entries") {
		t.Errorf("exit code %d: %s%s", got.code, got.stdout, got.stderr)
	}
	got = run(t, dir, "- --keys @keys.json", iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(text))))
	if got.code != 2 || !strings.Contains(got.stderr, "timeout") {
		t.Errorf("exit code %d: %s", got.code, got.stderr)
	}
	if got = run(t, dir, "- --keys -", bytes.NewReader(text)); got.code != 2 {
		t.Errorf("passport and keys from one stream: exit code %d", got.code)
	}
}

// TestInterrupted: a signal ends a program that waits for input.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	waiting, writer := io.Pipe()
	defer writer.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stderr bytes.Buffer
	env := &report.Env{Name: "kest-verify", Stdin: waiting, Stdout: io.Discard, Stderr: &stderr}
	done := make(chan int, 1)
	go func() { done <- verify.Run(ctx, []string{"inspect", "-"}, env) }()
	select {
	case code := <-done:
		if code != 2 || !strings.Contains(stderr.String(), "interrupted") {
			t.Errorf("exit code %d: %s", code, stderr.String())
		}
	case <-time.After(30 * time.Second):
		t.Error("waits for input in spite of the signal")
	}
}

// TestDependencies: the program links the standard library and this module, nothing else (DESIGN §2).
func TestDependencies(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f",
		"{{if not .Standard}}{{.ImportPath}}{{end}}", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, out)
	}
	const ours = "github.com/kest-go/kest/"
	allowed := map[string]bool{
		ours + "cmd/kest-verify": true, ours + "internal/report": true, ours + "lineage": true, ours + "internal/jcs": true,
		ours + "binding": true, ours + "identity": true, ours + "store": true, // archives of key bindings, and what that package is built on
	}
	seen := 0
	for name := range strings.FieldsSeq(string(out)) {
		if !allowed[name] {
			t.Errorf("links %s", name)
		}
		seen++
	}
	if seen != len(allowed) {
		t.Errorf("%d packages of this module; want %d", seen, len(allowed))
	}
}
