package kest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/propagate"
)

// resource is what the call acts on.
type resource struct {
	id         string
	attributes facts
}

// resolve asks the options for everything that depends on the call. What an option does not give comes from the
// context (SPEC §8).
func (c *call) resolve(in any) error {
	ambient := propagate.IdentityFrom(c.ctx)
	var err error
	for _, part := range []struct {
		name    string
		resolve resolver[string]
		ambient string
		to      *string
	}{
		{"user", c.user, ambient.User, &c.identity.User},
		{"agent", c.agent, ambient.Agent, &c.identity.Agent},
		{"task", c.task, ambient.Task, &c.identity.Task},
		{"resource", c.resourceID, "", &c.object.id},
	} {
		if *part.to, err = resolveOr(c.ctx, part.resolve, in, part.ambient); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if c.object.attributes, err = resolveOr(c.ctx, c.resourceAttr, in, facts{}); err != nil {
		return fmt.Errorf("resource attributes: %w", err)
	}
	if c.facts, err = resolveOr(c.ctx, c.attributes, in, facts{}); err != nil {
		return fmt.Errorf("attributes: %w", err)
	}
	return nil
}

func resolveOr[T any](ctx context.Context, r resolver[T], in any, otherwise T) (T, error) {
	if r == nil {
		return otherwise, nil
	}
	return r(ctx, in)
}

// hashInput is step 4.
func (c *call) hashInput(in any) (string, error) {
	if c.noInputHash {
		return "", nil
	}
	if c.digest == nil {
		return canonicalHash(in)
	}
	digest, err := c.digest(c.ctx, in)
	if err != nil {
		return "", err
	}
	if _, err := lineage.ParseHash(digest); err != nil {
		return "", fmt.Errorf("InputDigestFrom: %w", err)
	}
	return digest, nil
}

// scratch holds what is hashed.
type scratch struct {
	json      bytes.Buffer
	encoder   *json.Encoder // into json
	canonical []byte
}

var scratches = sync.Pool{New: func() any {
	s := new(scratch)
	s.encoder = json.NewEncoder(&s.json)
	s.encoder.SetEscapeHTML(false)
	return s
}}

const maxScratch = 1 << 20

// errNotUTF8 is refused because encoding/json would replace the bad bytes, and different values would have the
// same hash.
var errNotUTF8 = errors.New("a string is not valid UTF-8; encode binary data as base64")

// canonicalHash is the SHA-256 of the RFC 8785 form of v's JSON encoding, integers exact (SPEC §2 input_hash).
func canonicalHash(v any) (string, error) {
	s := scratches.Get().(*scratch)
	defer s.release()
	if err := s.encode(v, jcs.Exact); err != nil {
		return "", fmt.Errorf("%w; or use InputDigestFrom or NoInputHash", err)
	}
	return lineage.Hash(sha256.Sum256(s.canonical)).String(), nil
}

func (s *scratch) release() {
	if s.json.Cap() <= maxScratch && cap(s.canonical) <= maxScratch {
		scratches.Put(s)
	}
}

// encode puts the canonical JSON of v into s.
func (s *scratch) encode(v any, integers jcs.Integers) error {
	s.json.Reset()
	if err := s.encoder.Encode(v); err != nil {
		return fmt.Errorf("%T cannot be encoded as JSON: %w", v, err)
	}
	if replaced(s.json.Bytes()) {
		return errNotUTF8
	}
	canonical, err := jcs.Canonicalize(s.canonical[:0], s.json.Bytes(), jcs.Options{Integers: integers})
	if err != nil {
		return err
	}
	s.canonical = canonical
	return nil
}

// replaced reports whether text has the escape of U+FFFD: encoding/json writes that character as three bytes, and
// the escape only for bytes that it replaced. An escaped backslash before the same letters is none.
func replaced(text []byte) bool {
	escape := []byte(`\ufffd`)
	for at := 0; ; {
		i := bytes.Index(text[at:], escape)
		if i < 0 {
			return false
		}
		at += i
		before := text[:at]
		if (len(before)-len(bytes.TrimRight(before, `\`)))%2 == 0 {
			return true
		}
		at += len(escape)
	}
}

// identityLabel is the canonical JSON of the parts that are present (SPEC §2).
func identityLabel(id Identity) (string, error) {
	out := []byte("{")
	for _, part := range [...]struct{ name, value string }{{`"agent":`, id.Agent}, {`"task":`, id.Task}, {`"user":`, id.User}} {
		if part.value == "" {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		var err error
		if out, err = jcs.AppendString(append(out, part.name...), part.value); err != nil {
			return "", err
		}
	}
	return string(append(out, '}')), nil
}
