package propagate_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// TestHostileInflate: one zlib stream in strict base64url, whole, within size and ratio, and nothing after it.
func TestHostileInflate(t *testing.T) {
	p := propagator(t, propagate.Config{Limits: lineage.Limits{PassportBytes: 100_000}})
	text := textOf(t, chain(t, 3))
	z := deflated(t, text, zlib.BestSpeed)
	b64 := base64.RawURLEncoding.EncodeToString
	for len(z)%3 != 1 { // so that there are bits to spare, and two '=' to pad
		text = " " + text
		z = deflated(t, text, zlib.BestSpeed)
	}
	changed := func(at int) string {
		c := bytes.Clone(z)
		c[(at+len(c))%len(c)] ^= 1
		return b64(c)
	}
	good := b64(z)
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	loose := good[:len(good)-1] + string(alphabet[strings.IndexByte(alphabet, good[len(good)-1])|1])
	var dictionary bytes.Buffer
	d, err := zlib.NewWriterLevelDict(&dictionary, zlib.BestCompression, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	d.Write([]byte(text))
	d.Close()
	empty := deflated(t, "", zlib.BestSpeed)
	for name, c := range map[string]struct {
		want propagate.Class
		z    string
	}{
		"empty":               {propagate.Malformed, ""},
		"padding alone":       {propagate.Malformed, "=="},
		"three times padding": {propagate.Malformed, good + "==="},
		"padding inside":      {propagate.Malformed, good[:8] + "=" + good[8:]},
		"not base64url":       {propagate.Malformed, strings.Repeat("+/", 20)},
		"space":               {propagate.Malformed, good[:8] + "%20" + good[8:]},
		"line break":          {propagate.Malformed, good[:8] + "%0A" + good[8:]},
		"carriage return":     {propagate.Malformed, good + "%0D"},
		"bits to spare":       {propagate.Malformed, loose},
		"one letter short":    {propagate.Malformed, good[:len(good)-1]},
		"not zlib":            {propagate.Malformed, b64([]byte(text))},
		"no header":           {propagate.Malformed, b64(z[2:])},
		"raw deflate":         {propagate.Malformed, b64(z[2 : len(z)-4])},
		"gzip magic":          {propagate.Malformed, b64(append([]byte{0x1f, 0x8b}, z[2:]...))},
		"header alone":        {propagate.Malformed, b64(z[:2])},
		"half":                {propagate.Malformed, b64(z[:len(z)/2])},
		"no checksum":         {propagate.Malformed, b64(z[:len(z)-4])},
		"part of a checksum":  {propagate.Malformed, b64(z[:len(z)-1])},
		"wrong checksum":      {propagate.Malformed, changed(-1)},
		"wrong header":        {propagate.Malformed, changed(0)},
		"wrong method":        {propagate.Malformed, changed(1)},
		"one byte after":      {propagate.Malformed, b64(append(bytes.Clone(z), 0))},
		"second stream":       {propagate.Malformed, b64(append(bytes.Clone(z), z...))},
		"empty stream before": {propagate.Malformed, b64(append(bytes.Clone(empty), z...))},
		"nothing inside":      {propagate.Malformed, b64(empty)},
		"dictionary":          {propagate.Malformed, b64(dictionary.Bytes())},
		"nested":              {propagate.Malformed, pack(t, string(z))},
		"nested, encoded":     {propagate.Malformed, pack(t, good)},
		"ratio bomb":          {propagate.TooLarge, pack(t, strings.Repeat(" ", 60_000))},
		"ratio, valid JSON":   {propagate.TooLarge, pack(t, "["+strings.Repeat(" ", 50_000)+"]")},
		"size bomb":           {propagate.TooLarge, pack(t, noise(100_001))},
		"not JSON":            {propagate.Malformed, pack(t, noise(100_000))},
	} {
		t.Run(name, func(t *testing.T) {
			member := propagate.KeyPassportZ + "=" + c.z
			if len(member) > propagate.MaxHeader {
				t.Fatalf("%d bytes do not get as far as the inflater", len(member))
			}
			turnedAway(t, p, c.want, member)
		})
	}
	for name, value := range map[string]string{"plain": good, "padded": good + "==", "padded, escaped": good + "%3D%3d"} { // SPEC §9
		if a, err := p.Restore(t.Context(), carry(propagate.KeyPassportZ+"="+value)); err != nil || len(a.Lineage.Entries) != 3 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestInflateBoundary: exactly the limit is read; the ratio is exact, too.
func TestInflateBoundary(t *testing.T) {
	text := textOf(t, chain(t, 3))
	for most, ok := range map[int]bool{len(text): true, len(text) - 1: false} {
		p := propagator(t, propagate.Config{Limits: lineage.Limits{PassportBytes: most}})
		_, err := p.Restore(t.Context(), carry(propagate.KeyPassportZ+"="+pack(t, text)))
		if ok && err != nil || !ok && propagate.ClassOf(err) != propagate.TooLarge {
			t.Errorf("limit of %d for %d bytes: %v", most, len(text), err)
		}
	}
	p := propagator(t, propagate.Config{})
	seen := map[bool]bool{}
	for blanks := 3300; blanks < 3600; blanks++ { // zlib makes 32 to 35 bytes of them
		text := "[" + strings.Repeat(" ", blanks) + "]"
		z := deflated(t, text, zlib.BestCompression)
		_, err := p.Restore(t.Context(), carry(propagate.KeyPassportZ+"="+base64.RawURLEncoding.EncodeToString(z)))
		bomb := len(text) > 100*len(z)
		if seen[bomb] = true; bomb != (propagate.ClassOf(err) == propagate.TooLarge) || !bomb && err != nil {
			t.Fatalf("%d bytes in %d: %v", len(text), len(z), err)
		}
	}
	if len(seen) != 2 {
		t.Error("not both sides of the boundary")
	}
}

// TestInflateAfterFailure: a reader that was given garbage is as good as new.
func TestInflateAfterFailure(t *testing.T) {
	p := propagator(t, propagate.Config{CompressFirst: true})
	good := headerOf(t, p, chain(t, 3))
	value, _ := valueOf(good, propagate.KeyPassportZ)
	for range 20 {
		for _, bad := range []string{value[:len(value)/2], value[:4], "AAAA", pack(t, strings.Repeat(" ", 60_000))} {
			if _, err := p.Restore(t.Context(), carry(propagate.KeyPassportZ+"="+bad)); err == nil {
				t.Fatalf("%.20q is accepted", bad)
			}
		}
		if got := restored(t, p, good); got.Len() != 3 {
			t.Fatalf("%d entries", got.Len())
		}
	}
}

// TestCompressFirst: a reader that splits at commas and decodes nothing, as the Python middleware does, can read what
// is written (SPEC §15).
func TestCompressFirst(t *testing.T) {
	passport := chain(t, 2)
	header := headerOf(t, propagator(t, propagate.Config{CompressFirst: true}), passport)
	value, ok := valueOf(header, propagate.KeyPassportZ)
	if _, plain := valueOf(header, propagate.KeyPassport); !ok || plain {
		t.Fatalf("%.60q", header)
	}
	packed, err := base64.URLEncoding.DecodeString(value + strings.Repeat("=", -len(value)&3)) // as urlsafe_b64decode
	if err != nil {
		t.Fatal(err)
	}
	r, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if _, err := text.ReadFrom(r); err != nil || text.String() != textOf(t, passport) {
		t.Errorf("%v, %q", err, text.String())
	}
	if tip, _ := valueOf(header, propagate.KeyChainTip); tip != passport.Tips()[0].String() {
		t.Errorf("tip %q", tip)
	}
	if decoded, err := url.PathUnescape(value); err != nil || decoded != value {
		t.Error("the value needs decoding")
	}
}
