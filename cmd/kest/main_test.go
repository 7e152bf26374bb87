package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/kest-go/kest/cmd/kest/internal/cli"
	"github.com/kest-go/kest/internal/report"
	"github.com/kest-go/kest/internal/report/reporttest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"kest": func() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs testdata/script: every command with its exit codes, flags and formats (SPEC §14).
func TestScripts(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) < 8 {
		t.Fatalf("%d scripts found, %v", len(scripts), err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("TERM", "xterm")
			env.Setenv("SNEAKY", "no\x1b[2Jwhere\u202e.json")
			if _, err := reporttest.Write(env.WorkDir); err != nil {
				return err
			}
			tip, err := os.ReadFile(filepath.Join(env.WorkDir, "tip.txt"))
			env.Setenv("TIP", string(tip))
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "jsondoc": jsondoc, "clean": clean, "truncate": truncate,
		},
	})
}

// exits CODE PROGRAM ARGS... runs a program that must end with that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit := (*exec.ExitError)(nil)
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	if stderr := ts.ReadFile("stderr"); (want == 2) != strings.Contains(stderr, "kest: ") && !strings.Contains(stderr, "warning") {
		ts.Fatalf("exit code %d with the diagnostics %q", want, stderr)
	}
}

// jsondoc PATH=VALUE... demands that standard output is one JSON document with these values. A path is made of
// member names and indices, joined by dots; a value is JSON.
func jsondoc(ts *testscript.TestScript, neg bool, args []string) {
	decoder := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	var doc any
	ts.Check(decoder.Decode(&doc))
	if _, err := decoder.Token(); err != io.EOF {
		ts.Fatalf("more than one document: %v", err)
	}
	for _, arg := range args {
		path, want, _ := strings.Cut(arg, "=")
		value := doc
		for step := range strings.SplitSeq(path, ".") {
			switch v := value.(type) {
			case map[string]any:
				value = v[step]
			case []any:
				i, err := strconv.Atoi(step)
				if err != nil || i >= len(v) {
					ts.Fatalf("%s: no element %s of %d", path, step, len(v))
				}
				value = v[i]
			default:
				ts.Fatalf("%s: nothing at %s", path, step)
			}
		}
		got, err := json.Marshal(value)
		ts.Check(err)
		if (string(got) == want) == neg {
			ts.Fatalf("%s is %s, want %s", path, got, want)
		}
	}
}

// clean demands that the last output can be shown: no control character but line feeds, nothing that reorders or
// hides text, and, of text for people, no line wider than 80 columns.
func clean(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("clean cannot be negated")
	}
	for _, stream := range []string{"stdout", "stderr"} {
		text := ts.ReadFile(stream)
		if !utf8.ValidString(text) {
			ts.Fatalf("%s is not UTF-8", stream)
		}
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if shown := report.Clean(line); shown != line {
				ts.Fatalf("%s has %s", stream, shown)
			}
			if w := report.Width(line); stream == "stdout" && len(args) == 0 && w > report.Columns {
				ts.Fatalf("%s has a line of %d columns: %s", stream, w, line)
			}
		}
	}
}

// truncate FILE BYTES makes a sparse file of that size.
func truncate(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte("["), 0o600))
	ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
}

// failingWriter is a full disk.
type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestFullDisk: a verdict that could not be written is not a good one.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := reporttest.Write(dir); err != nil {
		t.Fatal(err)
	}
	good, keys := filepath.Join(dir, "good.json"), filepath.Join(dir, "keys.json")
	for _, args := range [][]string{
		{"verify", good, "--keys", keys}, {"verify", good, "--keys", keys, "--json"}, {"inspect", good},
		{"graph", good}, {"version"},
	} {
		var stderr bytes.Buffer
		if code := cli.Main(args, strings.NewReader(""), failingWriter{}, &stderr); code != 2 {
			t.Errorf("%q: exit code %d", args, code)
		}
		if !strings.Contains(stderr.String(), "kest: standard output: no space left") {
			t.Errorf("%q: %s", args, stderr.String())
		}
	}
}

// TestDevices: what is not a regular file is read up to the limit, however much it offers.
func TestDevices(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	code := cli.Main([]string{"inspect", "-"}, endless('['), io.Discard, &stderr)
	if code != 2 || !strings.Contains(stderr.String(), "larger than the limit of 4194304 bytes") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}

// endless is input that does not end.
type endless byte

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}
