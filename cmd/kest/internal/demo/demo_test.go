package demo_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/kest-go/kest/cmd/kest/internal/demo"
)

// shortDir is a folder whose paths fit on the screen; those of t.TempDir do not.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kest-demo-") //nolint:usetesting // its paths are too long for the screen
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// noLeak fails the test when goroutines are left.
func noLeak(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		deadline := time.Now().Add(5 * time.Second)
		for runtime.NumGoroutine() > before {
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<20)
				t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
			}
			runtime.Gosched()
		}
	})
}

// SPEC §14 kest demo; issue 2, item 10.
func TestScreen(t *testing.T) {
	noLeak(t)
	for name, o := range map[string]demo.Options{
		"80 columns":  {Width: 80},
		"wide":        {Width: 200},
		"unset width": {},
		"ascii":       {Width: 80, ASCII: true},
	} {
		var out bytes.Buffer
		o.Out, o.Dir = &out, shortDir(t)
		result, err := demo.Run(t.Context(), o)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, &out)
		}
		if !result.OK || result.Problem != "" || len(result.Scenes) != 7 {
			t.Errorf("%s: result %+v", name, result)
		}
		lines := 0
		for l := range strings.Lines(out.String()) {
			lines++
			if l = strings.TrimSuffix(l, "\n"); utf8.RuneCountInString(l) > 80 {
				t.Errorf("%s: line %d has %d columns: %s", name, lines, utf8.RuneCountInString(l), l)
			}
			if strings.ContainsAny(l, "\x1b\t\r") || strings.HasSuffix(l, " ") {
				t.Errorf("%s: line %d has control characters or ends in a space: %q", name, lines, l)
			}
			if o.ASCII && strings.ContainsFunc(l, func(r rune) bool { return r >= utf8.RuneSelf }) {
				t.Errorf("%s: line %d is not ASCII: %q", name, lines, l)
			}
		}
		flat := strings.Join(strings.Fields(out.String()), " ")
		for _, want := range []string{
			`processPayment("ORD-123", 99.95)`, `{"order_id":"ORD-123","amount":99.95,"status":"completed"}`, "chain length 2",
			"denied by kest/allow_trusted", "input.trust_score >= 40", "did not run", "denied by agent/no_untrusted_output",
			"pickQuote has 3", "bad signature", "trust mismatch", "tip mismatch", "broken link",
			"the request has no lineage", "it was replayed", "the gateway has no such key", "the signature does not match",
			`{"type":"about:blank","title":"not allowed","status":403}`, "1 refund before, 1 after", "All 7 scenes", o.Dir,
			"kest verify " + result.Files.Passport, "--keys " + result.Files.Keys, "--tip ",
		} {
			if !strings.Contains(flat, want) {
				t.Errorf("%s: the screen lacks %q", name, want)
			}
		}
	}
}

// Narrow terminals get broken sentences; only what the reader copies is longer.
func TestNarrowScreen(t *testing.T) {
	var out bytes.Buffer
	dir := shortDir(t)
	if _, err := demo.Run(t.Context(), demo.Options{Out: &out, Dir: dir, Width: 60}); err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(out.String()) {
		l = strings.TrimSuffix(l, "\n")
		if utf8.RuneCountInString(l) > 60 && !strings.Contains(l, dir) && !strings.Contains(l, "--tip") {
			t.Errorf("%d columns: %s", utf8.RuneCountInString(l), l)
		}
	}
}

