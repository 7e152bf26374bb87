package kest

import (
	"context"
	"strconv"
	"strings"

	"github.com/kest-go/kest/internal/jcs"
)

// facts are attributes in the one form that is signed and shown to policies, whatever Go types the caller used, and
// that the caller cannot change any more.
type facts struct {
	values map[string]any // nil, bool, int, float64, string, []any, map[string]any; nil when there are none
	text   string         // canonical JSON, "" when there are none
}

// newFacts reads attributes once. Integers beyond ±(2^53−1) are refused: JSON readers do not agree about them, so a
// policy and a verifier could see different numbers (SPEC §2).
func newFacts(attributes map[string]any) (facts, error) {
	if len(attributes) == 0 {
		return facts{}, nil
	}
	s := scratches.Get().(*scratch)
	defer s.release()
	if err := s.encode(attributes, jcs.Reject); err != nil {
		return facts{}, err
	}
	document, err := jcs.Parse(s.canonical, jcs.Options{})
	if err != nil {
		return facts{}, err
	}
	values, _ := document.Go(number).(map[string]any)
	return facts{values: values, text: string(s.canonical)}, nil
}

// number is the Go value that policies know for a JSON number.
func number(literal string) any {
	if !strings.ContainsAny(literal, ".e") {
		if n, err := strconv.Atoi(literal); err == nil {
			return n
		}
	}
	f, _ := strconv.ParseFloat(literal, 64) // canonical, so it fits
	return f
}

// fixedFacts is the resolver of attributes that are known when the function is wrapped.
func fixedFacts(s *settings, option string, attributes map[string]any) resolver[facts] {
	f, err := newFacts(attributes)
	if err != nil {
		s.problem("%s: %w", option, err)
	}
	return fixed(f)
}

// factsFrom resolves attributes at the call.
func factsFrom(r resolver[map[string]any]) resolver[facts] {
	if r == nil {
		return nil
	}
	return func(ctx context.Context, in any) (facts, error) {
		attributes, err := r(ctx, in)
		if err != nil {
			return facts{}, err
		}
		return newFacts(attributes)
	}
}
