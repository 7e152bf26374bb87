package lineage_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/lineage"
)

// F-PA-01, F-PA-02: what a passport says about itself.
func TestPassport(t *testing.T) {
	var empty lineage.Passport
	if empty.Len() != 0 || empty.Last() != nil || len(empty.Leaves()) != 0 || len(empty.Tips()) != 0 || empty.Size() != 2 || empty.Summary().MinTrust != 100 {
		t.Error("the zero passport is not empty")
	}
	root := sign(t, call{n: 0, source: lineage.SourceUserInput})
	left, right := sign(t, call{n: 1, by: pay}, root), sign(t, call{n: 2, by: agent, source: lineage.SourceInternet}, root)
	p := passportOf(t, root, left, right)
	text, err := p.MarshalText()
	if err != nil || len(text) != p.Size() {
		t.Fatalf("text of %d bytes, size says %d, %v", len(text), p.Size(), err)
	}
	var plain []string
	if err := json.Unmarshal(text, &plain); err != nil || !slices.Equal(plain, p.Entries()) || strings.ContainsAny(string(text), " \n") {
		t.Errorf("text %s: %v", text, err)
	}
	if raw, err := json.Marshal(map[string]any{"passport": p}); err != nil || !strings.Contains(string(raw), string(text)) {
		t.Errorf("as JSON: %s, %v", raw, err)
	}
	s := p.Summary()
	if s.Length != 3 || s.MinTrust != 4 || strings.Join(s.Principals, " ") != agent+" "+pay+" "+web || strings.Join(s.SourceTypes, " ") != "internal internet user_input" {
		t.Errorf("summary %+v", s)
	}
	tips := p.Tips()
	if len(tips) != 2 || !slices.Contains(tips, left.Hash()) || !slices.Contains(tips, right.Hash()) || p.Find(root.Hash()) != root || p.Find(lineage.Hash{}) != nil {
		t.Errorf("tips %v", tips)
	}
	join := sign(t, call{n: 3}, left, right)
	q, err := p.Append(join)
	if err != nil || q.Len() != 4 || p.Len() != 3 || len(q.Leaves()) != 1 || len(p.Leaves()) != 2 {
		t.Errorf("append: %v", err)
	}
	if _, err := empty.Append(join); err == nil {
		t.Error("an entry without its parents is appended")
	}
	n := 0
	for range q.All() {
		if n++; n == 2 {
			break
		}
	}
}

// Merge keeps what both have once, and refuses two entries with one id.
func TestMerge(t *testing.T) {
	root := sign(t, call{n: 0})
	left, right := sign(t, call{n: 1, by: pay}, root), sign(t, call{n: 2, by: agent}, root)
	base := passportOf(t, root)
	a, _ := base.Append(left)
	b, _ := base.Append(right)
	m, err := lineage.Merge(a, b)
	if err != nil || m.Len() != 3 || len(m.Tips()) != 2 || a.Len() != 2 || b.Len() != 2 {
		t.Fatalf("%d entries, %v", m.Len(), err)
	}
	accepted(t, newVerifier(t, lineage.VerifierConfig{}), lineage.Unverified{Entries: m.Entries(), Tips: m.Tips()})
	other := passportOf(t, root, right, left) // no shared links
	for _, pair := range [][2]lineage.Passport{{m, a}, {a, m}, {m, m}, {m, {}}, {{}, m}, {m, other}, {other, m}} {
		if got, err := lineage.Merge(pair[0], pair[1]); err != nil || got.Len() != 3 || !slices.Equal(got.Tips(), m.Tips()) {
			t.Errorf("%d entries, %v", got.Len(), err)
		}
	}
	twin := passportOf(t, root, sign(t, call{n: 1, by: agent, op: "other"}, root))
	if got, err := lineage.Merge(a, twin); !errors.Is(err, lineage.ErrConflict) || got.Len() != 0 {
		t.Errorf("merge of two entries with one id: %v", err)
	}
	extended := passportOf(t, root, left, sign(t, call{n: 7}, left))
	if got, err := lineage.Merge(extended, a); err != nil || got.Len() != 3 || len(got.Tips()) != 1 {
		t.Errorf("merge with an ancestor: %d tips, %v", len(got.Tips()), err)
	}
}

