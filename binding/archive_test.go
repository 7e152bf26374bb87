package binding_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/lineage"
)

func textOf(t testing.TB, a *binding.Archive) []byte {
	t.Helper()
	return must(a.AppendJSON(nil))(t)
}

// full is an archive with two bindings, two observations and roots of all kinds that need no more keys.
func full(t testing.TB) (a *binding.Archive, w workload) {
	t.Helper()
	c := newCA(t)
	w = c.workload(shop)
	a = &binding.Archive{}
	a.Add(w.binding)
	a.Add(c.certify(pay, w.public, now(), now().Add(time.Hour)))
	a.Observe(lineage.HashJWS("one"), time.UnixMilli(1795000000000))
	a.Observe(lineage.HashJWS("two"), time.UnixMilli(1795000000001))
	self := must(lineage.NewRoots(lineage.RootsConfig{Self: []string{"local:*"}}))(t)
	for _, r := range []*lineage.Roots{c.roots(), self} {
		if err := a.AddRoots(r); err != nil {
			t.Fatal(err)
		}
	}
	return a, w
}

// TestArchiveText: the same content is the same text, in whatever order it came and however often; and it is read back.
func TestArchiveText(t *testing.T) {
	a, w := full(t)
	text := textOf(t, a)
	if got := must(a.AppendJSON([]byte("before")))(t); string(got) != "before"+string(text) {
		t.Error("what was there before is not kept")
	}
	back := must(binding.ParseArchive(text))(t)
	if again := textOf(t, back); !bytes.Equal(text, again) {
		t.Errorf("%s\nis read as\n%s", text, again)
	}
	var doc struct {
		Bindings []string         `json:"bindings"`
		Observed map[string]int64 `json:"observed"`
		Roots    json.RawMessage  `json:"roots"`
		Schema   string           `json:"schema"`
	}
	if err := json.Unmarshal(text, &doc); err != nil || len(doc.Bindings) != 2 || len(doc.Observed) != 2 || doc.Schema != "kest-archive/1" {
		t.Errorf("%+v, %v", doc, err)
	}
	roots := must(lineage.ParseRoots(doc.Roots))(t)
	other := &binding.Archive{}
	for range 3 {
		slices.Reverse(doc.Bindings)
		for _, text := range doc.Bindings {
			other.Add(must(lineage.ParseBinding(text))(t))
		}
		other.Observe(lineage.HashJWS("two"), time.UnixMilli(1795000000001))
		other.Observe(lineage.HashJWS("two"), time.UnixMilli(1795000000002)) // the earliest counts
		other.Observe(lineage.HashJWS("one"), time.UnixMilli(1795000000000))
		if err := other.AddRoots(roots); err != nil {
			t.Fatal(err)
		}
	}
	if again := textOf(t, other); !bytes.Equal(text, again) || other.Dropped() != 0 {
		t.Errorf("%s\nin another order is\n%s", text, again)
	}
	wantHeld(t, back, w, true)
	if text := textOf(t, &binding.Archive{}); string(text) != `{"bindings":[],"observed":{},"roots":{"issuers":{},"kms":[],"self":[],"trust_domains":{}},"schema":"kest-archive/1"}` {
		t.Errorf("empty: %s", text)
	}
}

// wantHeld demands that an audit believes what w signs now, or does not.
func wantHeld(t *testing.T, a *binding.Archive, w workload, want bool) {
	t.Helper()
	s := must(a.Source(binding.AuditConfig{}))(t)
	if _, _, err := verifier(t, s).Verify(t.Context(), w.entry(t, time.Now())); (err == nil) != want {
		t.Errorf("%v; want %t", err, want)
	}
}

