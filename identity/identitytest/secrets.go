package identitytest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// quiet prints the provider and its signer in every way that a program might by accident, collects its errors,
// and looks for the private key in all of it (SPEC §8: never in a log, an error or %+v).
func (p *probe) quiet() error {
	s, err := p.signer()
	if err != nil {
		return err
	}
	ctx := stopped(context.Canceled)
	_, err1 := s.Sign(ctx, []byte("message"))
	_, err2 := p.provider.Signer(ctx)
	public := p.PublicKey(s.KeyID())
	find := finder{public: public, secrets: p.Secrets, seen: map[[ed25519.SeedSize]byte]bool{}}
	var errs []error
	for _, v := range []any{p.provider, s, err1, err2} {
		for how, text := range printed(v) {
			if what := find.leak(text); what != "" {
				errs = append(errs, fmt.Errorf("%s of %T shows %s", how, v, what))
			}
		}
	}
	return errors.Join(errs...)
}

// printed returns v in the forms that formatting verbs, encoders and loggers give it.
func printed(v any) map[string]string {
	out := map[string]string{}
	values := map[string]any{"": v, "struct holding it, ": struct{ V any }{v}, "list of it, ": []any{v}}
	if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer && !r.IsNil() {
		values["dereferenced, "] = r.Elem().Interface()
	}
	for name, value := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			out[name+verb] = fmt.Sprintf(verb, value)
		}
		text, _ := json.Marshal(value) // what cannot be marshalled prints nothing
		out[name+"JSON"] = string(text)
		var logged bytes.Buffer
		slog.New(slog.NewTextHandler(&logged, noTime)).Info("m", "v", value)
		slog.New(slog.NewJSONHandler(&logged, noTime)).Info("m", "v", value)
		out[name+"slog"] = logged.String()
	}
	return out
}

// noTime keeps log lines the same from one call to the next, so that a finder looks at them once.
var noTime = &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && len(groups) == 0 {
		return slog.Attr{}
	}
	return a
}}

// A finder looks for secrets in text.
type finder struct {
	public  ed25519.PublicKey
	secrets [][]byte
	seen    map[[ed25519.SeedSize]byte]bool // candidates that are not the seed of public
}

// leak says what of the private half of the public key, or of the other secrets, is in text, in raw, hexadecimal,
// base64 or listed form. A private key begins with its seed (RFC 8032 §5.1.5), so finding the seed finds both; and
// a seed is known by its public key, so the kit need not be told it. A seed of printable characters only is not
// found: list it in Secrets.
func (f *finder) leak(text string) string {
	for _, data := range decodings(text) {
		for i := 0; i+ed25519.SeedSize <= len(data); i++ {
			if f.isSeed([ed25519.SeedSize]byte(data[i:])) {
				return "the private key"
			}
		}
		for _, secret := range f.secrets {
			if len(secret) > 0 && bytes.Contains(data, secret) {
				return "a secret"
			}
		}
	}
	return ""
}

func (f *finder) isSeed(candidate [ed25519.SeedSize]byte) bool {
	// 32 random bytes are all printable once in 10^13 keys; text is so all the time, and deriving a key is slow.
	if f.seen[candidate] || !bytes.ContainsFunc(candidate[:], func(r rune) bool { return r < ' ' || r > '~' }) {
		return false
	}
	key := ed25519.NewKeyFromSeed(candidate[:])
	if bytes.Equal(key.Public().(ed25519.PublicKey), f.public) {
		return true
	}
	f.seen[candidate] = true
	return false
}

var (
	quoted    = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	hexRun    = regexp.MustCompile(`[0-9a-fA-F]{8,}`)
	base64Run = regexp.MustCompile(`[0-9A-Za-z+/_-]{11,}`)
	byteList  = regexp.MustCompile(`(?:(?:0x)?[0-9a-fA-F]{1,3}[\s,]+){7,}(?:0x)?[0-9a-fA-F]{1,3}`)
	byteItem  = regexp.MustCompile(`[0-9a-fA-Fx]+`)
	standard  = strings.NewReplacer("-", "+", "_", "/") // base64url to base64
)

// decodings returns the byte strings that text may stand for, the text itself first.
func decodings(text string) [][]byte {
	out := [][]byte{[]byte(text)}
	for _, run := range quoted.FindAllString(text, -1) {
		unquoted, _ := strconv.Unquote(run)
		out = append(out, []byte(unquoted))
	}
	for _, run := range hexRun.FindAllString(text, -1) {
		for _, start := range []int{0, 1} { // a digit of something else may stand in front
			even := run[start : start+(len(run)-start)&^1]
			data, _ := hex.DecodeString(even)
			out = append(out, data)
		}
	}
	for _, run := range base64Run.FindAllString(text, -1) {
		run = standard.Replace(run)
		for start := range 4 { // the key may begin at any character of a longer value
			part := run[start:]
			if len(part)%4 == 1 {
				part = part[:len(part)-1]
			}
			data, _ := base64.RawStdEncoding.DecodeString(part)
			out = append(out, data)
		}
	}
	for _, run := range byteList.FindAllString(text, -1) {
		for _, base := range []int{10, 16} {
			out = append(out, listed(run, base))
		}
	}
	return slices.DeleteFunc(out, func(data []byte) bool { return len(data) == 0 })
}

func listed(run string, base int) []byte {
	var data []byte
	for _, item := range byteItem.FindAllString(run, -1) {
		n, err := strconv.ParseUint(strings.TrimPrefix(item, "0x"), base, 8)
		if err != nil {
			n = 0 // keep the place, so that the neighbours stay in step
		}
		data = append(data, byte(n))
	}
	return data
}
