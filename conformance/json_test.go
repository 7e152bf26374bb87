package conformance_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"reflect"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"
	"github.com/kest-go/kest/internal/jcs"
)

// The vector files themselves are some hundred real documents.
func TestWycheproofFilesCanonicalize(t *testing.T) {
	limit := int64(256 << 10)
	if testing.Short() {
		limit = 64 << 10
	}
	count := 0
	err := fs.WalkDir(wycheproof.TestVectors, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Size() > limit || !strings.HasSuffix(path, ".json") {
			return err
		}
		text, err := fs.ReadFile(wycheproof.TestVectors, path)
		if err != nil {
			return err
		}
		count++
		checkDocument(t, path, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if count < 20 {
		t.Fatalf("only %d files", count)
	}
}

// checkDocument holds the canonical form of a document against encoding/json.
// The files contain integers of any size, so they are kept exactly.
func checkDocument(t *testing.T, name string, text []byte) {
	t.Helper()
	o := jcs.Options{Integers: jcs.Exact}
	first, err := jcs.Canonicalize(nil, text, o)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	second, err := jcs.Canonicalize(nil, first, o)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("%s: canonical form is not a fixed point: %v", name, err)
	}
	if !reflect.DeepEqual(decode(t, text, false), decode(t, first, false)) {
		t.Errorf("%s: canonical form has another value", name)
	}
}

// decode reads JSON with the standard library, numbers as literals or as
// doubles.
func decode(t fataler, text []byte, literals bool) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	if literals {
		d.UseNumber()
	}
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("encoding/json refuses %q: %v", text, err)
	}
	return v
}

// fataler is what decode needs of *testing.T and *rapid.T.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// SPEC §3: the headers of the JWS vectors, as JSON. The strict parser accepts
// those that are JSON: none of them repeats a member.
func TestWycheproofHeadersAreJSON(t *testing.T) {
	good, bad := map[string]bool{}, map[string]bool{}
	jwsVectors(t, func(v vector, jws string) {
		segment, _, _ := strings.Cut(jws, ".")
		header, err := base64.RawURLEncoding.DecodeString(segment)
		if err != nil {
			return
		}
		_, err = jcs.Parse(header, jcs.Options{})
		if (err == nil) != json.Valid(header) {
			t.Errorf("vector %s %d: header %q: %v", v.group, v.TcID, header, err)
		}
		if err == nil {
			good[string(header)] = true
		} else {
			bad[string(header)] = true
		}
	})
	if len(good) < 20 || len(bad) == 0 {
		t.Fatalf("%d good and %d bad headers", len(good), len(bad))
	}
}