func TestParseArchiveAttacks(t *testing.T) {
	a, w := full(t)
	good := string(textOf(t, a))
	hash := lineage.HashJWS("one").String()
	doc := func(members string) string { return `{` + members + `,"schema":"kest-archive/1"}` }
	quoted := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	var again []string
	for i := range 65 {
		b := newCA(t).certify(shop, w.public, now(), now().Add(time.Hour+time.Duration(i)*time.Second))
		again = append(again, quoted(b.Text()))
	}
	for name, text := range map[string]string{
		"empty":                   "",
		"no object":               `["kest-archive/1"]`,
		"no schema":               `{}`,
		"schema of another":       strings.Replace(good, "kest-archive/1", "kest-archive/2", 1),
		"schema is no string":     `{"schema":{"kest-archive/1":1}}`,
		"unknown member":          doc(`"rooots":{}`),
		"member twice":            doc(`"roots":{},"roots":{}`),
		"something after":         good + "{}",
		"cut":                     good[:len(good)-1],
		"bindings: object":        doc(`"bindings":{}`),
		"bindings: number":        doc(`"bindings":[1]`),
		"bindings: garbage":       doc(`"bindings":["{}"]`),
		"bindings: not canonical": doc(`"bindings":[` + quoted(strings.Replace(w.binding.Text(), ",", ", ", 1)) + `]`),
		"bindings: 65 of a key":   doc(`"bindings":[` + strings.Join(again, ",") + `]`),
		"observed: list":          doc(`"observed":[]`),
		"observed: no hash":       doc(`"observed":{"one":1}`),
		"observed: upper case":    doc(`"observed":{"` + strings.ToUpper(hash) + `":1}`),
		"observed: string":        doc(`"observed":{"` + hash + `":"1"}`),
		"observed: negative":      doc(`"observed":{"` + hash + `":-1}`),
		"observed: fraction":      doc(`"observed":{"` + hash + `":1.5}`),
		"observed: exponent":      doc(`"observed":{"` + hash + `":1e3}`),
		"observed: too late":      doc(`"observed":{"` + hash + `":9007199254740992}`),
		"observed: twice":         doc(`"observed":{"` + hash + `":1,"` + hash + `":2}`),
		"roots: list":             doc(`"roots":[]`),
		"roots: unknown member":   doc(`"roots":{"selv":[]}`),
		"roots: believe all":      doc(`"roots":{"self":["*"]}`),
		"roots: too long":         doc(`"roots":{"self":["` + strings.Repeat("x", 5<<20) + `"]}`),
		"too deep":                doc(`"roots":` + strings.Repeat(`{"trust_domains":`, 20) + `{}` + strings.Repeat("}", 20)),
		"too many values":         doc(`"observed":[` + strings.Repeat("[],", 1_000_000) + `1]`),
		"too long":                doc(`"bindings":["` + strings.Repeat("x", 64<<20) + `"]`),
	} {
		t.Run(name, func(t *testing.T) {
			a, err := binding.ParseArchive([]byte(text))
			if err == nil || a != nil {
				t.Fatal("accepted")
			}
			if msg := err.Error(); !strings.HasPrefix(msg, "archive: ") || len(msg) > 1000 || name == "too many values" && !strings.Contains(msg, "values") {
				t.Errorf("error %.1000q", msg)
			}
		})
	}
	for name, text := range map[string]string{
		"spaces":        "\n" + strings.ReplaceAll(doc(`"roots":{}`), ":", " : ") + "\n",
		"members":       `{"schema":"kest-archive/1"}`,
		"order":         `{"schema":"kest-archive/1","bindings":[]}`,
		"64 of a key":   doc(`"bindings":[` + strings.Join(again[:64], ",") + `]`),
		"binding twice": doc(`"bindings":[` + again[0] + "," + again[0] + `]`),
		"commas":        doc(`"roots":{"self":["a` + strings.Repeat(",[{", 500_000) + `"]}`),
		"after quotes":  doc(`"roots":{"self":["a\"` + strings.Repeat(",", 1_300_000) + `"]}`),
		"last moment":   doc(`"observed":{"` + hash + `":9007199254740991}`),
	} {
		if _, err := binding.ParseArchive([]byte(text)); err != nil || !binding.IsArchive([]byte(text)) {
			t.Errorf("%s: %v, IsArchive %t", name, err, binding.IsArchive([]byte(text)))
		}
	}
}

// TestIsArchive: it recognises what ParseArchive may read, in any layout, and no other file of this project. A file that
// only mentions archives is none.
func TestIsArchive(t *testing.T) {
	a, w := full(t)
	roots := must(newCA(t).roots().AppendJSON(nil))(t)
	for text, want := range map[string]bool{
		string(textOf(t, a)):                            true,
		string(textOf(t, a)) + "\n":                     true,
		`{"schema" : "kest-archive/1", "bindings": []}`: true,
		"":                                  false,
		"kest-archive/1":                    false,
		string(roots):                       false,
		w.binding.Text():                    false,
		`{"schema":"kest-archive/2"}`:       false,
		`["schema","kest-archive/1"]`:       false,
		`{"schema":["kest-archive/1"]}`:     false,
		`{"kest-archive/1":{"keys":[]}}`:    false,
		`{"a":{"schema":"kest-archive/1"}}`: false,
		`{"schema":"kest-archive/1"`:        false,
		`{"kest-archive/1":` + strings.Repeat("[", 3_000_000):                        false,
		`{"schema":"kest-archive/1","x":[` + strings.Repeat("1,", 1_300_000) + `1]}`: false,
		`{"schema":"kest-archive/1","x":"` + strings.Repeat("x", 64<<20) + `"} `:     false,
	} {
		if got := binding.IsArchive([]byte(text)); got != want {
			t.Errorf("%.100q: %t", text, got)
		}
	}
	if n := testing.AllocsPerRun(5, func() { binding.IsArchive(roots) }); n > 0 {
		t.Errorf("%.0f allocations to see that roots are no archive", n)
	}
}