// F-PA-02, NF-INTER-01: the text form, and texts that are not it.
func TestParsePassport(t *testing.T) {
	c := jwsOf(chain(t, 2)...)
	for _, text := range []string{`["` + c[0] + `","` + c[1] + `"]`, " [ \"" + c[0] + "\" ,\r\n\t\"" + c[1] + "\"\n]\n"} {
		if u, err := lineage.ParsePassport([]byte(text), lineage.Limits{}); err != nil || !slices.Equal(u.Entries, c) || u.Tips != nil {
			t.Errorf("%d entries, %v", len(u.Entries), err)
		}
	}
	if u, err := lineage.ParsePassport([]byte(`[]`), lineage.Limits{}); err != nil || len(u.Entries) != 0 {
		t.Errorf("empty passport: %v", err)
	}
	for name, text := range map[string]string{
		"empty": "", "null": "null", "object": "{}", "string": `"x"`, "number in it": `["x",1]`, "null in it": `[null]`, "nested": `[["x"]]`,
		"object in it": `[{}]`, "cut": `["x"`, "comma": `["x",]`, "two": `[][]`, "byte order mark": "\ufeff[]", "invalid UTF-8": "[\"\xff\"]",
		"lone surrogate": `["\ud800"]`, "line feed": "[\"a\nb\"]", "comment": "[] // ok", "depth bomb": strings.Repeat("[", 1<<20),
	} {
		if u, err := lineage.ParsePassport([]byte(text), lineage.Limits{}); err == nil || errors.Is(err, lineage.ErrLimit) || u.Entries != nil {
			t.Errorf("%s: %d entries, %v", name, len(u.Entries), err)
		}
	}
	many := func(n int) []byte { return []byte("[" + strings.TrimSuffix(strings.Repeat(`"",`, n), ",") + "]") }
	if _, err := lineage.ParsePassport(many(1024), lineage.Limits{}); err != nil {
		t.Error(err)
	}
	for name, text := range map[string][]byte{
		"1025 entries": many(1025), "10,000 entries": many(10_000), "a million numbers": []byte("[" + strings.Repeat("0,", 1<<20) + "0]"),
		"100 MB": []byte(`["` + strings.Repeat("A", 100<<20) + `"]`),
	} {
		start := time.Now()
		allocated := allocations(func() {
			if _, err := lineage.ParsePassport(text, lineage.Limits{}); !errors.Is(err, lineage.ErrLimit) {
				t.Errorf("%s: %v", name, err)
			}
		})
		if d := time.Since(start); allocated > 1<<20 || d > 5*time.Second {
			t.Errorf("%s: %d bytes, %v", name, allocated, d)
		}
	}
}

// SPEC §3: one spelling of a hash.
func TestParseHash(t *testing.T) {
	h := lineage.HashJWS("x")
	if got, err := lineage.ParseHash(h.String()); err != nil || got != h {
		t.Errorf("%v, %v", got, err)
	}
	var g lineage.Hash
	if text, err := h.MarshalText(); err != nil || g.UnmarshalText(text) != nil || g != h {
		t.Errorf("%v", g)
	}
	for _, s := range []string{"", "0", h.String()[1:], h.String() + "0", strings.ToUpper(h.String()), h.String()[:63] + "g", h.String()[:63] + " ", "\xff" + h.String()[1:]} {
		if got, err := lineage.ParseHash(s); err == nil || got != (lineage.Hash{}) {
			t.Errorf("%q is a hash", s)
		}
		if before := g; g.UnmarshalText([]byte(s)) == nil || g != before {
			t.Errorf("%q unmarshals", s)
		}
	}
}

func TestObject(t *testing.T) {
	o, err := lineage.NewObject(map[string]any{"z": 3, "a": 1, "m": []string{"<"}})
	if err != nil || o != `{"a":1,"m":["<"],"z":3}` {
		t.Errorf("%s, %v", o, err)
	}
	for _, v := range []any{nil, 1, "x", []int{}, map[string]any{"n": int64(1<<53 + 1)}, map[string]any{"f": func() {}}, (*struct{})(nil)} {
		if o, err := lineage.NewObject(v); err == nil || o != "" {
			t.Errorf("%v becomes %s", v, o)
		}
	}
	if raw, err := json.Marshal(lineage.Object("")); err != nil || string(raw) != "{}" {
		t.Errorf("%s, %v", raw, err)
	}
}

// InsecureInspect shows what an entry claims, also when its signature is wrong.
func TestInsecureInspect(t *testing.T) {
	one := chain(t, 1)[0]
	forged := one.JWS()[:strings.LastIndexByte(one.JWS(), '.')+1] + b64(make([]byte, 64))
	e, kid, err := lineage.InsecureInspect(forged, lineage.Limits{})
	if err != nil || e.ID != entryID(0) || e.Principal() != web || kid != lineage.Thumbprint(publicKey(web)) {
		t.Errorf("%+v, %s, %v", e, kid, err)
	}
	for name, jws := range map[string]string{"empty": "", "receipt": receiptOf(t, one), "text": "a.b.c"} {
		if e, kid, err := lineage.InsecureInspect(jws, lineage.Limits{}); err == nil || e.ID != "" || kid != "" {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestReservedLabels(t *testing.T) {
	for name, want := range map[string]bool{"principal": true, "trace_id": true, "kest.": true, "kest.x": true, "Kest.x": false, "kest": false, "team": false, "": false} {
		if lineage.ReservedLabel(name) != want {
			t.Errorf("%q is reserved: %v", name, !want)
		}
	}
}
