package lineage_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/lineage"
)

// The time of a binding is what statement, leaf, intermediate and root have in common.
func TestBindingTimeIsAnIntersection(t *testing.T) {
	p := newPlatform(t)
	minute := func(n int) time.Time { return begin.Add(time.Duration(n) * time.Minute) }
	window := func(from, to int) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = minute(from), minute(to) }
	}
	for i, c := range []struct{ root, middle, leaf [2]int }{
		{[2]int{-9, 99}, [2]int{-9, 99}, [2]int{-9, 99}}, // statement: 0 to 60
		{[2]int{-9, 99}, [2]int{-9, 99}, [2]int{10, 50}},
		{[2]int{-9, 99}, [2]int{10, 50}, [2]int{-9, 99}},
		{[2]int{10, 50}, [2]int{-9, 99}, [2]int{-9, 99}},
		{[2]int{10, 99}, [2]int{5, 50}, [2]int{-9, 70}},
	} {
		root := newAuthority(t, nil, window(c.root[0], c.root[1]))
		middle := newAuthority(t, root, window(c.middle[0], c.middle[1]))
		f := p.honest(lineage.FormX509)
		f.chain = []*x509.Certificate{middle.leaf(t, p.leafKey.Public(), window(c.leaf[0], c.leaf[1])), middle.cert}
		b, err := lineage.ParseBinding(f.text(t))
		if err != nil {
			t.Fatal(err)
		}
		roots := rootsOf(t, lineage.RootsConfig{Domains: map[string]lineage.DomainRoots{"example.org": {X509: []*x509.Certificate{root.cert}}}})
		k, err := b.Verify(minute(30), 0, roots)
		if err != nil {
			t.Fatal(err)
		}
		from, to := minute(10), minute(50)
		if i == 0 {
			from, to = minute(0), minute(60)
		}
		if !k.NotBefore.Equal(from) || !k.NotAfter.Equal(to) {
			t.Errorf("case %d holds from %v to %v, want %v to %v", i, k.NotBefore, k.NotAfter, from, to)
		}
		for at, ok := range map[time.Time]bool{from: true, to: true, from.Add(-time.Second): false, to.Add(time.Second): false} {
			if k.Covers(at, 0) != ok {
				t.Errorf("case %d covers %v: %v", i, at, !ok)
			}
			if _, err := b.Verify(at, 0, roots); (err == nil) != ok {
				t.Errorf("case %d at %v: %v", i, at, err)
			}
		}
	}
}

// Leeway is applied on both sides, to its last nanosecond, and only to the clock.
func TestBindingLeeway(t *testing.T) {
	p := newPlatform(t)
	const leeway = 30 * time.Second
	for _, form := range forms {
		b := p.bind(t, form)
		for at, ok := range map[time.Time]bool{
			begin.Add(-leeway): true, begin.Add(-leeway - 1): false, begin.Add(time.Hour + leeway): true, begin.Add(time.Hour + leeway + 1): false,
		} {
			k, err := b.Verify(at, leeway, p.roots)
			if ok && (err != nil || !k.NotBefore.Equal(begin) || !k.NotAfter.Equal(begin.Add(time.Hour)) || !k.Covers(at, leeway)) {
				t.Errorf("%s at %v: %+v, %v", form, at, k, err)
			}
			if !ok && (err == nil || reason(t, err) != lineage.BindingTime) {
				t.Errorf("%s at %v: %v", form, at, err)
			}
		}
		_, err := b.Verify(begin.Add(-2*time.Hour), leeway, p.roots)
		if err == nil || !strings.Contains(err.Error(), "2h0m0s") || !strings.Contains(err.Error(), "compare the clocks") {
			t.Errorf("a clock two hours off: %v", err)
		}
	}
}

// Nobody sees the proof, which may be a token, by printing a binding.
func TestBindingPrintsNoToken(t *testing.T) {
	p := newPlatform(t)
	for _, form := range forms {
		b := p.bind(t, form)
		var doc struct{ Proof string }
		if err := json.Unmarshal([]byte(b.Text()), &doc); err != nil {
			t.Fatal(err)
		}
		k, err := b.Verify(begin, 0, p.roots)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range []any{b, *b, []*lineage.KeyBinding{b}, []lineage.KeyBinding{*b}, struct{ B *lineage.KeyBinding }{b}, struct{ b lineage.KeyBinding }{*b}, k, map[string]any{"b": *b}} {
			var printed bytes.Buffer
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				fmt.Fprintf(&printed, verb+"\n", v)
			}
			text, _ := json.Marshal(v)
			printed.Write(text)
			for _, part := range strings.Split(doc.Proof, ".") {
				if bytes.Contains(printed.Bytes(), []byte(part)) || bytes.Contains(printed.Bytes(), fmt.Appendf(nil, "%x", part)) {
					t.Errorf("%s, value %d prints %.40s… in %s", form, i, part, printed.Bytes())
				}
			}
		}
	}
	for _, b := range []*lineage.KeyBinding{{}, nil} {
		if _, err := b.Verify(time.Time{}, 0, p.roots); reason(t, err) != lineage.BindingMalformed {
			t.Errorf("no binding: %v", err)
		}
	}
}