// TestArchiveTimes: whatever clock is given, the archive can be read back, and what is out of range helps nobody.
func TestArchiveTimes(t *testing.T) {
	c := newCA(t)
	w := c.workload(shop)
	for name, at := range map[string]time.Time{
		"zero": {}, "1969": time.Unix(-1, 0), "year 300000": time.UnixMilli(1 << 53), "the last": time.UnixMilli(1<<63 - 1),
	} {
		a := &binding.Archive{}
		a.Add(w.binding)
		if err := a.AddRoots(c.roots()); err != nil {
			t.Fatal(err)
		}
		u := w.entry(t, time.Now())
		a.Observe(lineage.HashJWS(u.Entries[0]), at)
		back, err := binding.ParseArchive(textOf(t, a))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, _, err := verifier(t, must(back.Source(binding.AuditConfig{}))(t)).Verify(t.Context(), u); err == nil {
			t.Errorf("%s: believed", name)
		}
	}
}

// TestArchiveRoots: the same again adds nothing, also where roots have lists; what cannot be kept changes nothing.
func TestArchiveRoots(t *testing.T) {
	a, w := full(t)
	text := textOf(t, a)
	c := newCA(t)
	self := must(lineage.NewRoots(lineage.RootsConfig{Self: []string{"local:*"}}))(t)
	for range 5 {
		for _, r := range []*lineage.Roots{self, nil, {}} {
			if err := a.AddRoots(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	if again := textOf(t, a); !bytes.Equal(text, again) {
		t.Errorf("%d bytes became %d", len(text), len(again))
	}
	var many []string
	for i := range 1025 {
		many = append(many, fmt.Sprint(strings.Repeat("x", 5000), i))
	}
	if err := a.AddRoots(must(lineage.NewRoots(lineage.RootsConfig{Self: many}))(t)); err == nil {
		t.Error("5 MB of roots")
	}
	for i := range many {
		many[i] = fmt.Sprint("x", i)
	}
	if err := a.AddRoots(must(lineage.NewRoots(lineage.RootsConfig{Self: many}))(t)); err == nil {
		t.Error("more roots of a kind than are read")
	}
	if again := textOf(t, a); !bytes.Equal(text, again) {
		t.Error("a refused addition changed the archive")
	}
	wantHeld(t, a, w, true)
	if err := a.AddRoots(c.roots()); err != nil { // of the same trust domain: both stand
		t.Fatal(err)
	}
	wantHeld(t, a, w, true)
	other := c.workload(shop)
	a.Add(other.binding)
	wantHeld(t, a, other, true)
}

// TestArchiveRoomOfAKey: others cannot fill the room of a key by having it certified to themselves (SPEC §4: a platform
// certifies any key for whoever asks).
func TestArchiveRoomOfAKey(t *testing.T) {
	c := newCA(t)
	w := c.workload(shop)
	a := &binding.Archive{}
	for i := range 70 {
		a.Add(c.certify(pay, w.public, now(), now().Add(time.Hour+time.Duration(i)*time.Second)))
	}
	if n := a.Dropped(); n != 6 {
		t.Errorf("%d dropped of 70", n)
	}
	a.Add(w.binding)
	if err := a.AddRoots(c.roots()); err != nil {
		t.Fatal(err)
	}
	wantHeld(t, a, w, true)
	wantHeld(t, must(binding.ParseArchive(textOf(t, a)))(t), w, true)
}

// FuzzParseArchive: what is read is written in one form, which is read as the same.
func FuzzParseArchive(f *testing.F) {
	a, _ := full(f)
	f.Add(textOf(f, a))
	f.Add(textOf(f, &binding.Archive{}))
	f.Add([]byte(`{"schema":"kest-archive/1","roots":{"self":["a*","a*"]}}`))
	f.Add([]byte(`{"observed":{"` + lineage.HashJWS("one").String() + `":0},"schema":"kest-archive/1"} `))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := binding.ParseArchive(text)
		if err != nil {
			return
		}
		if !binding.IsArchive(text) {
			t.Fatal("it is read, and IsArchive says no")
		}
		first := textOf(t, a)
		b, err := binding.ParseArchive(first)
		if err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		if second := textOf(t, b); !bytes.Equal(first, second) {
			t.Fatalf("%s\nthen %s", first, second)
		}
	})
}
