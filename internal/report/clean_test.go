package report_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kest-go/kest/internal/report"
	"github.com/kest-go/kest/internal/report/reporttest"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                               "",
		"process_payment":                "process_payment",
		"spiffe://a/b?c=d&e":             "spiffe://a/b?c=d&e",
		`a\b`:                            `a\b`,
		"Größe 支付 платёж 🙂":              "Größe 支付 платёж 🙂",
		"e\u0301a\u0302\u0301":           "e\u0301a\u0302\u0301",
		"a\u0301\u0301\u0301\u0301b":     "a\u0301\u0301\\u0301\\u0301b",
		"\x1b[31mred\x1b[0m":             `\x1b[31mred\x1b[0m`,
		"\x1b]8;;http://evil\x07x":       `\x1b]8;;http://evil\x07x`,
		"a\r\nb\tc\x00\x7f\b":            `a\x0d\nb\tc\x00\x7f\x08`,
		"\u009b31m":                      `\u009b31m`,
		"\x9b31m":                        `\x9b31m`,
		"\u202egpj.exe\u2066\u2069":      `\u202egpj.exe\u2066\u2069`,
		"\u200bzero\u200d\ufeff":         `\u200bzero\u200d\ufeff`,
		"\u2028\u2029\u00a0\u3000":       `\u2028\u2029\u00a0\u3000`,
		"\U000e0041\U0010ffff\ue000":     `\U000e0041\U0010ffff\ue000`,
		"\xff\xc0\xaf\xed\xa0\x80\ufffd": `\xff\xc0\xaf\xed\xa0\x80` + "\ufffd",
	} {
		if got := report.Clean(in); got != want {
			t.Errorf("Clean(%q) is %q, want %q", in, got, want)
		}
	}
}

// harmless reports whether a terminal shows s as it is, on one line and in order.
func harmless(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.In(r, unicode.C, unicode.Zl, unicode.Zp) || unicode.Is(unicode.Bidi_Control, r)
	})
}

func FuzzClean(f *testing.F) {
	f.Add(reporttest.Attack, 20)
	f.Add("支付支付支付", 5)
	f.Add("a\xff\u0301\u202e", 1)
	f.Fuzz(func(t *testing.T, s string, width int) {
		width = 6 + (width&0x7fffffff)%200
		clean := report.Clean(s)
		if !harmless(clean) {
			t.Fatalf("Clean(%q) is %q", s, clean)
		}
		if report.Clean(clean) != clean {
			t.Fatalf("Clean(%q) is not stable", s)
		}
		for _, fitted := range []string{report.Fit(s, width), report.Name(s, width)} {
			if !harmless(fitted) || report.Width(fitted) > width {
				t.Fatalf("%q in %d columns is %q, %d columns", s, width, fitted, report.Width(fitted))
			}
		}
		lines := report.Wrap(clean, width)
		for _, line := range lines {
			if report.Width(line) > width {
				t.Fatalf("%q wrapped to %d columns has %q", clean, width, line)
			}
		}
		if joined := strings.Join(lines, ""); strings.ReplaceAll(joined, " ", "") != strings.ReplaceAll(clean, " ", "") {
			t.Fatalf("%q wrapped is %q", clean, lines)
		}
	})
}

// TestName: what is not one plain word cannot pass for the words around it.
func TestName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"checkout":                 "checkout",
		"checkout  trust 100":      `"checkout  trust 100"`,
		"a, by spiffe://root":      `"a, by spiffe://root"`,
		`say "hi"`:                 `"say \"hi\""`,
		"":                         `""`,
		"\x1b[2J":                  `"\x1b[2J"`,
		strings.Repeat("a", 50):    "aaaaaaaaaaaaaa…aaaaaaaaaaaaaaa",
		strings.Repeat("支", 50):    "支支支支支支支…支支支支支支支",
		strings.Repeat("a b ", 20): `"a b a b a b a…a b a b a b a b "`,
	} {
		got := report.Name(in, 30)
		if w := report.Width(got); w > 30 {
			t.Errorf("Name(%q) takes %d columns", in, w)
		}
		if len(in) < 50 && got != want {
			t.Errorf("Name(%q) is %q, want %q", in, got, want)
		}
	}
}

// TestWrapIsLinear: the longest text that an entry can hold is broken at once, not in time that grows with its square.
func TestWrapIsLinear(t *testing.T) {
	t.Parallel()
	start := time.Now()
	for range 64 { // entries of 64 KiB in a passport of 4 MiB (SPEC §12)
		if lines := report.Wrap(strings.Repeat("支", 20_000), 64); len(lines) != 625 {
			t.Fatalf("%d lines", len(lines))
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if lines := report.Wrap("支", 1); len(lines) != 1 {
		t.Errorf("a character wider than the line: %q", lines)
	}
}

// TestJSONIsClean: escapes for a terminal, the same text for a machine.
func TestJSONIsClean(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	env := &report.Env{Stdout: &out}
	want := reporttest.Attack + "\U000e0041支"
	if err := env.WriteJSON(map[string]string{want: want}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(out.String(), "\n") {
		if !harmless(line) {
			t.Errorf("line %q", line)
		}
	}
	var back map[string]string
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back[want] != want {
		t.Errorf("%v: reads back as %q", err, back)
	}
}

// TestColor: only on a terminal, and not when the user objects.
func TestColor(t *testing.T) {
	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	file, err := os.Create(t.TempDir() + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	if !report.Color(device) || report.Color(file) || report.Color(&bytes.Buffer{}) {
		t.Error("colours do not follow the kind of the output")
	}
	t.Setenv("TERM", "dumb")
	if report.Color(device) {
		t.Error("colours on a dumb terminal")
	}
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	if report.Color(device) {
		t.Error("colours in spite of NO_COLOR")
	}
}