func TestColor(t *testing.T) {
	var out bytes.Buffer
	if _, err := demo.Run(t.Context(), demo.Options{Out: &out, Dir: shortDir(t), Color: true}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\x1b[32m✓\x1b[0m", "\x1b[31m✗\x1b[0m"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q", want)
		}
	}
}

// document is the JSON form as a reader of it would declare it.
type document struct {
	OK       bool    `json:"ok"`
	Problem  *string `json:"problem"`
	Millis   *int64  `json:"duration_ms"`
	Dir      string  `json:"dir"`
	Services []struct{ Name, Does, URL, Principal, Kid string }
	Scenes   []struct {
		Number              int
		Name, Title, Proves string
		OK                  bool
		Problem             *string
		Detail              map[string]any
	}
	Files struct {
		Passport, Keys, Tip, Audit, Log string
		Headers, Forged                 []string
	}
	Verify []string `json:"verify_command"`
	Why    []string `json:"why_command"`
}

func TestJSON(t *testing.T) {
	noLeak(t)
	var out bytes.Buffer
	if _, err := demo.Run(t.Context(), demo.Options{Out: &out, Dir: shortDir(t), JSON: true, Color: true}); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(&out)
	d.DisallowUnknownFields()
	var doc document
	if err := d.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if d.More() {
		t.Error("more than one document")
	}
	if !doc.OK || doc.Problem != nil || doc.Millis == nil || len(doc.Services) != 3 || len(doc.Files.Forged) != 4 || len(doc.Files.Headers) != 3 || doc.Files.Log == "" || len(doc.Verify) != 6 || len(doc.Why) != 8 {
		t.Errorf("incomplete: %+v", doc)
	}
	var names []string
	for i, s := range doc.Scenes {
		names = append(names, s.Name)
		if s.Number != i+1 || !s.OK || s.Title == "" || s.Proves == "" || len(s.Detail) < 1 {
			t.Errorf("scene %d: %+v", i+1, s)
		}
	}
	if want := []string{"payment", "internet", "agent", "fork", "verify", "forgery", "attacks"}; !slices.Equal(names, want) {
		t.Fatalf("scenes %q, want %q", names, want)
	}
	for _, c := range []struct {
		scene int
		path  []string
		want  any
	}{
		{0, []string{"chain_length"}, 2.0},
		{0, []string{"result", "status"}, "completed"},
		{1, []string{"denied", "policy"}, "kest/allow_trusted"},
		{1, []string{"denied", "tier"}, "function"},
		{1, []string{"denied", "trust_score"}, 10.0},
		{1, []string{"denied", "record_verified"}, true},
		{1, []string{"browser_status"}, 403.0},
		{1, []string{"bodies_after"}, 1.0},
		{2, []string{"denied", "policy"}, "agent/no_untrusted_output"},
		{2, []string{"paid", "amount"}, 99.95},
		{3, []string{"picked", "rail"}, "bank"},
		{4, []string{"report", "valid"}, true},
		{4, []string{"without_authority", "reason"}, "authority"},
		{4, []string{"receipts_verified"}, 13.0},
		{6, []string{"cut_passport_verifies"}, true},
		{6, []string{"refunds_before"}, 1.0},
		{6, []string{"refunds_after"}, 1.0},
		{6, []string{"records_signed"}, 0.0},
	} {
		var got any = doc.Scenes[c.scene].Detail
		for _, p := range c.path {
			m, _ := got.(map[string]any)
			got = m[p]
		}
		if got != c.want {
			t.Errorf("scene %d: %s is %v, want %v", c.scene+1, strings.Join(c.path, "."), got, c.want)
		}
	}
	forgeries := doc.attempts(5)
	for i, want := range []string{"bad signature", "trust mismatch", "tip mismatch", "broken link"} {
		if len(forgeries) != 4 || forgeries[i]["reason"] != want || forgeries[i]["caught"] != true {
			t.Errorf("forgery %d: want it caught by %q in %v", i, want, forgeries)
		}
	}
	attacks := doc.attempts(6)
	for i, want := range [][2]string{
		{"stripped-header", "the request has no lineage, which this listener requires"},
		{"replayed-request", "hop proof does not hold: it was replayed: its nonce has been used"},
		{"cut-tail-own-proof", `hop proof does not hold: "` + doc.Services[0].Principal + `" has no such key`},
		{"cut-tail-old-proof", "hop proof does not hold: the signature does not match; the request was changed, or signed by another key"},
	} {
		if len(attacks) != 4 || attacks[i]["name"] != want[0] || attacks[i]["reason"] != want[1] || attacks[i]["status"] != 403.0 ||
			attacks[i]["caught"] != true || attacks[i]["answer"] != `{"type":"about:blank","title":"not allowed","status":403}` {
			t.Errorf("attack %d: want %q in %v", i, want, attacks)
		}
	}
}

// attempts are those of a scene.
func (d document) attempts(scene int) (out []map[string]any) {
	list, _ := d.Scenes[scene].Detail["attempts"].([]any)
	for _, a := range list {
		m, _ := a.(map[string]any)
		out = append(out, m)
	}
	return out
}

type fullDisk struct{}

var errFull = errors.New("disk full")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestWriteErrors(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		if _, err := demo.Run(t.Context(), demo.Options{Out: fullDisk{}, Dir: shortDir(t), JSON: asJSON}); !errors.Is(err, errFull) {
			t.Errorf("json %v: %v", asJSON, err)
		}
	}
}
