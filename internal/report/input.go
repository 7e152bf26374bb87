package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/kest-go/kest/binding"
	"github.com/kest-go/kest/lineage"
)

// Sizes of the files that commands read. A larger one is refused before it is read to its end (SPEC §12).
const (
	passportBytes = 4 << 20
	maxEntries    = 64 << 10
	keysBytes     = 64 << 20 // as binding.ParseArchive
)

// Read returns the text of a file, "-" being standard input. It refuses what is larger than limit bytes, empty,
// or not UTF-8 text. It returns when ctx ends, even while it waits for input. what names the thing in errors.
func (e *Env) Read(ctx context.Context, what, name string, limit int64) ([]byte, error) {
	type result struct {
		text []byte
		err  error
	}
	done := make(chan result, 1) // an interrupted read ends with the process
	go func() {
		text, err := e.load(name, limit)
		done <- result{text, err}
	}()
	var got result
	select {
	case got = <-done:
	case <-ctx.Done():
		return nil, fmt.Errorf("%s %s: interrupted while reading", what, Shown(name))
	}
	err := got.err
	if err == nil {
		err = readable(what, got.text)
	}
	if err != nil {
		if h := (*Error)(nil); errors.As(err, &h) {
			return nil, Hint(h.Hint, "%s %s: %w", what, Shown(name), h.Err)
		}
		return nil, fmt.Errorf("%s %s: %w", what, Shown(name), err)
	}
	return got.text, nil
}

// Shown is how a file name appears in text.
func Shown(name string) string {
	if name == "-" {
		return "(standard input)"
	}
	return name
}

func (e *Env) load(name string, limit int64) ([]byte, error) {
	in := e.Stdin
	if name != "-" {
		info, err := os.Stat(name)
		if err != nil {
			return nil, explain(err)
		}
		if info.IsDir() {
			return nil, Hint("name a file inside it", "is a directory")
		}
		if info.Mode().IsRegular() && info.Size() > limit {
			return nil, tooLarge(limit)
		}
		f, err := os.Open(name)
		if err != nil {
			return nil, explain(err)
		}
		defer f.Close()
		in = f
	}
	// The size above is only a first look: a pipe has none, and a file can grow.
	text, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, explain(err)
	}
	if int64(len(text)) > limit {
		return nil, tooLarge(limit)
	}
	return text, nil
}

func tooLarge(limit int64) error {
	return Hint("no valid file of this kind is so large; check that it is the right one",
		"larger than the limit of %d bytes", limit)
}

// explain drops the operation and the path that package os puts before a cause: the caller names the file.
func explain(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Hint(`check the path, or give "-" to read standard input`, "does not exist")
	case errors.Is(err, fs.ErrPermission):
		return Hint("check the file's permissions", "may not be read")
	}
	return err
}

func readable(what string, text []byte) error {
	switch {
	case len(bytes.TrimSpace(text)) == 0 && what == "passport":
		return Hint("an empty passport is written []", "is empty")
	case len(bytes.TrimSpace(text)) == 0:
		return errors.New("is empty")
	case bytes.HasPrefix(text, []byte("\xef\xbb\xbf")):
		return Hint("save it as UTF-8 without one", "begins with a byte order mark")
	case bytes.IndexByte(text, 0) >= 0 || !utf8.Valid(text):
		return Hint("a compressed or binary file has to be unpacked first", "is not UTF-8 text")
	}
	return nil
}

// Passport reads a passport, or a baggage header that carries one where the program can do that. Nothing in the
// result may be believed.
func (e *Env) Passport(ctx context.Context, name string) (lineage.Unverified, error) {
	return e.passport(ctx, name, lineage.Limits{})
}

// passport is Passport under limits that may be wider than the usual ones.
func (e *Env) passport(ctx context.Context, name string, l lineage.Limits) (lineage.Unverified, error) {
	text, err := e.Read(ctx, "passport", name, int64(max(passportBytes, l.PassportBytes)))
	if err != nil {
		return lineage.Unverified{}, err
	}
	return e.ParsePassport(ctx, name, text)
}

