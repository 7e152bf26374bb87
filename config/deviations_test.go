package config_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/policy"
)

// TestDeviations reads the deviations of a file that is not ready yet: unsigned, for policies that are not there, beside
// other mistakes.
func TestDeviations(t *testing.T) {
	t.Parallel()
	list, err := config.Deviations([]byte("polices: 1\napprovers:\n  keys: nowhere.json\ndeviations:\n"+
		"  - {policy: a, tier: enterprise, scope: 'x.*', signature: e30..AA}\n"+
		"  - policy: b\n    tier: platform\n    scope: y\n    reason: r\n    approver: alice\n    not_after: 2020-01-31T00:00:00Z\n"), "k.yaml")
	if err != nil || len(list) != 2 {
		t.Fatalf("%v: %+v", err, list)
	}
	want := policy.Deviation{Policy: "b", Tier: policy.Platform, Scope: "y", Reason: "r", Approver: "alice",
		NotAfter: time.Date(2020, 1, 31, 0, 0, 0, 0, time.UTC)}
	if got := list[1]; got.Deviation != want || got.Line != 6 || got.Column != 5 || list[0].Signature != "e30..AA" || list[0].Line != 5 {
		t.Errorf("%+v", list)
	}
	if list, err := config.Deviations([]byte("{}"), ""); err != nil || len(list) != 0 {
		t.Errorf("%v: %+v", err, list)
	}
}

func TestDeviationsBad(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                              "k.yaml: the file is empty",
		"deviations: 1":                 "k.yaml:1:13: deviations: want a list",
		"deviations: [{policy: a}]":     "k.yaml:1:14: deviations[0]: tier is missing",
		"deviations: [{a: 1}]":          "deviations[0].a: the key is not known",
		"deviations:\n  - &a {b: *a}\n": "k.yaml:2:",
		"deviations: [{policy: ../a, tier: platform, scope: x}]":             "k.yaml:1:14: deviations[0]: policy name",
		"deviations: [{policy: a, tier: function, scope: x}]":                "function policies cannot be deviated",
		"deviations: [{policy: a, tier: platform, scope: x, not_after: no}]": "deviations[0].not_after",
		"deviations: [" + strings.Repeat("{},", 4097) + "]":                  "deviations",
		strings.Repeat(" ", config.MaxBytes+1):                               "more than",
	} {
		list, err := config.Deviations([]byte(text), "k.yaml")
		if bad := (*config.Error)(nil); !errors.As(err, &bad) || list != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v; want %s", text, err, want)
		}
	}
}

// FuzzDeviations: nothing that stands in a file can do anything but be read or refused, and what is read is valid.
func FuzzDeviations(f *testing.F) {
	f.Add("deviations:\n  - policy: b\n    tier: platform\n    scope: y\n    not_after: 2020-01-31T00:00:00Z\n")
	f.Add("deviations: [{policy: a, tier: enterprise, scope: '*', signature: e30..AA}]")
	f.Add("deviations: *a")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := config.Deviations([]byte(text), "")
		for _, d := range list {
			if err != nil || d.Validate() != nil || d.Line < 1 {
				t.Fatalf("%q: %v: %+v", text, err, d)
			}
		}
	})
}
