package policy_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/kest-go/kest/policy"
)

func lift(tier policy.Tier, scope string) policy.Deviation {
	return policy.Deviation{Policy: "org/limits", Tier: tier, Scope: scope, Reason: "CHG-1", Approver: "ciso"}
}

func TestDeviationValidate(t *testing.T) { // F-PE-11
	for _, tier := range []policy.Tier{policy.Enterprise, policy.Platform, policy.Application} {
		if err := lift(tier, "*").Validate(); err != nil {
			t.Errorf("%s: %v", tier, err)
		}
	}
	for name, d := range map[string]policy.Deviation{
		"function tier": lift(policy.Function, "*"), // SPEC §7: cannot be deviated
		"unknown tier":  lift("corporate", "*"),
		"case of tier":  lift("Enterprise", "*"),
		"no tier":       lift("", "*"),
		"no scope":      lift(policy.Platform, ""),
		"no policy":     {Tier: policy.Platform, Scope: "*"},
		"starred name":  {Policy: "org/*", Tier: policy.Platform, Scope: "*"},
		"not text":      {Policy: "a", Tier: policy.Platform, Scope: "*", Reason: "\xff"},
		"long reason":   {Policy: "a", Tier: policy.Platform, Scope: "*", Reason: strings.Repeat("x", 1025)},
		"long approver": {Policy: "a", Tier: policy.Platform, Scope: "*", Approver: strings.Repeat("x", 1025)},
		"long scope":    {Policy: "a", Tier: policy.Platform, Scope: strings.Repeat("x", 1025)},
	} {
		if d.Validate() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	err := policy.Deviation{Policy: "a b", Tier: "x"}.Validate()
	for _, want := range []string{"policy name", "unknown tier", "empty scope"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if err := lift(policy.Function, "*").Validate(); !strings.Contains(fmt.Sprint(err), "cannot be deviated") {
		t.Errorf("function tier: %v", err)
	}
	past := lift(policy.Platform, "*")
	past.NotAfter = time.Unix(1, 0)
	if err := past.Validate(); err != nil {
		t.Errorf("an expired deviation is ignored, not invalid: %v", err)
	}
}

// TestDeviationLifts: exactly that policy, of that tier, for matching operations (F-PE-12).
func TestDeviationLifts(t *testing.T) {
	d, now := lift(policy.Platform, "payments.*"), time.Unix(1000, 0)
	tests := []struct {
		tier            policy.Tier
		name, operation string
		want            bool
	}{
		{policy.Platform, "org/limits", "payments.refund", true},
		{policy.Enterprise, "org/limits", "payments.refund", false},
		{policy.Application, "org/limits", "payments.refund", false},
		{policy.Function, "org/limits", "payments.refund", false},
		{policy.Platform, "org/limits2", "payments.refund", false},
		{policy.Platform, "org", "payments.refund", false},
		{policy.Platform, "org/Limits", "payments.refund", false},
		{policy.Platform, "org/limits", "orders.refund", false},
		{policy.Platform, "", "payments.refund", false},
	}
	for _, test := range tests {
		if got := d.Lifts(test.tier, test.name, test.operation, now); got != test.want {
			t.Errorf("%s %q %q: %t", test.tier, test.name, test.operation, got)
		}
	}
	if f := lift(policy.Function, "*"); f.Lifts(policy.Function, "org/limits", "x", now) {
		t.Error("a function policy is lifted")
	}
}

// TestDeviationExpiry: not-after is the last instant at which it holds (F-PE-13).
func TestDeviationExpiry(t *testing.T) {
	end := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	d := lift(policy.Platform, "*")
	d.NotAfter = end
	for _, test := range []struct {
		now     time.Time
		expired bool
	}{
		{end.Add(-time.Hour), false}, {end.Add(-1), false}, {end, false},
		{end.In(time.FixedZone("", 3600)), false}, {end.Add(1), true}, {end.AddDate(1, 0, 0), true},
	} {
		if d.Expired(test.now) != test.expired || d.Lifts(policy.Platform, "org/limits", "x", test.now) == test.expired {
			t.Errorf("at %v: expired %t", test.now, d.Expired(test.now))
		}
	}
	if forever := lift(policy.Platform, "*"); forever.Expired(end.AddDate(1000, 0, 0)) {
		t.Error("a deviation without an end expired")
	}
}

func TestDeviationScope(t *testing.T) {
	tests := []struct {
		scope, operation string
		want             bool
	}{
		{"*", "", true}, {"*", "a/b.c", true}, {"**", "a", true}, {"", "", true}, {"", "a", false},
		{"a", "a", true}, {"a", "ab", false}, {"a", "A", false},
		{"a*", "a", true}, {"a*", "abc", true}, {"a*", "ba", false},
		{"*a", "ba", true}, {"*a", "ab", false}, {"a*a", "a", false}, {"a*a", "aa", true},
		{"pay*refund", "payments.refund", true}, {"pay*refund", "payments.refunds", false},
		{"*ab*ab*", "ab", false}, {"*ab*ab*", "xabyabz", true}, {"a*b*c", "abbc", true}, {"a*b*c", "acb", false},
		{"a.c", "abc", false}, {"a?c", "abc", false}, {"[a]", "a", false}, // only "*" is special
	}
	for _, test := range tests {
		if got := lift(policy.Platform, test.scope).Lifts(policy.Platform, "org/limits", test.operation, time.Time{}); got != test.want {
			t.Errorf("scope %q, operation %q: %t", test.scope, test.operation, got)
		}
	}
}

// FuzzDeviationScope compares scopes with the regular expression that they abbreviate.
func FuzzDeviationScope(f *testing.F) {
	for _, seed := range [][2]string{{"*", "a"}, {"a*a", "a"}, {"a*b*c", "aXbYc"}, {"*ab*ab*", "abab"}, {"x", "x"}, {"a\n*", "a\n\n"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, scope, operation string) {
		if len(scope) > 100 || !utf8.ValidString(scope) || !utf8.ValidString(operation) {
			return // regexp works on runes
		}
		pattern := "(?s)^" + strings.ReplaceAll(regexp.QuoteMeta(scope), `\*`, ".*") + `\z`
		want := regexp.MustCompile(pattern).MatchString(operation)
		if got := lift(policy.Platform, scope).Lifts(policy.Platform, "org/limits", operation, time.Time{}); got != want {
			t.Errorf("scope %q, operation %q: %t, want %t", scope, operation, got, want)
		}
	})
}
