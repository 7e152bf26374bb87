package binding

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/kest-go/kest/internal/jcs"
	"github.com/kest-go/kest/lineage"
)

// MaxOffered is how many bindings of one request are looked at, and how many are sent along with one; MaxOfferedBytes
// bounds them together. What is beyond is passed over.
const (
	MaxOffered      = 8
	MaxOfferedBytes = 16 << 10
)

// withinBounds returns the bindings that are looked at, or sent.
func withinBounds(offers []string) []string {
	out, size := make([]string, 0, min(len(offers), MaxOffered)), 0
	for _, text := range offers[:min(len(offers), MaxOffered)] {
		if size+len(text) <= MaxOfferedBytes {
			out, size = append(out, text), size+len(text)
		}
	}
	return out
}

// offered looks at what came along with the request, which may be anything. Each is read and checked once, whatever the
// number of entries that name its key: what holds is remembered, and so is what does not. Bytes that claim to be about
// another key or principal cost no more than to see that.
func (s *Source) offered(ctx context.Context, c claim, roots *lineage.Roots) (*known, error) {
	offers := lineage.Offered(ctx)
	if len(offers) == 0 {
		return nil, nil
	}
	principal, err := jcs.AppendString(nil, c.principal)
	if err != nil {
		return nil, nil //nolint:nilerr // no binding can name it
	}
	var problems []error
	for _, text := range withinBounds(offers) {
		if !claims(text, c.keyID, string(principal)) || s.wasRefused(text, roots) {
			continue
		}
		b, err := lineage.ParseBinding(text)
		if err != nil || b.Principal() != c.principal || b.KeyID() != c.keyID {
			s.refuse(text, roots)
			continue
		}
		k, err := s.verify(ctx, b, roots)
		if k != nil {
			return k, nil
		}
		problems = append(problems, err) // a root source that fails for this one may know the next
	}
	return nil, errors.Join(problems...)
}

// claims reports, without parsing it, whether a text can be the binding of a key to a principal, which is given as JSON:
// a binding is canonical, so its members are in this order and without space (RFC 8785 §3.2.3).
func claims(text, keyID, principal string) bool {
	_, rest, _ := strings.Cut(text, `","key":"`)
	key, rest, found := strings.Cut(rest, `","principal":`)
	if !found || len(key) != base64.RawURLEncoding.EncodedLen(32) || !strings.HasPrefix(rest, principal+`,"proof":"`) {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(key)
	return err == nil && lineage.Thumbprint(raw) == keyID
}

// Bindings returns what to send along with a passport, for propagate.Config: this process's own binding and those of the
// other signers, as far as they are known here, the latest signer first. What does not fit into [MaxOffered] and
// [MaxOfferedBytes] is left out.
func (s *Source) Bindings(p lineage.Passport) []string {
	var all []claim
	seen := map[claim]bool{}
	out, size := []string(nil), 0
	add := func(b *lineage.KeyBinding) {
		if b != nil && len(out) < MaxOffered && size+len(b.Text()) <= MaxOfferedBytes {
			out, size = append(out, b.Text()), size+len(b.Text())
		}
	}
	if s.config.Own != nil {
		if b := s.config.Own.Binding(""); b != nil {
			seen[claim{b.Principal(), b.KeyID()}] = true
			add(b)
		}
	}
	for _, signed := range p.All() {
		if c := (claim{signed.Entry().Principal(), signed.KeyID()}); !seen[c] {
			seen[c] = true
			all = append(all, c)
		}
	}
	for _, c := range slices.Backward(all) {
		add(s.binding(c))
	}
	return out
}

// binding is what is known about a key, verified before or of this process's own.
func (s *Source) binding(c claim) *lineage.KeyBinding {
	if k := s.recall(c); k != nil && k.key.Covers(time.Now(), s.config.Leeway) {
		return k.binding
	}
	return s.ownBinding(c)
}