// ParsePassport is [Env.Passport] for what Read has returned, which is not empty. name is that of the file.
func (e *Env) ParsePassport(ctx context.Context, name string, text []byte) (lineage.Unverified, error) {
	if e.Baggage != nil && isBaggage(text) {
		return e.fromBaggage(ctx, name, text)
	}
	if err := otherThing(text); err != nil {
		return lineage.Unverified{}, Hint(err.Hint, "passport %s: %w", Shown(name), err.Err)
	}
	// A passport of too many entries is for the verifier to refuse, with its reason; beyond this number the file is
	// no passport, and would only cost memory.
	u, perr := lineage.ParsePassport(text, lineage.Limits{PassportBytes: len(text), PassportEntries: maxEntries})
	if perr != nil {
		return u, Hint("a passport is a JSON array of compact JWS strings", "%s: %w", Shown(name), perr)
	}
	return u, nil
}

func isBaggage(text []byte) bool {
	first, _, _ := bytes.Cut(bytes.TrimSpace(text), []byte("\n"))
	return baggage.Match(bytes.TrimSpace(first))
}

// fromBaggage reads the lines of a header, each with or without the name of the field (SPEC §14).
func (e *Env) fromBaggage(ctx context.Context, name string, text []byte) (lineage.Unverified, error) {
	var values []string
	for line := range strings.Lines(string(bytes.TrimSpace(text))) {
		line = strings.TrimSpace(line)
		if field, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(field), "baggage") {
			line = value
		}
		values = append(values, line)
	}
	u, err := e.Baggage(ctx, strings.Join(values, ","))
	if err != nil {
		return lineage.Unverified{}, Hint("give the whole value of one baggage header; a claim check names a passport that is in a store",
			"baggage %s: %w", Shown(name), err)
	}
	return u, nil
}

var (
	baggage = regexp.MustCompile(`(?i)^(baggage\s*:.*|(.*,)?\s*kest\.(passport|passport_z|claim_check|chain_tip)\s*=.*)$`)
	jws     = regexp.MustCompile(`^eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*$`)
)

// otherThing recognises what people give instead of a passport.
func otherThing(text []byte) *Error {
	text = bytes.TrimSpace(text)
	first, _, _ := bytes.Cut(text, []byte("\n"))
	first = bytes.TrimSpace(first)
	switch {
	case text[0] == '[':
		return nil
	case text[0] == '{':
		if _, err := lineage.ParseKeySet(text); err == nil {
			return &Error{errors.New("holds keys, not a passport"), "keys are given as --keys FILE"}
		}
	case jws.Match(first):
		return &Error{errors.New("is a JWS, not a passport"), `put it into a JSON array: ["eyJ…"]`}
	case isBaggage(text):
		return &Error{errors.New("is a baggage header, which this program does not read"),
			"kest verify does; or give the value of kest.passport, percent-decoded, a JSON array of strings"}
	}
	return nil
}

// Keys reads what a verifier believes: a JSON object from principal to JWKS, or an archive of key bindings.
func (e *Env) Keys(ctx context.Context, name string, audit binding.AuditConfig) (lineage.KeySource, error) {
	text, err := e.Read(ctx, "keys", name, keysBytes)
	if err != nil {
		return nil, err
	}
	if binding.IsArchive(text) {
		archive, err := binding.ParseArchive(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", Shown(name), err)
		}
		return archive.Source(audit)
	}
	if audit.RequireObserved {
		return nil, Hint("give an archive of key bindings as --keys, or leave --observed out", "%s: a key set knows no times", Shown(name))
	}
	keys, err := lineage.ParseKeySet(text)
	if err != nil {
		return nil, Hint(`a key file is a JSON object from principal to JWKS, {"spiffe://…": {"keys": […]}}, or an archive of key bindings`,
			"%s: %w", Shown(name), err)
	}
	return keys, nil
}
