package rego_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/rego"
)

// TestPrefix: policies whose names Rego cannot spell stand below a package, and nothing outside it is a policy.
func TestPrefix(t *testing.T) {
	e := load(t, rego.Config{Prefix: "acme/org"}, tree{
		"a.rego": "package acme.org[\"baseline-auth\"]\nallow if data.helpers.trusted(input)",
		"b.rego": "package acme.org.kest.allow_trusted\nallow := false",
		"h.rego": "package helpers\ntrusted(x) if x.trust_score >= 40\nallow := true",
		"o.rego": "package acme.organisation.p\nallow := true",
		"n.rego": "package acme.org\nallow := true",
	})
	if got := e.Policies(); !slices.Equal(got, []string{"baseline-auth", "kest/allow_trusted"}) {
		t.Errorf("policies %q", got)
	}
	for trust, want := range map[int]bool{39: false, 40: true} {
		d, err := e.Evaluate(t.Context(), "baseline-auth", call(trust))
		if d.Allow != want || want && err != nil {
			t.Errorf("trust %d: %+v, %v", trust, d, err)
		}
	}
	for _, name := range []string{"helpers", "acme/org/baseline-auth", "anisation/p", "organisation/p", "acme/org", "org"} {
		if d, err := e.Evaluate(t.Context(), name, call(100)); d.Allow || !errors.Is(err, policy.ErrUnknownPolicy) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	x, err := e.Explain(t.Context(), "kest/allow_trusted", call(80))
	if err != nil || len(x.Rules) == 0 || !strings.Contains(x.Rules[0].File, "b.rego") {
		t.Errorf("explained by %+v, %v", x.Rules, err)
	}
	for _, bad := range []string{"/", "acme/", "a b", "..", "acme//org"} {
		if _, err := (rego.Config{Prefix: bad}).FS(tree{"a.rego": "package a\nallow := true"}.fs()); err == nil || !strings.Contains(err.Error(), "Config.Prefix") {
			t.Errorf("prefix %q: %v", bad, err)
		}
	}
}
